"""What the rules exchange: the minimiser at one weight, and the weight that was chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..flows.continuation import Continuation, Stage, entered
from ..flows.newton_flow import NewtonFlow


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
        From where the next run can start, here a `Stage`: the rules hand it on; cross-validation looks at its
        linearisation.
    solves
        PDE solves of this run.
    """

    weight: float
    misfit: float
    roughness: float
    start: object = None
    solves: int = 0


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


def flow_solver(flows: Sequence, theta: np.ndarray, observe: Callable[[float, Stage], None] | None = None) -> Solve:
    """The function ``solve(weight, start) -> WeightedRun`` for a problem on one mesh or several.

    The first run (start None) begins at `theta` and passes through all meshes; later ones begin where an earlier run
    ended, on the finest mesh.

    Parameters
    ----------
    flows
        One a mesh, coarse to fine, with an inverse problem as ``energy``, which gets the weights.
    theta
        Parameters of the first flow's ansatz.
    observe
        Called with the weight and every stage.
    """

    def solve(weight: float, start) -> WeightedRun:
        continuation = Continuation(tuple(_weighted(flow, weight) for flow in flows))
        if start is None:
            first = continuation.start(theta)
        else:
            finest = replace(continuation.flows[-1], ansatz=start.iterate.ansatz)
            iterate = entered(finest, start.iterate.theta, start.iterate)
            first = continuation.stage(len(flows) - 1, iterate, ({},) * len(flows))
        for stage in continuation.run(first):
            if observe is not None:
                observe(weight, stage)
        terms = stage.iterate.terms
        return WeightedRun(weight, terms["misfit"], terms["regularization"] / weight, stage, stage.total_solves)

    return solve


def _weighted(flow, weight: float):
    """The flow at another weight; a tenth of the Newton flow's tolerance tells weights apart that differ by 3 %."""
    finer = {"tolerance": 0.1 * flow.tolerance} if isinstance(flow, NewtonFlow) else {}
    return replace(flow, energy=replace(flow.energy, weight=weight), **finer)


def nearest(runs, weight: float) -> WeightedRun:
    """The run whose weight is nearest to `weight` in ratio: the best warm start."""
    return min(runs, key=lambda run: abs(np.log(run.weight / weight)))


def run_curve(runs) -> dict[str, np.ndarray]:
    """Weight, misfit and roughness of runs, by increasing weight."""
    ordered = sorted(runs, key=lambda run: run.weight)
    return {name: np.array([getattr(run, name) for run in ordered]) for name in ("weight", "misfit", "roughness")}
