"""Morozov's discrepancy principle: as much regularisation as leaves the misfit that the noise explains.

References
----------
V. A. Morozov, On the solution of functional equations by the method of
regularization, Soviet Math. Dokl. 7 (1966).
M. Dowell, P. Jarratt, A modified regula falsi method, BIT 11 (1971): Illinois.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from ..errors import InputError, check_positive
from .choice import Solve, WeightChoice, nearest, run_curve


def expected_misfit(noise, std) -> float:
    """Expected value of a Gaussian misfit at the truth.

    Parameters
    ----------
    noise
        `fem_ngf.noise.GaussianNoise`, e.g. an L2 norm with a mass matrix.
    std
        Standard deviations of independent noise ``(n_obs,)`` or ``(n_obs, k)``; zero where the data are exact.
    """
    std = np.asarray(std, dtype=np.float64)
    if not np.isfinite(std).all() or (std < 0).any() or not std.any():
        raise InputError("std must be finite, not negative, and positive somewhere")
    precision = noise.precision
    if not sp.issparse(precision):
        return 0.5 * float(np.sum(np.broadcast_to(precision, std.shape) * std**2)) + noise.constant
    if std.shape[:1] != precision.shape[:1]:
        raise InputError(f"std has shape {std.shape}; the noise model has {precision.shape[0]} observations")
    return 0.5 * float(np.sum(precision.diagonal() @ std**2)) + noise.constant


def chi_squared_target(energy) -> float:
    """Half the number of data: the expected misfit when it is the negative logarithm of a normal likelihood.

    Raises
    ------
    InputError
        If the misfit is something else, an L2 norm with a mass matrix for instance: the target is then
        `expected_misfit` with the standard deviation of the noise, which nothing else knows.
    """
    precision = getattr(energy.noise, "precision", None)
    if precision is not None and sp.issparse(precision):
        coupled = (precision - sp.diags_array(precision.diagonal())).count_nonzero() > 0
        precision = None if coupled else np.repeat(precision.diagonal()[:, None], energy.data.shape[1], axis=1)
    if precision is None:
        raise InputError("target cannot be guessed: the misfit is no sum of independent normal residuals; give the "
                         "misfit that the noise explains, see expected_misfit")
    return 0.5 * np.count_nonzero(np.broadcast_to(precision, energy.data.shape)) + energy.noise.constant


def discrepancy(solve: Solve, weight: float, target: float, *, tolerance: float = 5e-3, factor: float = 10.0,
                runs: int = 12, width: float = 1.1) -> WeightChoice:
    """The weight at which the misfit equals `target`.

    Brackets the weight by steps of `factor`, then narrows the bracket by the Illinois variant of the regula falsi in
    the logarithms; every run starts from the nearest earlier one.

    Parameters
    ----------
    solve
        See `fem_ngf.weights.choice.Solve`.
    weight
        Where the search starts; better too large than too small.
    target
        Misfit that the noise explains, see `expected_misfit` and `chi_squared_target`.
    tolerance
        Accepted relative difference of the misfit from the target.
    factor
        Ratio of the weights while there is no bracket.
    runs
        Largest number of runs.
    width
        Ratio of the weights of a bracket that is narrow enough.
    """
    check_positive(weight=weight, target=target, tolerance=tolerance)
    made = [solve(weight, None)]
    excess = {weight: _excess(made[0], target)}
    low, high = None, None  # weights with too small and too large a misfit
    while len(made) < runs and abs(_excess(made[-1], target)) > tolerance:
        last = made[-1].weight
        low, high, excess = _narrowed(low, high, last, excess, _excess(made[-1], target))
        if low and high and high / low <= width:
            break
        following = last * factor if high is None else last / factor if low is None else _secant(low, high, excess)
        if low is None and _stuck(made):
            break
        made.append(solve(following, nearest(made, following).start))
    best = min(made, key=lambda run: abs(_excess(run, target)))
    if low is None:  # the target is out of reach: the largest weight that fits about as well as any
        best = max((run for run in made if run.misfit <= 1.01 * best.misfit), key=lambda run: run.weight)
    gap = _excess(best, target)
    found = abs(gap) <= tolerance or bool(low and high and high / low <= width)
    if found:
        reason = f"misfit {best.misfit:.4g} at the target {target:.4g} after {len(made)} runs"
    elif gap > 0 and low is None:
        reason = (f"no weight brings the misfit {best.misfit:.4g} down to the target {target:.4g}: the unknown or the "
                  "model cannot explain the data, or the noise is larger than stated")
    else:
        reason = f"misfit {best.misfit:.4g} is nearest to the target {target:.4g} after {len(made)} runs"
    return WeightChoice("discrepancy", best, tuple(made), {**run_curve(made), "target": np.full(len(made), target)},
                        found, reason)


def _excess(run, target: float) -> float:
    return float(np.log(max(run.misfit, np.finfo(float).tiny) / target))


def _narrowed(low, high, last: float, excess: dict, value: float):
    """The bracket with the newest weight as one end; an end that stays twice counts half from then on (Illinois)."""
    excess = {**excess, last: value}
    if value < 0:
        if high is not None and low is not None:
            excess[high] *= 0.5
        return last, high, excess
    if high is not None and low is not None:
        excess[low] *= 0.5
    return low, last, excess


def _secant(low: float, high: float, excess: dict) -> float:
    """Zero of the straight line through both ends in the logarithm of the weight, kept off the ends."""
    share = -excess[low] / (excess[high] - excess[low])
    return float(np.exp(np.log(low) + np.clip(share, 0.1, 0.9) * np.log(high / low)))


def _stuck(made) -> bool:
    """Whether the last two changes of the weight changed the misfit by less than half a percent."""
    recent = [run.misfit for run in made[-3:]]
    return len(recent) == 3 and max(recent) - min(recent) < 5e-3 * max(recent)
