"""Weak forms: the equation is written once, its derivatives follow.

A `WeakForm` holds ``residual(u, v, m, w)``, a pointwise torch expression in scikit-fem's idiom that is linear in the
test function v. The residual covector, its tangents with respect to state and parameter, and the second derivatives
of ``p^T R(u, m)`` come from pointwise automatic differentiation (METHOD section 1: every derivative is exact for the
discrete problem).

Notes
-----
Torch is used on as many threads as it is told to; one thread is best (OMP_NUM_THREADS=1 or torch.set_num_threads(1)).
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
import torch

from ..errors import InputError, check_function, check_has
from .assembly import Assembler, Block, Integral, checked_vector
from .density import Density
from .laws import LawTable
from .linearity import is_linear
from .points import bases_of, point_arrays
from .shapes import tables_of


@dataclass(frozen=True)
class SecondDerivatives:
    """Second derivatives of ``p^T R(u, m)``: uu (n_u, n_u), um (n_u, n_m), mm (n_m, n_m), all csr."""

    uu: sp.csr_matrix
    um: sp.csr_matrix
    mm: sp.csr_matrix


class WeakForm:
    """Integral of a residual over cells or facets; forms add up to equations.

    Parameters
    ----------
    residual : callable (u, v, m, w) -> tensor
        Pointwise, linear in v, written with torch and `dot`, `grad`, ... m is one field, or a tuple of fields when
        `parameter` is a tuple; a law is called: ``m(u)``.
    state : skfem basis
        Of the state (and test function) u; scalar or `ElementVector`; cells or facets.
    parameter : skfem basis, Element, Law, or tuple of them
        Of the parameter fields, with the state's quadrature points; an Element stands for
        ``state.with_element(element)``. A `Law` has a mesh of its own.
    device : str
        Where torch works.
    **data
        Samples (q,) or (q, k), arrays (..., ne, nq), numbers or functions that the residual finds as ``w.NAME``.

    Raises
    ------
    InputError
        When quadrature points differ, data have another shape, or an element is composite; at the first assembly, when
        the residual is not real or not linear in v.

    Attributes
    ----------
    state_size, parameter_size : int
        n_u and n_m.
    state : skfem basis
        Of the state.
    state_points : (d, n_u) or None
        Coordinates of the state's unknowns.

    Examples
    --------
    >>> import skfem, torch
    >>> from fem_ngf import dot, grad
    >>> basis = skfem.Basis(skfem.MeshTri().refined(2), skfem.ElementTriP2())
    >>> form = WeakForm(lambda u, v, m, w: torch.exp(m) * dot(grad(u), grad(v)) - v, basis, skfem.ElementTriP1())
    >>> form.state_size, form.parameter_size
    (81, 25)
    """

    def __init__(self, residual, state, parameter, *, device="cpu", **data):
        check_function("residual", residual)
        check_has("state", state, "a scikit-fem Basis", "nelems", "with_element")
        bases = (state, *bases_of(parameter, state))
        single = not isinstance(parameter, (tuple, list))
        tables = tables_of(bases, device)
        offsets = np.cumsum([0, *(table.size for table in tables[1:])])

        def function(fields, w):
            u, v, *m = fields
            return residual(u, v, m[0] if single else tuple(m), w)

        density = Density.on(state, function, point_arrays(state, data, device), device)
        starts = (0, 0, *(int(start) for start in offsets[:-1]))
        self._set((Integral(density, (tables[0], *tables), starts),), int(offsets[-1]), state)

    def _set(self, integrals, parameter_size, state):
        self.state, self.state_points, self._checked = state, state.doflocs, []  # copies share the last one
        self._assembler, spaces = Assembler(integrals), integrals[0].spaces
        self.state_size, self.parameter_size = spaces[0].size, parameter_size
        self._fields = tuple(range(2, len(spaces)))
        self._splits = integrals[0].starts[3:]

    def __repr__(self):
        return f"WeakForm({self.state_size} state and {self.parameter_size} parameter unknowns)"

    def __add__(self, other):
        """Sum of integrals over the same unknowns, e.g. over cells and over a named part of the boundary."""
        if not isinstance(other, WeakForm):
            return NotImplemented
        mine, theirs = ((form.state_size, form._splits, form.parameter_size) for form in (self, other))
        if mine != theirs:
            raise InputError(f"forms with (state size, parameter splits, parameter size) {mine} and {theirs} cannot be "
                             "added; use the same elements on the same mesh in both")
        result = object.__new__(WeakForm)
        result._set(self._assembler.integrals + other._assembler.integrals, self.parameter_size, self.state)
        return result

    @property
    def parameter_sizes(self):
        """Unknowns of each parameter field."""
        return tuple(int(size) for size in np.diff([0, *self._splits, self.parameter_size]))

    @property
    def law_boxes(self):
        """Bounds (d, 2) of the mesh of each law among the parameters."""
        tables = [space for space in self._assembler.integrals[0].spaces[2:] if isinstance(space, LawTable)]
        return [np.array([[float(each[0]), float(each[-1])] for each in table.breaks]) for table in tables]

    @property
    def smooth(self):
        """Whether the slopes of all laws that the residual calls are continuous: otherwise it is not C^2 anywhere."""
        return all(getattr(space, "smooth", True) for each in self._assembler.integrals for space in each.spaces)

    def at(self, t):
        """The form at a time, which its residual finds as ``w.t``; patterns are shared, so that this costs nothing."""
        return self._with_arrays(lambda arrays: arrays | {"t": torch.tensor(float(t), dtype=torch.float64)})

    def restricted(self, cells):
        """The part of the form over some cells of the mesh, and over facets of these.

        Parameters
        ----------
        cells : bool array (cells of the mesh,)
            Unknowns keep their numbers; the parts over the cells and over all others add up to the form.
        """
        form = copy(self)
        form._assembler = Assembler(each.restricted(cells) for each in self._assembler.integrals)
        return form

    def depends_on_time(self, u, m):
        """Whether the residual asks for ``w.t``, at u and m on the first element."""
        asked = []
        form = self._with_arrays(lambda arrays: _Asked(arrays, asked))
        for each in form._assembler.integrals:
            each.density.evaluate(each.arguments(form._vectors(u, m), ()), slice(0, 1))
        return bool(asked)

    def _with_arrays(self, change):
        form = copy(self)
        form._assembler = copy(self._assembler)
        form._assembler.integrals = tuple(
            replace(each, density=replace(each.density, arrays=change(each.density.arrays)))
            for each in self._assembler.integrals)
        return form

    def residual(self, u, m):
        """Covector R(u, m) of shape (n_u,), one entry a test function; SolveError when it is not finite."""
        return self._assembler.covector(self._vectors(u, m), (1,), self.state_size)

    def tangent(self, u, m):
        """dR/du, csr (n_u, n_u), rows for test functions; the pattern never changes."""
        block = Block((1,), (0,), (self.state_size, self.state_size))
        return self._assembler.matrices(self._vectors(u, m), {"uu": block}, (0, 1))["uu"]

    def parameter_tangent(self, u, m):
        """dR/dm, csr (n_u, n_m)."""
        block = Block((1,), self._fields, (self.state_size, self.parameter_size))
        return self._assembler.matrices(self._vectors(u, m), {"um": block}, (1, *self._fields))["um"]

    def second_derivatives(self, u, m, p):
        """Second derivatives of ``p^T R(u, m)``; structurally zero blocks are empty matrices."""
        n_u, n_m, p = self.state_size, self.parameter_size, checked_vector("p", p, self.state_size)
        blocks = {"uu": Block((0,), (0,), (n_u, n_u)), "um": Block((0,), self._fields, (n_u, n_m)),
                  "mm": Block(self._fields, self._fields, (n_m, n_m))}
        return SecondDerivatives(**self._assembler.matrices(self._vectors(u, m, p), blocks, (0, *self._fields)))

    def visited(self, u, m):
        """What each law is called with at a state.

        Returns
        -------
        list of (arguments (q, d), weights (q,))
            One a law, in the order of the parameters, over all its calls; the weights are those of the quadrature.
        """
        return self._assembler.visited(self._vectors(u, m))

    def _vectors(self, u, m, p=None):
        m = checked_vector("m", m, self.parameter_size)
        vectors = [checked_vector("u", u, self.state_size), p, *(np.split(m, self._splits) if self._fields else ())]
        if not self._checked and is_linear(self._assembler.integrals, vectors):
            self._checked.append(True)
        return vectors


class _Asked(dict):
    """Data of a form at time zero that notes when ``w.t`` is asked for."""

    def __init__(self, arrays, asked):
        super().__init__(arrays | {"t": torch.tensor(0.0, dtype=torch.float64)})
        self._asked = asked

    def __getitem__(self, name):
        if name == "t":
            self._asked.append(name)
        return super().__getitem__(name)
