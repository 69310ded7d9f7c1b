"""Step in H, then retract (METHOD section 3b): the default flow for PDE inverse problems."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError, SolveError
from ..growth.expansion import Expansion
from ..spaces.hilbert import HilbertSpace
from .directions import (
    KrylovDirection,
    first_step,
    nesterov_direction,
    newton_direction,
    recycled_pairs,
    remembered,
    steepest_direction,
)
from .growing import grown, squared_alignment, stagnates
from .iterate import LAGGING, Iterate, arrived, blocked, resume, run, solve_kinds, start
from .projected_step import projected_step
from .retraction import curvature_metric, retract

DIRECTIONS = ("gradient", "nesterov", "gauss-newton", "newton")


@dataclass(frozen=True, eq=False)
class HilbertDescent:
    r"""Descent in the Hilbert space with neural retraction.

    The ideal step ``s`` is taken in ``H``; then the parameters are moved so
    that the network realises ``m + tau s`` (a regression without PDE solves),
    and ``tau`` is shortened until the energy decreases enough.

    Parameters
    ----------
    energy
        Energy on vectors of `space`.
    ansatz
        Network (or `FiniteElement`, which makes this the nodal method).
    space
        Hilbert space of gradients.
    direction
        ``"gradient"``, ``"nesterov"``, ``"gauss-newton"`` or ``"newton"``.
    iterations
        Largest number of steps.
    tolerance
        Stop when the gradient norm has fallen by this factor.
    stagnation
        Stop when two steps running lower the energy by less than this fraction.
    worth, forcing, cg_iterations
        Truncation of conjugate gradients, see `newton_direction`. For ``"newton"`` the forcing term is
        ``min(1/2, sqrt(|g|/|g_0|))`` (Eisenstat and Walker); Gauss-Newton relies on `worth`.
    recycle
        Number of curvature pairs carried to the next step's preconditioner; they are dropped when a step
        lowers the energy below the fraction `fresh`, since the Hessian has then become another one.
    retractions
        Largest number of Levenberg-Marquardt iterations per retraction.
    backtracks, sufficient
        Largest number of times a step is shortened, and the Armijo constant.
    expansion
        How the network grows towards the part of a step that it misses: where a retraction leaves too much of it
        (triggers ``"fit"`` and ``"alignment"``, measured in the metric of the retraction), and before the retraction
        of the step that follows one without progress (``"stagnation"``). None keeps its size.
    """

    energy: object
    ansatz: object
    space: HilbertSpace
    direction: str = "gauss-newton"
    iterations: int = 50
    tolerance: float = 1e-6
    stagnation: float = 1e-6
    worth: float = 0.2
    forcing: float = 0.01
    cg_iterations: int = 100
    recycle: int = 40
    fresh: float = 0.5
    retractions: int = 30
    backtracks: int = 10
    sufficient: float = 1e-4
    expansion: Expansion | None = None

    def __post_init__(self):
        if self.direction not in DIRECTIONS:
            raise InputError(f"direction is {self.direction!r}; choose one of {', '.join(DIRECTIONS)}")

    start, resume, run = start, resume, run

    def step(self, iterate: Iterate) -> Iterate:
        """One step; if none can be taken, the same state with the reason."""
        counts, iterate = solve_kinds(self.energy.counts), replace(iterate, events=())
        try:
            move = self._direction(iterate)
            if iterate.memory.get("stagnant", False):
                iterate = self._grown(iterate, move) or iterate
            taken = self._search(iterate, move)
            if taken is None and not iterate.events and (larger := self._grown(iterate, move)):
                iterate, taken = larger, self._search(larger, move)
            taken = taken or self._projected(iterate)
            if taken is None:
                return blocked(self, iterate, counts)
            memory = remembered(taken.memory, move, self.recycle, taken.value < self.fresh * iterate.value)
            memory["cg_iterations"] = move.directions.shape[1]
            lags = taken.fit > 0.9 and taken.value > (1.0 - 1e-4) * iterate.value
            memory["lagging"] = memory.get("lagging", 0) + 1 if lags else 0
            memory["stagnant"] = stagnates(self.expansion, iterate, taken)
            moved = arrived(self, iterate, taken, counts, memory=memory)
        except SolveError:
            return blocked(self, iterate, counts)
        return moved.stopped(LAGGING) if memory["lagging"] >= 2 and not moved.stop_reason else moved

    def _direction(self, iterate: Iterate) -> KrylovDirection:
        linearization, memory = iterate.linearization, iterate.memory
        if self.direction in ("gauss-newton", "newton"):
            prior = linearization.regularization_hessian(self.direction)
            ratio = iterate.gradient_norm / iterate.start_gradient
            forcing = self.forcing if self.direction == "gauss-newton" else min(0.5, float(np.sqrt(ratio)))
            return newton_direction(linearization, self.direction, forcing, worth=self.worth,
                                    maximum=self.cg_iterations, pairs=recycled_pairs(memory, prior))
        gradient = self.space.riesz(linearization.derivative)
        length = memory["length"] if "length" in memory else first_step(linearization, gradient)
        if self.direction == "nesterov" and memory.get("age", 0):
            return nesterov_direction(self.energy, self.space, iterate, length)
        return steepest_direction(-length * gradient)

    def _search(self, iterate: Iterate, move: KrylovDirection) -> Iterate | None:
        """Armijo back-tracking on the energy of the retracted function."""
        slope = float(iterate.linearization.derivative @ move.vector)
        metric, tau = self._metric(iterate, move), 1.0
        for _ in range(self.backtracks):
            moved = self._retracted(iterate, move, tau, metric)
            linearization = self._value_at(moved.m)
            if linearization is not None and linearization.value <= iterate.value + self.sufficient * tau * slope:
                if np.isnan(move.model_decrease):
                    moved = replace(moved, memory=self._first_order_memory(iterate, move, moved, tau))
                return replace(moved, linearization=linearization, step_size=tau)
            tau = shortened(tau, slope, None if linearization is None else linearization.value - iterate.value)
        return None

    def _projected(self, iterate: Iterate) -> Iterate | None:
        """What is left where no retracted step lowers the energy: a step along the projected gradient."""
        found = projected_step(self.energy, iterate, iterate.linearization.preconditioner, sufficient=self.sufficient)
        if found is None:
            return None
        theta, m, linearization, step = found
        event = "no retracted step lowered the energy: took one along the projected gradient"
        return replace(iterate, theta=theta, m=m, linearization=linearization, step_size=step, fit=float("nan"),
                       events=(*iterate.events, event))

    def _retracted(self, iterate: Iterate, move: KrylovDirection, tau: float, metric) -> Iterate:
        """Retraction of ``m + tau s``; where it misses too much, the network grows towards what is missed.

        Growth keeps the function and costs no PDE solve (METHOD section 4). The linearisation of the result is still
        that of the start.
        """
        target = iterate.m + tau * move.vector
        moved = retract(iterate.ansatz, iterate.theta, iterate.m, target, self.space, metric,
                        damping=iterate.memory.get("damping", 1e-3), iterations=self.retractions)
        reached, fit = replace(iterate, theta=moved.theta, m=moved.m), moved.fit
        while self._misses_too_much(iterate, move, reached.m, target, fit, metric):
            larger = grown(self.expansion, reached, target - reached.m, self.space.nodal_twin, metric)
            if larger is None:
                break
            moved = retract(larger.ansatz, larger.theta, larger.m, target, self.space, metric,
                            iterations=self.retractions)
            fit *= moved.fit
            events = (*larger.events[:-1], f"{larger.events[-1]}, fit {fit:.3g}")
            reached = replace(larger, theta=moved.theta, m=moved.m, events=events)
        return replace(reached, fit=fit, memory={**reached.memory, "damping": moved.damping})

    def _misses_too_much(self, iterate: Iterate, move: KrylovDirection, m, target, fit: float, metric) -> bool:
        """Whether what the retraction to `target` misses at `m` is large by a trigger and worth new neurons."""
        expansion = self.expansion
        if expansion is None or fit * move.model_decrease <= expansion.stagnation * abs(iterate.value):
            return False
        if expansion.listens_to("fit") and fit > expansion.fit:
            return True
        return expansion.listens_to("alignment") and squared_alignment(
            m - iterate.m, target - iterate.m, metric) < expansion.alignment

    def _grown(self, iterate: Iterate, move: KrylovDirection) -> Iterate | None:
        """The iterate in a network grown towards the ideal step, if stagnation is a trigger and the step worth it."""
        expansion = self.expansion
        if expansion is None or not expansion.listens_to("stagnation"):
            return None
        if move.model_decrease <= self.stagnation * abs(iterate.value):
            return None
        return grown(expansion, iterate, move.vector, self.space.nodal_twin, self._metric(iterate, move))

    def _value_at(self, m: np.ndarray):
        try:
            return self.energy.linearize(m)
        except SolveError:
            return None

    def _metric(self, iterate: Iterate, move: KrylovDirection):
        """Metric of the retraction: regularisation plus the curvature that the direction has seen, else H itself."""
        if move.directions.shape[1] == 0:
            return self.space.inner_product
        return curvature_metric(iterate.linearization.preconditioner, move.directions, move.images)

    def _first_order_memory(self, iterate: Iterate, move: KrylovDirection, moved: Iterate, tau: float) -> dict:
        """Length of the next gradient step, longer after a full one; momentum, forgotten after a short one."""
        first = "length" not in iterate.memory
        length = self.space.norm(move.vector) / iterate.gradient_norm if first else iterate.memory["length"]
        age = iterate.memory.get("age", 0) + 1 if tau == 1.0 else 0
        grown = 2.0 if self.direction == "gradient" else 1.1
        return {**moved.memory, "length": length * (grown if tau == 1.0 else tau), "momentum": moved.m - iterate.m,
                "age": age}


def shortened(tau: float, slope: float, rise: float | None) -> float:
    """Next trial after a step `tau` that changed the value by `rise` (None: undefined there) from slope `slope`.

    The minimiser of the parabola through both values and the slope, between a tenth and half of `tau`.

    References
    ----------
    J. Nocedal, S. J. Wright, Numerical Optimization, Springer 2006, Section 3.5.
    """
    if rise is None:
        return 0.25 * tau
    bend = rise - slope * tau
    return min(max(-0.5 * slope * tau**2 / bend, 0.1 * tau), 0.5 * tau) if bend > 0 else 0.5 * tau
