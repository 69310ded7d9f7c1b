r"""Project, then step (METHOD section 3a): :math:`\theta' = -G^+ b`, so that :math:`m' = -P_T\, grad_H E(m)`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError, SolveError
from ..growth.expansion import Expansion
from ..linalg.factorize import damped_solve
from ..spaces.hilbert import HilbertSpace
from ..tangent.tangent_space import TangentSpace, realize
from .directions import first_step
from .growing import grown, stagnates
from .iterate import BLOCKED, STAGNATION, Iterate, arrived, blocked, resume, run, solve_kinds, start

METHODS = ("euler", "heun", "levenberg-marquardt", "gradient-normalized")


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
    iterations, tolerance, stagnation
        Stopping rules, see `HilbertDescent`.
    damping
        First damping, relative to the diagonal of ``G``.
    realization
        Largest relative distance between the function step that the parameters make and the one that
        was meant, ``||N(theta - h d) - N(theta) + h T d||_H / (h ||T d||_H)``; beyond it a step is rejected.
    trials
        Largest number of rejected trials before the flow stops.
    expansion
        How the network grows towards the gradient: where a step is poorly aligned with it (trigger ``"alignment"``)
        and where the energy stagnates. ``"fit"``, where the parameters make another function step than was meant, has
        to be asked for: shorter steps are the better answer to curvature, so ``"either"`` leaves it out here.
    """

    energy: object
    ansatz: object
    space: HilbertSpace
    method: str = "euler"
    iterations: int = 200
    tolerance: float = 1e-6
    stagnation: float = 1e-8
    damping: float = 1e-6
    realization: float = 0.5
    corrections: int = 2
    trials: int = 20
    sufficient: float = 1e-4
    expansion: Expansion | None = None

    def __post_init__(self):
        if self.method not in METHODS:
            raise InputError(f"method is {self.method!r}; choose one of {', '.join(METHODS)}")

    start, resume, run = start, resume, run

    def step(self, iterate: Iterate) -> Iterate:
        """One accepted step; if none is found, the same state with the reason."""
        counts, iterate = solve_kinds(self.energy.counts), replace(iterate, events=())
        memory = {"damping": self.damping, **iterate.memory}
        try:
            tangent = TangentSpace.at(iterate.ansatz, iterate.theta, self.space)
            slope = tangent.pull_back(iterate.linearization.derivative)
            for _ in range(self.trials):
                dtheta = damped_direction(tangent, slope, self._shift(tangent, slope, memory))
                moved = self._trial(iterate, tangent, slope, dtheta, memory)
                if moved is not None:
                    done = arrived(self, iterate, moved, counts, memory=memory)
                    step = self._next_step(iterate, done, memory["step"])
                    return self._grown(iterate, replace(done, memory={**done.memory, "step": step}))
        except SolveError:
            pass
        return self._grown(iterate, blocked(self, iterate, counts))

    def _grown(self, before: Iterate, after: Iterate) -> Iterate:
        """`after` with a larger network where a trigger of the expansion fires; function and energy stay."""
        stuck = after.stop_reason in (STAGNATION, BLOCKED) and after.step < self.iterations
        if self.expansion is None or (after.stop_reason and not stuck) or not self._triggered(before, after, stuck):
            return after
        gradient = self.space.riesz(after.linearization.derivative)
        larger = grown(self.expansion, after, gradient, self.space, self.space.inner_product)
        return after if larger is None else larger.stopped("")

    def _triggered(self, before: Iterate, after: Iterate, stuck: bool) -> bool:
        expansion = self.expansion
        if after.step - after.memory.get("grown_at", 0) < expansion.patience and not stuck:
            return False
        return bool(stuck and expansion.listens_to("stagnation") or stagnates(expansion, before, after)
                    or expansion.listens_to("alignment") and after.alignment**2 < expansion.alignment
                    or expansion.trigger == "fit" and after.fit > expansion.fit)

    # ---- one trial ----------------------------------------------------------------------------------------------

    def _shift(self, tangent: TangentSpace, slope: np.ndarray, memory: dict):
        """What is added to the diagonal of ``G``; for a full tangent space the multiple of ``G`` that is added."""
        diagonal = np.ones(1) if tangent.is_full else np.diag(tangent.matrix)
        if self.method == "gradient-normalized":
            length = slope_norm(tangent, slope)
            radius = memory.setdefault("radius", length / (self.damping * diagonal.mean()))
            return np.full_like(diagonal, length / radius)
        return memory["damping"] * (diagonal + 1e-3 * diagonal.mean())

    def _trial(self, iterate, tangent, slope, dtheta, memory) -> Iterate | None:
        """The moved iterate, or None after a rejection that changed `memory` (damping, step)."""
        if "step" not in memory:
            memory["step"] = first_step(iterate.linearization, tangent.push_forward(dtheta))
        step = memory["step"]
        if self.method == "heun":
            dtheta = self._heun(iterate, dtheta, step, memory)
        theta, m, missed = self._realized(iterate, tangent, step * dtheta, self._shift(tangent, slope, memory))
        linearization = self._value_at(m) if missed <= self.realization else None
        if linearization is None or not self._accepts(iterate, linearization, tangent, slope, dtheta, memory):
            self._reject(memory)
            return None
        return replace(iterate, theta=theta, m=m, linearization=linearization, fit=float(missed) ** 2, step_size=step,
                       events=())

    def _realized(self, iterate, tangent, dtheta, shift) -> tuple[np.ndarray, np.ndarray, float]:
        """Parameters near ``theta - dtheta`` whose function is near ``m - T dtheta``, it, and the relative distance."""
        target = iterate.m - tangent.push_forward(dtheta)
        length = self.space.norm(target - iterate.m)
        theta, best = iterate.theta - dtheta, (iterate.theta, iterate.m, np.inf)
        for correction in range(self.corrections + 1 if length > 0 else 0):
            try:
                with np.errstate(over="ignore", invalid="ignore"):
                    m = realize(iterate.ansatz, theta, self.space)
                    missed = self.space.norm(m - target) / length
            except SolveError:
                break
            if not missed < best[2]:
                break
            best = (theta, m, float(missed))
            if tangent.is_full or correction == self.corrections:
                break
            theta = theta - damped_direction(tangent, tangent.pull_back(self.space.apply(m - target)), shift)
        return best

    def _heun(self, iterate, dtheta, step, memory) -> np.ndarray:
        """Mean of the directions at both ends of the Euler step (the Euler direction if the far end fails)."""
        far = iterate.theta - step * dtheta
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                linearization = self.energy.linearize(realize(iterate.ansatz, far, self.space))
            tangent = TangentSpace.at(iterate.ansatz, far, self.space)
            slope = tangent.pull_back(linearization.derivative)
            return 0.5 * (dtheta + damped_direction(tangent, slope, self._shift(tangent, slope, memory)))
        except SolveError:
            return dtheta

    def _value_at(self, m: np.ndarray):
        try:
            return self.energy.linearize(m)
        except SolveError:
            return None

    def _accepts(self, iterate, linearization, tangent, slope, dtheta, memory) -> bool:
        decrease, step = iterate.value - linearization.value, memory["step"]
        if self.method == "gradient-normalized":
            far = tangent.pull_back(linearization.derivative)
            shift = slope_norm(tangent, slope) / memory["radius"]
            accepted = bool(decrease > 0 and decrease >= step * slope_norm(tangent, far) ** 2 / (8.0 * shift))
            memory["radius"] *= 2.0 if accepted else 1.0
            return accepted
        if self.method == "levenberg-marquardt":
            predicted = step * (slope @ dtheta) - 0.5 * step * (dtheta @ (tangent.matrix @ dtheta))
            gain = decrease / predicted if predicted > 0 else -1.0
            if gain > 1e-3:
                memory["damping"] = max(memory["damping"] * max(1 / 9, 1.0 - (2.0 * min(gain, 1.0) - 1.0) ** 3), 1e-15)
            return bool(gain > 1e-3)
        if decrease >= self.sufficient * step * (slope @ dtheta):
            memory["damping"] = max(0.5 * memory["damping"], 1e-14)
            return True
        return False

    def _reject(self, memory: dict) -> None:
        if self.method == "gradient-normalized":
            memory["radius"] *= 0.5
        elif self.method == "levenberg-marquardt":
            memory["damping"] *= 4.0
        else:
            memory["step"] *= 0.5
            memory["damping"] *= 2.0

    def _next_step(self, before: Iterate, after: Iterate, step: float) -> float:
        """Barzilai-Borwein quotient ``<dm, dm>_H / (dg . dm)``, kept within a factor of ten of the last step."""
        moved = after.m - before.m
        curvature = (after.linearization.derivative - before.linearization.derivative) @ moved
        if self.method in ("levenberg-marquardt", "gradient-normalized"):
            return step
        quotient = self.space.inner(moved, moved) / curvature if curvature > 0 else 2.0 * step
        return float(np.clip(quotient, 0.1 * step, 10.0 * step))


def damped_direction(tangent: TangentSpace, slope: np.ndarray, shift) -> np.ndarray:
    """``d = (G + diag(shift))^-1 b``; for a full tangent space ``((1 + shift) A)^-1 b``."""
    if tangent.is_full:
        return tangent.space.riesz(slope) / (1.0 + shift)
    return damped_solve(tangent.matrix, slope, shift)


def slope_norm(tangent: TangentSpace, slope: np.ndarray) -> float:
    """Length of a slope ``T^T g``: Euclidean in the parameters; the dual norm for a full tangent space."""
    return tangent.space.dual_norm(slope) if tangent.is_full else float(np.linalg.norm(slope))

