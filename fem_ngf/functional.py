"""Functionals: integrals of a pointwise density of one or several fields, with derivative and Hessian."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from .contraction import pair_dofs
from .errors import InputError, SolveError
from .patterns import Pattern, check_finite
from .pointwise import Argument, Density
from .quadrature import bases_of, point_arrays
from .shapes import coefficients, reference_element, shapes


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
    >>> from fem_ngf.helpers import dot, grad
    >>> basis = skfem.Basis(skfem.MeshTri().refined(2), skfem.ElementTriP1())
    >>> energy = Functional(lambda m, w: 0.5 * dot(grad(m), grad(m)), basis)
    >>> round(energy.value(basis.doflocs[0]), 12)
    0.5
    """

    def __init__(self, integrand, basis, *, device="cpu", **data):
        single = not isinstance(basis, (tuple, list))
        entries = (basis,) if single else tuple(basis)
        bases = (entries[0], *bases_of(entries[1:], entries[0]))
        reference = all(reference_element(each) is not None for each in bases)
        self.spaces = [shapes(each, device, reference) for each in bases]
        self.offsets = np.cumsum([0, *(space.size for space in self.spaces)])
        self.size = int(self.offsets[-1])

        def function(fields, w):
            return integrand(fields[0] if single else tuple(fields), w)

        self.density = Density.on(bases[0], function, point_arrays(bases[0], data, device), device)
        self._pairs, self._patterns = {}, {}

    def value(self, m):
        """The integral, a float; SolveError when it is not finite."""
        value = self.density.value(self._arguments(m, tracked=False))
        if not np.isfinite(value):
            raise SolveError("the functional's value is not finite: its density overflowed or is undefined")
        return value

    def derivative(self, m):
        """Derivative, a covector (n,)."""
        loads = self.density.first(self._arguments(m), range(len(self.spaces)))
        parts = [np.bincount(space.layout.ravel(), weights=loads[i].cpu().numpy().ravel(),
                             minlength=space.size) for i, space in enumerate(self.spaces)]
        check_finite(result := np.concatenate(parts))
        return result

    def hessian(self, m):
        """Second derivative, csr (n, n) with a pattern that never changes."""
        count = range(len(self.spaces))
        wanted = [(i, j) for i in count for j in count]
        values = self.density.second(self._arguments(m), wanted, self._pairs)
        if not values:
            return sp.csr_matrix((self.size, self.size))
        return self._pattern(wanted).matrix(np.concatenate([self._element_values(values, i, j) for i, j in wanted]))

    def _element_values(self, values, i, j):
        if (i, j) in values:
            return values[i, j].cpu().numpy().ravel()
        rows, cols = self.spaces[i].layout, self.spaces[j].layout
        return np.zeros(rows.size * cols.shape[0] * cols.shape[2])

    def _pattern(self, wanted):
        if "mm" not in self._patterns:
            dofs = [pair_dofs(self.spaces[i], self.spaces[j]) for i, j in wanted]
            rows = np.concatenate([row + self.offsets[i] for (row, _), (i, _) in zip(dofs, wanted, strict=True)])
            cols = np.concatenate([col + self.offsets[j] for (_, col), (_, j) in zip(dofs, wanted, strict=True)])
            self._patterns["mm"] = Pattern.of((self.size, self.size), rows, cols)
        return self._patterns["mm"]

    def _arguments(self, m, tracked=True):
        m = np.ascontiguousarray(m, dtype=float)
        if m.shape != (self.size,):
            raise InputError(f"m has shape {m.shape}; this functional needs ({self.size},)")
        parts = np.split(m, self.offsets[1:-1])
        return [Argument(space, coefficients(space, part), tracked)
                for space, part in zip(self.spaces, parts, strict=True)]
