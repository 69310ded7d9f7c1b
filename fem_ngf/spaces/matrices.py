"""The bilinear forms of the standard inner products, for scalar bases on cells and facets."""

from __future__ import annotations

import numpy as np
from skfem import BilinearForm
from skfem.helpers import dot, grad

from ..errors import InputError


@BilinearForm
def mass_form(u, v, w):
    return u * v


@BilinearForm
def stiffness_form(u, v, w):
    """Gradient form; on facets only the tangential part, which is the gradient of the trace."""
    full = dot(grad(u), grad(v))
    if "n" not in w:
        return full
    return full - dot(grad(u), w.n) * dot(grad(v), w.n)


def scalar(basis):
    """The basis, if its functions are scalar."""
    if np.ndim(np.asarray(basis.basis[0][0])) != 2:
        raise InputError(f"basis has the vector element {type(basis.elem).__name__}; the unknown field must be scalar: "
                         "use one space a component")
    return basis


def gradient_matrix(basis):
    """Stiffness matrix, if the element has gradients at all."""
    matrix = stiffness_form.assemble(basis)
    if not abs(matrix).max() > 0:
        raise InputError(f"element {type(basis.elem).__name__} has no gradient on this basis; use l2")
    return matrix
