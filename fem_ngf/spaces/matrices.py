"""The bilinear forms of the standard inner products, for scalar and vector elements on cells and facets."""

from __future__ import annotations

import numpy as np
from skfem import BilinearForm, CellBasis
from skfem.helpers import grad

from ..errors import InputError

CELLS = 2**18
"""Cells that are assembled at a time."""


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
    """Matrix (n, n) of a bilinear form; of very many cells some at a time, whose triplets take ten times its memory."""
    if not isinstance(basis, CellBasis) or basis.nelems <= CELLS:
        return form.assemble(basis)
    cells = np.arange(basis.nelems) if basis.tind is None else basis.tind
    parts = (CellBasis(basis.mesh, basis.elem, basis.mapping, elements=cells[start:start + CELLS], dofs=basis.dofs,
                       quadrature=(basis.X, basis.W), disable_doflocs=True) for start in range(0, len(cells), CELLS))
    return sum(form.assemble(part) for part in parts)


def components_of(basis) -> int:
    """Number c of components of the functions of a basis.

    Raises
    ------
    InputError
        If they are neither scalars nor vectors.
    """
    shape = np.shape(np.asarray(basis.basis[0][0]))
    if len(basis.basis[0]) > 1 or len(shape) > 3:
        raise InputError(f"basis has the element {type(basis.elem).__name__}, neither scalar nor vector; use one space "
                         "a field and their ProductSpace")
    return 1 if len(shape) == 2 else shape[0]


def mass_matrix(basis):
    """Mass matrix (n, n) of scalar or vector functions."""
    components_of(basis)
    return assembled(mass_form, basis)


def gradient_matrix(basis):
    """Stiffness matrix, if the element has gradients at all."""
    matrix = None if basis.basis[0][0].grad is None else assembled(stiffness_form, basis)
    if matrix is None or not abs(matrix).max() > 0:
        raise InputError(f"element {type(basis.elem).__name__} has no gradient on this basis; use l2")
    return matrix
