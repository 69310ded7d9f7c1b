"""A step along the projected gradient, for where no retracted step lowers the energy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..linalg.dense import damped_solve, marquardt_shift
from ..tangent.tangent_space import TangentSpace
from .directions import first_step
from .iterate import at
from .search import backtrack


def projected_step(flow, iterate, metric, *, damping: float = 1e-6, halvings: int = 12):
    """The iterate after one damped natural-gradient step in `metric`, or None.

    The direction descends whatever the network can express, so that a small enough step lowers the energy unless the
    projected gradient vanishes: a spurious critical point (METHOD section 2).

    Parameters
    ----------
    flow
        The first trial minimises the Gauss-Newton model along the direction, at the price of one Hessian action.
    iterate
        Where the flow stands.
    metric
        Inner product of the step: the Hessian of the regularisation, or H.
    damping
        Relative to the diagonal of the Gram matrix.
    halvings
        Of the step.
    """
    tangent = TangentSpace.at(iterate.ansatz, iterate.theta, iterate.space)
    if tangent.is_full:
        return None
    slope, gram = tangent.pull_back(iterate.linearization.derivative), metric.gram(tangent.vectors)
    direction = damped_solve(gram, slope, marquardt_shift(np.diag(gram), damping))
    step = first_step(iterate.linearization, tangent.push_forward(direction))
    found = backtrack(lambda length: at(flow, iterate, iterate.theta - length * direction), iterate.value,
                      -float(slope @ direction), step=step, trials=halvings)
    return None if found is None else replace(found[0], step_size=found[1])
