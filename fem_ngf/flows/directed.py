"""A flow whose direction is a rule: the loop that the neighbouring systems of METHOD section 5 share."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..spaces.hilbert import HilbertSpace
from .certificate import run
from .iterate import Iterate, arrived, at, blocked, resume, solve_kinds, start
from .search import attempted


@dataclass(frozen=True)
class DirectedMemory:
    """Length of the next step (nan before the first), and what the rule carries (None, an array, numbers)."""

    step_length: float = float("nan")
    carried: object = None


@dataclass(frozen=True, eq=False)
class DirectedFlow:
    """Steps ``theta - step * d`` along the direction ``d`` of a rule, halved until the energy falls.

    Parameters
    ----------
    energy, ansatz, space
        As in `NaturalGradientFlow`; `space` may be a `SampleSpace`.
    rule
        ``(tangent, derivative, carried) -> (d (P,), carried)``: `Spring`, `FunctionMomentum`, `DualDirection`,
        `LowRankDirection`, `MatrixFreeDirection` (`fem_ngf.flows.rules`).
    step_length
        First step length; doubled after a step that needed no halving, up to `longest`.
    halvings
        Most halvings of a step; if none lowers the energy, the rule forgets and the step is tried once more.
    iterations, tolerance, stagnation
        Stopping rules, see `NaturalGradientFlow`.
    """

    energy: object
    ansatz: object
    space: HilbertSpace
    rule: object
    step_length: float = 1.0
    longest: float = 1.0
    halvings: int = 20
    iterations: int = 100
    tolerance: float = 1e-8
    stagnation: float = 0.0

    memory = DirectedMemory
    start, resume, run = start, resume, run

    def step(self, iterate: Iterate) -> Iterate:
        """One step; if none lowers the energy, the same state with the reason."""
        counts = solve_kinds(self.energy.counts)
        tangent = self.rule.tangent.at(iterate.ansatz, iterate.theta, self.space)
        moved = self._search(iterate, tangent, iterate.memory.carried)
        if moved is None and iterate.memory.carried is not None:
            moved = self._search(iterate, tangent, None)
        return blocked(self, iterate, counts) if moved is None else arrived(self, iterate, moved, counts)

    def _search(self, iterate: Iterate, tangent, carried) -> Iterate | None:
        dtheta, learnt = self.rule(tangent, iterate.linearization.derivative, carried)
        step = self.step_length if np.isnan(iterate.memory.step_length) else iterate.memory.step_length
        for halving in range(self.halvings):
            moved = attempted(lambda length=step: at(self, iterate, iterate.theta - length * dtheta))
            if moved is not None and moved.value < iterate.value:
                longer = min(2.0 * step, self.longest) if halving == 0 else step
                return replace(moved, step_size=step, memory=DirectedMemory(longer, learnt))
            step *= 0.5
        return None
