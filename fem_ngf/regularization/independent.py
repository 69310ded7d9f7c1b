"""Gaussian prior with independent coefficients, for unknowns that are a handful of numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from .tikhonov import InvertibleOperator


@dataclass(frozen=True, eq=False)
class IndependentPrior:
    r"""Every coefficient independent, :math:`N(\bar m_i, \sigma_i^2)`: a regularisation and a prior.

    Parameters
    ----------
    std
        Standard deviations ``(n,)``.
    mean
        Means ``(n,)``.

    Raises
    ------
    InputError
        If a standard deviation is not positive, or the shapes differ.
    """

    std: np.ndarray
    mean: np.ndarray

    def __post_init__(self):
        std, mean = np.asarray(self.std, dtype=np.float64), np.asarray(self.mean, dtype=np.float64)
        if std.ndim != 1 or mean.shape != std.shape:
            raise InputError(f"std has shape {std.shape} and mean {mean.shape}; both must be (n,)")
        if not (np.isfinite(std).all() and (std > 0).all() and np.isfinite(mean).all()):
            raise InputError("std must be positive and finite, mean finite")
        object.__setattr__(self, "std", std)
        object.__setattr__(self, "mean", mean)

    def apply(self, vector: np.ndarray) -> np.ndarray:
        """Covector ``C^-1 v`` for ``(n,)`` or ``(n, k)``."""
        return (vector.T / self.std**2).T

    def solve(self, covector: np.ndarray) -> np.ndarray:
        """Vector ``C g`` for ``(n,)`` or ``(n, k)``."""
        return (covector.T * self.std**2).T

    def sample(self, generator: np.random.Generator, count: int | None = None) -> np.ndarray:
        """Independent samples: ``(n,)``, or ``(n, count)``."""
        noise = generator.standard_normal(self.std.shape if count is None else (self.std.size, count))
        return (noise.T * self.std + self.mean).T

    def pointwise_variance(self) -> np.ndarray:
        """Variances ``(n,)``."""
        return self.std**2

    def value(self, m: np.ndarray) -> float:
        """Negative logarithm of the density, up to a constant."""
        return 0.5 * float(np.sum(((m - self.mean) / self.std) ** 2))

    def derivative(self, m: np.ndarray) -> np.ndarray:
        """Covector ``C^-1 (m - mean)``."""
        return self.apply(m - self.mean)

    def hessian(self, m: np.ndarray, kind: str = "gauss-newton") -> InvertibleOperator:
        """``C^-1``, whatever `m` and `kind`."""
        return InvertibleOperator(self.std.size, self.apply, self.solve)
