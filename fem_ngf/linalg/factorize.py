"""One door to the sparse solvers: factorisations with checked residuals.

References
----------
X. S. Li, "An overview of SuperLU", ACM TOMS 31 (2005): symmetric mode (Section on `SymmetricMode`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from ..errors import InputError, SolveError
from .backends import BACKENDS, choose_backend, direct_backend
from .ordering import nested_dissection

TOLERANCE = 1e-12
"""Relative residual at which iterative solvers stop unless told otherwise."""
REFINE_ABOVE = 1e-10
"""Relative residual above which one step of iterative refinement is made."""
FAIL_ABOVE = 1e-6
"""Relative residual above which a solve counts as failed."""
SINGULAR_ABOVE = 1e15
"""Estimate of the condition number above which a matrix counts as singular."""


@dataclass(frozen=True, eq=False)
class Factorization:
    """A factorised sparse matrix, or an iterative solver in its place; make one with `factorize`.

    With `spare`, an iterative solver that fails once is replaced by a factorisation, for good.
    """

    matrix: sp.spmatrix
    backend: str
    symmetric: bool
    raw_solve: Callable[[np.ndarray, bool, float], np.ndarray]
    ordering: np.ndarray | str | None = None
    definite: bool = False
    spare: bool = False

    def solve(self, rhs, tolerance=TOLERANCE):
        """Solve ``A x = rhs`` for one right-hand side (n,) or a block (n, k).

        Parameters
        ----------
        rhs : (n,) or (n, k)
        tolerance : float
            Relative residual at which an iterative solver may stop; the others solve to rounding.

        Raises
        ------
        SolveError
            When the right-hand side is not finite, or the residual stays poor after a step of refinement.
        """
        return self._checked(rhs, False, tolerance)

    def solve_transposed(self, rhs, tolerance=TOLERANCE):
        """Solve ``A^T x = rhs``; parameters and errors as in `solve`."""
        return self._checked(rhs, not self.symmetric, tolerance)

    @cached_property
    def _direct(self):
        """The factorisation that takes the place of an iterative solver that has failed."""
        return factorize(self.matrix, symmetric=self.symmetric, definite=self.definite,
                         backend=direct_backend(self.definite), check_regular=False)

    def _checked(self, rhs, transposed, tolerance):
        rhs = np.asarray(rhs, dtype=float)
        if rhs.ndim not in (1, 2) or rhs.shape[0] != self.matrix.shape[0]:
            n = self.matrix.shape[0]
            raise InputError(f"rhs has shape {rhs.shape}; give ({n},) or ({n}, k)")
        if self.spare and ("_direct" in vars(self) or not np.isfinite(rhs).all()):
            return self._direct._checked(rhs, transposed, tolerance)
        matrix = self.matrix.T if transposed else self.matrix
        try:
            x = self.raw_solve(rhs, transposed, tolerance)
        except SolveError:
            if not self.spare:
                raise
            return self._direct._checked(rhs, transposed, tolerance)
        residual = rhs - matrix @ x
        error = _relative(residual, rhs)
        if error > max(REFINE_ABOVE, 10.0 * tolerance):
            x = x + self.raw_solve(residual, transposed, tolerance)
            error = _relative(rhs - matrix @ x, rhs)
        if not error <= FAIL_ABOVE:
            raise SolveError(f"linear solve failed ({self.backend}): relative residual {error:.1e}; the matrix is "
                             "singular, nearly so, or has entries that are not finite")
        if self.definite and np.vdot(rhs, x) < 0:
            raise SolveError(f"a matrix that should be positive definite is not ({self.backend}): a coefficient has "
                             "the wrong sign")
        return x


def _relative(residual, rhs):
    """Largest relative residual over the columns; inf when anything is not finite."""
    top = np.sqrt(np.einsum("i...,i...->...", residual, residual))
    bottom = np.sqrt(np.einsum("i...,i...->...", rhs, rhs))
    if not (np.all(np.isfinite(top)) and np.all(np.isfinite(bottom))):
        return np.inf
    return float(np.max(np.where(top > 0, top / np.where(bottom > 0, bottom, 1.0), 0.0), initial=0.0))


def factorize(matrix, *, symmetric=False, definite=False, backend="auto", ordering=None, points=None,
              check_regular=True):
    """Factorise a sparse matrix, or set up the iterative solver that stands in for a factorisation.

    Parameters
    ----------
    matrix : sparse matrix (n, n)
    symmetric, definite : bool
        What is known about the matrix; `definite` (which implies `symmetric`) admits CHOLMOD.
    backend : {"auto", "superlu", "cholmod", "pardiso", "amg"}
        "auto" takes the fastest that is installed and fits: see `backends.choose_backend`. An iterative solver that it
        has chosen is replaced by a factorisation where it fails.
    ordering : int array (n,) or "natural", optional
        Fill-reducing ordering for SuperLU, e.g. `Factorization.ordering` of an earlier matrix with the same pattern;
        "natural" for a matrix that is in such an order already.
    points : (d, n), optional
        Coordinates of the unknowns, from which a nested-dissection ordering is made (if `ordering` is not given), and
        which tell "auto" the dimension; it finds it out without.
    check_regular : bool
        Solve once with a fixed right-hand side to estimate the condition number and so recognise singular matrices.

    Returns
    -------
    Factorization

    Raises
    ------
    InputError
        For a matrix that is not square, or a backend that is unknown, missing or unfit.
    SolveError
        For a matrix that is singular or has entries that are not finite.
    """
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise InputError(f"matrix has shape {matrix.shape}; only a square matrix can be factorised")
    if not np.isfinite(matrix.data.sum()) and not np.all(np.isfinite(matrix.data)):
        raise SolveError("matrix has entries that are not finite: a coefficient overflowed")
    name = choose_backend(backend, matrix, definite, None if points is None else len(points))
    if ordering is None and points is not None and name == "superlu":
        ordering = nested_dissection(sp.csr_matrix(matrix), points)
    spare = backend == "auto" and name == "amg"
    try:
        raw_solve, ordering = BACKENDS[name](matrix, symmetric or definite, definite, ordering)
        result = Factorization(matrix, name, symmetric or definite, raw_solve, ordering, definite, spare)
        if check_regular and matrix.shape[0]:
            _check_regular(result)
        return result
    except (RuntimeError, np.linalg.LinAlgError) as error:
        if spare:
            return factorize(matrix, symmetric=symmetric, definite=definite, backend=direct_backend(definite),
                             points=points, check_regular=check_regular)
        if isinstance(error, SolveError):
            raise
        raise SolveError(f"factorisation failed ({name}): {error}") from error


def _check_regular(factorization):
    """Raise SolveError when ``|A| |A^-1 b| / |b|`` shows the matrix to be singular to working precision."""
    matrix = factorization.matrix
    largest = abs(matrix.data).max(initial=np.finfo(float).tiny)
    rhs = np.random.default_rng(0).standard_normal(matrix.shape[0])
    rhs *= np.maximum(abs(matrix.diagonal()) / largest, np.finfo(float).tiny)
    x = factorization.raw_solve(rhs * largest, False, TOLERANCE)
    growth = np.linalg.norm(x) / np.linalg.norm(rhs)
    if not growth < SINGULAR_ABOVE:
        raise SolveError(f"matrix is singular (condition number above {growth:.0e}): a Dirichlet condition or a "
                         "zero-order term is missing, or a coefficient vanishes")
