r"""Operators on functions of two variables, such as time and space: Kronecker products, and sums of two of them.

Unknown ``a n + i`` is unknown a of the outer variable and i of the inner one, whose number is n. No Kronecker product
is formed: a product acts on one variable after the other, and the sum of two is solved in the outer variable's
generalised eigenvectors, which cost one sparse factorisation of the inner variable's matrices each.

References
----------
R. E. Lynch, J. R. Rice, D. H. Thomas, Direct solution of partial difference equations by tensor product methods,
Numer. Math. 6 (1964).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.linalg
import scipy.sparse as sp

from ..errors import InputError
from .operators import Matrix, SymmetricOperator

Action = Callable[[np.ndarray], np.ndarray]


def each_way(outer: Action, inner: Action, array: np.ndarray, count: int) -> np.ndarray:
    """Two linear maps, each along its variable.

    Parameters
    ----------
    outer, inner
        Maps of blocks of columns (p, k) -> (p', k) and (n, k) -> (n', k).
    array
        ``(p n,)`` or ``(p n, k)``.
    count
        p.

    Returns
    -------
    array
        ``(p' n',)`` or ``(p' n', k)``.
    """
    width = array[0].size
    blocks = array.reshape(count, len(array) // count, width).transpose(1, 0, 2)
    inside = inner(np.ascontiguousarray(blocks).reshape(len(blocks), count * width))
    rows = np.ascontiguousarray(inside.reshape(len(inside), count, width).transpose(1, 0, 2))
    found = outer(rows.reshape(count, len(inside) * width))
    return found.reshape(len(found) * len(inside), *array.shape[1:])


@dataclass(frozen=True, eq=False)
class Kronecker(SymmetricOperator):
    """``B kron A``, acting on ``v_a`` blocks of the inner variable: ``sum_ab B_ab v_a^T A v_b``.

    Parameters
    ----------
    outer
        ``B`` on p unknowns.
    inner
        ``A`` on n unknowns.
    """

    outer: SymmetricOperator
    inner: SymmetricOperator

    @property
    def size(self) -> int:
        return self.outer.size * self.inner.size

    @property
    def definite(self) -> bool:
        return self.outer.definite and self.inner.definite

    @cached_property
    def sparse(self) -> sp.csr_array | None:
        factors = self.outer.sparse, self.inner.sparse
        return None if factors[0] is None or factors[1] is None else sp.csr_array(sp.kron(*factors, format="csr"))

    def apply(self, vector: np.ndarray) -> np.ndarray:
        return each_way(self.outer.apply, self.inner.apply, vector, self.outer.size)

    def solve(self, covector: np.ndarray) -> np.ndarray:
        return each_way(self.outer.solve, self.inner.solve, covector, self.outer.size)


@dataclass(frozen=True, eq=False)
class KroneckerSum(SymmetricOperator):
    r"""``B_0 kron A_0 + B_1 kron A_1``, where :math:`B_0` and all :math:`A_0 + \lambda A_1`, λ ≥ 0, are definite.

    With :math:`B_1 V = B_0 V \Lambda` and :math:`V^T B_0 V = I` the sum is
    :math:`(V^{-T} \otimes I)(I \otimes A_0 + \Lambda \otimes A_1)(V^{-1} \otimes I)`.

    Parameters
    ----------
    outer, inner
        ``(B_0, B_1)`` and ``(A_0, A_1)``, each a pair of sparse matrices; the first of a pair knows the unknowns that
        are free.
    """

    outer: tuple[Matrix, Matrix]
    inner: tuple[Matrix, Matrix]

    def __post_init__(self):
        for name, (first, second) in (("outer", self.outer), ("inner", self.inner)):
            if first.size != second.size:
                raise InputError(f"the matrices of {name} have {first.size} and {second.size} unknowns; they must have "
                                 "as many")

    @property
    def size(self) -> int:
        return self.outer[0].size * self.inner[0].size

    def apply(self, vector: np.ndarray) -> np.ndarray:
        pairs = zip(self.outer, self.inner, strict=True)
        return sum(each_way(outer.apply, inner.apply, vector, outer.size) for outer, inner in pairs)

    def solve(self, covector: np.ndarray) -> np.ndarray:
        free, _, modes = self._spectrum
        blocks = covector.reshape(self.outer[0].size, self.inner[0].size, covector[0].size)
        moments = np.tensordot(modes.T, blocks[free], axes=1)
        solved = np.stack([operator.solve(moment) for operator, moment in zip(self._solvers, moments, strict=True)])
        vector = np.zeros(blocks.shape)
        vector[free] = np.tensordot(modes, solved, axes=1)
        return vector.reshape(covector.shape)

    def gram(self, vectors: np.ndarray, block: int = 256) -> np.ndarray:
        """``T^T A T`` (k, k), one unknown of the outer variable at a time, so that its share of ``A T`` stays in cache.

        Only blocks of the upper triangle are multiplied.
        """
        blocks = vectors.reshape(self.outer[0].size, self.inner[0].size, -1)
        outer, inner = ([each.sparse_matrix() for each in pair] for pair in (self.outer, self.inner))
        gram = np.zeros((vectors.shape[1], vectors.shape[1]))
        for a, here in enumerate(blocks):
            image = sum(matrix @ _row_times(weights, a, blocks) for weights, matrix in zip(outer, inner, strict=True))
            for start in range(0, len(gram), block):
                gram[start:start + block, start:] += here[:, start:start + block].T @ image[:, start:]
        return np.triu(gram) + np.triu(gram, 1).T

    @cached_property
    def _solvers(self) -> list[Matrix]:
        """``A_0 + lambda A_1`` for every eigenvalue, factorised when first needed."""
        first, second = (inner.sparse_matrix() for inner in self.inner)
        return [Matrix(sp.csr_array(first + max(value, 0.0) * second), self.inner[0].free)
                for value in self._spectrum[1]]

    @cached_property
    def _spectrum(self) -> tuple[np.ndarray | slice, np.ndarray, np.ndarray]:
        """The outer variable's free unknowns, and the eigenvalues and eigenvectors ``V`` on them."""
        free = slice(None) if self.outer[0].free is None else self.outer[0].free
        first, second = (outer.sparse_matrix().toarray()[free][:, free] for outer in self.outer)
        return free, *scipy.linalg.eigh(second, first)


def _row_times(matrix: sp.csr_array, row: int, blocks: np.ndarray) -> np.ndarray:
    """``sum_b B_ab T_b`` (n, k) of one row of a sparse matrix and blocks (p, n, k)."""
    entries = slice(matrix.indptr[row], matrix.indptr[row + 1])
    total = np.zeros(blocks.shape[1:])
    for b, weight in zip(matrix.indices[entries], matrix.data[entries], strict=True):
        total += weight * blocks[b]
    return total
