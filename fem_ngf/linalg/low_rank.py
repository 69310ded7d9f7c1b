"""Curvature that a few directions have seen: Nystrom factors, and an operator plus such a factor."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..errors import SolveError, same_size
from .dense import damped_solve, symmetric_product
from .operators import SymmetricOperator


def nystrom_factor(vectors: np.ndarray, images: np.ndarray, tolerance: float = 1e-10) -> np.ndarray:
    r"""``F`` (n, r) with ``F F^T`` the Nystrom approximation :math:`Y (V^T Y)^+ Y^T` of an operator H, ``Y = H V``.

    It equals H on the span of V, is not above H, and zero where H V is: no factor is left where nothing of ``V^T Y``
    is positive.

    Parameters
    ----------
    vectors, images
        ``V``, ``Y`` (n, k); V of comparable lengths.
    tolerance
        Eigenvalues of ``V^T Y`` below this part of the largest are left out.

    Raises
    ------
    SolveError
        When V or Y is not finite.

    References
    ----------
    A. Gittens, M. Mahoney, Revisiting the Nystrom method for improved large-scale machine learning, JMLR 17 (2016).
    """
    core = symmetric_product(vectors, images)
    if not np.isfinite(core).all():
        raise SolveError("the images of a sketch have entries that are not finite")
    eigenvalues, rotation = np.linalg.eigh(core)
    keep = eigenvalues > tolerance * max(eigenvalues.max(initial=0.0), 0.0)
    return images @ (rotation[:, keep] / np.sqrt(eigenvalues[keep]))


@dataclass(frozen=True, eq=False)
class LowRankPlus(SymmetricOperator):
    r"""``scale A + Y Y^T`` with a few columns ``Y`` (n, j); inverted by Sherman, Morrison and Woodbury.

    Parameters
    ----------
    base
        ``A``; definite where it is to be inverted.
    factor
        ``Y``.
    scale
        Positive number.
    solved
        ``A^-1 Y`` (n, j) where it is known already.

    Notes
    -----
    With :math:`Z = A^{-1} Y` the inverse is :math:`\frac1s A^{-1} - \frac1s Z (sI + Y^T Z)^{-1} Z^T`.
    """

    base: SymmetricOperator
    factor: np.ndarray
    scale: float = 1.0
    solved: np.ndarray | None = None

    def __post_init__(self):
        same_size("factor", len(self.factor), "base", self.base.size)

    @property
    def size(self) -> int:
        return self.base.size

    @property
    def definite(self) -> bool:
        return self.base.definite

    def apply(self, vector: np.ndarray) -> np.ndarray:
        return self.scale * self.base.apply(vector) + self.factor @ (self.factor.T @ vector)

    def solve(self, covector: np.ndarray) -> np.ndarray:
        inside = damped_solve(self._core, self._solved.T @ covector, self.scale)
        return (self.base.solve(covector) - self._solved @ inside) / self.scale

    def gram(self, vectors: np.ndarray) -> np.ndarray:
        low = self.factor.T @ vectors
        return self.scale * self.base.gram(vectors) + symmetric_product(low, low)

    @cached_property
    def _solved(self) -> np.ndarray:
        return self.base.solve(self.factor) if self.solved is None else self.solved

    @cached_property
    def _core(self) -> np.ndarray:
        """``Y^T A^-1 Y`` (j, j)."""
        return symmetric_product(self.factor, self._solved)
