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
from ..linalg.factorize import factorize
from .protocol import SolveCounts

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
    def work_per_solve(self):
        return self.state_size

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


class ElectrodeState:
    """The solved complete electrode model, which is also its linearisation point.

    Attributes
    ----------
    m
        (n_m,) log-conductivity.
    u
        (n_u, k): nodal potentials, then electrode voltages, one injection a column.
    """

    def __init__(self, model, m):
        self.model, self.m = model, m
        self.sigma = model.conductivity(m)
        self.factors = factorize(model.matrix(m), symmetric=True, definite=True)
        patterns, rank = model.patterns
        self._forward = self._solve_patterns(patterns[:, :rank])
        model.counts.forward += rank
        self._coordinates = patterns[:, :rank].T @ model.currents
        self.u = self._forward @ self._coordinates

    def _solve_patterns(self, patterns):
        load = np.zeros((self.model.state_size, patterns.shape[1]))
        load[self.model.state.N:] = patterns
        fields = self.factors.solve(load)
        if not np.isfinite(fields).all():
            raise SolveError("the complete electrode model gave a potential that is not finite")
        return fields

    @cached_property
    def fields(self):
        """(n_u, L - 1): K(m)^-1 for all of ``model.patterns``; those beyond the injected ones count as adjoint."""
        patterns, rank = self.model.patterns
        self.model.counts.adjoint += patterns.shape[1] - rank
        return np.hstack([self._forward, self._solve_patterns(patterns[:, rank:])])

    def tangent(self, dm):
        """du (n_u, k) for dm (n_m,), or (n_u, k, b) for dm (n_m, b): one solve per independent current pattern."""
        dm = np.asarray(dm, dtype=float)
        block = dm[:, None] if dm.ndim == 1 else dm
        model, forward = self.model, self._gradients(self._forward)
        change = (self.sigma * model.weights)[:, None] * (model.samples @ block)
        flux = np.tile(change, (2, 1))[:, None, :] * forward[:, :, None]
        load = np.zeros((model.state_size, forward.shape[1] * block.shape[1]))
        load[:model.state.N] = -(model.gradients.T @ flux.reshape(flux.shape[0], -1))
        model.counts.incremental += load.shape[1]
        du = self.factors.solve(load).reshape(model.state_size, forward.shape[1], -1)
        du = np.einsum("nrb,rk->nkb", du, self._coordinates, optimize=True)
        return du[:, :, 0] if dm.ndim == 1 else du

    def adjoint_state(self, covector, kind="adjoint"):
        """p with K p = -covector, for a covector (n_u, k) or (n_u, k, b) on the states.

        A covector that lives on the electrode voltages alone (any electrode measurement) is a combination of
        `fields` and costs no further solve.
        """
        covector = np.asarray(covector, dtype=float)
        flat, n = covector.reshape(self.model.state_size, -1), self.model.state.N
        if flat[:n].any():
            self.model.counts.add(kind, flat.shape[1])
            return -self.factors.solve(flat).reshape(covector.shape)
        mean = flat[n:].mean(axis=0)
        p = self.fields @ (self.model.patterns[0].T @ flat[n:])
        # an equal load on all electrodes raises everything by a constant: K 1 = s L on each electrode
        p += mean / self.model.contact_matrix[n:].sum(axis=1).mean()
        return -p.reshape(covector.shape)

    def pull_back(self, p):
        """Covector on m, (n_m,) for p (n_u, k) or (n_m, b) for p (n_u, k, b): sum over injections of (dR/dm)^T p."""
        p = np.asarray(p, dtype=float)
        block = p[:, :, None] if p.ndim == 2 else p
        reduced = np.einsum("nkb,rk->nrb", block, self._coordinates, optimize=True)
        gradients = self._gradients(reduced.reshape(reduced.shape[0], -1)).reshape(-1, *reduced.shape[1:])
        product = np.einsum("xrb,xr->xb", gradients, self._gradients(self._forward), optimize=True)
        density = (self.sigma * self.model.weights)[:, None] * product.reshape(2, -1, block.shape[2]).sum(axis=0)
        covector = self.model.samples.T @ density
        return covector[:, 0] if p.ndim == 2 else covector

    def adjoint(self, covector, kind="adjoint"):
        """``pull_back(adjoint_state(covector))``."""
        return self.pull_back(self.adjoint_state(covector, kind))

    def second_order(self, du, dm, p):
        """Second derivative of ``p^T R(u, m)`` in direction(s) (du, dm): covectors of their shapes; p (n_u, k).

        R is linear in u: only sigma = exp(m) is differentiated twice.
        """
        model, q = self.model, self.model.weights.size
        du, dm, p = (np.asarray(array, dtype=float) for array in (du, dm, p))
        blocks, change = du.reshape(*du.shape[:2], -1), model.samples @ dm.reshape(len(dm), -1)
        scale, shape = (self.sigma * model.weights)[:, None], (2, q, *blocks.shape[1:])
        grad_du = self._gradients(blocks.reshape(len(du), -1)).reshape(shape)
        grad_u, grad_p = (self._gradients(states).reshape(2, q, -1) for states in (self.u, p))
        flux = grad_p[..., None] * (scale * change)[None, :, None, :]
        on_state = np.zeros_like(blocks)
        on_state[:model.state.N] = (model.gradients.T @ flux.reshape(2 * q, -1)).reshape(-1, *blocks.shape[1:])
        density = np.einsum("xqkb,xqk->qb", grad_du, grad_p, optimize=True)
        density += np.einsum("xqk,xqk->q", grad_u, grad_p)[:, None] * change
        return on_state.reshape(du.shape), (model.samples.T @ (scale * density)).reshape(dm.shape)

    def _gradients(self, states):
        return self.model.gradients @ states[:self.model.state.N]

    def resistance(self):
        """(L - 1, L - 1) symmetric matrix S: pattern Q a injects voltages U with Q^T U = S a."""
        return self.model.patterns[0].T @ self.fields[self.model.state.N:]

    def sensitivity(self, chunk=1000):
        """Derivative of `resistance` by m, from products of fields: no further solve.

        Parameters
        ----------
        chunk
            Elements handled at once, a bound on the memory.

        Returns
        -------
        ndarray (L (L - 1) / 2, n_m)
            Rows: the upper triangle of S, in the order of ``np.triu_indices(L - 1)``.
            dS_ab[dm] = - integral of sigma dm grad u_a . grad u_b.
        """
        model = self.model
        elements, points = model.state.nelems, model.state.X.shape[-1]
        gradients = self._gradients(self.fields).reshape(2, elements, points, -1)
        scale = (self.sigma * model.weights).reshape(elements, points)
        first, second = np.triu_indices(gradients.shape[-1])
        jacobian = np.zeros((model.parameter_size, first.size))
        for start in range(0, elements, chunk):
            part = slice(start, min(start + chunk, elements))
            block = np.moveaxis(gradients[:, part], 0, 2).reshape(-1, 2 * points, gradients.shape[-1])
            for local, dofs in zip(model.parameter.basis, model.parameter.element_dofs, strict=True):
                shape = np.broadcast_to(local[0], (elements, points))[part]
                factor = np.repeat(scale[part] * shape, 2, axis=1)
                products = np.matmul(block.transpose(0, 2, 1), factor[:, :, None] * block)[:, first, second]
                scatter = sparse.csr_matrix((np.ones(products.shape[0]), (dofs[part], np.arange(products.shape[0]))),
                                            shape=(model.parameter_size, products.shape[0]))
                jacobian -= scatter @ products
        return jacobian.T


def _pointwise(basis, quantity):
    """csr (q, n): a quantity of the local shape functions at the quadrature points, element by element."""
    shape = (basis.nelems, basis.X.shape[-1])
    rows = np.arange(shape[0] * shape[1])
    blocks = [sparse.csr_matrix((np.broadcast_to(quantity(local[0]), shape).ravel(), (rows, np.repeat(dofs, shape[1]))),
                                shape=(rows.size, basis.N))
              for local, dofs in zip(basis.basis, basis.element_dofs, strict=True)]
    return sum(blocks[1:], blocks[0])
