"""The bilinear forms of the standard inner products, for scalar and vector elements on cells and facets."""

from __future__ import annotations

import numpy as np
from skfem import BilinearForm, CellBasis
from skfem.helpers import grad

from ..bases import cell_maps, first_function
from ..errors import InputError

ENTRIES = 2**20
"""Entries of the cells that are assembled at a time."""


def _contracted(a, b):
    """Sum over the components of a product of fields (..., elements, points)."""
    product = np.asarray(a) * np.asarray(b)
    return product.sum(axis=tuple(range(product.ndim - 2))) if product.ndim > 2 else product


@BilinearForm
def mass_form(u, v, w):
    return _contracted(u, v)


@BilinearForm
def stiffness_form(u, v, w):
    """Gradient form; on facets only the tangential part, which is the gradient of the trace."""
    full = _contracted(grad(u), grad(v))
    if "n" not in w:
        return full
    return full - _contracted(np.sum(grad(u) * w.n, axis=-3), np.sum(grad(v) * w.n, axis=-3))


def assembled(form, basis):
    """Matrix (n, n) of a bilinear form; of cells some at a time, since their triplets take ten times its memory."""
    if not isinstance(basis, CellBasis):
        return form.assemble(basis)
    cells, size = np.arange(basis.nelems) if basis.tind is None else basis.tind, max(ENTRIES // basis.Nbfun**2, 1)
    sums = []  # of twice as many parts each as the one before, as the digits of a number
    for start in range(0, len(cells), size):
        chosen = cells[start:start + size]
        part = CellBasis(basis.mesh, basis.elem, cell_maps(basis.mapping, chosen), elements=chosen, dofs=basis.dofs,
                         quadrature=(basis.X, basis.W), disable_doflocs=True)
        sums.append((1, form.assemble(part)))
        while len(sums) > 1 and sums[-1][0] == sums[-2][0]:
            (count, one), (_, other) = sums.pop(), sums.pop()
            sums.append((2 * count, other + one))
    return sum(each for _, each in sums)


def components_of(basis) -> int:
    """Number c of components of the functions of a basis.

    Raises
    ------
    InputError
        If they are neither scalars nor vectors.
    """
    fields = first_function(basis)
    shape = np.shape(np.asarray(fields[0]))
    if len(fields) > 1 or len(shape) > 3:
        raise InputError(f"basis has the element {type(basis.elem).__name__}, neither scalar nor vector; use one space "
                         "a field and their ProductSpace")
    return 1 if len(shape) == 2 else shape[0]


def mass_matrix(basis):
    """Mass matrix (n, n) of scalar or vector functions."""
    components_of(basis)
    return assembled(mass_form, basis)


def gradient_matrix(basis):
    """Stiffness matrix, if the element has gradients at all."""
    matrix = None if first_function(basis)[0].grad is None else assembled(stiffness_form, basis)
    if matrix is None or not abs(matrix).max() > 0:
        raise InputError(f"element {type(basis.elem).__name__} has no gradient on this basis; use l2")
    return matrix
