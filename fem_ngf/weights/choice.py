"""The values that the rules exchange: one run at one weight, and the weight that was chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ..errors import InputError


@dataclass(frozen=True, eq=False)
class WeightedRun:
    """Result of minimising ``misfit + weight * roughness``.

    Parameters
    ----------
    weight
        Of the regularisation.
    misfit
        Of the minimiser.
    roughness
        Its regularisation at weight one.
    start
        What the next run can start from (parameters, an iterate): the rules only hand it on.
    solves
        PDE solves of this run.
    work
        The same, weighted by the size of the state.
    linearization
        At the minimiser; needed by generalised cross-validation only.
    converged
        False for a run that ended early.
    """

    weight: float
    misfit: float
    roughness: float
    start: object = None
    solves: int = 0
    work: float = 0.0
    linearization: object = None
    converged: bool = True


Solve = Callable[[float, object], WeightedRun]
"""``solve(weight, start) -> WeightedRun``; start is None in the first call."""


@dataclass(frozen=True, eq=False)
class WeightChoice:
    """A chosen weight, and how it came about.

    Parameters
    ----------
    rule
        ``"discrepancy"``, ``"lcurve"`` or ``"gcv"``.
    run
        The run at the chosen weight.
    runs
        All runs, in the order in which they were made.
    curve
        What the rule looked at, by name; arrays of one length with ``"weight"`` among them. For pictures.
    found
        False when the rule had to settle for less than it asks for; `reason` then says why.
    reason
        One line.
    """

    rule: str
    run: WeightedRun
    runs: tuple[WeightedRun, ...]
    curve: dict[str, np.ndarray]
    found: bool
    reason: str
    extra: dict = field(default_factory=dict)

    @property
    def weight(self) -> float:
        """The chosen weight."""
        return self.run.weight

    @property
    def solves(self) -> int:
        """PDE solves of all runs."""
        return sum(run.solves for run in self.runs)


def checked_positive(**numbers: float) -> None:
    """Raise an `InputError` that names the first argument which is not a positive number."""
    for name, value in numbers.items():
        if not (np.isfinite(value) and value > 0):
            raise InputError(f"{name} is {value}; it must be a positive number")


def sorted_runs(runs) -> list[WeightedRun]:
    """Runs by increasing weight."""
    return sorted(runs, key=lambda run: run.weight)


def nearest(runs, weight: float) -> WeightedRun:
    """The run whose weight is nearest to `weight` in ratio: the best warm start."""
    return min(runs, key=lambda run: abs(np.log(run.weight / weight)))


def run_curve(runs) -> dict[str, np.ndarray]:
    """Weight, misfit and roughness of runs, by increasing weight."""
    return {name: np.array([getattr(run, name) for run in sorted_runs(runs)])
            for name in ("weight", "misfit", "roughness")}
