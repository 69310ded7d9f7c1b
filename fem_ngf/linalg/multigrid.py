"""Algebraic multigrid on blocks of right-hand sides, and the Krylov methods that it preconditions.

The hierarchy is pyamg's smoothed aggregation. The cycle is ours because pyamg's smooths one vector at a time, row by
row: here Chebyshev polynomials of products with whole blocks do, at about a third of the CPU a solve, and the cycle is
symmetric, so that conjugate gradients may use it.

References
----------
P. Vanek, J. Mandel, M. Brezina, Algebraic multigrid by smoothed aggregation for second and fourth order elliptic
problems, Computing 56 (1996); M. Adams, M. Brezina, J. Hu, R. Tuminaro, Parallel multigrid smoothing: polynomial
versus Gauss-Seidel, J. Comput. Phys. 188 (2003); P. Concus, G. Golub, A generalized conjugate gradient method for
nonsymmetric systems of linear equations (1976): the symmetric part as preconditioner.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
import scipy.sparse as sp
import scipy.sparse.linalg as spla

from ..errors import SolveError

ITERATIONS = 200
"""Of a Krylov method, after which it counts as failed."""
WIDTH = 16
"""Columns that are solved for at a time."""
SMOOTHED = 4.0
"""The smoother damps the eigenvalues above the largest divided by this."""


@dataclass(frozen=True, eq=False)
class Level:
    """One level: its matrix, ``1 / diagonal``, a bound of the spectrum of ``D^-1 A``, the way down and up (or None)."""

    matrix: sp.csr_matrix
    inverse_diagonal: np.ndarray
    bound: float
    restriction: sp.csr_matrix | None = None
    prolongation: sp.csr_matrix | None = None

    @classmethod
    def of(cls, matrix, restriction=None, prolongation=None) -> Level:
        """SolveError for a diagonal that is not positive."""
        matrix = sp.csr_matrix(matrix)
        diagonal = matrix.diagonal()
        if not (diagonal > 0).all():
            raise SolveError("multigrid needs a positive diagonal")
        return cls(matrix, 1.0 / diagonal, 1.1 * _spectral_radius(matrix, diagonal), restriction, prolongation)

    def smooth(self, rhs: np.ndarray, x: np.ndarray | None = None) -> np.ndarray:
        """Two steps of Chebyshev's iteration for ``A x = rhs``, from zero if not from `x`."""
        middle, half = 0.5 * self.bound * (1 + 1 / SMOOTHED), 0.5 * self.bound * (1 - 1 / SMOOTHED)
        first = self._scaled(rhs if x is None else rhs - self.matrix @ x, 1.0 / middle)
        x = first.copy() if x is None else x + first
        rho = 1.0 / (2.0 * middle / half - half / middle)
        first *= rho * half / middle
        first += self._scaled(rhs - self.matrix @ x, 2.0 * rho / half)
        x += first
        return x

    def _scaled(self, block: np.ndarray, factor: float) -> np.ndarray:
        return (block.T * (factor * self.inverse_diagonal)).T


@dataclass(frozen=True, eq=False)
class Multigrid:
    """A symmetric cycle: approximately ``A^-1`` of covectors (n,) or (n, k).

    Parameters
    ----------
    levels
        Fine to coarse; empty for a matrix that needs no coarser ones.
    coarsest
        Cholesky factor of the last matrix; the inverse diagonal ``(n,)`` where there are no levels.
    """

    levels: tuple[Level, ...]
    coarsest: tuple | np.ndarray

    @classmethod
    def of(cls, matrix) -> Multigrid:
        """Of a symmetric matrix with a positive diagonal, better a definite one.

        A matrix in which constants are not small, such as a mass, needs its diagonal only.
        """
        import pyamg

        matrix = sp.csr_matrix(matrix)
        if matrix.sum() >= 0.1 * matrix.diagonal().sum():
            return cls((), Level.of(matrix).inverse_diagonal)
        smoothing = ("jacobi", {"weighting": "local"})  # the other weightings start from random vectors
        found = pyamg.smoothed_aggregation_solver(matrix, smooth=smoothing).levels
        levels = tuple(Level.of(each.A, sp.csr_matrix(each.R), sp.csr_matrix(each.P)) for each in found[:-1])
        try:
            return cls(levels, scipy.linalg.cho_factor(found[-1].A.toarray()))
        except np.linalg.LinAlgError:
            raise SolveError("multigrid: the matrix is not positive definite") from None

    def __call__(self, rhs: np.ndarray) -> np.ndarray:
        return self._cycle(rhs, 0)

    def _cycle(self, rhs: np.ndarray, depth: int) -> np.ndarray:
        if not self.levels:
            return (rhs.T * self.coarsest).T
        if depth == len(self.levels):
            return scipy.linalg.cho_solve(self.coarsest, rhs)
        level = self.levels[depth]
        x = level.smooth(rhs)
        x += level.prolongation @ self._cycle(level.restriction @ (rhs - level.matrix @ x), depth + 1)
        return level.smooth(rhs, x)


