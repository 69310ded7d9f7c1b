"""A flow whose direction is a rule: the loop that the neighbouring systems of METHOD section 5 share."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..errors import SolveError
from ..spaces.hilbert import HilbertSpace
from ..tangent.matrix_free import MatrixFreeTangent
from ..tangent.tangent_space import TangentSpace, realize
from .iterate import Iterate, arrived, blocked, resume, run, solve_kinds, start


@dataclass(frozen=True, eq=False)
class DirectedFlow:
    """Steps ``theta - step * d`` along the direction ``d`` of a rule, with back-tracking.

    Parameters
    ----------
    energy, ansatz, space
        As in `NaturalGradientFlow`; `space` may be a `SampleSpace`.
    rule
        ``(tangent, derivative, memory) -> (d (P,), memory)``: `Spring`, `FunctionMomentum`, `DualDirection`,
        `LowRankDirection`, `MatrixFreeDirection`. A rule with ``matrix_free = True`` is given a `MatrixFreeTangent`.
    step_length
        First step length; doubled after a step that needed no halving, up to `longest`.
    halvings
        Most halvings of a step; if none lowers the energy, the memory is dropped and the step tried once more.
    iterations, tolerance, stagnation
        Stopping rules, see `HilbertDescent`.
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

    start, resume, run = start, resume, run

    def step(self, iterate: Iterate) -> Iterate:
        """One step; if none lowers the energy, the same state with the reason."""
        counts = solve_kinds(self.energy.counts)
        kind = MatrixFreeTangent if getattr(self.rule, "matrix_free", False) else TangentSpace
        tangent = kind.at(iterate.ansatz, iterate.theta, self.space)
        for rule_memory in (iterate.memory.get("rule", {}), {}):
            dtheta, learnt = self.rule(tangent, iterate.linearization.derivative, rule_memory)
            moved = self._search(iterate, dtheta, learnt)
            if moved is not None:
                return arrived(self, iterate, moved, counts)
            if not rule_memory:
                break
        return blocked(self, iterate, counts)

    def _search(self, iterate: Iterate, dtheta: np.ndarray, learnt: dict) -> Iterate | None:
        step = iterate.memory.get("step", self.step_length)
        for halving in range(self.halvings):
            theta = iterate.theta - step * dtheta
            linearization = self._value_at(m := realize(iterate.ansatz, theta, self.space))
            if linearization is not None and linearization.value < iterate.value:
                longer = min(2.0 * step, self.longest) if halving == 0 else step
                memory = {**iterate.memory, "rule": learnt, "step": longer}
                return replace(iterate, theta=theta, m=m, linearization=linearization, step_size=step, memory=memory)
            step *= 0.5
        return None

    def _value_at(self, m: np.ndarray):
        try:
            return self.energy.linearize(m)
        except SolveError:
            return None
