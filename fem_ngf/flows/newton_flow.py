r"""The Newton flow: one quadratic model for the step, for its realisation and for the certificate (METHOD section 3d).

A step learns the curvature along a few Krylov directions, minimises the `QuadraticModel` over the network, and judges
the result by its gain ratio, actual over predicted decrease; mu of the `Curvature` follows the ratio as in Levenberg's
and Marquardt's method, in function space. The pairs of conjugate gradients are exact at the linearisation where they
are met and correct those of earlier ones, so that the model comes to know the curvature off each single Krylov space.

While it searches the flow samples values and tangent vectors at the nodes, where the element allows it; it finishes
with the sampling of its space.

References
----------
J. J. More, The Levenberg-Marquardt algorithm: implementation and theory, Lecture Notes in Mathematics 630 (1978).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ..ansatz.finite_element import FiniteElement
from ..ansatz.wrappers import is_structured, within
from ..errors import InputError, SolveError, check_has, check_positive
from ..growth.expansion import Expansion
from ..growth.grow import check_growing
from ..linalg.bounded import held
from ..spaces.hilbert import HilbertSpace
from ..tangent.rows import STORED, TangentRows, tangents
from .certificate import negligible, run
from .curvature import Curvature, krylov_pairs, misfit_factor
from .growing import grown
from .iterate import (
    CERTIFIED,
    EXHAUSTED,
    FLAT,
    IN_STRUCTURE,
    STALLED,
    TOO_SMALL,
    Iterate,
    realized_alignment,
    resume,
    solve_kinds,
    solves_since,
    start,
)
from .quadratic_model import QuadraticModel
from .retraction import Retraction, retract
from .search import attempted

ACCEPTED, GOOD, POOR, LINEAR = 0.1, 0.75, 0.25, 1.5
"""Gain ratios; above the last one the energy bends so much less than the model (not at all: 2) that more can be gained.
"""
SLOW, GAIN = 0.2, 1e-2
"""Shares of the tolerance below which a step is slow, and that an iteration of a realisation must gain."""
GROWTH_GAIN, GROWTH_MISS = 1e-3, 0.3
"""Shares that growth must promise: of the energy, which the last growth must also have brought, and of the step."""
BEYOND = 1e-2
"""Share of the energy that functions beyond the network may be expected to gain where it is called converged."""
FLOOR = 1e-6
"""Least damping of a realisation, relative to the Gram matrix's diagonal: below it weights run away."""
FEWER = 3
"""How many times fewer iterations a realisation takes where tangent vectors are projected, and more each must gain."""
SHORTER, LONGER = 2.0, 0.6
"""Shares that end the look for the curvature of a network, which realises part of a step only, and the last one."""
EXACT = 300
"""Most solves for all of the curvature, which is found where no regularisation stands for what is not."""
UNKNOWN = {"expected_decrease": float("nan"), "expected_beyond": float("nan")}
"""What the model expects where an iterate has just come to."""
STRAIGHT = 0.05
"""Share of an energy's change that the trapezoidal rule may miss along a path on which secants are pairs."""


@dataclass(frozen=True, eq=False)
class NewtonMemory:
    """What the flow knows besides its iterate.

    Parameters
    ----------
    factor
        ``F`` (n, r) of the `Curvature`, at the iterate or corrected there by the next step; None: nothing is known.
    mu
        Levenberg-Marquardt parameter in function space, at most the smallest Ritz value for the next step.
    raised
        Whether a rejected step raised mu above that value, so that it is what the next step begins with.
    damping
        Of the parameters, at the end of the last realisation.
    gain
        Gain ratio of the last step.
    decrease, remaining
        What the last step gained, and what those that follow gain if each gains the same share of the one before.
    expected_decrease
        Certificate: what the model loses by the best step along the tangent space.
    expected_beyond
        What it loses by the Newton step, which no network limits: an estimate of the distance to the nodal minimum.
    slow
        Number of steps running that gained little.
    learnt, carried
        Whether the curvature has been learnt where the iterate is, or comes from another mesh.
    sampling
        Of the iterate; empty: that of the search.
    grown_at, growths, grown_value
        Step of the last growth, how many there were, and the energy at the last.
    """

    factor: np.ndarray | None = None
    mu: float = float("inf")
    raised: bool = False
    damping: float = 1e-3
    gain: float = float("nan")
    decrease: float = float("nan")
    remaining: float = float("nan")
    expected_decrease: float = float("nan")
    expected_beyond: float = float("nan")
    slow: int = 0
    learnt: bool = False
    carried: bool = False
    sampling: str = ""
    grown_at: int = 0
    growths: int = 0
    grown_value: float = float("nan")


