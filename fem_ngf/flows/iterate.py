"""The value that every flow yields, and the words in which flows stop."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from ..ansatz.checks import check_unknown
from ..ansatz.wrappers import within
from ..errors import InputError, SolveError, check_counts, check_not_negative, same_size
from ..spaces.hilbert import HilbertSpace
from ..tangent.tangent_space import TangentSpace, realize

GRADIENT = "gradient below tolerance"
STAGNATION = "energy decrease below tolerance"
LEVEL = "energy decrease below the discretisation change"
UNREACHABLE = "energy not defined on the next mesh"
EXHAUSTED = "iterations exhausted"
DURATION = "end of the flow's duration"
BLOCKED = "no step along the direction lowers the energy"
CERTIFIED = "expected decrease below tolerance"
IN_STRUCTURE = "expected decrease below tolerance, among functions of the network's structure"
STALLED = "no step gains what the model still expects; let the network grow or take a larger one"
TOO_SMALL = "the network can gain no more, but other functions could; let it grow or take a larger one"
FLAT = "the data do not feel the unknown here, and do not fit; start elsewhere"
CONVERGED = (GRADIENT, STAGNATION, CERTIFIED, IN_STRUCTURE)


@dataclass(frozen=True, eq=False)
class Iterate:
    """One state of a flow.

    Parameters
    ----------
    step
        Number of steps taken.
    ansatz, theta
        The ansatz (expansion replaces it) and its parameters ``(P,)``.
    m
        The vector they realise ``(n,)``.
    linearization
        Of the energy at `m`.
    space
        The flow's Hilbert space.
    gradient_norm
        Norm of the gradient in the flow's space (dual norm of the derivative).
    start_value, start_gradient
        Energy and gradient norm where the flow started.
    alignment
        Realised alignment of the step that led here with the negative gradient (nan at the start).
    fit
        Squared distance between the meant and the realised function, relative to the step (retraction, or
        natural-gradient step), else nan.
    step_size
        Length of the step in units of the proposed direction.
    solves
        Forward, adjoint and incremental PDE solves since the flow started.
    memory
        What the flow carries on: a frozen dataclass of its own (`flow.memory` is the type).
    idle
        How many of the last steps running gained less than the flow's `stagnation`.
    events
        What happened on the way here besides the step (growth, restarts), as text.
    stop_reason
        Empty while the flow runs.
    expected
        What could still be gained where the flow ended (`certificate.expected_decrease`); nan while that is unknown.
    """

    step: int
    ansatz: object
    theta: np.ndarray
    m: np.ndarray
    linearization: object
    space: HilbertSpace
    gradient_norm: float
    start_value: float
    start_gradient: float
    alignment: float = float("nan")
    fit: float = float("nan")
    step_size: float = float("nan")
    solves: dict[str, int] = field(default_factory=dict)
    memory: object = None
    idle: int = 0
    events: tuple[str, ...] = ()
    stop_reason: str = ""
    expected: float = float("nan")

    def __repr__(self):
        end = f", {self.status}: {self.stop_reason}" if self.stop_reason else ""
        return (f"Iterate(step {self.step}, energy {self.value:.6g}, gradient norm {self.gradient_norm:.3g}, "
                f"{self.parameters} parameters, {self.total_solves} PDE solves{end})")

    @property
    def value(self) -> float:
        """The energy."""
        return self.linearization.value

    @property
    def terms(self) -> dict[str, float]:
        """The energy's terms by name."""
        return self.linearization.terms

    @property
    def parameters(self) -> int:
        """Number of parameters ``P``."""
        return len(self.theta)

    @cached_property
    def kappa(self) -> float:
        """Alignment of the tangent space with the gradient (METHOD section 2), undamped; computed when asked for.

        The tangent functions are interpolated where the element allows it, at a fraction of the price of projecting
        them; the difference is of the order of the interpolation error.
        """
        tangent = TangentSpace.at(self.ansatz, self.theta, self.space.nodal_twin)
        return tangent.alignment(self.linearization.derivative)

    @property
    def time(self) -> float:
        """Time that a Sobolev flow has reached; nan in flows that have none."""
        return getattr(self.memory, "time", float("nan"))

    @property
    def deviation(self) -> float:
        """Bound on the distance to the exact Sobolev flow; nan in flows that follow none."""
        return getattr(self.memory, "deviation", float("nan"))

    @property
    def certificate(self) -> float:
        """Bound ``||grad|| / mu`` on the distance to the minimiser of a mu-strongly convex energy, else nan."""
        modulus = getattr(self.linearization, "convexity_in", None)
        return self.gradient_norm / modulus(self.space) if modulus else float("nan")

    @property
    def total_solves(self) -> int:
        """PDE solves of every kind."""
        return sum(self.solves.values())

    @property
    def converged(self) -> bool:
        """Stopped by a tolerance, at a state no worse than the start."""
        return self.stop_reason in CONVERGED and self.value <= self.start_value

    @property
    def status(self) -> str:
        """``"converged"``, ``"exhausted"`` (iterations or duration), ``"stalled"``, or ``""`` while the flow runs."""
        if self.converged:
            return "converged"
        return "exhausted" if self.stop_reason in (EXHAUSTED, DURATION) else "stalled" if self.stop_reason else ""

    @property
    def expected_decrease(self) -> float:
        """What could still be gained in the network's tangent space; nan while that is not known."""
        return self.expected if np.isfinite(self.expected) else getattr(self.memory, "expected_decrease", self.expected)

    def stopped(self, reason: str) -> Iterate:
        """The same iterate with a stop reason."""
        return replace(self, stop_reason=reason)

    def state(self) -> dict:
        """Arrays, numbers and strings from which the flow can go on (see `resume`)."""
        kept = {name: getattr(self, name) for name in STATE}
        state = getattr(self.linearization, "state", None)
        return {**kept, "memory": dict(vars(self.memory)), "ansatz": self.ansatz.as_dict(),
                "warm_start": getattr(state, "start", getattr(state, "u", None))}


