r"""Project, then step (METHOD section 3a): :math:`\theta' = -G^+ b`, so that :math:`m' = -P_T\, grad_H E(m)`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from ..ansatz.finite_element import FiniteElement
from ..errors import InputError, SolveError
from ..growth.expansion import Expansion
from ..growth.grow import check_growing
from ..linalg.dense import damped_solve, marquardt_shift
from ..spaces.hilbert import HilbertSpace
from ..tangent.tangent_space import TangentSpace, realize
from .certificate import run
from .curvature import check_metric, metric_space
from .growing import grown, stagnates
from .iterate import (
    BLOCKED,
    STAGNATION,
    Iterate,
    arrived,
    at,
    blocked,
    realized_alignment,
    resume,
    solve_kinds,
    start,
)
from .search import SUFFICIENT, attempted, damping_after, gain_ratio

METHODS = ("euler", "heun", "levenberg-marquardt", "gradient-normalized")


@dataclass(frozen=True)
class NaturalGradientMemory:
    """Relative damping, next step and radius (nan before the first), step of the last growth, number of growths."""

    damping: float = float("nan")
    step_length: float = float("nan")
    radius: float = float("nan")
    grown_at: int = 0
    growths: int = 0


class Trial(NamedTuple):
    """The iterate that a trial reached, None if it was rejected, and the memory after it."""

    accepted: Iterate | None
    memory: NaturalGradientMemory


@dataclass(frozen=True, eq=False)
class NaturalGradientFlow:
    r"""Discretised natural-gradient flow with damped Gram matrix ``(G + lambda diag(G)) d = b``.

    Parameters
    ----------
    energy, ansatz, space
        Energy on vectors of `space`, network, Hilbert space of the flow.
    method
        ``"euler"``: explicit Euler, its step from the Barzilai-Borwein quotient in H, Armijo back-tracking.
        ``"heun"``: the same with a second stage at the Euler point.
        ``"levenberg-marquardt"``: unit steps in units of the curvature, damping steered by the gain ratio.
        ``"gradient-normalized"``: damping ``||b|| / gamma`` with the acceptance test of arXiv 2506.13710.
    metric
        ``"space"``: H is `space`. ``"gauss-newton"``: H is measured by ``R'' + J^T W J`` at every step, the metric of
        the states that the unknown causes (Nurbekyan, Lei, Yang, arXiv 2202.06236).
    iterations, tolerance, stagnation
        Stop when the gradient norm has fallen by this factor, when two steps running lower the energy by less than
        this fraction, or after so many steps.
    damping
        First damping, relative to the diagonal of ``G``.
    realization
        Largest relative distance between the function step that the parameters make and the one that
        was meant, ``||N(theta - h d) - N(theta) + h T d||_H / (h ||T d||_H)``; beyond it a step is rejected.
    trials
        Largest number of rejected trials before the flow stops.
    expansion
        How the network grows towards the gradient: where a step is poorly aligned with it (trigger ``"alignment"``)
        and where the energy stagnates.
    """

    energy: object
    ansatz: object
    space: HilbertSpace
    method: str = "euler"
    iterations: int = 200
    tolerance: float = 1e-6
    stagnation: float = 1e-8
    metric: Literal["space", "gauss-newton"] = "space"
    damping: float = 1e-6
    realization: float = 0.5
    corrections: int = 2
    trials: int = 20
    expansion: Expansion | None = None

    def __post_init__(self):
        if self.method not in METHODS:
            raise InputError(f"method is {self.method!r}; choose one of {', '.join(METHODS)}")
        check_metric(self.metric, self.energy)
        if self.expansion is not None and not isinstance(self.ansatz, FiniteElement):
            check_growing(self.ansatz)

    memory = NaturalGradientMemory
    resume, run = resume, run

    def start(self, theta: np.ndarray) -> Iterate:
        """The iterate at the start; costs the forward and adjoint solves."""
        return replace(start(self, theta), memory=NaturalGradientMemory(self.damping))

    def step(self, iterate: Iterate) -> Iterate:
        """One accepted step; if none is found, the same state with the reason."""
        counts, iterate = solve_kinds(self.energy.counts), replace(iterate, events=())
        try:
            tangent = self._tangent(iterate)
            slope = tangent.pull_back(iterate.linearization.derivative)
            memory = self._first(iterate, tangent, slope)
            for _ in range(self.trials):
                trial = self._trial(iterate, tangent, slope, memory)
                if trial.accepted is not None:
                    done = arrived(self, iterate, replace(trial.accepted, memory=trial.memory), counts)
                    done = self._with_next_step(tangent.space, iterate, self._aligned(tangent.space, iterate, done))
                    return self._grown(iterate, done)
                memory = trial.memory
        except SolveError:
            pass
        return self._grown(iterate, blocked(self, iterate, counts))

    def _tangent(self, iterate: Iterate) -> TangentSpace:
        """The tangent space at an iterate, measured there."""
        space = metric_space(self.space, iterate.linearization, self.metric)
        return replace(TangentSpace.at(iterate.ansatz, iterate.theta, self.space), space=space)

    def _aligned(self, space: HilbertSpace, before: Iterate, after: Iterate) -> Iterate:
        """`after` with its alignment in the space that measured the step."""
        if space is self.space:
            return after
        measured = replace(before, gradient_norm=space.dual_norm(before.linearization.derivative))
        return replace(after, alignment=realized_alignment(space, measured, after.m - before.m))

    def _grown(self, before: Iterate, after: Iterate) -> Iterate:
        """`after` with a larger network where a trigger of the expansion fires; function and energy stay."""
        stuck = after.stop_reason in (STAGNATION, BLOCKED) and after.step < self.iterations
        if self.expansion is None or (after.stop_reason and not stuck) or not self._triggered(before, after, stuck):
            return after
        metric = metric_space(self.space, after.linearization, self.metric).inner_product
        larger = grown(self.expansion, after, metric.solve(after.linearization.derivative), self.space, metric)
        return after if larger is None else larger.stopped("")

    def _triggered(self, before: Iterate, after: Iterate, stuck: bool) -> bool:
        expansion = self.expansion
        if after.step - after.memory.grown_at < expansion.patience and not stuck:
            return False
        return bool(stuck and expansion.listens_to("stagnation") or stagnates(expansion, before, after)
                    or expansion.listens_to("alignment") and after.alignment**2 < expansion.alignment)

    # ---- one trial ----------------------------------------------------------------------------------------------

    def _first(self, iterate: Iterate, tangent: TangentSpace, slope: np.ndarray) -> NaturalGradientMemory:
        """The memory with a step length, and with a radius where the method has one."""
        memory = iterate.memory
        if self.method == "gradient-normalized" and np.isnan(memory.radius):
            diagonal = np.ones(1) if tangent.is_full else np.diag(tangent.matrix)
            memory = replace(memory, radius=slope_norm(tangent, slope) / (self.damping * diagonal.mean()))
        if np.isnan(memory.step_length):
            dtheta = damped_direction(tangent, slope, self._shift(tangent, slope, memory))
            memory = replace(memory, step_length=first_step(iterate.linearization, tangent.push_forward(dtheta)))
        return memory

    def _shift(self, tangent: TangentSpace, slope: np.ndarray, memory: NaturalGradientMemory):
        """What is added to the diagonal of ``G``; for a full tangent space the multiple of ``G`` that is added."""
        diagonal = np.ones(1) if tangent.is_full else np.diag(tangent.matrix)
        if self.method == "gradient-normalized":
            return np.full_like(diagonal, slope_norm(tangent, slope) / memory.radius)
        return marquardt_shift(diagonal, memory.damping)

    def _trial(self, iterate: Iterate, tangent: TangentSpace, slope: np.ndarray,
               memory: NaturalGradientMemory) -> Trial:
        """One step with the damping and the length of `memory`, judged."""
        step, shift = memory.step_length, self._shift(tangent, slope, memory)
        dtheta = damped_direction(tangent, slope, shift)
        if self.method == "heun":
            dtheta = self._heun(iterate, dtheta, memory)
        theta, m, missed = self._realized(iterate, tangent, step * dtheta, shift)
        linearization = attempted(lambda: self.energy.linearize(m)) if missed <= self.realization else None
        if linearization is None:
            return Trial(None, self._rejected(memory))
        decrease = iterate.value - linearization.value
        following = self._judged(decrease, linearization, tangent, slope, dtheta, memory)
        if following is None:
            return Trial(None, self._rejected(memory))
        return Trial(replace(iterate, theta=theta, m=m, linearization=linearization, fit=float(missed) ** 2,
                             step_size=step), following)

    def _realized(self, iterate, tangent, dtheta, shift) -> tuple[np.ndarray, np.ndarray, float]:
        """Parameters near ``theta - dtheta`` whose function is near ``m - T dtheta``, it, and the relative distance."""
        target, space = iterate.m - tangent.push_forward(dtheta), tangent.space
        length = space.norm(target - iterate.m)
        theta, best = iterate.theta - dtheta, (iterate.theta, iterate.m, np.inf)
        for correction in range(self.corrections + 1 if length > 0 else 0):
            try:
                with np.errstate(over="ignore", invalid="ignore"):
                    m = realize(iterate.ansatz, theta, self.space)
                    missed = space.norm(m - target) / length
            except SolveError:
                break
            if not missed < best[2]:
                break
            best = (theta, m, float(missed))
            if tangent.is_full or correction == self.corrections:
                break
            theta = theta - damped_direction(tangent, tangent.pull_back(space.apply(m - target)), shift)
        return best

    def _heun(self, iterate: Iterate, dtheta: np.ndarray, memory: NaturalGradientMemory) -> np.ndarray:
        """Mean of the directions at both ends of the Euler step (the Euler direction if the far end fails)."""
        far = attempted(lambda: at(self, iterate, iterate.theta - memory.step_length * dtheta))
        if far is None:
            return dtheta
        tangent = self._tangent(far)
        slope = tangent.pull_back(far.linearization.derivative)
        return 0.5 * (dtheta + damped_direction(tangent, slope, self._shift(tangent, slope, memory)))

    # ---- acceptance ---------------------------------------------------------------------------------------------

    def _judged(self, decrease: float, linearization, tangent, slope, dtheta,
                memory: NaturalGradientMemory) -> NaturalGradientMemory | None:
        """The memory after an accepted step; None if the method's test rejects it."""
        step = memory.step_length
        if self.method == "gradient-normalized":
            shift = slope_norm(tangent, slope) / memory.radius
            far = slope_norm(tangent, tangent.pull_back(linearization.derivative))
            accepted = decrease > 0 and decrease >= step * far**2 / (8.0 * shift)
            return replace(memory, radius=2.0 * memory.radius) if accepted else None
        if self.method == "levenberg-marquardt":
            gain = gain_ratio(decrease, step * (slope @ dtheta) - 0.5 * step * (dtheta @ (tangent.matrix @ dtheta)))
            return replace(memory, damping=damping_after(memory.damping, gain)) if gain > 1e-3 else None
        if decrease >= SUFFICIENT * step * (slope @ dtheta):
            return replace(memory, damping=max(0.5 * memory.damping, 1e-14))
        return None

    def _rejected(self, memory: NaturalGradientMemory) -> NaturalGradientMemory:
        if self.method == "gradient-normalized":
            return replace(memory, radius=0.5 * memory.radius)
        if self.method == "levenberg-marquardt":
            return replace(memory, damping=4.0 * memory.damping)
        return replace(memory, step_length=0.5 * memory.step_length, damping=2.0 * memory.damping)

    def _with_next_step(self, space: HilbertSpace, before: Iterate, after: Iterate) -> Iterate:
        """Next step: the Barzilai-Borwein quotient ``<dm, dm>_H / (dg . dm)``, within a factor of ten of the last."""
        if self.method in ("levenberg-marquardt", "gradient-normalized"):
            return after
        step, moved = after.memory.step_length, after.m - before.m
        curvature = (after.linearization.derivative - before.linearization.derivative) @ moved
        quotient = space.inner(moved, moved) / curvature if curvature > 0 else 2.0 * step
        following = float(np.clip(quotient, 0.1 * step, 10.0 * step))
        return replace(after, memory=replace(after.memory, step_length=following))


def damped_direction(tangent: TangentSpace, slope: np.ndarray, shift) -> np.ndarray:
    """``d = (G + diag(shift))^-1 b``; for a full tangent space ``((1 + shift) A)^-1 b``."""
    if tangent.is_full:
        return tangent.space.riesz(slope) / (1.0 + shift)
    return damped_solve(tangent.matrix, slope, shift)


def slope_norm(tangent: TangentSpace, slope: np.ndarray) -> float:
    """Length of a slope ``T^T g``: Euclidean in the parameters; the dual norm for a full tangent space."""
    return tangent.space.dual_norm(slope) if tangent.is_full else float(np.linalg.norm(slope))


def first_step(linearization, vector: np.ndarray) -> float:
    """Minimiser ``g.v / v.Hv`` of the Gauss-Newton model along ``-v``; costs one Hessian action."""
    curvature = vector @ linearization.hessian_action(vector)
    return float(linearization.derivative @ vector / curvature) if curvature > 0 else 1.0
