"""Mesh continuation: the same unknown carried from coarse to fine meshes (METHOD section 3c)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..ansatz.finite_element import FiniteElement, prolongate
from ..errors import InputError, SolveError
from ..spaces.hilbert import HilbertSpace
from ..tangent.tangent_space import realize
from .certificate import certified
from .iterate import LEVEL, UNREACHABLE, Iterate, solve_kinds
from .newton_flow import NewtonFlow

LEAST_NODES = 10_000
"""Unknowns of the coarsest mesh on which Gram matrices are made in place of a finer one."""


@dataclass(frozen=True, eq=False)
class Stage:
    """One iterate of a continuation.

    Parameters
    ----------
    level
        Index of the mesh, 0 the coarsest.
    iterate
        The level's flow there.
    solves
        PDE solves on every level so far, each ``{kind: number}``.
    work
        Solves weighted by state unknowns relative to the finest level.
    change
        Estimated change of the energy from this mesh to the next at equal parameters (on the finest: to vanishing
        mesh width; nan while unknown).
    """

    level: int
    iterate: Iterate
    solves: tuple[dict[str, int], ...]
    work: float
    change: float = float("nan")

    @property
    def total_solves(self) -> int:
        """PDE solves on all levels."""
        return sum(sum(kinds.values()) for kinds in self.solves)

    def state(self) -> dict:
        """Arrays, numbers and strings from which the continuation can go on."""
        return {"level": self.level, "iterate": self.iterate.state(), "solves": [dict(s) for s in self.solves],
                "change": self.change}


@dataclass(frozen=True, eq=False)
class Continuation:
    r"""Runs one flow a mesh, coarse to fine; network parameters go on unchanged, nodal values are prolongated.

    A level is left when a step lowers the energy by less than the discretisation change expected from the next mesh, or
    when a Newton flow expects no more: ``|E_next - E|`` at the same parameters, measured once on the first level (as
    soon as a step lowers the energy by less than the fraction `probe`) and extrapolated from there with the order
    `rate` of the mesh width; or when the level's flow stops. On the finest level the flow's own rules decide. Where a
    flow does not know what it could still gain, the end of a run says it (`certified`).

    Parameters
    ----------
    flows
        One a level, coarse to fine; the last one's stopping rules end the run.
    probe
        Relative decrease below which the change to the next mesh is measured.
    rate
        Order in which the energy's discretisation error falls with the mesh width.
    """

    flows: tuple
    probe: float = 0.05
    rate: float = 2.0

    def __post_init__(self):
        if not self.flows:
            raise InputError("flows is empty; give one flow a mesh")
        object.__setattr__(self, "flows", with_coarser_spaces(self.flows))

    def start(self, theta: np.ndarray) -> Stage:
        """The stage at the start, on the coarsest mesh."""
        return self.stage(0, self.flows[0].start(theta), ({},) * len(self.flows))

    def resume(self, ansatz, state: dict) -> Stage:
        """The stage that `Stage.state` described."""
        level = state["level"]
        flow = replace(self.flows[level], ansatz=ansatz)
        return self.stage(level, flow.resume(ansatz, state["iterate"]), tuple(state["solves"]), state["change"])

    def run(self, start: np.ndarray | Stage) -> Iterator[Stage]:
        """Stages from parameters or from a stage; the last one's iterate has a stop reason."""
        stage = start if isinstance(start, Stage) else self.start(start)
        yield stage
        while not self.ends(stage):
            stage = self.step(stage)
            yield stage

    def ends(self, stage: Stage) -> bool:
        """Whether this is the last stage: the finest flow has stopped, or the next mesh cannot be entered."""
        reason = stage.iterate.stop_reason
        return reason == UNREACHABLE or bool(reason) and stage.level == len(self.flows) - 1

    def step(self, stage: Stage) -> Stage:
        """A step on the level, or the passage to the next one."""
        if stage.iterate.stop_reason:
            return self._next_level(stage)
        flow, before = self.flows[stage.level], stage.iterate
        iterate = flow.step(before)
        moved = self.stage(stage.level, iterate, stage.solves, stage.change)
        decrease = before.value - iterate.value
        if iterate.stop_reason:
            return self._certified(moved)
        if stage.level == len(self.flows) - 1:
            return moved
        searches = iterate.space.sampling != flow.space.sampling  # at nodes, between which a network may do anything
        if searches or decrease > self.probe * abs(before.value) and np.isnan(moved.change):
            return moved
        if np.isnan(moved.change):
            moved = self._measured(moved)
        attainable = flow.expected(iterate) if isinstance(flow, NewtonFlow) else decrease
        return replace(moved, iterate=iterate.stopped(LEVEL)) if attainable <= abs(moved.change) else moved

    def _certified(self, stage: Stage) -> Stage:
        """The stage with what could still be gained, where the last level's flow ends and does not know it."""
        iterate = stage.iterate
        if np.isfinite(iterate.expected_decrease) or stage.level < len(self.flows) - 1:
            return stage
        return self.stage(stage.level, certified(iterate), stage.solves, stage.change)

    def stage(self, level: int, iterate: Iterate, solves, change: float = float("nan")) -> Stage:
        """The stage of an iterate on a level; `solves` are those on all levels, its own are taken from the iterate."""
        solves = tuple(dict(iterate.solves) if i == level else kinds for i, kinds in enumerate(solves))
        return Stage(level, iterate, solves, self._work(solves), change)

    def _work(self, solves) -> float:
        finest = self.flows[-1].energy.work_per_solve
        return sum(sum(kinds.values()) * flow.energy.work_per_solve / finest
                   for kinds, flow in zip(solves, self.flows, strict=True))

    def _measured(self, stage: Stage) -> Stage:
        """The stage with the change of the energy to the next mesh, at the price of one energy there."""
        here, following = self.flows[stage.level], self.flows[stage.level + 1]
        counts = solve_kinds(following.energy.counts)
        ansatz, theta = carried(stage.iterate.ansatz, stage.iterate.theta, here.space, following.space)
        value = realized_value(following, ansatz, theta)
        gained = {kind: number - counts[kind] for kind, number in solve_kinds(following.energy.counts).items()}
        solves = tuple(gained if i == stage.level + 1 else kinds for i, kinds in enumerate(stage.solves))
        change = value - stage.iterate.value if np.isfinite(value) else 0.0
        return replace(stage, solves=solves, work=self._work(solves), change=change)

    def _next_level(self, stage: Stage) -> Stage:
        level, here, following = stage.level + 1, self.flows[stage.level], self.flows[stage.level + 1]
        ansatz, theta = carried(stage.iterate.ansatz, stage.iterate.theta, here.space, following.space)
        try:
            flow = replace(following, ansatz=ansatz)
            iterate = entered(flow, theta, stage.iterate)
        except InputError:
            return replace(stage, iterate=stage.iterate.stopped(UNREACHABLE))
        earlier = stage.solves[level]
        solves = {kind: number + earlier.get(kind, 0) for kind, number in iterate.solves.items()}
        change = (iterate.value - stage.iterate.value) * self._ratio(level)
        return self.stage(level, replace(iterate, solves=solves), stage.solves, float(change))

    def _ratio(self, level: int) -> float:
        """Expected change from `level` to the next one, relative to the change from the previous to `level`.

        After the finest level comes the limit of vanishing mesh width. Not known (nan) when the mesh was not refined.
        """
        sizes = [flow.energy.work_per_solve for flow in self.flows[level - 1 : level + 2]]
        space = self.flows[level].space
        dimension = getattr(space, "spatial", space).dimension  # of a field m(x, t) a solve is that of one step
        coarse, middle, *fine = (size ** (-self.rate / dimension) for size in sizes)
        return (middle - (fine[0] if fine else 0.0)) / (coarse - middle) if coarse > middle else float("nan")


