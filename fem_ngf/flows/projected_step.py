"""A step along the projected gradient, for where no retracted step lowers the energy."""

from __future__ import annotations

import numpy as np

from ..errors import SolveError
from ..linalg.factorize import damped_solve
from ..tangent.tangent_space import TangentSpace, realize
from .directions import first_step


def projected_step(energy, iterate, metric, *, damping: float = 1e-6, halvings: int = 12, sufficient: float = 1e-4):
    """Parameters, vector and linearisation after one damped natural-gradient step in `metric`, or None.

    The direction descends whatever the network can express, so that a small enough step lowers the energy unless the
    projected gradient vanishes: a spurious critical point (METHOD section 2).

    Parameters
    ----------
    energy
        With ``linearize``; the first step minimises its Gauss-Newton model, at the price of one Hessian action.
    iterate
        Where the flow stands.
    metric
        Inner product of the step: the Hessian of the regularisation, or H.
    damping
        Relative to the diagonal of the Gram matrix.
    halvings, sufficient
        Of the step, and the Armijo constant.
    """
    tangent = TangentSpace.at(iterate.ansatz, iterate.theta, iterate.space)
    if tangent.is_full:
        return None
    slope, gram = tangent.pull_back(iterate.linearization.derivative), metric.gram(tangent.vectors)
    direction = damped_solve(gram, slope, damping * (np.diag(gram) + 1e-3 * np.diag(gram).mean()))
    step = first_step(iterate.linearization, tangent.push_forward(direction))
    for _ in range(halvings):
        theta = iterate.theta - step * direction
        try:
            m = realize(iterate.ansatz, theta, iterate.space)
            linearization = energy.linearize(m)
            if linearization.value <= iterate.value - sufficient * step * (slope @ direction):
                return theta, m, linearization, step
        except SolveError:
            pass
        step *= 0.25
    return None
