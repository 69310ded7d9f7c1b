"""One door to the rules, for the command line."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..ansatz.finite_element import FiniteElement
from ..errors import InputError
from .choice import Solve, WeightChoice
from .discrepancy import chi_squared_target, discrepancy
from .gcv import gcv
from .lcurve import lcurve
from .solver import flow_solver

RULES = ("discrepancy", "lcurve", "gcv")


def choose(rule: str, flows: Sequence, theta: np.ndarray, *, weight: float | None = None, target: float | None = None,
           variance=None, observe=None) -> WeightChoice:
    """The weight of the regularisation by one of the rules, and the run with it.

    Parameters
    ----------
    rule
        ``"discrepancy"``, ``"lcurve"`` or ``"gcv"``.
    flows, theta
        See `flow_solver`.
    weight
        Where the search starts, for the L-curve the middle of six decades; default: the energy's own weight.
    target
        Of the discrepancy principle, default `chi_squared_target` of the finest mesh.
    variance
        Of cross-validation, see `fem_ngf.weights.model.weight_model`.

    observe
        Called with every `WeightedRun` as it ends.

    Raises
    ------
    InputError
        If there is no such rule, or it needs a target that cannot be guessed.
    """
    if rule not in RULES:
        raise InputError(f"weight is {rule!r}; give a number, or one of {', '.join(RULES)}")
    solve, finest = _observed(flow_solver(flows, theta), observe), flows[-1]
    weight = finest.energy.weight if weight is None else weight
    if rule == "discrepancy":
        return discrepancy(solve, weight, chi_squared_target(finest.energy) if target is None else target)
    if rule == "lcurve":
        return lcurve(solve, weight * np.geomspace(1e-3, 1e3, 13))
    space = None if isinstance(finest.ansatz, FiniteElement) else finest.space
    return gcv(solve, weight, space=space, variance=variance)


def _observed(solve: Solve, observe) -> Solve:
    if observe is None:
        return solve

    def observed(weight: float, start):
        run = solve(weight, start)
        observe(run)
        return run

    return observed