STATE = ("step", "theta", "start_value", "start_gradient", "alignment", "fit", "step_size", "solves", "idle", "events",
         "stop_reason", "expected")


# ---- methods that every flow has: `flow` holds energy, ansatz and space, and takes steps ---------------------------


def start(flow, theta: np.ndarray, bounded: bool = False) -> Iterate:
    """The iterate at the start; costs the forward and adjoint solves. It is stopped if the gradient is zero there.

    `bounded` says that the flow keeps the bounds of its energy.

    Raises
    ------
    InputError
        If the ansatz is no unknown of the space, the energy cannot be evaluated at the start, or has bounds that
        neither flow nor ansatz keeps.
    """
    energy, space = flow.energy, flow.space
    check_unknown(flow.ansatz, space)
    _check_rules(flow)
    if not bounded and getattr(energy, "bounds", None) is not None and within(flow.ansatz, (0, 1)) is not flow.ansatz:
        raise InputError(f"the energy has bounds, which {type(flow).__name__} does not keep; take NewtonFlow, or a "
                         "network that is Bounded")
    before = solve_kinds(energy.counts)
    try:
        m = realize(flow.ansatz, theta, space)
        linearization = energy.linearize(m)
        norm = space.dual_norm(linearization.derivative)
    except SolveError as error:
        raise InputError(f"the energy cannot be evaluated at the start ({error}); choose another start value") from None
    solves = solves_since(energy.counts, before, {})
    first = Iterate(0, flow.ansatz, theta, m, linearization, space, norm, linearization.value, norm, solves=solves,
                    memory=flow.memory())
    if norm > 0.0:
        return first
    data = getattr(energy, "data", np.zeros(0))
    return first.stopped(FLAT if data.size and first.terms["misfit"] > data.size else GRADIENT)


def _check_rules(flow) -> None:
    """InputError unless energy and space have the same unknowns, and the stopping rules are numbers that can be met."""
    if hasattr(flow.energy, "space"):
        same_size("the energy", flow.energy.space.size, "space", flow.space.size)
    check_counts(iterations=flow.iterations)
    rules = {"tolerance": flow.tolerance, "stagnation": getattr(flow, "stagnation", 0.0)}
    check_not_negative(**rules)
    if large := [name for name, value in rules.items() if value >= 1]:
        raise InputError(f"{large[0]} is {rules[large[0]]}; it is a share and must be below 1")


def resume(flow, ansatz, state: dict) -> Iterate:
    """The iterate that `Iterate.state` described; its solves are already in the counts and not counted again."""
    m = realize(ansatz, state["theta"], flow.space)
    linearization = flow.energy.linearize(m, start=state["warm_start"])
    norm = flow.space.dual_norm(linearization.derivative)
    return Iterate(ansatz=ansatz, m=m, linearization=linearization, space=flow.space, gradient_norm=norm,
                   memory=flow.memory(**state["memory"]), **{name: state[name] for name in STATE})


def at(flow, iterate: Iterate, theta: np.ndarray) -> Iterate:
    """The iterate at other parameters, with its energy linearised there.

    Raises
    ------
    SolveError
        If the network overflows there or the equation cannot be solved.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        m = realize(iterate.ansatz, theta, flow.space)
    return replace(iterate, theta=theta, m=m, linearization=flow.energy.linearize(m))


def arrived(flow, before: Iterate, after: Iterate, counts: dict[str, int]) -> Iterate:
    """`after`, reached from `before` by a step: counted, measured, and stopped if a rule says so.

    Parameters
    ----------
    flow
        Has ``energy``, ``space``, ``tolerance``, ``stagnation`` and ``iterations``.
    counts
        The energy's counter before the step.
    """
    gradient_norm = flow.space.dual_norm(after.linearization.derivative)
    alignment = realized_alignment(flow.space, before, after.m - before.m)
    slow = flow.stagnation > 0 and abs(before.value - after.value) <= flow.stagnation * abs(before.value)
    idle = before.idle + 1 if slow else 0
    moved = replace(after, step=before.step + 1, gradient_norm=gradient_norm, alignment=alignment, idle=idle,
                    expected=float("nan"), solves=solves_since(flow.energy.counts, counts, before.solves))
    if gradient_norm <= flow.tolerance * moved.start_gradient:
        return moved.stopped(GRADIENT)
    if idle >= 2:
        return moved.stopped(STAGNATION)
    return moved.stopped(EXHAUSTED) if moved.step >= flow.iterations else moved


def realized_alignment(space, before: Iterate, moved: np.ndarray) -> float:
    """Cosine in the space between the function step `moved` (n,) and the negative gradient; 0 where nothing moved."""
    length = space.norm(moved) * before.gradient_norm
    return float(-before.linearization.derivative @ moved / length) if length > 0 else 0.0


def blocked(flow, iterate: Iterate, counts: dict[str, int]) -> Iterate:
    """The same state, stopped because no admissible step was found; the solves that were tried are counted."""
    return replace(iterate, solves=solves_since(flow.energy.counts, counts, iterate.solves), stop_reason=BLOCKED)


def solves_since(counts, before: dict[str, int], earlier: dict[str, int]) -> dict[str, int]:
    """Solves so far: those of earlier steps plus what the counter gained since `before`."""
    return {name: earlier.get(name, 0) + value - before[name] for name, value in solve_kinds(counts).items()}


def solve_kinds(counts) -> dict[str, int]:
    """Forward, adjoint and incremental solves of a counter."""
    return {name: getattr(counts, name) for name in ("forward", "adjoint", "incremental")}
