"""Functionals: integrals of a pointwise density of one or several fields, with derivative and Hessian."""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from .assembly import Assembler, Block, Integral, check_finite, checked_vector
from .density import Density
from .points import bases_of, point_arrays
from .shapes import tables_of


class Functional:
    r"""The integral :math:`\int f(m, w)` of a pointwise density over a basis.

    Parameters
    ----------
    integrand : callable (m, w) -> tensor
        Pointwise, in torch; m is one field, or a tuple of fields when `basis` is a tuple.
    basis : skfem basis, or tuple whose first entry is a basis and whose others are bases or Elements
        Of the field(s); vectors are concatenated.
    device : str
        Where torch works.
    **data
        As for `forms.WeakForm`.

    Raises
    ------
    InputError
        When quadrature points differ, data have another shape, or an element is composite.

    Examples
    --------
    >>> import skfem
    >>> from fem_ngf import dot, grad
    >>> basis = skfem.Basis(skfem.MeshTri().refined(2), skfem.ElementTriP1())
    >>> energy = Functional(lambda m, w: 0.5 * dot(grad(m), grad(m)), basis)
    >>> round(energy.value(basis.doflocs[0]), 12)
    0.5
    """

    def __init__(self, integrand, basis, *, device="cpu", **data):
        single = not isinstance(basis, (tuple, list))
        entries = (basis,) if single else tuple(basis)
        bases = (entries[0], *bases_of(entries[1:], entries[0]))
        tables = tables_of(bases, device)
        starts = np.cumsum([0, *(table.size for table in tables)])

        def function(fields, w):
            return integrand(fields[0] if single else tuple(fields), w)

        density = Density.on(bases[0], function, point_arrays(bases[0], data, device), device)
        self._set((Integral(density, tuple(tables), tuple(int(start) for start in starts[:-1])),), int(starts[-1]))

    def _set(self, integrals, size):
        self._assembler, self.size = Assembler(integrals), size
        self._fields, self._splits = tuple(range(len(integrals[0].spaces))), integrals[0].starts[1:]

    def __add__(self, other):
        """Sum of integrals over the same unknowns, e.g. over cells and over a part of the boundary."""
        if not isinstance(other, Functional):
            return NotImplemented
        mine, theirs = ((each._splits, each.size) for each in (self, other))
        if mine != theirs:
            raise InputError(f"functionals with (splits, size) {mine} and {theirs} cannot be added; use the same "
                             "elements on the same mesh in both")
        result = object.__new__(Functional)
        result._set(self._assembler.integrals + other._assembler.integrals, self.size)
        return result

    def value(self, m):
        """The integral, a float; SolveError when it is not finite."""
        value = self._assembler.value(self._vectors(m))
        check_finite(value)
        return value

    def derivative(self, m):
        """Derivative, a covector (n,)."""
        return self._assembler.covector(self._vectors(m), self._fields, self.size)

    def hessian(self, m):
        """Second derivative, csr (n, n) with a pattern that never changes."""
        block = Block(self._fields, self._fields, (self.size, self.size))
        return self._assembler.matrices(self._vectors(m), {"mm": block}, self._fields)["mm"]

    def _vectors(self, m):
        return np.split(checked_vector("m", m, self.size), self._splits)
