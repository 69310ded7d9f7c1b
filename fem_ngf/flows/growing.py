"""Growth inside a flow: the same iterate in a larger network (METHOD section 4)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..ansatz.finite_element import FiniteElement
from ..growth.expansion import Expansion
from ..growth.grow import grow
from ..linalg.operators import SymmetricOperator
from ..spaces.hilbert import HilbertSpace
from ..tangent.rows import coarsens
from .curvature import Curvature
from .iterate import Iterate


def grown(expansion: Expansion, iterate: Iterate, target: np.ndarray, space: HilbertSpace,
          metric: SymmetricOperator) -> Iterate | None:
    """The iterate with a network grown towards a target ``(n,)``, or None if there is nothing to grow by.

    Function, energy and solves stay; the count of idle steps starts again. `space` is where tangent functions are
    taken, `metric` what measures them; where there are many on a fine mesh, that is done on a coarser one, towards the
    target's projection in the metric.
    """
    if isinstance(iterate.ansatz, FiniteElement):
        return None
    events = iterate.memory.growths
    if coarsens(iterate.ansatz, space) and isinstance(metric, Curvature) and metric.base.sparse is not None:
        coarse = metric.coarsened(space)
        target = coarse.solve(space.prolongation.T @ metric.apply(target))
        space, metric = space.coarse, coarse
    growth = grow(expansion, iterate.ansatz, iterate.theta, target, space, metric, events)
    if growth is None:
        return None
    memory = replace(iterate.memory, growths=events + 1, grown_at=iterate.step)
    return replace(iterate, ansatz=growth.ansatz, theta=growth.theta, memory=memory, idle=0,
                   events=(*iterate.events, growth.event))


def stagnates(expansion: Expansion | None, before: Iterate, after: Iterate) -> bool:
    """Whether the expansion listens to stagnation and the step from `before` to `after` gained too little."""
    if expansion is None or not expansion.listens_to("stagnation"):
        return False
    return bool(before.value - after.value <= expansion.stagnation * abs(before.value))
