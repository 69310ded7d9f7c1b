"""How noisy the voltages are: the instrument's statement, corrected by what the data say themselves."""

from __future__ import annotations

import numpy as np

from tank.files import Measurement

NORMAL_MEDIAN = 0.6744897501960817  # median of |x| for a standard normal x
DEGREES = 4.0  # of the Student distribution whose weights keep outliers out of the estimates


def standard_deviation(voltages, relative: float = 5e-4, absolute: float = 1e-4) -> np.ndarray:
    """``relative`` times each value plus ``absolute`` times the largest, in the shape of `voltages`."""
    size = np.abs(voltages)
    return relative * size + absolute * size.max()


def robust_scale(residuals) -> float:
    """Standard deviation from the median of the absolute values: half of the values may be anything."""
    return float(np.median(np.abs(residuals)) / NORMAL_MEDIAN)


def noise_factor(measurement: Measurement, std) -> float:
    """How many times larger than `std` the noise is, from data that must depend linearly on the currents.

    In each difference the voltages are a linear function of the current pattern, whatever the conductivity. The
    residual of that fit holds noise alone; patterns that depend linearly on each other make it more than zero.

    Parameters
    ----------
    measurement
        k injections of rank r; differences of two measurements with the same currents are fine as well.
    std
        (k, n_pat) assumed standard deviations.

    Returns
    -------
    float
        At least 1; 1 if there are fewer than two redundant patterns.

    Notes
    -----
    Reweighted least squares (Student) and a median, so that a few outliers do not matter.
    """
    design = measurement.currents.T
    rank = np.linalg.matrix_rank(design)
    if len(design) < rank + 2:
        return 1.0
    scaled = np.stack([_linear_residual(design, measurement.voltages[:, i], std[:, i]) for i in range(std.shape[1])])
    return max(1.0, robust_scale(scaled) * float(np.sqrt(len(design) / (len(design) - rank))))


def _linear_residual(design, values, std, iterations: int = 20) -> np.ndarray:
    """(k,) residuals over `std` of a robust linear fit."""
    weights = np.ones_like(values)
    for _ in range(iterations):
        root = np.sqrt(weights) / std
        solution = np.linalg.lstsq(root[:, None] * design, root * values, rcond=1e-8)[0]
        scaled = (values - design @ solution) / std
        scale = max(robust_scale(scaled), 1e-12)
        weights = (DEGREES + 1) / (DEGREES + (scaled / scale) ** 2)
    return scaled
