"""Symmetric positive definite operators: inner products, precisions and Hessians, and how they compose.

Each knows its action ``A v``, its Gram matrix ``T^T A T`` and, where it is definite, its inverse ``A^-1 g``, on one
vector (n,) or the columns of a block (n, k). They add up (``a + b``), scale (``2.0 * a``) and act (``a @ v``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.linalg
import scipy.sparse as sp

from ..errors import InputError, SolveError
from .cg import pcg
from .dense import symmetric_product
from .factorize import factorize

STREAMED = 2**22
"""Numbers in a block of rows, where a product is not kept whole."""


class SymmetricOperator(ABC):
    """A symmetric positive semi-definite ``A`` on vectors of `size` unknowns.

    `definite` says whether it has an inverse and so `solve`; rows of unknowns that are fixed at zero are ignored there.
    `sparse` is its matrix where that is sparse and known, else None.
    """

    __array_ufunc__ = None
    definite: bool = True
    sparse: sp.csr_array | None = None

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of unknowns n."""

    @abstractmethod
    def apply(self, vector: np.ndarray) -> np.ndarray:
        """Covector ``A v`` of (n,) or (n, k)."""

    def solve(self, covector: np.ndarray) -> np.ndarray:
        """Vector ``A^-1 g`` of (n,) or (n, k); zero at fixed unknowns."""
        raise InputError(f"this {type(self).__name__} may be singular; add something definite to it, such as a mass")

    def gram(self, vectors: np.ndarray) -> np.ndarray:
        """``T^T A T`` (k, k) of the columns of ``T`` (n, k)."""
        return symmetric_product(vectors, self.apply(vectors))

    def galerkin(self, prolongation: sp.csr_array, free: np.ndarray) -> Matrix:
        """``P^T A P`` of a sparse A, to be inverted on the unknowns numbered `free`; that of the last ``P`` is kept."""
        last, product = self.__dict__.get("_galerkin", (None, None))
        if last is not prolongation:
            product = Matrix(sp.csr_array(prolongation.T @ (self.sparse_matrix() @ prolongation)), free, self.definite)
            self.__dict__["_galerkin"] = (prolongation, product)
        return product

    def sparse_matrix(self) -> sp.csr_array:
        """`sparse`, or an InputError where there is none."""
        if self.sparse is None:
            raise InputError(f"this inner product ({type(self).__name__}) has no sparse matrix; use its actions, or an "
                             "inner product that has one (l2 or h1 for every field)")
        return self.sparse

    def __matmul__(self, vector: np.ndarray) -> np.ndarray:
        return self.apply(vector)

    def __rmul__(self, factor: float) -> SymmetricOperator:
        return self if factor == 1.0 else Scaled(self, float(factor))

    def __add__(self, other: SymmetricOperator) -> SymmetricOperator:
        """The sum: one matrix where both are sparse (of which it is not claimed that it is definite)."""
        if self.size != other.size:
            raise InputError(f"operators of {self.size} and {other.size} unknowns cannot be added")
        if self.sparse is not None and other.sparse is not None:
            return Matrix(self.sparse + other.sparse, definite=False)
        return Sum((self, other))


