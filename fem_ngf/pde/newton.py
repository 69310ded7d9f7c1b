"""Newton's method with back-tracking on the norm of the residual.

References
----------
P. Deuflhard, "Newton Methods for Nonlinear Problems", Springer 2004 (residual-based damping, Section 3.1; simplified
Newton method, Section 2.1.2).
"""

from __future__ import annotations

import numpy as np

from ..errors import SolveError

SIMPLIFIED = 0.003
"""Reduction of the residual by which a correction with a known tangent is as good as Newton's."""


def newton(residual, step, start, reference, *, tolerance, max_iterations, known=None, what=""):
    """Solve ``residual(u) = 0``.

    Parameters
    ----------
    residual : callable u (n,) -> (n,)
        Zero where values are given; SolveError where it is undefined.
    step : callable (u, r) -> (n,)
        The correction ``-K(u)^-1 r``; counts its solve.
    start : (n,)
    reference : float or None
        Norm that the tolerance is relative to; None: that of the residual at the start.
    tolerance : float
    max_iterations : int
    known : callable r -> (n,), optional
        The correction with the tangent of a state nearby, which costs no factorisation and is taken as long as it
        reduces the residual to `SIMPLIFIED` of what it was; counts its solve.
    what : str
        Of which solve the message of a failure speaks.

    Returns
    -------
    u : (n,)

    Raises
    ------
    SolveError
        When the residual does not become small.

    Notes
    -----
    Where no part of a correction decreases the residual, rounding may be the cause, and then the correction is small;
    next to a minimum of the residual's norm that is no solution it is large, however small the residual is beside the
    reference.
    """
    u, r = start, residual(start)
    reference = norm(r) if reference is None else reference
    for _ in range(max_iterations):
        if norm(r) <= tolerance * reference:
            return u
        if known is not None:
            trial = u + known(r)
            trial_r = tolerated(residual, trial)
            good = trial_r is not None and norm(trial_r) <= SIMPLIFIED * norm(r)
            if trial_r is not None and norm(trial_r) < norm(r):
                u, r = trial, trial_r
            known = known if good else None
            continue
        correction = step(u, r)
        trial, trial_r, length = _line_search(residual, u, r, correction)
        if trial is None:
            if norm(r) <= 1e-8 * reference and norm(correction) <= 1e-6 * max(norm(u), norm(start)):
                return u
            break
        tiny = length == 1.0 and norm(correction) <= 1e-9 * norm(trial)
        u, r = trial, trial_r
        if tiny and norm(r) <= 1e-8 * reference:
            return u
    raise SolveError(f"Newton's method did not converge ({what}): residual {norm(r):.1e}, at the start "
                     f"{reference:.1e}; try a nearer start")


def _line_search(residual, u, r, correction):
    """Halve the correction until the residual's norm decreases; (None, None, 0) when it never does."""
    before, length = norm(r), 1.0
    while length >= 2.0**-14:
        trial = u + length * correction
        trial_r = tolerated(residual, trial)
        if trial_r is not None and norm(trial_r) <= (1.0 - 1e-4 * length) * before:
            return trial, trial_r, length
        length /= 2.0
    return None, None, 0.0


def tolerated(residual, u):
    """The residual, or None where it is undefined."""
    try:
        return residual(u)
    except SolveError:
        return None


def norm(residual):
    """Euclidean norm; inf instead of a warning when it overflows."""
    with np.errstate(over="ignore"):
        return float(np.linalg.norm(residual))
