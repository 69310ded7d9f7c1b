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

from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp

from .contraction import pair_dofs
from .errors import InputError
from .patterns import Pattern, check_finite
from .pointwise import Argument, Density
from .quadrature import bases_of, point_arrays
from .shapes import coefficients, reference_element, shapes


@dataclass(frozen=True)
class SecondDerivatives:
    """Second derivatives of ``p^T R(u, m)``: uu (n_u, n_u), um (n_u, n_m), mm (n_m, n_m), all csr."""

    uu: sp.csr_matrix
    um: sp.csr_matrix
    mm: sp.csr_matrix


@dataclass(frozen=True, eq=False)
class Integral:
    """One residual integrated over the points of one basis; fields are numbered 0 state, 1 test, 2... parameters."""

    density: Density
    spaces: tuple
    offsets: np.ndarray
    pairs: dict = field(default_factory=dict)

    def arguments(self, u, m, p=None, tracked=()):
        """The arguments of the density on full vectors; p replaces the test function by a given field."""
        vectors = [u, p, *np.split(m, self.offsets[1:-1])]
        return [Argument(space, None if vector is None else coefficients(space, vector), i in tracked)
                for i, (space, vector) in enumerate(zip(self.spaces, vectors, strict=True))]


class WeakForm:
    """Integral of a residual over cells or facets; forms add up to equations.

    Parameters
    ----------
    residual : callable (u, v, m, w) -> tensor
        Pointwise, linear in v, written with torch and `fem_ngf.helpers`. m is one field, or a tuple of fields when
        `parameter` is a tuple.
    state : skfem basis
        Of the state (and test function) u; scalar or `ElementVector`; cells or facets.
    parameter : skfem basis, Element, or tuple of them
        Of the parameter fields, with the state's quadrature points; an Element stands for
        ``state.with_element(element)``.
    device : str
        Where torch works.
    **data
        Samples (q,) or (q, k), arrays (..., ne, nq), numbers or functions that the residual finds as ``w.NAME``.

    Raises
    ------
    InputError
        When quadrature points differ, data have another shape, or an element is composite.

    Examples
    --------
    >>> import skfem, torch
    >>> from fem_ngf.helpers import dot, grad
    >>> basis = skfem.Basis(skfem.MeshTri().refined(2), skfem.ElementTriP2())
    >>> form = WeakForm(lambda u, v, m, w: torch.exp(m) * dot(grad(u), grad(v)) - v, basis, skfem.ElementTriP1())
    >>> form.state_size, form.parameter_size
    (81, 25)
    """

    def __init__(self, residual, state, parameter, *, device="cpu", **data):
        bases = bases_of(parameter, state)
        single = not isinstance(parameter, (tuple, list))
        reference = all(reference_element(basis) is not None for basis in (state, *bases))
        tables = [shapes(basis, device, reference) for basis in (state, *bases)]

        def function(fields, w):
            u, v, *m = fields
            return residual(u, v, m[0] if single else tuple(m), w)

        density = Density.on(state, function, point_arrays(state, data, device), device)
        offsets = np.cumsum([0, *(table.size for table in tables[1:])])
        self._set((Integral(density, (tables[0], *tables), offsets),))

    def _set(self, integrals):
        self.integrals, self._patterns = integrals, {}
        self.state_size, self.parameter_size = integrals[0].spaces[0].size, int(integrals[0].offsets[-1])

    def __add__(self, other):
        """Sum of integrals over the same unknowns, e.g. over cells and over a named part of the boundary."""
        mine, theirs = ([(form.state_size, *np.diff(form.integrals[0].offsets))] for form in (self, other))
        if mine != theirs:
            raise InputError(f"forms with unknowns (state, parameters...) {mine[0]} and {theirs[0]} cannot be added; "
                             "use the same elements on the same mesh in both")
        result = object.__new__(WeakForm)
        result._set(self.integrals + other.integrals)
        return result

    def residual(self, u, m):
        """Covector R(u, m) of shape (n_u,), one entry a test function."""
        u, m = self._checked(u, m)
        result = np.zeros(self.state_size)
        for integral in self.integrals:
            load = integral.density.first(integral.arguments(u, m, tracked=(1,)), (1,))[1]
            dofs = integral.spaces[1].layout.ravel()
            result += np.bincount(dofs, weights=load.cpu().numpy().ravel(), minlength=self.state_size)
        check_finite(result)
        return result

    def tangent(self, u, m):
        """dR/du, csr (n_u, n_u), rows for test functions; the pattern never changes."""
        return self._matrices(self._checked(u, m), None, {"uu": (1, 0)}, tracked=(0, 1))["uu"]

    def parameter_tangent(self, u, m):
        """dR/dm, csr (n_u, n_m)."""
        tracked = range(1, 2 + self._parameters)
        return self._matrices(self._checked(u, m), None, {"um": (1, 2)}, tracked)["um"]

    def second_derivatives(self, u, m, p):
        """Second derivatives of ``p^T R(u, m)``; structurally zero blocks are empty matrices."""
        u, m = self._checked(u, m)
        p = _vector("p", p, self.state_size)
        tracked = (0, *range(2, 2 + self._parameters))
        blocks = {"uu": (0, 0), "um": (0, 2), "mm": (2, 2)}
        return SecondDerivatives(**self._matrices((u, m), p, blocks, tracked))

    @property
    def _parameters(self):
        return len(self.integrals[0].spaces) - 2

    def _checked(self, u, m):
        return _vector("u", u, self.state_size), _vector("m", m, self.parameter_size)

    def _fields(self, first):
        """Numbers of the fields that make up a block that begins with the given one."""
        return range(2, 2 + self._parameters) if first == 2 else (first,)

    def _matrices(self, vectors, p, blocks, tracked):
        """Assemble the named blocks {name: (first row field, first column field)} in one pass over the points."""
        wanted = {name: [(i, j) for i in self._fields(r) for j in self._fields(c)] for name, (r, c) in blocks.items()}
        needed = [ij for pairs in wanted.values() for ij in pairs]
        found = [integral.density.second(integral.arguments(*vectors, p, tracked), needed, integral.pairs)
                 for integral in self.integrals]
        return {name: self._assemble(name, wanted[name], found) for name in blocks}

    def _assemble(self, name, wanted, found):
        sizes = {"u": self.state_size, "m": self.parameter_size}
        shape = (sizes[name[0]], sizes[name[1]])
        if not any(ij in values for values in found for ij in wanted):
            return sp.csr_matrix(shape)
        pattern = self._pattern(name, wanted, shape)
        parts = []
        for integral, values in zip(self.integrals, found, strict=True):
            for i, j in wanted:
                rows, cols = integral.spaces[i], integral.spaces[j]
                count = rows.layout.size * cols.layout.shape[0] * cols.layout.shape[2]
                parts.append(values[i, j].cpu().numpy().ravel() if (i, j) in values else np.zeros(count))
        return pattern.matrix(parts[0] if len(parts) == 1 else np.concatenate(parts))

    def _pattern(self, name, wanted, shape):
        if name not in self._patterns:
            rows, cols = [], []
            for integral in self.integrals:
                for i, j in wanted:
                    row, col = pair_dofs(integral.spaces[i], integral.spaces[j])
                    rows.append(row + (integral.offsets[i - 2] if i >= 2 else 0))
                    cols.append(col + (integral.offsets[j - 2] if j >= 2 else 0))
            self._patterns[name] = Pattern.of(shape, np.concatenate(rows), np.concatenate(cols))
        return self._patterns[name]


def _vector(name, value, size):
    value = np.ascontiguousarray(value, dtype=float)
    if value.shape != (size,):
        raise InputError(f"{name} has shape {value.shape}; this form needs ({size},)")
    return value
