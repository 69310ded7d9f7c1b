"""The L-curve: where, on logarithmic axes, less misfit begins to cost much roughness.

References
----------
P. C. Hansen, D. P. O'Leary, The use of the L-curve in the regularization of
discrete ill-posed problems, SIAM J. Sci. Comput. 14 (1993).
"""

from __future__ import annotations

import numpy as np
from scipy.interpolate import make_smoothing_spline

from ..errors import InputError, check_positive
from .choice import Solve, WeightChoice, nearest, run_curve

SMOOTHING = 0.05
"""Weight of the squared second derivative in the splines through the curve, whose length is the number of runs."""


def corner(weights: np.ndarray, misfits: np.ndarray, roughness: np.ndarray) -> tuple[float, float]:
    """Weight at the corner of an L-curve, and the curvature there.

    Parameters
    ----------
    weights
        ``(n,)``, increasing, evenly spaced in the logarithm; five at least.
    misfits, roughness
        ``(n,)``, positive. Both are made monotone first, as exact minimisers would have them.

    Returns
    -------
    weight, curvature
        A curvature that is not positive means that there is no corner.
    """
    if len(weights) < 5:
        raise InputError(f"weights has {len(weights)} entries; a corner needs five at least")
    if (np.diff(weights) <= 0).any() or (np.asarray(misfits) <= 0).any() or (np.asarray(roughness) <= 0).any():
        raise InputError("weights must increase, misfits and roughness be positive")
    x, y = np.log(np.maximum.accumulate(misfits)), np.log(np.minimum.accumulate(roughness))
    length = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
    keep = _apart(length, 0.01)
    if len(keep) < 5:
        return float(weights[-1]), 0.0
    place = length[keep] * (len(keep) - 1) / length[-1]
    across, along = (make_smoothing_spline(place, values[keep], lam=SMOOTHING) for values in (x, y))
    fine = np.linspace(place[1], place[-2], 40 * len(keep))
    dx, dy, ddx, ddy = across(fine, 1), along(fine, 1), across(fine, 2), along(fine, 2)
    curvature = (dx * ddy - ddx * dy) / (dx**2 + dy**2) ** 1.5
    peaks = 1 + np.flatnonzero((curvature[1:-1] > curvature[:-2]) & (curvature[1:-1] > curvature[2:]))
    best = peaks[np.argmax(curvature[peaks])] if peaks.size else int(np.argmax(curvature))
    return float(np.exp(np.interp(fine[best], place, np.log(weights[keep])))), float(curvature[best])


def _apart(length: np.ndarray, share: float) -> np.ndarray:
    """Indices of points that lie at least this share of the whole length apart; a plateau keeps its largest weight."""
    kept = [len(length) - 1]
    for i in range(len(length) - 2, -1, -1):
        if length[kept[-1]] - length[i] >= share * length[-1]:
            kept.append(i)
    return np.array(kept[::-1])


def lcurve(solve: Solve, weights) -> WeightChoice:
    """The weight at the corner of the L-curve.

    Runs at all `weights`, from the largest to the smallest, each from the one before, and once more at the corner.

    Parameters
    ----------
    solve
        See `fem_ngf.weights.choice.Solve`.
    weights
        Five at least, evenly spaced in the logarithm, wide enough to hold the corner: such as
        ``np.geomspace(w / 1000, w * 1000, 13)``.
    """
    weights = np.sort(np.asarray(weights, dtype=np.float64))
    for weight in weights:
        check_positive(weight=weight)
    if len(weights) < 5 or not np.allclose(np.diff(np.log(weights), 2), 0.0, atol=1e-6):
        raise InputError(f"weights are {weights.tolist()}; give five at least, evenly spaced in the logarithm")
    made = []
    for weight in weights[::-1]:
        made.append(solve(weight, made[-1].start if made else None))
    curve = run_curve(made)
    place, curvature = corner(curve["weight"], curve["misfit"], np.maximum(curve["roughness"], np.finfo(float).tiny))
    chosen = solve(place, nearest(made, place).start)
    inside = weights[1] < place < weights[-2]
    reason = (f"corner of curvature {curvature:.2g}" if curvature > 0 and inside else
              "the curve has no corner inside these weights; try a wider range")
    return WeightChoice("lcurve", chosen, (*made, chosen), curve, curvature > 0 and bool(inside), reason)