@dataclass(frozen=True, eq=False)
class NewtonFlow:
    """Gauss-Newton flow of a network (or of nodal values) on an inverse problem.

    Parameters
    ----------
    energy
        `InverseProblem` on vectors of `space`.
    ansatz
        Network, or `FiniteElement` for nodal values. Where the energy has bounds, nodal values are projected on them by
        every step, and the network is `Bounded`.
    space
        Hilbert space that measures gradients; its sampling is that of the result (nodal where the energy has bounds).
    iterations
        Largest number of steps.
    tolerance
        Stop when the expected decrease is below this fraction of the energy.
    share, cg_iterations
        Of `krylov_pairs`, before every step.
    retractions
        Largest number of Levenberg-Marquardt iterations of a realisation.
    attempts
        Largest number of realisations that a step may try.
    expansion
        How many neurons the network grows by, and up to what size, when what the model expects of all functions
        is more than what it expects of the tangent space. None keeps its size.
    """

    energy: object
    ansatz: object
    space: HilbertSpace
    iterations: int = 150
    tolerance: float = 5e-4
    share: float = 0.1
    cg_iterations: int = 20
    retractions: int = 30
    attempts: int = 12
    expansion: Expansion | None = None

    memory = NewtonMemory
    run = run

    def __post_init__(self):
        if not hasattr(self.energy, "noise"):
            raise InputError(f"energy is a {type(self.energy).__name__}; NewtonFlow is for an InverseProblem, another "
                             "energy takes NaturalGradientFlow or SobolevFlow")
        check_positive(**{name: getattr(self, name) for name in ("tolerance", "share", "iterations", "attempts")})
        check_has("space", self.space, "a HilbertSpace, or another space", "nodal_twin", "project")
        if isinstance(self.ansatz, FiniteElement):
            return
        if self.expansion is not None:
            check_growing(self.ansatz)
        if self.energy.bounds is not None:  # a projection would leave them where a network is next to them
            object.__setattr__(self, "ansatz", within(self.ansatz, self.energy.bounds))
            object.__setattr__(self, "space", self.space.nodal_twin)

    def start(self, theta: np.ndarray) -> Iterate:
        """The iterate at the start; costs the forward and adjoint solves."""
        if self.energy.bounds is not None and isinstance(self.ansatz, FiniteElement):
            theta = np.clip(theta, *self.energy.limits)
        first = start(replace(self, space=self._search_space), theta, bounded=True)
        return replace(first, memory=NewtonMemory(sampling=first.space.sampling))

    def resume(self, ansatz, state: dict) -> Iterate:
        """The iterate that `Iterate.state` described."""
        searches = state["memory"]["sampling"] != self.space.sampling
        return resume(replace(self, space=self._search_space) if searches else self, ansatz, state)

    def entered(self, theta: np.ndarray, coarse: Iterate) -> Iterate:
        """The start on this mesh with the curvature and mu of an iterate on another, sampled as the space samples.

        On the same mesh, after another weight of the regularisation say, the curvature stays as it is.
        """
        iterate, factor = start(self, theta, bounded=True), coarse.memory.factor
        if coarse.space is not self.space:
            known, base = Curvature.of(coarse.linearization, factor), iterate.linearization.preconditioner
            factor = known.prolonged(coarse.space, self.space, base).factor
        memory = NewtonMemory(factor, coarse.memory.mu, carried=True, sampling=self.space.sampling)
        return replace(iterate, memory=memory)

    @property
    def _search_space(self):
        return self.space if isinstance(self.ansatz, FiniteElement) else self.space.nodal_twin

    def step(self, iterate: Iterate) -> Iterate:
        """One step; where there is nothing to gain, the end."""
        counts, state, iterate = solve_kinds(self.energy.counts), iterate.memory, replace(iterate, events=())
        try:
            model, state, larger, vectors = self._informed(iterate, state)
            iterate = replace(iterate, memory=state)
            enough = self._least(iterate) if state.slow < 2 else max(self._least(iterate), negligible(iterate))
            misled = state.gain > LINEAR and not state.remaining <= negligible(iterate)
            done = state.slow >= 4 or state.learnt and state.expected_decrease <= enough and not misled
            if larger is None and done:
                return self._ended(iterate, counts)
            iterate = larger or iterate
            taken = self._search(iterate, model, iterate.memory, vectors)
            moved = taken and self._arrived(iterate, taken, counts)
        except SolveError:
            taken = None
        if taken is None and not iterate.memory.learnt and iterate.memory.carried:
            return self.step(replace(iterate, memory=replace(iterate.memory, carried=False),
                                     solves=solves_since(self.energy.counts, counts, iterate.solves)))
        if taken is None:
            return self._ended(iterate, counts)
        return moved.stopped(EXHAUSTED) if moved.step >= self.iterations else moved

    def _informed(self, iterate: Iterate, state: NewtonMemory):
        """The model, what the flow knows with it, the iterate in a larger network where growth is worth it, and ``T``.

        The tangent vectors are for the first iteration of the retraction; they are not kept where they are large.
        """
        vectors = self._tangents(iterate)
        model, state = self._model(iterate, state, vectors)
        larger = self._grown(replace(iterate, memory=state), model)
        if larger is None and self._seems_done(iterate, state):
            model, state = self._learning(iterate, model, state, vectors, LONGER * self.share)
            larger = self._grown(replace(iterate, memory=state), model)
        kept = larger is None and vectors is not None and np.prod(vectors.shape) <= STORED
        return model, state, larger, vectors if kept else None

    def _grown(self, iterate: Iterate, model: QuadraticModel) -> Iterate | None:
        """The iterate in a network grown towards the Newton step; None where that is not worth it, or cannot be.

        It is worth it while the tangent space misses `GROWTH_MISS` of what the model expects of all functions, and that
        is `GROWTH_GAIN` of the energy; and the steps since the last growth must have gained as much.
        """
        memory, least = iterate.memory, GROWTH_GAIN * abs(iterate.value)
        missed = memory.expected_beyond - memory.expected_decrease
        if self.expansion is None or memory.expected_beyond <= least or missed <= GROWTH_MISS * memory.expected_beyond:
            return None
        if memory.growths and memory.grown_value - iterate.value <= least:
            return None
        target = model.minimiser - iterate.m
        larger = grown(self.expansion, iterate, target, iterate.space, model.curvature)
        if larger is None:
            return None
        return replace(larger, memory=replace(larger.memory, slow=0, grown_value=iterate.value))

    def expected(self, iterate: Iterate) -> float:
        """Expected decrease by the curvature that is known; costs no solve."""
        return QuadraticModel.of(iterate).expected_decrease(self._tangents(iterate))

    def _model(self, iterate: Iterate, state: NewtonMemory, vectors) -> tuple[QuadraticModel, NewtonMemory]:
        """The model with the curvature learnt here; one that comes from another mesh is good enough for a step."""
        model = QuadraticModel.of(iterate)
        if state.carried or state.learnt:
            state = self._expecting(model, state, vectors)
        suffices = state.carried and state.expected_decrease > self._least(iterate)
        if state.learnt or suffices:
            return model, replace(state, learnt=not suffices)
        shorter = 1.0 if isinstance(self.ansatz, FiniteElement) else SHORTER
        return self._learning(iterate, model, state, vectors, shorter * self.share)

    def _seems_done(self, iterate: Iterate, state: NewtonMemory) -> bool:
        """Whether the search at the nodes is about to end, unless a longer look for the curvature says otherwise."""
        return state.learnt and state.expected_decrease <= self._least(iterate) and iterate.space is not self.space

    def _learning(self, iterate: Iterate, model: QuadraticModel, state: NewtonMemory, vectors, share: float):
        """The model, and what the flow knows, after conjugate gradients looked for the curvature."""
        model = replace(model, curvature=self._learnt(iterate, model.curvature, state, share))
        state = replace(state, factor=model.curvature.factor, learnt=True)
        return model, self._expecting(model, state, vectors)

    def _expecting(self, model: QuadraticModel, state: NewtonMemory, vectors) -> NewtonMemory:
        """What the model expects along tangent vectors, and of all functions."""
        return replace(state, expected_decrease=model.expected_decrease(vectors),
                       expected_beyond=model.expected_decrease(None))

    def _learnt(self, iterate: Iterate, curvature: Curvature, state: NewtonMemory, share: float) -> Curvature:
        """The curvature with what conjugate gradients, or all experiments, tell of it where the iterate is."""
        linearization, bounds = iterate.linearization, self.energy.limits
        if self._exact:
            return Curvature.of(linearization, misfit_factor(linearization))
        known = curvature.with_mu(self._first_mu(state, curvature))
        still = None if bounds is None else held(iterate.m, linearization.derivative, bounds)
        return curvature.with_pairs(*krylov_pairs(linearization, known, share=share, maximum=self.cg_iterations,
                                                  held=still))

    @property
    def _exact(self) -> bool:
        data = self.energy.data
        return self.energy.weight == 0 and min(self.space.size, data.size) * data.shape[1] <= EXACT

    def _first_mu(self, state: NewtonMemory, curvature: Curvature) -> float:
        """Mu at the start of a step: that of the last one, not above what the least known direction has."""
        if self._exact:
            return state.mu if np.isfinite(state.mu) else 1e-2 * float(curvature.ritz_values.max(initial=1.0))
        return state.mu if state.raised else min(state.mu, curvature.smallest)

    def _least(self, iterate: Iterate) -> float:
        """Expected decrease that ends the flow."""
        return self.tolerance * abs(iterate.value)

    def _search(self, iterate: Iterate, model: QuadraticModel, state: NewtonMemory, vectors) -> Iterate | None:
        """A realisation of the model's minimiser that keeps enough of what it promised; mu grows until there is one."""
        curvature, mu = model.curvature, self._first_mu(state, model.curvature)
        for attempt in range(self.attempts):
            model = replace(model, curvature=curvature)
            found = self._realised(model, iterate, iterate.space, mu, vectors=vectors)
            predicted = -model(found.m)
            if not predicted > GAIN * self._least(iterate):
                return None
            linearization = attempted(partial(self.energy.linearize, found.m))
            gain = -np.inf if linearization is None else (iterate.value - linearization.value) / predicted
            if gain > ACCEPTED:
                raised = (attempt > 0 or state.raised) and mu > curvature.smallest
                mu = mu / (10.0 if raised else 3.0) if gain > GOOD else 2.0 * mu if gain < POOR else mu
                state = replace(state, factor=curvature.factor, mu=mu, raised=raised, damping=found.damping, gain=gain,
                                learnt=False, carried=False)
                return replace(iterate, theta=found.theta, m=found.m, linearization=linearization, memory=state)
            if attempt == 0 and linearization is not None and not self._exact:
                moved = (found.m - iterate.m)[:, None]
                curvature = curvature.with_pairs(moved, iterate.linearization.misfit_action(moved))
            mu = max((4.0 if attempt < 2 else 10.0) * mu, curvature.smallest)
        return None

    def _arrived(self, before: Iterate, after: Iterate, counts: dict) -> Iterate:
        """The iterate with what the step itself tells about the curvature, counted and measured."""
        state, moved = after.memory, after.m - before.m
        old, new = before.linearization, after.linearization
        change = new.value - old.value
        straight = abs(change - 0.5 * (old.derivative + new.derivative) @ moved) < STRAIGHT * abs(change)
        curvature = Curvature.of(old, state.factor)
        if straight:
            secant = misfit_derivative(new) - misfit_derivative(old)
            curvature = curvature.with_pairs(moved[:, None], secant[:, None])
        elif new.value < 0.5 * old.value:
            curvature = curvature.forgotten()
        slow = state.slow + 1 if -change < SLOW * self._least(before) else 0
        share = -change / state.decrease
        remaining = float("inf") if share >= 1.0 else -change * share / (1.0 - share)
        norm = self.space.dual_norm(new.derivative)
        return replace(after, step=before.step + 1, gradient_norm=norm, step_size=1.0,
                       alignment=realized_alignment(self.space, before, moved), fit=float("nan"),
                       expected=float("nan"), memory=replace(state, factor=curvature.factor, slow=slow,
                                                             decrease=-change, remaining=remaining, **UNKNOWN),
                       solves=solves_since(self.energy.counts, counts, before.solves))

    def _ended(self, iterate: Iterate, counts: dict) -> Iterate:
        """The end, or, where the search sampled at the nodes, its last part: the same parameters as the space samples.

        `counts` are those before the solves that the iterate does not count yet.
        """
        iterate = replace(iterate, solves=solves_since(self.energy.counts, counts, iterate.solves))
        if iterate.space.sampling == self.space.sampling:
            return iterate.stopped(self.status(iterate))
        return self._resampled(iterate) or iterate.stopped(STALLED)

    def _resampled(self, iterate: Iterate) -> Iterate | None:
        """The network near the same function, as the space of the flow samples; None where there is no energy.

        What was learnt for the end of the search still holds where the energy hardly changes.
        """
        counts = solve_kinds(self.energy.counts)
        model = QuadraticModel.of(iterate)
        mu = self._first_mu(iterate.memory, model.curvature)
        found = self._realised(model, iterate, self.space, mu, fit=1.0)
        linearization = attempted(partial(self.energy.linearize, found.m))
        if linearization is None:
            return None
        norm, near = self.space.dual_norm(linearization.derivative), abs(linearization.value - iterate.value)
        learnt = iterate.memory.learnt and near <= self._least(iterate)
        state = replace(iterate.memory, slow=0, learnt=learnt, damping=found.damping, sampling=self.space.sampling)
        return replace(iterate, step=iterate.step + 1, theta=found.theta, m=found.m, linearization=linearization,
                       space=self.space, memory=state, gradient_norm=norm,
                       events=(f"sampling is {self.space.sampling} from here",),
                       solves=solves_since(self.energy.counts, counts, iterate.solves))

    def _realised(self, model: QuadraticModel, iterate: Iterate, space: HilbertSpace, mu: float,
                  fit: float = 0.0, vectors: np.ndarray | TangentRows | None = None) -> Retraction:
        """The network that minimises the model with another mu, or comes as near as `fit` says."""
        damped = replace(model, curvature=model.curvature.with_mu(mu))
        fewer = 1 if space.sampling == self._search_space.sampling else FEWER
        return retract(damped, iterate.ansatz, iterate.theta, space, damping=iterate.memory.damping,
                       iterations=max(self.retractions // fewer, 1), fit=fit, floor=FLOOR,
                       atol=fewer * GAIN * self._least(iterate), vectors=vectors)

    def status(self, iterate: Iterate) -> str:
        """Converged where the certificate is small: beside the energy, or as a log-likelihood if it is one.

        A network must leave little to all functions, too, unless it is meant to be a gradient, or monotone. Where
        nothing is expected because the state hardly depends on the unknown, as where an exponential has saturated, a
        large misfit tells.
        """
        small, memory = negligible(iterate), iterate.memory
        if memory.expected_decrease > small:
            return STALLED
        felt = memory.factor is None or memory.factor.shape[1] > 0
        if not felt and iterate.terms["misfit"] > self.energy.data.size:
            return FLAT
        if memory.expected_beyond <= max(small, BEYOND * abs(iterate.value)):
            return CERTIFIED
        return IN_STRUCTURE if is_structured(iterate.ansatz) else TOO_SMALL

    def _tangents(self, iterate: Iterate):
        if isinstance(iterate.ansatz, FiniteElement):
            return None
        return tangents(iterate.ansatz, iterate.theta, iterate.space)


def misfit_derivative(linearization) -> np.ndarray:
    """Covector (n,) of the energy's derivative without the regularisation's."""
    return linearization.derivative - linearization.regularization_derivative
