"""From a case and its options to the flows that solve it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from ..ansatz.checks import placed
from ..ansatz.finite_element import FiniteElement
from ..ansatz.mlp import MLP
from ..ansatz.restore import ansatz_from_dict
from ..ansatz.wrappers import growing_layers
from ..errors import InputError
from ..flows.baselines import ParameterDescent
from ..flows.continuation import Continuation, Stage
from ..flows.natural_gradient import NaturalGradientFlow
from ..flows.newton_flow import NewtonFlow
from ..flows.sobolev import SobolevFlow
from ..growth.expansion import Expansion
from ..growth.grow import seedling
from ..pde.protocol import SolveCounts
from ..tangent.tangent_space import check_tangents, realize
from .case import Case, reweighted
from .options import SOBOLEV, STATES, RunOptions, given_weight


@dataclass(frozen=True, eq=False)
class Identification:
    """A case with its options, ready to run.

    Parameters
    ----------
    case, options
        What to solve and how.
    levels
        The levels in use, coarse to fine.
    continuation
        One flow a level.
    """

    case: Case
    options: RunOptions
    levels: tuple
    continuation: Continuation

    @classmethod
    def of(cls, case: Case, options: RunOptions | None = None) -> Identification:
        """The identification of a case; without options as the case prefers.

        Raises
        ------
        InputError
            If the options do not fit the case.
        """
        options = RunOptions.merged(case.defaults, {}) if options is None else options
        if options.levels is not None and options.levels > len(case.levels):
            raise InputError(f"levels is {options.levels}; case {case.name} has {len(case.levels)}")
        levels = case.levels[-options.levels:] if options.levels else case.levels
        weight = given_weight(options.weight)
        levels = levels if weight is None else reweighted(levels, weight)
        length = case.length if options.length is None else options.length
        metric = RunOptions.metric if options.metric == STATES else options.metric
        spaces = [level.space(metric, length, options.sampling) for level in levels]
        case = replace(case, ansatz=placed(case.ansatz, spaces[-1].nodal_twin.points))
        flows = tuple(_flow(case, options, level, space) for level, space in zip(levels, spaces, strict=True))
        return cls(case, options, levels, Continuation(flows))

    def at_weight(self, weight: float) -> Identification:
        """The same with another weight of the regularisation."""
        levels = reweighted(self.levels, weight)
        flows = (replace(flow, energy=level.energy)
                 for flow, level in zip(self.continuation.flows, levels, strict=True))
        return Identification(self.case, replace(self.options, weight=repr(weight)), levels, Continuation(tuple(flows)))

    def control(self) -> Identification:
        """The same for nodal values, by the Newton flow: what a network is compared with."""
        options = replace(self.options, ansatz="finite-element", flow="newton", method=None, grow=None,
                          growth="greedy", trigger="either", width=None, depth=None, activation=None, control=False,
                          metric=RunOptions.metric if self.options.metric == STATES else self.options.metric)
        return Identification.of(self.case, options)

    @property
    def ansatz(self):
        """The unknown at the start."""
        return self.continuation.flows[0].ansatz

    @property
    def evolves(self) -> bool:
        """Whether the equation is one in time."""
        return hasattr(getattr(self.levels[-1].energy, "pde", None), "evolutions")

    @property
    def evolutions(self) -> SolveCounts:
        """Whole evolutions on all meshes so far, whoever asked for them."""
        return sum((level.energy.pde.evolutions for level in self.levels), SolveCounts()) if self.evolves else (
            SolveCounts())

    def stages(self, start: Stage | None = None, clock: Clock | None = None) -> Iterator[Stage]:
        """The stages of the run, from its start or from a stage.

        Parameters
        ----------
        start
            Stage to go on from.
        clock
            Adds up the time of the work, and its evolutions. That runs on as many threads as the options say: threads
            that wait for each other have made runs on small, busy machines ten times slower.
        """
        clock = Clock() if clock is None else clock
        stages = self.continuation.run(self.initial() if start is None else start)
        threads = ThreadpoolController()
        while True:
            with clock.counting(self), threads.limit(limits=self.options.threads):
                stage = next(stages, None)
            if stage is None:
                return
            yield stage

    def initial(self) -> np.ndarray:
        """Parameters at the start; nodal values start where the network does, unless the case says from where."""
        generator = np.random.default_rng(self.options.seed)
        network: Any = self.case.ansatz
        nodal = isinstance(self.ansatz, FiniteElement) and self.case.start is None
        if nodal and not isinstance(network, FiniteElement):
            return realize(network, network.initial(generator), self.continuation.flows[0].space)
        return self.ansatz.initial(generator)

    def resume(self, state: dict) -> Stage:
        """The stage that `Stage.state` described."""
        like = self.continuation.flows[state["level"]].ansatz
        return self.continuation.resume(ansatz_from_dict(state["iterate"]["ansatz"], like), state)


@dataclass
class Clock:
    """Process CPU seconds, wall seconds and whole evolutions spent inside ``with clock.counting(..):``, added up."""

    cpu: float = 0.0
    wall: float = 0.0
    evolutions: SolveCounts = field(default_factory=SolveCounts)

    def as_dict(self) -> dict:
        """Plain numbers, the evolutions by kind."""
        return dataclasses.asdict(self)

    @contextmanager
    def counting(self, identification: Identification) -> Iterator[Callable[[], Clock]]:
        """Count what is done inside; gives a function for what has been spent until it is called."""
        cpu, wall, evolutions = time.process_time(), time.perf_counter(), identification.evolutions

        def now() -> Clock:
            return Clock(self.cpu + time.process_time() - cpu, self.wall + time.perf_counter() - wall,
                         self.evolutions + identification.evolutions - evolutions)

        try:
            yield now
        finally:
            vars(self).update(vars(now()))


FLOWS = {"newton": NewtonFlow, "sobolev": SobolevFlow, "natural-gradient": NaturalGradientFlow}


def _flow(case: Case, options: RunOptions, level, space):
    nodal = options.ansatz == "finite-element"
    grows = options.may_grow and bool(options.grow or growing_layers(case.ansatz))
    width = options.start_width if grows else options.width
    network = _shaped(case.ansatz, options)
    network = network if width is None else seedling(network, width)
    ansatz = FiniteElement(space, case.start or 0.0) if nodal else _on_device(network, options)
    tuned = options.flow == case.defaults.get("flow", RunOptions.flow)
    wanted: dict[str, Any] = dict(case.tuning) if tuned else {}
    names = ("iterations", "tolerance", "stagnation", "method", *SOBOLEV)
    wanted |= {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if options.metric == STATES:
        wanted["metric"] = STATES
    if grows:
        wanted["expansion"] = Expansion(trigger=options.trigger, selection=options.growth, seed=options.seed,
                                        max_parameters=options.max_parameters)
    kind: type
    if options.flow in FLOWS:
        kind = FLOWS[options.flow]
        if not nodal:
            check_tangents(ansatz, space)
    else:
        kind, wanted["method"] = ParameterDescent, options.flow
    known = {f.name for f in dataclasses.fields(kind)}
    unknown = {name for name in wanted if name not in known and wanted[name] != case.defaults.get(name)}
    wanted = {name: value for name, value in wanted.items() if name not in unknown and name in known}
    if unknown:
        raise InputError(f"flow {options.flow} of case {case.name} has no setting {', '.join(sorted(unknown))}")
    return kind(level.energy, ansatz, space, **wanted)


def _shaped(ansatz, options: RunOptions):
    """The network with the depth and the activation of the options."""
    if options.depth is None and options.activation is None:
        return ansatz
    if hasattr(ansatz, "inner"):
        return replace(ansatz, inner=_shaped(ansatz.inner, options))
    if hasattr(ansatz, "parts"):
        return replace(ansatz, parts=tuple(_shaped(part, options) for part in ansatz.parts))
    if not isinstance(ansatz, MLP):
        raise InputError(f"depth and activation are for a multilayer perceptron; the network of this case is a "
                         f"{type(ansatz).__name__}")
    hidden = ansatz.widths[1:-1] if options.depth is None else (max(ansatz.widths[1:-1]),) * options.depth
    return replace(ansatz, widths=(ansatz.inputs, *hidden, ansatz.outputs),
                   activation=options.activation or ansatz.activation)


def _on_device(ansatz, options: RunOptions):
    has_device = any(f.name == "device" for f in dataclasses.fields(ansatz))
    return replace(ansatz, device=options.device) if has_device and options.device != "cpu" else ansatz
