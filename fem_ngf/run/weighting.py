"""``--weight``: the regularisation's weight as a number, or by a rule that finds it together with the minimiser."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..ansatz.finite_element import FiniteElement
from ..flows.continuation import Continuation, Stage
from ..flows.iterate import solve_kinds, solves_since
from ..weights.choice import Solve, WeightChoice, WeightedRun, flow_solver
from ..weights.discrepancy import chi_squared_target, discrepancy, expected_misfit
from ..weights.gcv import gcv
from ..weights.lcurve import lcurve
from . import history
from .case import reweighted

if TYPE_CHECKING:
    from .identification import Identification


def choose(identification: Identification, rule: str, clock,
           say=print) -> tuple[Identification, Stage, list[dict], dict]:
    """Find the weight by a rule; the runs start from each other, and the one at the chosen weight is the result.

    Parameters
    ----------
    identification
        What to run, see `Identification`.
    rule
        ``"discrepancy"``, ``"lcurve"`` or ``"gcv"``.
    clock
        `Clock` of the run.
    say
        Called with one line a run.

    Returns
    -------
    identification, stage, rows
        At the chosen weight, its minimiser with the solves of all runs, and the history of all runs.
    choice : dict
        Numbers, strings and lists: ``rule, value, found, reason, pde_solves, cpu_seconds, runs, curve``.
    """
    levels, flows = identification.levels, identification.continuation.flows
    reweighted(levels, 1.0)  # an InputError where there is nothing to weigh
    before, since = [solve_kinds(flow.energy.counts) for flow in flows], clock.cpu
    rows: list[dict] = []

    def counted(stage: Stage) -> Stage:
        """The stage with the solves of all runs so far."""
        solves = tuple(solves_since(flow.energy.counts, counts, {}) for flow, counts in zip(flows, before, strict=True))
        return Continuation(flows).stage(stage.level, replace(stage.iterate, solves=solves[stage.level]), solves)

    theta = identification.initial()

    def solve(weight: float, start) -> WeightedRun:
        run = solver(weight, start)
        say(f"weight {run.weight:.3e}  misfit {run.misfit:.6e}  regularisation at weight one {run.roughness:.6e}  "
            f"solves {run.solves}")
        return run

    with clock.counting(identification) as now:

        def observe(weight: float, stage: Stage) -> None:
            rows.append(history.row(counted(stage), len(rows), levels[stage.level].label, now()) | {"weight": weight})

        solver = flow_solver(flows, theta, observe)
        choice = apply_rule(rule, solve, flows[-1], levels[-1].noise_std)
        end: Any = choice.run.start
        if choice.run is not choice.runs[-1]:
            observe(choice.weight, end)
    say(f"weight {choice.weight:.3g}: {choice.reason}")
    stage = counted(end)
    return identification.at_weight(choice.weight), stage, rows, _plain(choice, stage, clock.cpu - since)


def apply_rule(rule: str, solve: Solve, flow, noise_std: np.ndarray | None = None) -> WeightChoice:
    """The weight by one of the rules, searched from the weight that the energy has.

    Parameters
    ----------
    rule
        ``"discrepancy"``, ``"lcurve"`` or ``"gcv"``.
    solve
        See `flow_solver`.
    flow
        On the finest mesh.
    noise_std
        Standard deviations of the data where the misfit is no likelihood.
    """
    energy, weight = flow.energy, flow.energy.weight
    if rule == "discrepancy":
        known = noise_std is not None
        return discrepancy(solve, weight, expected_misfit(energy.noise, noise_std) if known else
                           chi_squared_target(energy))
    if rule == "lcurve":
        return lcurve(solve, weight * np.geomspace(1e-3, 1e3, 13))
    space = None if isinstance(flow.ansatz, FiniteElement) else flow.space
    return gcv(solve, weight, space=space, variance=None if noise_std is None else np.square(noise_std))


def _plain(choice: WeightChoice, stage: Stage, seconds: float) -> dict:
    return {"rule": choice.rule, "value": float(choice.weight), "found": bool(choice.found), "reason": choice.reason,
            "pde_solves": int(stage.total_solves), "cpu_seconds": seconds,
            "runs": [{"weight": float(run.weight), "misfit": float(run.misfit), "roughness": float(run.roughness),
                      "pde_solves": int(run.solves)} for run in choice.runs],
            "curve": {name: [float(x) for x in values] for name, values in choice.curve.items()}}
