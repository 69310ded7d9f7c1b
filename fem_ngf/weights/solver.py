"""From flows to the function ``solve(weight, start)`` that the rules call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..flows.continuation import Continuation
from .choice import Solve, WeightedRun


def flow_solver(flows: Sequence, theta: np.ndarray) -> Solve:
    """The function ``solve(weight, start) -> WeightedRun`` for a problem on one mesh or several.

    The first run (start None) begins at `theta` and passes through all meshes; later ones begin where an earlier run
    ended, and use the finest mesh only.

    Parameters
    ----------
    flows
        One a mesh, coarse to fine, with an ``energy`` whose regularisation gets the weights.
    theta
        Parameters of the first flow's ansatz.
    """
    flows = tuple(flows)

    def solve(weight: float, start) -> WeightedRun:
        used = flows if start is None else flows[-1:]
        weighted = tuple(replace(flow, energy=replace(flow.energy, weight=weight)) for flow in used)
        if start is not None:
            weighted = (replace(weighted[0], ansatz=start.ansatz),)
        *_, stage = Continuation(weighted).run(theta if start is None else start.theta)
        iterate = stage.iterate
        return WeightedRun(weight, iterate.terms["misfit"], iterate.terms["regularization"] / weight, iterate,
                           stage.total_solves, stage.work, iterate.linearization, iterate.converged)

    return solve
