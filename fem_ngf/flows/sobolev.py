r"""The Sobolev flow: :math:`m' = -\nabla_H E(m)`, followed in continuous time by what the ansatz can be.

The exact flow of the finite-element space is an ordinary differential equation for ``m``. A step of length ``h`` means
to reach the point of Heun's method on it,

.. math:: m_h = m - \tfrac h2\bigl(\nabla_H E(m) + \nabla_H E(m_1)\bigr), \qquad m_1 \approx m - h \nabla_H E(m),

and the parameters follow in one of two discretisations: *projected*, :math:`\theta' = -G^+ b` by Heun's method on the
parameters (METHOD section 3a), or *retracted*, the step taken in ``H`` and the parameters found by a regression (3b).
Both are judged alike, by distances in ``H``: Heun against Euler is the error in time, which chooses ``h``;
:math:`\|N_{\theta_+} - m_h\|_H` is what the ansatz cannot follow.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ..ansatz.finite_element import FiniteElement
from ..errors import InputError, SolveError, check_positive
from ..growth.expansion import Expansion
from ..growth.grow import check_growing
from ..linalg.dense import damped_solve, marquardt_shift
from ..spaces.hilbert import HilbertSpace
from ..tangent.tangent_space import TangentSpace, realize
from .certificate import run
from .curvature import check_metric, metric_space
from .growing import grown
from .iterate import DURATION, Iterate, arrived, blocked, resume, solve_kinds, start
from .quadratic_model import QuadraticModel
from .retraction import retract

SAFETY, SHORTEST, LONGEST = 0.9, 0.2, 3.0  # of the step-size controller: Hairer, Norsett, Wanner, section II.4


@dataclass(frozen=True)
class Progress:
    """What a Sobolev flow carries from step to step.

    Parameters
    ----------
    step_length
        Length ``h`` of the next step; nan before the first.
    time
        Of the exact flow.
    realization
        Sum of the distances in H between the points that the steps meant and those that the ansatz reached.
    discretization
        Sum of the differences in H of Heun's and Euler's method: a bound of the error of the integration in time.
    length
        Of the path, in H.
    grown_at, growths
        Step of the last growth, and how many there were.
    """

    step_length: float = float("nan")
    time: float = 0.0
    realization: float = 0.0
    discretization: float = 0.0
    length: float = 0.0
    grown_at: int = 0
    growths: int = 0

    @property
    def deviation(self) -> float:
        """Bound, where E is convex in H, on the distance to the exact flow: the sum of what every step lost."""
        return self.realization + self.discretization


@dataclass(frozen=True, eq=False)
class SobolevFlow:
    r"""The gradient flow of a Hilbert space, restricted to an ansatz.

    Parameters
    ----------
    energy, ansatz, space
        Energy on vectors of `space`, network (or `FiniteElement`: the flow itself), Hilbert space of the gradient.
    discretization
        ``"projected"``: Heun's method on the parameters. ``"retracted"``: Heun's method in H, then a regression.
    step_length
        A fixed step; None lets the error in time choose it.
    accuracy
        Largest difference of Heun's and Euler's step in H, relative to the step.
    duration
        Time at which the flow ends.
    iterations, tolerance, stagnation
        Stopping rules, see `NaturalGradientFlow`.
    metric
        ``"space"``: H is `space`. ``"gauss-newton"``: H is measured by ``R'' + J^T W J`` at the start of every step,
        the metric of the states that the unknown causes; its flow is Newton's method in continuous time.
    damping
        Of the Gram matrix, relative to its diagonal: a floor below which tangent directions are not used, so that a
        small network does not run away along directions that it is about to lose.
    expansion
        Growth towards the gradient where the squared alignment of a step falls below ``expansion.alignment``.

    Raises
    ------
    InputError
        If a setting is out of range.

    References
    ----------
    W. Dahmen, W. Li, Y. Teng, Z. Wang, arXiv 2507.13475. E. Hairer, S. P. Norsett, G. Wanner, Solving Ordinary
    Differential Equations I, Springer 1993. L. Nurbekyan, W. Lei, Y. Yang, Efficient natural gradient descent methods
    for large-scale PDE-based optimization problems, arXiv 2202.06236.
    """

    energy: object
    ansatz: object
    space: HilbertSpace
    discretization: Literal["projected", "retracted"] = "retracted"
    step_length: float | None = None
    accuracy: float = 0.1
    duration: float = float("inf")
    iterations: int = 200
    tolerance: float = 1e-6
    stagnation: float = 0.0
    metric: Literal["space", "gauss-newton"] = "space"
    damping: float = 1e-4
    trials: int = 12
    expansion: Expansion | None = None

    def __post_init__(self):
        if self.discretization not in ("projected", "retracted"):
            raise InputError(f"discretization is {self.discretization!r}; choose 'projected' or 'retracted'")
        check_metric(self.metric, self.energy)
        for name in ("step_length", "accuracy", "duration", "damping"):
            if getattr(self, name) not in (None, np.inf):
                check_positive(**{name: getattr(self, name)})
        if self.expansion is not None and not isinstance(self.ansatz, FiniteElement):
            check_growing(self.ansatz)

    memory = Progress
    start, resume, run = start, resume, run

    def step(self, iterate: Iterate) -> Iterate:
        """One accepted step in time, after growth where the tangent space misses too much of the gradient."""
        counts, iterate = solve_kinds(self.energy.counts), replace(iterate, events=())
        try:
            iterate, here = self._prepared(iterate)
            length = self.step_length or iterate.memory.step_length
            if np.isnan(length):
                length = self._first_length(iterate, here)
            for _ in range(self.trials):
                length = min(length, self.duration - iterate.memory.time)
                moved = self._trial(iterate, here, length)
                if moved is not None:
                    done = arrived(self, iterate, moved, counts)
                    over = done.memory.time >= self.duration * (1.0 - 1e-12)
                    return done.stopped(DURATION) if over and not done.stop_reason else done
                length *= 0.5
                if self.step_length is not None:
                    break
        except SolveError:
            pass
        return blocked(self, iterate, counts)

    # ---- one step -----------------------------------------------------------------------------------------------

    def _prepared(self, iterate: Iterate) -> tuple[Iterate, Slope]:
        """The iterate, grown while its alignment is poor and neurons are to be had, and its slope."""
        here = self._slope(iterate.ansatz, iterate.theta, iterate.linearization)
        while (self.expansion is not None and here.squared_alignment < self.expansion.alignment
               and not isinstance(iterate.ansatz, FiniteElement)):
            larger = grown(self.expansion, iterate, here.gradient, self.space, here.space.inner_product)
            if larger is None:
                break
            iterate = larger
            here = self._slope(iterate.ansatz, iterate.theta, iterate.linearization)
        return iterate, here

    def _slope(self, ansatz, theta: np.ndarray, linearization) -> Slope:
        space = metric_space(self.space, linearization, self.metric)
        gradient = space.riesz(linearization.derivative)
        tangent = replace(TangentSpace.at(ansatz, theta, self.space), space=space)
        if tangent.is_full:
            return Slope(space, gradient, gradient, 1.0)
        b, diagonal = tangent.pull_back(linearization.derivative), np.diag(tangent.matrix)
        dtheta = damped_solve(tangent.matrix, b, marquardt_shift(diagonal, self.damping))
        vector = tangent.push_forward(dtheta)
        lengths = float(linearization.derivative @ gradient) * space.inner(vector, vector)
        return Slope(space, gradient, dtheta, float(b @ dtheta) ** 2 / lengths if lengths > 0 else 1.0)

    def _trial(self, iterate: Iterate, here: Slope, h: float) -> Iterate | None:
        """The iterate after a step of length `h`; None if the error in time or the energy forbids it."""
        space, memory = here.space, iterate.memory
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                far_theta, far = self._at(iterate, here, h)
                slope = self._slope(iterate.ansatz, far_theta, far)
                meant = iterate.m - 0.5 * h * (here.gradient + slope.gradient)
                theta, m = self._followed(iterate, meant, iterate.theta - 0.5 * h * (here.dtheta + slope.dtheta), space)
                linearization = self.energy.linearize(m)
                length = space.norm(meant - iterate.m)
                time_error = 0.5 * h * space.norm(slope.gradient - here.gradient)
                missed = space.norm(m - meant)
        except SolveError:
            return None
        if self.step_length is None and (time_error > self.accuracy * length or linearization.value > iterate.value):
            return None
        factor = SAFETY * self.accuracy * length / max(time_error, 1e-300)
        following = h if self.step_length is not None else h * float(np.clip(factor, SHORTEST, LONGEST))
        memory = replace(memory, step_length=following, time=memory.time + h, realization=memory.realization + missed,
                         discretization=memory.discretization + time_error,
                         length=memory.length + space.norm(m - iterate.m))
        fit = (missed / length) ** 2 if length > 0 else 0.0
        return replace(iterate, theta=theta, m=m, linearization=linearization, memory=memory, fit=fit, step_size=h)

    def _at(self, iterate: Iterate, here: Slope, h: float):
        """Parameters and linearisation at the end of Euler's step."""
        theta, m = self._followed(iterate, iterate.m - h * here.gradient, iterate.theta - h * here.dtheta, here.space)
        return theta, self.energy.linearize(m)

    def _followed(self, iterate: Iterate, target: np.ndarray, theta: np.ndarray, space: HilbertSpace):
        """Parameters near `theta`, and their function: as they are (projected), or regressed on `target`."""
        m = realize(iterate.ansatz, theta, self.space)
        if self.discretization == "projected" or isinstance(iterate.ansatz, FiniteElement):
            return theta, m
        better = retract(QuadraticModel.towards(target, m, space.inner_product), iterate.ansatz, theta, self.space,
                         damping=max(1e-3, self.damping), fit=1e-3, floor=self.damping)
        return better.theta, better.m

    def _first_length(self, iterate: Iterate, here: Slope) -> float:
        """Step at which Heun and Euler would differ by the accuracy, from one trial gradient close by."""
        space, length = here.space, max(here.space.norm(here.gradient), 1e-300)
        size = space.norm(iterate.m) + np.sqrt(abs(iterate.value) / length)
        h = 1e-3 * (size / length or 1.0)  # nothing tells a size at zero
        near = space.riesz(self.energy.linearize(iterate.m - h * here.gradient).derivative)
        bend = space.norm(near - here.gradient) / h
        return 2.0 * self.accuracy * space.norm(here.gradient) / bend if bend > 0 else h


@dataclass(frozen=True, eq=False)
class Slope:
    """H, the gradient (n,) in it, parameters (P,) of its projection, and the squared alignment of both."""

    space: HilbertSpace
    gradient: np.ndarray
    dtheta: np.ndarray
    squared_alignment: float
