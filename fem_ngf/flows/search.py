"""When a step is accepted, and what is tried after it: the rules that all flows share.

References
----------
J. Nocedal, S. J. Wright, Numerical Optimization, Springer 2006, chapters 3 and 4. H. B. Nielsen, Damping parameter in
Marquardt's method, IMM-REP-1999-05, Technical University of Denmark (1999).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ..errors import SolveError

SUFFICIENT = 1e-4  # Armijo's constant
Moved = TypeVar("Moved")


def backtrack(at: Callable[[float], Moved], value: float, slope: float, *, step: float = 1.0, trials: int = 20,
              sufficient: float = SUFFICIENT) -> tuple[Moved, float] | None:
    """The first of shorter and shorter steps with Armijo's decrease, and its length; None if there is none.

    Parameters
    ----------
    at
        Step length -> what is reached there, with its energy as ``value``; it may raise `SolveError`.
    value, slope
        Energy at zero, and its derivative with respect to the step length (negative).
    step, trials
        First length, and how many are tried.
    """
    for _ in range(trials):
        reached = attempted(lambda length=step: at(length))
        if reached is not None and reached.value <= value + sufficient * step * slope:
            return reached, step
        step = shortened(step, slope, None if reached is None else reached.value - value)
    return None


def attempted(evaluate: Callable[[], Moved]) -> Moved | None:
    """What `evaluate` returns; None where the equation cannot be solved or a number overflows."""
    try:
        return evaluate()
    except SolveError:
        return None


def shortened(step: float, slope: float, rise: float | None) -> float:
    """Next trial after a step that changed the value by `rise` (None: undefined there) from slope `slope`.

    The minimiser of the parabola through both values and the slope, between a tenth and half of the step (Nocedal and
    Wright, section 3.5).
    """
    if rise is None:
        return 0.25 * step
    bend = rise - slope * step
    return min(max(-0.5 * slope * step**2 / bend, 0.1 * step), 0.5 * step) if bend > 0 else 0.5 * step


def gain_ratio(decrease: float, predicted: float) -> float:
    """Actual over predicted decrease; -1 where the model predicts none or the actual one is undefined."""
    ratio = decrease / predicted if predicted > 0 else -1.0
    return ratio if ratio == ratio and abs(ratio) != float("inf") else -1.0


def damping_after(damping: float, gain: float, smallest: float = 1e-15) -> float:
    """Levenberg-Marquardt damping after an accepted step of that gain ratio (Nielsen 1999)."""
    return max(damping * max(1.0 / 9.0, 1.0 - (2.0 * min(gain, 1.0) - 1.0) ** 3), smallest)