def with_coarser_spaces(flows: tuple) -> tuple:
    """The flows, whose spaces know the coarsest one before them that resolves what networks are like."""
    found = []
    for flow in flows:
        spaces = (each.space for each in found if LEAST_NODES <= each.space.size <= flow.space.size / 4)
        coarse = next(spaces, None) if isinstance(flow.space, HilbertSpace) else None
        found.append(flow if coarse is None else replace(flow, space=replace(flow.space, coarse=coarse.nodal_twin)))
    return tuple(found)


def entered(flow, theta: np.ndarray, before: Iterate) -> Iterate:
    """The start of a flow after another one: a Newton flow takes the curvature with it."""
    return flow.entered(theta, before) if isinstance(flow, NewtonFlow) else flow.start(theta)


def carried(ansatz, theta: np.ndarray, old_space, new_space):
    """Ansatz and parameters of the same function on another mesh: network parameters as they are."""
    if isinstance(ansatz, FiniteElement):
        following = replace(ansatz, space=new_space)
        return following, prolongate(theta, old_space, new_space)
    return ansatz, theta


def realized_value(flow, ansatz, theta: np.ndarray) -> float:
    """Energy of a flow's level at the parameters; infinite if it cannot be evaluated."""
    try:
        return flow.energy(realize(ansatz, theta, flow.space))
    except SolveError:
        return float("inf")

