"""Convex quadratic functions under bounds: projected Newton's method.

References
----------
D. P. Bertsekas, Projected Newton methods for optimization problems with simple constraints, SIAM J. Control Optim. 20
(1982).
"""

from __future__ import annotations

import numpy as np

SUFFICIENT = 1e-4  # Armijo's constant


def held(vector: np.ndarray, derivative: np.ndarray, bounds: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Which unknowns (n,) are at a bound that the negative derivative points out of."""
    lower, upper = bounds
    return (vector <= lower) & (derivative > 0) | (vector >= upper) & (derivative < 0)


def bounded_minimiser(operator, derivative: np.ndarray, start: np.ndarray,
                      bounds: tuple[np.ndarray, np.ndarray], *, tolerance: float = 1e-3,
                      iterations: int = 100) -> np.ndarray:
    r"""Vector (n,) that minimises :math:`g\cdot(v - m) + \frac12 (v - m)\cdot A (v - m)` between bounds.

    A step is Newton's for the unknowns that are not `held`, projected on the bounds, and shortened until that pays, at
    most to where it meets the first bound.

    Parameters
    ----------
    operator
        ``A``, definite, with ``restricted(free)``: its rows and columns of some unknowns, with their inverse.
    derivative
        Covector ``g`` (n,), the derivative at `start`.
    start
        ``m`` (n,), between the bounds.
    bounds
        Lower and upper ones (n,), infinite where there are none.
    tolerance
        Stop when a step is expected to gain less than this share of what all have gained.
    """
    vector, slope, value = start, derivative, 0.0
    for _ in range(iterations):
        step = -operator.restricted(np.flatnonzero(~held(vector, slope, bounds))).solve(slope)
        if -0.5 * float(slope @ step) <= -tolerance * value:
            break
        with np.errstate(divide="ignore", invalid="ignore"):
            room = np.where(step > 0, bounds[1] - vector, bounds[0] - vector) / step
        inside, length = float(np.min(room, where=step != 0, initial=1.0)), 1.0
        while True:
            trial = np.clip(vector + length * step, *bounds)
            image = operator.apply(trial - start)
            reached = float((derivative + 0.5 * image) @ (trial - start))
            if length <= inside or reached <= value + SUFFICIENT * float(slope @ (trial - vector)):
                break
            length = max(0.5 * length, inside)
        if not reached < value:
            break
        vector, slope, value = trial, derivative + image, reached
    return vector
