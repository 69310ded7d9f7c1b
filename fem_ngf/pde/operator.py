"""The state operator on the free unknowns: its fixed sub-pattern, its ordering, its factorisation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from ..linalg.backends import choose_backend
from ..linalg.factorize import TOLERANCE, Factorization, factorize
from ..linalg.ordering import nested_dissection


@dataclass(frozen=True, eq=False)
class FreeSolver:
    """Solves with the state operator where Dirichlet unknowns are zero: covectors (n_u, ...) to vectors (n_u, ...)."""

    free: np.ndarray
    factorization: Factorization

    def solve(self, covector, tolerance=TOLERANCE):
        """``K^-1`` on the free unknowns, zero elsewhere; the tolerance is that of `Factorization.solve`."""
        return self._scatter(covector, self.factorization.solve, tolerance)

    def solve_transposed(self, covector, tolerance=TOLERANCE):
        """``K^-T`` on the free unknowns, zero elsewhere."""
        return self._scatter(covector, self.factorization.solve_transposed, tolerance)

    @property
    def exact(self):
        """Whether it solves to rounding, whatever the tolerance."""
        return self.factorization.backend != "amg"

    def _scatter(self, covector, solve, tolerance):
        result = np.zeros_like(covector)
        rhs = covector[self.free]
        flat = rhs.reshape(len(rhs), -1) if rhs.ndim > 1 and rhs[0].size != 1 else rhs.ravel()
        result[self.free] = solve(flat, tolerance).reshape(rhs.shape)
        return result


@dataclass(frozen=True, eq=False)
class FreePattern:
    """Where the entries of the free block lie in the data of tangents with a fixed pattern.

    indices, indptr: the tangents' pattern; free: the free unknowns in the order of the block; transposed: the
    position of each entry's mirror image, or None when the block's pattern is not symmetric.
    """

    source: tuple
    free: np.ndarray
    gather: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray
    transposed: np.ndarray | None

    @classmethod
    def of(cls, matrix, free):
        """Pattern of the free block of a csr matrix, in the given order of unknowns."""
        numbers = sp.csr_matrix((np.arange(matrix.nnz), matrix.indices, matrix.indptr), shape=matrix.shape)
        block = numbers[free][:, free]
        block.sort_indices()
        mirror = sp.csr_matrix((np.arange(block.nnz), block.indices, block.indptr), shape=block.shape).T.tocsr()
        symmetric = np.array_equal(mirror.indptr, block.indptr) and np.array_equal(mirror.indices, block.indices)
        return cls((matrix.indices, matrix.indptr), free, block.data, block.indices, block.indptr,
                   mirror.data if symmetric else None)

    def fits(self, matrix):
        """Whether a matrix has the pattern this was made for."""
        return all(a is b or np.array_equal(a, b)
                   for a, b in zip(self.source, (matrix.indices, matrix.indptr), strict=True))

    def block(self, matrix):
        """The free block, csr."""
        size = len(self.free)
        return sp.csr_matrix((matrix.data[self.gather], self.indices, self.indptr), shape=(size, size))

    def is_symmetric(self, block):
        """Whether the block is symmetric to rounding."""
        if self.transposed is None:
            return False
        difference = np.abs(block.data - block.data[self.transposed]).max(initial=0.0)
        return bool(difference <= 1e-13 * np.abs(block.data).max(initial=0.0))


class FreeOperator:
    """Factorises tangents restricted to the unknowns without a Dirichlet condition.

    The block's pattern and the fill-reducing ordering are found once and kept; later factorisations gather the
    entries by one index.

    Parameters
    ----------
    free : int array
        Unknowns without a Dirichlet condition.
    points : (d, n_u) or None
        Coordinates of all unknowns, for the ordering; without them SuperLU finds a minimum-degree ordering.
    symmetric : bool or None
        None looks at each matrix.
    definite, backend
        As for `linalg.factorize`.
    """

    def __init__(self, free, *, points=None, symmetric=None, definite=False, backend="auto"):
        self._free, self._points, self._pattern, self._ordered = np.asarray(free), points, None, False
        self._symmetric, self._definite, self._backend = symmetric, definite, backend

    def factorize(self, matrix):
        """Factorise the free block of a csr tangent (n_u, n_u): a `FreeSolver`; SolveError when it is singular."""
        new = self._pattern is None or not self._pattern.fits(matrix)
        if new:
            self._order(matrix)
        pattern = self._pattern
        block = pattern.block(matrix)
        symmetric = pattern.is_symmetric(block) if self._symmetric is None else self._symmetric
        result = factorize(block, symmetric=symmetric, definite=self._definite, backend=self._backend,
                           ordering="natural" if self._ordered else None, check_regular=new,
                           points=None if self._points is None else self._points[:, pattern.free])
        if result.backend != "amg":
            self._backend = result.backend  # multigrid may have failed
        if isinstance(result.ordering, np.ndarray):
            self._pattern, self._ordered = FreePattern.of(matrix, pattern.free[result.ordering]), True
        return FreeSolver(pattern.free, result)

    def _order(self, matrix):
        """Restrict a new pattern to the free unknowns, by nested dissection when their coordinates are known."""
        free, dimension = self._free, None if self._points is None else len(self._points)
        self._ordered = dimension is not None and "superlu" == choose_backend(
            self._backend, sp.csr_matrix((len(free), len(free))), self._definite, dimension)
        if self._ordered:
            free = free[nested_dissection(matrix[free][:, free], self._points[:, free])]
        self._pattern = FreePattern.of(matrix, free)
