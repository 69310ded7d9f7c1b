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
from .search import backtrack

DIRECTIONS = ("gradient", "nesterov", "gauss-newton", "newton")


@dataclass(frozen=True, eq=False)
class HilbertMemory:
    """What descent in the Hilbert space carries on.

    Parameters
    ----------
    damping
        Of the last retraction.
    directions, images
        Curvature pairs (n, j) of earlier conjugate gradients, or None.
    lagging
        Steps running that the network hardly followed.
    stagnant
        Whether the last step asks for growth.
    grown_at, growths
        Step of the last growth, and how many there were.
    length, momentum, age
        Of gradient steps: their length (nan before the first), the last move (n,), and its age.
    """

    damping: float = 1e-3
    directions: np.ndarray | None = None
    images: np.ndarray | None = None
    lagging: int = 0
    stagnant: bool = False
    grown_at: int = 0
    growths: int = 0
    length: float = float("nan")
    momentum: np.ndarray | None = None
    age: int = 0


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

    memory = HilbertMemory
    start, resume, run = start, resume, run

    def step(self, iterate: Iterate) -> Iterate:
        """One step; if none can be taken, the same state with the reason."""
        counts, iterate = solve_kinds(self.energy.counts), replace(iterate, events=())
        try:
            move = self._direction(iterate)
            if iterate.memory.stagnant:
                iterate = self._grown(iterate, move) or iterate
            taken = self._search(iterate, move)
            if taken is None and not iterate.events and (larger := self._grown(iterate, move)):
                iterate, taken = larger, self._search(larger, move)
            taken = taken or self._projected(iterate)
            if taken is None:
                return blocked(self, iterate, counts)
            memory = remembered(taken.memory, move, self.recycle, taken.value < self.fresh * iterate.value)
            lags = taken.fit > 0.9 and taken.value > (1.0 - 1e-4) * iterate.value
            memory = replace(memory, lagging=memory.lagging + 1 if lags else 0,
                             stagnant=stagnates(self.expansion, iterate, taken))
            moved = arrived(self, iterate, replace(taken, memory=memory), counts)
        except SolveError:
            return blocked(self, iterate, counts)
        return moved.stopped(LAGGING) if memory.lagging >= 2 and not moved.stop_reason else moved

    def _direction(self, iterate: Iterate) -> KrylovDirection:
        linearization, memory = iterate.linearization, iterate.memory
        if self.direction in ("gauss-newton", "newton"):
            prior = linearization.regularization_hessian(self.direction)
            ratio = iterate.gradient_norm / iterate.start_gradient
            forcing = self.forcing if self.direction == "gauss-newton" else min(0.5, float(np.sqrt(ratio)))
            return newton_direction(linearization, self.direction, forcing, worth=self.worth,
                                    maximum=self.cg_iterations, pairs=recycled_pairs(memory, prior))
        gradient = self.space.riesz(linearization.derivative)
        length = first_step(linearization, gradient) if np.isnan(memory.length) else memory.length
        if self.direction == "nesterov" and memory.age:
            return nesterov_direction(self.energy, self.space, iterate, length)
        return steepest_direction(-length * gradient)

    def _search(self, iterate: Iterate, move: KrylovDirection) -> Iterate | None:
        """Armijo back-tracking on the energy of the retracted function."""
        metric, slope = self._metric(iterate, move), float(iterate.linearization.derivative @ move.vector)

        def along(tau: float) -> Iterate:
            moved = self._retracted(iterate, move, tau, metric)
            return replace(moved, linearization=self.energy.linearize(moved.m))

        found = backtrack(along, iterate.value, slope, trials=self.backtracks, sufficient=self.sufficient)
        if found is None:
            return None
        moved, tau = found
        if np.isnan(move.model_decrease):
            moved = replace(moved, memory=self._first_order_memory(iterate, move, moved, tau))
        return replace(moved, step_size=tau)

    def _projected(self, iterate: Iterate) -> Iterate | None:
        """What is left where no retracted step lowers the energy: a step along the projected gradient."""
        found = projected_step(self, iterate, iterate.linearization.preconditioner)
        if found is None:
            return None
        event = "no retracted step lowered the energy: took one along the projected gradient"
        return replace(found, fit=float("nan"), events=(*iterate.events, event))

    def _retracted(self, iterate: Iterate, move: KrylovDirection, tau: float, metric) -> Iterate:
        """Retraction of ``m + tau s``; where it misses too much, the network grows towards what is missed.

        Growth keeps the function and costs no PDE solve (METHOD section 4). The linearisation of the result is still
        that of the start.
        """
        target = iterate.m + tau * move.vector
        moved = retract(iterate.ansatz, iterate.theta, iterate.m, target, self.space, metric,
                        damping=iterate.memory.damping, iterations=self.retractions)
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
        return replace(reached, fit=fit, memory=replace(reached.memory, damping=moved.damping))

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

    def _metric(self, iterate: Iterate, move: KrylovDirection):
        """Metric of the retraction: regularisation plus the curvature that the direction has seen, else H itself."""
        if move.directions.shape[1] == 0:
            return self.space.inner_product
        return curvature_metric(iterate.linearization.preconditioner, move.directions, move.images)

    def _first_order_memory(self, iterate: Iterate, move: KrylovDirection, moved: Iterate, tau: float) -> HilbertMemory:
        """Length of the next gradient step, longer after a full one; momentum, forgotten after a short one."""
        length = iterate.memory.length
        if np.isnan(length):
            length = self.space.norm(move.vector) / iterate.gradient_norm
        longer = 2.0 if self.direction == "gradient" else 1.1
        return replace(moved.memory, length=length * (longer if tau == 1.0 else tau), momentum=moved.m - iterate.m,
                       age=iterate.memory.age + 1 if tau == 1.0 else 0)
