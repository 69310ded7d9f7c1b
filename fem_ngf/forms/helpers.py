"""Tensor algebra for weak forms in torch, under the names of skfem.helpers.

Everything is component-first, as in scikit-fem: a scalar is (elements, points), a vector (d, elements, points), a
matrix (d, d, elements, points); the last two axes always run over elements and quadrature points.
"""

from __future__ import annotations

import torch

from ..errors import InputError
from .fields import Field


def _tensor(u):
    return u.value if isinstance(u, Field) else u


def grad(u):
    """Gradient: (d, ...) of a scalar field, (c, d, ...) of a vector field, row per component."""
    if not isinstance(u, Field):
        raise InputError("grad() was given an expression; apply the chain rule by hand, or take grad() of a field")
    return u.grad


def div(u):
    """Divergence of a vector field; in one dimension also the derivative of a scalar field."""
    g = grad(u)
    return g[0] if g.ndim == 3 else trace(g)


def sym_grad(u):
    """Symmetric gradient (strain) of a vector field."""
    g = grad(u)
    return 0.5 * (g + transpose(g))


def dot(u, v):
    """Dot product of two vectors."""
    return (_tensor(u) * _tensor(v)).sum(0)


def ddot(u, v):
    """Double dot product of two matrices."""
    return (_tensor(u) * _tensor(v)).sum((0, 1))


def inner(u, v):
    """Sum of the products of all components: of two scalars, vectors or matrices."""
    product = _tensor(u) * _tensor(v)
    return product.sum(tuple(range(product.ndim - 2))) if product.ndim > 2 else product


def mul(A, x):
    """Matrix times vector, or matrix times matrix."""
    A, x = _tensor(A), _tensor(x)
    return (A * x[None]).sum(1) if x.ndim == 3 else (A[:, :, None] * x[None]).sum(1)


def prod(u, v):
    """Outer product of two vectors."""
    return _tensor(u)[:, None] * _tensor(v)[None]


def trace(A):
    """Trace of a matrix."""
    A = _tensor(A)
    return sum(A[i, i] for i in range(A.shape[0]))


def transpose(A):
    """Transpose of a matrix."""
    return _tensor(A).transpose(0, 1)


def eye(scalar, size):
    """A scalar (elements, points) times the identity matrix."""
    scalar = _tensor(scalar)
    identity = torch.eye(size, dtype=scalar.dtype, device=scalar.device)
    return identity.reshape(size, size, *[1] * scalar.ndim) * scalar


def det(A):
    """Determinant of a matrix of size 1, 2 or 3."""
    A = _tensor(A)
    if A.shape[0] == 1:
        return A[0, 0]
    if A.shape[0] == 2:
        return A[0, 0] * A[1, 1] - A[0, 1] * A[1, 0]
    minors = [A[1, (j + 1) % 3] * A[2, (j + 2) % 3] - A[1, (j + 2) % 3] * A[2, (j + 1) % 3] for j in range(3)]
    return sum(A[0, j] * minors[j] for j in range(3))


def inv(A):
    """Inverse of a matrix of size 1, 2 or 3, by cofactors."""
    A = _tensor(A)
    n, determinant = A.shape[0], det(A)
    if n == 1:
        return (1.0 / A[0, 0])[None, None]
    if n == 2:
        rows = [[A[1, 1], -A[0, 1]], [-A[1, 0], A[0, 0]]]
    else:
        rows = [[A[(j + 1) % 3, (i + 1) % 3] * A[(j + 2) % 3, (i + 2) % 3]
                 - A[(j + 1) % 3, (i + 2) % 3] * A[(j + 2) % 3, (i + 1) % 3] for j in range(3)] for i in range(3)]
    return torch.stack([torch.stack(row) for row in rows]) / determinant