def symmetric_solve(matrix, rhs: np.ndarray, preconditioner, tolerance: float) -> np.ndarray:
    """Conjugate gradients for all columns of rhs (n, k) at once, each with step lengths of its own.

    Products with the matrix and the preconditioner serve all columns. (A block method, which searches the space of all
    columns together, saved one iteration in ten here and lost it again to orthogonalisation.)

    Raises
    ------
    SolveError
        At negative curvature, or when a residual's norm is not below `tolerance` times that of rhs in `ITERATIONS`.
    """
    x, residual = np.zeros_like(rhs), rhs.copy()
    goal = tolerance * np.linalg.norm(rhs, axis=0)
    direction = z = preconditioner(residual)
    rho = _dots(residual, z)
    for _ in range(ITERATIONS):
        if (np.linalg.norm(residual, axis=0) <= goal).all():
            return x
        image = matrix @ direction
        curvature = _dots(direction, image)
        if not (np.isfinite(curvature).all() and (curvature >= 0).all()):
            raise SolveError("conjugate gradients met a matrix that is not positive definite")
        length = np.divide(rho, curvature, out=np.zeros_like(rho), where=curvature > 0)
        x += length * direction
        residual -= length * image
        z = preconditioner(residual)
        rho, before = _dots(residual, z), rho
        direction = z + np.divide(rho, before, out=np.zeros_like(rho), where=before > 0) * direction
    raise SolveError(f"conjugate gradients did not converge in {ITERATIONS} iterations")


def general_solve(matrix, rhs: np.ndarray, preconditioner, tolerance: float) -> np.ndarray:
    """GMRES, column by column of rhs (n, k); errors as in `symmetric_solve`."""
    n = matrix.shape[0]
    approximate = spla.LinearOperator((n, n), preconditioner, dtype=float)
    x = np.empty_like(rhs)
    for j, column in enumerate(rhs.T):
        x[:, j], failed = spla.gmres(matrix, column, rtol=tolerance, atol=0.0, restart=50, maxiter=ITERATIONS // 50,
                                     M=approximate)
        if failed:
            raise SolveError(f"GMRES did not converge in {ITERATIONS} iterations")
    return x


def in_blocks(solve, rhs: np.ndarray) -> np.ndarray:
    """``solve`` of a vector (n,), or of the columns of a block (n, k), `WIDTH` at a time."""
    if rhs.ndim == 1:
        return solve(rhs[:, None])[:, 0]
    x = np.empty(rhs.shape)
    for start in range(0, rhs.shape[1], WIDTH):
        chosen = slice(start, start + WIDTH)
        x[:, chosen] = solve(np.ascontiguousarray(rhs[:, chosen]))
    return x


def _dots(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->j", a, b)


def _spectral_radius(matrix, diagonal: np.ndarray) -> float:
    """Of ``D^-1 A``, from below, by the power method with a fixed start."""
    x = np.random.default_rng(0).standard_normal(len(diagonal))
    for _ in range(12):
        x /= np.linalg.norm(x)
        x = (matrix @ x) / diagonal
    return float(np.linalg.norm(x))
