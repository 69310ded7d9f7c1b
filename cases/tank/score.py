"""The score of the Kuopio Tomography Challenge 2023: structural similarity of two segmentations."""

from __future__ import annotations

import numpy as np
from scipy.signal import fftconvolve

from fem_ngf import InputError

RADIUS = 80  # pixels: standard deviation of the Gaussian window, which is cut at twice that
C1, C2 = 1e-4, 9e-4


def score(truth, labels) -> float:
    """Mean of the similarities of the resistive (label 1) and of the conductive (label 2) parts.

    Parameters
    ----------
    truth, labels
        (n, n) segmentations into 0 water, 1 resistive, 2 conductive.

    Returns
    -------
    float
        1 for equal segmentations.
    """
    truth, labels = np.asarray(truth), np.asarray(labels)
    if truth.shape != labels.shape or truth.ndim != 2:
        raise InputError(f"labels: have shape {labels.shape}, the truth has {truth.shape}; both must be the same image")
    return 0.5 * sum(similarity(truth == label, labels == label) for label in (1, 2))


def similarity(truth, found, radius: int = RADIUS) -> float:
    """Mean over the pixels of the local structural similarity of two masks.

    With local means mu, variances s and the covariance s_tr in a Gaussian window that is normalised by its
    convolution with ones: (2 mu_t mu_r + c1)(2 s_tr + c2) / ((mu_t^2 + mu_r^2 + c1)(s_t + s_r + c2)).

    References
    ----------
    Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, Image quality assessment: from error visibility to structural
    similarity, IEEE Trans. Image Process. 13 (2004).
    """
    truth, found = np.asarray(truth, dtype=float), np.asarray(found, dtype=float)
    weight = _blur(np.ones_like(truth), radius)
    mean_t, mean_r = _blur(truth, radius) / weight, _blur(found, radius) / weight
    var_t = _blur(truth**2, radius) / weight - mean_t**2
    var_r = _blur(found**2, radius) / weight - mean_r**2
    covariance = _blur(truth * found, radius) / weight - mean_t * mean_r
    above = (2 * mean_t * mean_r + C1) * (2 * covariance + C2)
    return float(np.mean(above / ((mean_t**2 + mean_r**2 + C1) * (var_t + var_r + C2))))


def _blur(image, radius: int) -> np.ndarray:
    """Convolution with a Gaussian on [-2 radius, 2 radius]^2, zero beyond the image."""
    offsets = np.arange(-2 * radius, 2 * radius + 1)
    window = np.exp(-(offsets**2) / (2.0 * radius**2))
    half = fftconvolve(image, window[:, None], mode="same", axes=0)
    return fftconvolve(half, window[None, :], mode="same", axes=1)