@dataclass(frozen=True, eq=False)
class Matrix(SymmetricOperator):
    """A matrix, sparse or dense, factorised at the first solve.

    Parameters
    ----------
    matrix
        ``A`` (n, n), symmetric.
    free
        The unknowns on which it is inverted; all if not given.
    definite
        Whether it is positive definite there, and not only semi-definite.
    """

    matrix: sp.csr_array | np.ndarray
    free: np.ndarray | None = None
    definite: bool = True

    def __post_init__(self):
        if getattr(self.matrix, "ndim", 0) != 2 or self.matrix.shape[0] != self.matrix.shape[1]:
            shape = getattr(self.matrix, "shape", type(self.matrix).__name__)
            raise InputError(f"matrix is {shape}; a symmetric matrix (n, n) is needed")
        if self.free is not None and len(self.free) == self.size:
            object.__setattr__(self, "free", None)

    def __repr__(self):
        return f"Matrix({self.size} x {self.size}, {'sparse' if sp.issparse(self.matrix) else 'dense'})"

    @property
    def size(self) -> int:
        return self.matrix.shape[0]

    @property
    def sparse(self) -> sp.csr_array | None:
        return self.matrix if sp.issparse(self.matrix) else None

    def restricted(self, free: np.ndarray) -> Matrix:
        """The same matrix with its inverse on the unknowns numbered `free` only (those of them that it has)."""
        return Matrix(self.matrix, free if self.free is None else np.intersect1d(free, self.free), self.definite)

    def apply(self, vector: np.ndarray) -> np.ndarray:
        return self.matrix @ vector

    def gram(self, vectors: np.ndarray) -> np.ndarray:
        """``T^T A T`` (k, k), of many large vectors by rows, so that ``A T`` is never whole beside ``T``."""
        if self.sparse is None or vectors.size <= 2 * STREAMED:
            return super().gram(vectors)
        rows = max(STREAMED // vectors.shape[1], 1)
        blocks = (slice(start, start + rows) for start in range(0, self.size, rows))
        return sum(symmetric_product(vectors[block], self.matrix[block] @ vectors) for block in blocks)

    def solve(self, covector: np.ndarray) -> np.ndarray:
        if not self.definite:
            return super().solve(covector)
        if self.free is None:
            return self._solve(covector)
        vector = np.zeros_like(covector)
        vector[self.free] = self._solve(covector[self.free])
        return vector

    @cached_property
    def _solve(self) -> Callable:
        block = self.matrix if self.free is None else self.matrix[self.free][:, self.free]
        if sp.issparse(block):
            return factorize(block, symmetric=True, definite=True).solve
        try:
            factor = scipy.linalg.cho_factor(block, lower=True)
        except np.linalg.LinAlgError:
            raise SolveError("a dense matrix that should be positive definite is not; if it is that of a kernel, two "
                             "points coincide, or its length is too large: choose a smaller one, or add a nugget"
                             ) from None
        return lambda rhs: scipy.linalg.cho_solve(factor, rhs)


@dataclass(frozen=True, eq=False)
class Diagonal(SymmetricOperator):
    """``diag(entries)`` of positive entries (n,)."""

    entries: np.ndarray

    @property
    def size(self) -> int:
        return len(self.entries)

    @cached_property
    def sparse(self) -> sp.csr_array:
        return sp.csr_array(sp.diags_array(self.entries))

    def apply(self, vector: np.ndarray) -> np.ndarray:
        return (vector.T * self.entries).T

    def solve(self, covector: np.ndarray) -> np.ndarray:
        return (covector.T / self.entries).T


@dataclass(frozen=True, eq=False)
class Actions(SymmetricOperator):
    """A definite operator known by what it does.

    Parameters
    ----------
    unknowns
        n.
    action, inverse
        ``A v`` and ``A^-1 g`` of vectors (n,) and blocks (n, k).
    """

    unknowns: int
    action: Callable[[np.ndarray], np.ndarray]
    inverse: Callable[[np.ndarray], np.ndarray]

    @property
    def size(self) -> int:
        return self.unknowns

    def apply(self, vector: np.ndarray) -> np.ndarray:
        return self.action(vector)

    def solve(self, covector: np.ndarray) -> np.ndarray:
        return self.inverse(covector)


@dataclass(frozen=True, eq=False)
class BlockDiagonal(SymmetricOperator):
    """Consecutive blocks of unknowns with an operator each, such as the fields of a product space."""

    parts: tuple[SymmetricOperator, ...]

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)

    @property
    def definite(self) -> bool:
        return all(part.definite for part in self.parts)

    @cached_property
    def sparse(self) -> sp.csr_array | None:
        blocks = [part.sparse for part in self.parts]
        return None if any(block is None for block in blocks) else sp.csr_array(sp.block_diag(blocks, format="csr"))

    def apply(self, vector: np.ndarray) -> np.ndarray:
        return np.concatenate([part.apply(v) for part, v in zip(self.parts, self._split(vector), strict=True)])

    def solve(self, covector: np.ndarray) -> np.ndarray:
        return np.concatenate([part.solve(g) for part, g in zip(self.parts, self._split(covector), strict=True)])

    def gram(self, vectors: np.ndarray) -> np.ndarray:
        return sum(part.gram(block) for part, block in zip(self.parts, self._split(vectors), strict=True))

    def __rmul__(self, factor: float) -> BlockDiagonal:
        return BlockDiagonal(tuple(factor * part for part in self.parts))

    def _split(self, array: np.ndarray) -> list[np.ndarray]:
        return np.split(array, np.cumsum([part.size for part in self.parts])[:-1])


@dataclass(frozen=True, eq=False)
class Scaled(SymmetricOperator):
    """``factor A`` with a positive factor; written ``factor * a``."""

    operator: SymmetricOperator
    factor: float

    @property
    def size(self) -> int:
        return self.operator.size

    @property
    def definite(self) -> bool:
        return self.operator.definite

    @cached_property
    def sparse(self) -> sp.csr_array | None:
        matrix = self.operator.sparse
        return None if matrix is None else self.factor * matrix

    def apply(self, vector: np.ndarray) -> np.ndarray:
        return self.factor * self.operator.apply(vector)

    def solve(self, covector: np.ndarray) -> np.ndarray:
        return self.operator.solve(covector) / self.factor

    def gram(self, vectors: np.ndarray) -> np.ndarray:
        return self.factor * self.operator.gram(vectors)


@dataclass(frozen=True, eq=False)
class Sum(SymmetricOperator):
    """Sum of operators not all of which have a sparse matrix; written ``a + b``.

    Definite as soon as one part is; solved by conjugate gradients with that part as preconditioner.
    """

    parts: tuple[SymmetricOperator, ...]

    @property
    def size(self) -> int:
        return self.parts[0].size

    @property
    def definite(self) -> bool:
        return any(part.definite for part in self.parts)

    def apply(self, vector: np.ndarray) -> np.ndarray:
        return sum(part.apply(vector) for part in self.parts)

    def solve(self, covector: np.ndarray) -> np.ndarray:
        preconditioner = next((part for part in self.parts if part.definite), self)
        if preconditioner is self:
            return super().solve(covector)
        if covector.ndim == 2:
            return np.column_stack([self.solve(column) for column in covector.T])
        found = pcg(self.apply, covector, preconditioner=preconditioner.solve, tolerance=1e-12)
        if not found.residual <= 1e-8:
            raise SolveError(f"a sum of operators was not solved: relative residual {found.residual:.1e} after "
                             f"{found.iterations} iterations ({found.reason})")
        return found.x

    def gram(self, vectors: np.ndarray) -> np.ndarray:
        return sum(part.gram(vectors) for part in self.parts)
