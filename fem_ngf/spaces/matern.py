r"""Sobolev natural gradient for scattered data (METHOD section 5).

Functions are known at points ``x_i``; the norm of the smoothest function of H^s through the values ``f`` is
:math:`f^T K^{-1} f` with the reproducing kernel of H^s, the Matern kernel of smoothness :math:`\nu = s - d/2`. The Gram
matrix is :math:`G = J^T K^{-1} J`, and by duality

.. math:: (G + \lambda I)^{-1} J^T e = J^T (J J^T + \lambda K)^{-1} K e.

References
----------
Q. Bai, S. Rosenberg, W. Xu, A geometric understanding of natural gradient, arXiv 2202.06232.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.spatial.distance import cdist
from scipy.special import gamma, kv

from ..errors import InputError, SolveError
from ..linalg.factorize import damped_solve
from ..linalg.operators import symmetric_product
from .samples import SampleSpace


def matern(points: np.ndarray, others: np.ndarray, smoothness: float, length: float) -> np.ndarray:
    """Matern kernel (N, M) of smoothness ``nu`` and length scale, one on the diagonal.

    Raises
    ------
    InputError
        If the smoothness or the length is not positive.
    """
    if not (smoothness > 0 and length > 0):
        raise InputError(f"smoothness is {smoothness} and length {length}; both must be positive (s > d/2)")
    scaled = np.sqrt(2.0 * smoothness) * cdist(points, others) / length
    safe = np.where(scaled > 1e-8, scaled, 1.0)
    values = 2.0 ** (1.0 - smoothness) / gamma(smoothness) * safe**smoothness * kv(smoothness, safe)
    return np.where(scaled > 1e-8, values, 1.0)


@dataclass(frozen=True, eq=False)
class KernelInnerProduct:
    """Inner product ``v^T K^-1 w`` of values at points.

    Parameters
    ----------
    kernel
        ``K`` (N, N), symmetric positive definite.
    """

    kernel: np.ndarray

    @cached_property
    def _factor(self):
        try:
            return cho_factor(self.kernel, lower=True)
        except LinAlgError:
            raise SolveError("the kernel matrix is not positive definite; two points coincide, or its length is too "
                             "large: choose a smaller one, or add a nugget") from None

    @cached_property
    def matrix(self) -> np.ndarray:
        """``K^-1`` (N, N)."""
        return cho_solve(self._factor, np.eye(len(self.kernel)))

    def apply(self, vector: np.ndarray) -> np.ndarray:
        """``K^-1 v``."""
        return cho_solve(self._factor, vector)

    def solve(self, covector: np.ndarray) -> np.ndarray:
        """``K g``."""
        return self.kernel @ covector

    def gram(self, vectors: np.ndarray) -> np.ndarray:
        """``T^T K^-1 T``."""
        return symmetric_product(vectors, self.apply(vectors))


def sobolev_samples(points: np.ndarray, s: float, length: float = 1.0, nugget: float = 1e-10) -> SampleSpace:
    """Values at scattered points with the norm of H^s: a `SampleSpace` for any flow.

    Parameters
    ----------
    points
        ``(N, d)``.
    s
        Order, above d/2.
    length
        Length scale of the kernel.
    nugget
        Added to the diagonal of ``K``: values count up to this variance.
    """
    points = np.asarray(points, dtype=np.float64)
    if s <= 0.5 * points.shape[1]:
        raise InputError(f"s is {s}; values at points need s > d/2 = {0.5 * points.shape[1]}")
    kernel = matern(points, points, s - 0.5 * points.shape[1], length) + nugget * np.eye(len(points))
    return SampleSpace(points, product=KernelInnerProduct(kernel))


def sobolev_direction(jacobian: np.ndarray, kernel: np.ndarray, error: np.ndarray, damping: float) -> np.ndarray:
    """Dual form ``J^T (J J^T + lambda K)^-1 K e`` (P,): neither ``G`` nor ``K^-1`` is formed.

    Parameters
    ----------
    jacobian, kernel, error
        ``J`` (N, P), ``K`` (N, N), ``e`` (N,).
    """
    return jacobian.T @ damped_solve(jacobian @ jacobian.T + damping * kernel, kernel @ error)
