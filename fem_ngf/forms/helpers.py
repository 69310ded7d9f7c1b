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
    rows = _entries(A)
    return sum(a * b for a, b in zip(rows[0], _cofactors(rows)[0], strict=True))


def cofactor(A):
    """Matrix of the cofactors of one of size 1, 2 or 3: ``det(A) A^-T``, the derivative of the determinant."""
    return _stacked(_cofactors(_entries(A)))


def inv(A):
    """Inverse of a matrix of size 1, 2 or 3, by cofactors."""
    return transpose(cofactor(A)) / det(A)


def _entries(A):
    """Entries of a matrix, a list of rows: one torch operation, of which every derivative is one, too."""
    A = _tensor(A)
    flat, n = A.flatten(0, 1).unbind(0), A.shape[1]
    return [flat[n * i:n * (i + 1)] for i in range(A.shape[0])]


def _stacked(rows):
    """A matrix of its entries."""
    return torch.stack([entry for row in rows for entry in row]).unflatten(0, (len(rows), len(rows[0])))


def _cofactors(A):
    """Cofactors of a list of rows."""
    n = range(len(A))
    if len(A) == 1:
        return [[torch.ones_like(A[0][0])]]
    if len(A) == 2:
        return [[A[1][1], -A[1][0]], [-A[0][1], A[0][0]]]
    return [[A[i - 2][j - 2] * A[i - 1][j - 1] - A[i - 2][j - 1] * A[i - 1][j - 2] for j in n] for i in n]
