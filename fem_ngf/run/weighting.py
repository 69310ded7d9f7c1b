"""``--weight``: the regularisation's weight as a number, or by a rule that finds it."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from ..errors import InputError
from ..weights import choose as rules
from ..weights.choice import WeightChoice, WeightedRun
from ..weights.discrepancy import expected_misfit


def reweighted_levels(levels: tuple, weight: float | None) -> tuple:
    """The levels with the weight of their regularisation changed.

    Raises
    ------
    InputError
        If an energy has no regularisation.
    """
    if weight is None:
        return levels
    if not all(hasattr(level.energy, "regularization") for level in levels):
        raise InputError("weight is for energies with a regularisation; this case has none")
    return tuple(replace(level, energy=replace(level.energy, weight=weight)) for level in levels)


def choose(identification, rule: str, say=print) -> dict:
    """Find the weight by a rule; the runs start from each other.

    Parameters
    ----------
    identification
        What to run, see `Identification`.
    rule
        One of `weights.choose.RULES`.
    say
        Called with one line a run.

    Returns
    -------
    dict
        Numbers, strings and lists: ``rule, value, found, reason, pde_solves, cpu_seconds, runs, curve``.
    """
    flows, level = identification.continuation.flows, identification.levels[-1]
    energy, since = flows[-1].energy, time.process_time()
    if not hasattr(energy, "regularization"):
        raise InputError("weight is for energies with a regularisation; this case has none")
    theta = identification.ansatz.initial(np.random.default_rng(identification.options.seed))
    std, given = level.noise_std, {}
    if std is not None:
        given = {"target": expected_misfit(energy.noise, std), "variance": np.asarray(std, dtype=float) ** 2}
    choice = rules.choose(rule, flows, theta, **given, observe=lambda run: say(_line(run)))
    say(f"weight {choice.weight:.3g}: {choice.reason}")
    return _plain(choice, time.process_time() - since)


def _line(run: WeightedRun) -> str:
    return (f"weight {run.weight:.3e}  misfit {run.misfit:.6e}  regularisation at weight one {run.roughness:.6e}  "
            f"solves {run.solves}")


def _plain(choice: WeightChoice, seconds: float) -> dict:
    return {"rule": choice.rule, "value": float(choice.weight), "found": bool(choice.found), "reason": choice.reason,
            "pde_solves": int(choice.solves), "cpu_seconds": seconds,
            "runs": [{"weight": float(run.weight), "misfit": float(run.misfit), "roughness": float(run.roughness),
                      "pde_solves": int(run.solves)} for run in choice.runs],
            "curve": {name: [float(x) for x in values] for name, values in choice.curve.items()}}
