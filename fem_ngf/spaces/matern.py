r"""Sobolev norms of scattered data (METHOD section 5).

Functions are known at points ``x_i``; the norm of the smoothest function of H^s through the values ``f`` is
:math:`f^T K^{-1} f` with the reproducing kernel of H^s, the Matern kernel of smoothness :math:`\nu = s - d/2`. The Gram
matrix of the Sobolev natural gradient is :math:`G = J^T K^{-1} J`; its dual form (`tangent.dual`) needs K alone.

References
----------
Q. Bai, S. Rosenberg, W. Xu, A geometric understanding of natural gradient, arXiv 2202.06232.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import gamma, kv

from ..errors import InputError
from ..linalg.operators import Actions, Matrix
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
    kernel = Matrix(matern(points, points, s - 0.5 * points.shape[1], length) + nugget * np.eye(len(points)))
    return SampleSpace(points, product=Actions(len(points), kernel.solve, kernel.apply))
