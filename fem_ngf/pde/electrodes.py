"""Electrical impedance tomography: the complete electrode model.

Find the potential u and the electrode voltages U_1..U_L with

    -div(sigma grad u) = 0                         in Omega,
    u + z_l sigma du/dn = U_l                      on electrode l,
    integral over electrode l of sigma du/dn = I_l,
    sigma du/dn = 0                                on the rest of the boundary,
    U_1 + ... + U_L = 0,

where sigma = exp(m). The weak form (Somersalo, Cheney and Isaacson, SIAM J. Appl. Math. 52, 1992) is symmetric:

    (sigma grad u, grad v) + sum_l 1/z_l <u - U_l, v - V_l>_l + s (sum_l U_l)(sum_l V_l) = sum_l I_l V_l.

The term with s > 0 grounds the voltages. It changes nothing else: the other terms vanish for constant (v, V), so a
current pattern with sum I = 0 gives sum U = 0 whatever s is, and the matrix is positive definite.

The solution is linear in the currents. One factorisation serves all injections, only linearly independent patterns
are solved for, and every adjoint field of an electrode measurement is a combination of the same L - 1 fields.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import scipy.sparse as sparse
import skfem

from ..errors import InputError, SolveError
from .counts import SolveCounts
from .electrode_state import ElectrodeState

SAME_RANK = 1e-10  # relative size below which a singular value of the current patterns counts as zero


def _require(condition, message):
    if not condition:
        raise InputError(message)


@dataclass(frozen=True, eq=False)
class ElectrodeModel:
    """The complete electrode model on a mesh, for a block of current patterns.

    Parameters
    ----------
    state, parameter
        scikit-fem cell bases of the potential (P1 or P2) and of m = log(sigma) (P1) with the same quadrature,
        e.g. ``parameter = state.with_element(ElementTriP1())``.
    electrodes
        Names of the boundary facets of the L electrodes, in the order of the rows of ``currents``.
    currents
        (L, k): one injected pattern a column; every column sums to zero.
    impedances
        (L,) or a number: contact impedances z_l > 0.

    Raises
    ------
    InputError
        If an electrode is missing from the mesh, the patterns have the wrong number of rows, are all zero, not
        finite or do not sum to zero, or an impedance is not positive.

    Notes
    -----
    The state stacks the n nodal potentials and the L electrode voltages, n_u = n + L.
    """

    state: skfem.CellBasis
    parameter: skfem.CellBasis
    electrodes: tuple
    currents: np.ndarray
    impedances: np.ndarray | float = 1e-6
    counts: SolveCounts = field(default_factory=SolveCounts)

    def __post_init__(self):
        number = len(self.electrodes)
        currents = np.asarray(self.currents, dtype=float)
        currents = currents[:, None] if currents.ndim == 1 else currents
        known = self.state.mesh.boundaries or {}
        for name in self.electrodes:
            _require(name in known and len(known[name]) > 0,
                      f"electrodes: the mesh has no boundary facets named {name!r}; it names {sorted(known)[:4]}...")
        _require(currents.ndim == 2 and currents.shape[0] == number,
                  f"currents: expected {number} rows, one an electrode, got shape {currents.shape}")
        _require(np.isfinite(currents).all(), "currents: not finite; remove the NaN or infinite entries")
        scale = np.abs(currents).max(initial=0.0)
        _require(scale > 0, "currents: all zero; give at least one non-zero current pattern")
        worst = np.abs(currents.sum(axis=0)).max()
        _require(worst <= 1e-8 * scale, f"currents: a pattern sums to {worst:.3g}; every pattern must sum to zero")
        impedances = np.broadcast_to(np.asarray(self.impedances, dtype=float), (number,)).copy()
        _require(np.isfinite(impedances).all() and (impedances > 0).all(),
                  f"impedances: must be positive, the smallest is {impedances.min():.3g}")
        _require(self.state.X.shape == self.parameter.X.shape and np.allclose(self.state.X, self.parameter.X),
                  "parameter: its basis has other quadrature points than state; use state.with_element(...)")
        object.__setattr__(self, "currents", currents)
        object.__setattr__(self, "impedances", impedances)

    @property
    def state_size(self):
        return self.state.N + len(self.electrodes)

    @property
    def parameter_size(self):
        return self.parameter.N

    @property
    def experiments(self):
        return self.currents.shape[1]

    @cached_property
    def gradients(self):
        """csr (2 q, n): the two components of a potential's gradient at the quadrature points."""
        return sparse.vstack([_pointwise(self.state, lambda local, i=i: local.grad[i]) for i in (0, 1)]).tocsr()

    @cached_property
    def samples(self):
        """csr (q, n_m): the values of m at the quadrature points."""
        return _pointwise(self.parameter, lambda local: local)

    @cached_property
    def weights(self):
        """(q,): quadrature weights of the cells."""
        return self.state.dx.ravel()

    @cached_property
    def contacts(self):
        """One csr (n_u, n_u) an electrode: <u - U_l, v - V_l>_l."""
        return tuple(self._contact(row, name) for row, name in enumerate(self.electrodes))

    def _contact(self, row, name):
        basis = skfem.FacetBasis(self.state.mesh, self.state.elem, facets=name, dofs=self.state.dofs, intorder=4)
        mass = skfem.BilinearForm(lambda u, v, w: u * v).assemble(basis).tocoo()
        load = skfem.LinearForm(lambda v, w: v).assemble(basis)
        near, last = np.flatnonzero(load), self.state.N + row
        rows = np.concatenate([mass.row, near, np.full(near.size, last), [last]])
        columns = np.concatenate([mass.col, np.full(near.size, last), near, [last]])
        values = np.concatenate([mass.data, -load[near], -load[near], [basis.dx.sum()]])
        return sparse.csr_matrix((values, (rows, columns)), shape=(self.state_size, self.state_size))

    @cached_property
    def contact_matrix(self):
        """csr (n_u, n_u): the contact terms and the grounding, all of the matrix that does not depend on m."""
        matrix = sum(c / z for c, z in zip(self.contacts, self.impedances, strict=True))
        number = len(self.electrodes)
        grounding = matrix.diagonal()[self.state.N:].mean() / number
        ones = sparse.csr_matrix(np.full((number, number), grounding))
        return (matrix + sparse.block_diag([sparse.csr_matrix((self.state.N, self.state.N)), ones])).tocsr()

    @cached_property
    def patterns(self):
        """(L, L - 1) orthonormal mean-free patterns Q, and how many of the first span the injected currents."""
        left, values, _ = np.linalg.svd(self.currents)
        rank = int((values > SAME_RANK * values[0]).sum())
        mean_free = np.eye(len(self.electrodes)) - 1.0 / len(self.electrodes)
        used = left[:, :rank]
        rest = np.linalg.svd(mean_free - used @ (used.T @ mean_free))[0][:, :len(self.electrodes) - 1 - rank]
        return np.hstack([used, rest]), rank

    def matrix(self, m):
        """csr (n_u, n_u): the symmetric positive definite matrix K(m)."""
        density = np.tile(self.conductivity(m) * self.weights, 2)
        stiffness = self.gradients.T @ sparse.diags_array(density) @ self.gradients
        number = len(self.electrodes)
        return (sparse.block_diag([stiffness, sparse.csr_matrix((number, number))]) + self.contact_matrix).tocsr()

    def conductivity(self, m):
        """sigma = exp(m) at the quadrature points, (q,); `SolveError` if it over- or underflows."""
        m = np.asarray(m, dtype=float)
        _require(m.shape == (self.parameter_size,), f"m: expected ({self.parameter_size},) values, got shape {m.shape}")
        with np.errstate(over="ignore"):
            sigma = np.exp(self.samples @ m)
        if not (np.isfinite(sigma).all() and (sigma > 0).all()):
            raise SolveError("m: the conductivity exp(m) overflows or is not finite")
        return sigma

    def observation_matrix(self, patterns):
        """csr (n_obs, n_u) that takes the differences ``patterns`` (L, n_obs) of the electrode voltages."""
        empty = sparse.csr_matrix((patterns.shape[1], self.state.N))
        return sparse.hstack([empty, sparse.csr_matrix(np.asarray(patterns, dtype=float).T)]).tocsr()

    def solve(self, m, start=None):
        """Solve for all injections; ``start`` is ignored, the problem is linear in the state.

        Parameters
        ----------
        m
            (n_m,) log-conductivity.

        Returns
        -------
        ElectrodeState
            Counted as one forward solve per linearly independent current pattern.
        """
        return ElectrodeState(self, np.asarray(m, dtype=float))


def _pointwise(basis, quantity):
    """csr (q, n): a quantity of the local shape functions at the quadrature points, element by element."""
    shape = (basis.nelems, basis.X.shape[-1])
    rows = np.arange(shape[0] * shape[1])
    blocks = [sparse.csr_matrix((np.broadcast_to(quantity(local[0]), shape).ravel(), (rows, np.repeat(dofs, shape[1]))),
                                shape=(rows.size, basis.N))
              for local, dofs in zip(basis.basis, basis.element_dofs, strict=True)]
    return sum(blocks[1:], blocks[0])
