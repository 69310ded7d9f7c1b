"""Mesh continuation: work, the moment a level is left, prolongation and resuming."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
from problems import SENSORS, bump, diffusion_residual, parameter_space
from skfem import Basis, ElementTriP1, ElementTriP2

from fem_ngf import (
    MLP,
    Continuation,
    Expansion,
    FiniteElement,
    GaussianNoise,
    InputError,
    InverseProblem,
    NaturalGradientFlow,
    NewtonFlow,
    SolveError,
    StationaryProblem,
    Tikhonov,
    WeakForm,
    point_values,
)
from fem_ngf.ansatz.restore import ansatz_from_dict
from fem_ngf.flows import continuation as flows
from fem_ngf.flows.continuation import carried
from fem_ngf.flows.iterate import LEVEL, UNREACHABLE, solve_kinds
from fem_ngf.tangent import rows

ANSATZ = MLP((2, 6, 6, 1))
THETA = ANSATZ.initial(np.random.default_rng(0))
SEEDLING = MLP((2, 3, 3, 1))


def energies(cells):
    """The same sensor data on every mesh."""
    spaces = [parameter_space(n) for n in cells]
    states = [Basis(space.basis.mesh, ElementTriP2(), intorder=4) for space in spaces]
    pdes = [StationaryProblem(WeakForm(diffusion_residual, state, state.with_element(ElementTriP1())), linear=True,
                              dirichlet=state.get_dofs().all(), symmetric=True) for state in states]
    reference = parameter_space(24)
    fine = Basis(reference.basis.mesh, ElementTriP2(), intorder=4)
    pde = StationaryProblem(WeakForm(diffusion_residual, fine, fine.with_element(ElementTriP1())), linear=True,
                            dirichlet=fine.get_dofs().all())
    data = point_values(fine, SENSORS)(pde.solve(bump(reference.basis.doflocs)).u)
    return [InverseProblem(pde, point_values(state, SENSORS), data, GaussianNoise.from_std(1e-3),
                           Tikhonov(space.stiffness, 1e-1), space)
            for pde, state, space in zip(pdes, states, spaces, strict=True)]


def continuation(cells=(4, 8, 16), ansatz=ANSATZ, **options):
    levels = energies(cells)
    networks = [ansatz or FiniteElement(energy.space) for energy in levels]
    return Continuation(tuple(NewtonFlow(energy, network, energy.space)
                              for energy, network in zip(levels, networks, strict=True)), **options)


def growing_continuation(cells):
    found = continuation(cells, SEEDLING)
    return replace(found, flows=tuple(replace(flow, expansion=Expansion(candidates=64)) for flow in found.flows))


def start_of(run):
    ansatz = run.flows[0].ansatz
    return THETA if ansatz is ANSATZ else np.zeros(ansatz.size)


@pytest.mark.parametrize("ansatz", [ANSATZ, None], ids=["network", "finite-element"])
@pytest.mark.search
def test_solves_and_work(ansatz):
    """What the stages say is what the energies counted, level by level, at every stage."""
    run = continuation(ansatz=ansatz)
    work = 0.0
    for stage in run.run(start_of(run)):
        assert [{**dict.fromkeys(("forward", "adjoint", "incremental"), 0), **kinds} for kinds in stage.solves] == [
            solve_kinds(flow.energy.counts) for flow in run.flows]
        totals = [sum(kinds.values()) for kinds in stage.solves]
        assert stage.total_solves == sum(totals)
        assert np.isclose(stage.work, (totals[0] * 9**2 + totals[1] * 17**2 + totals[2] * 33**2) / 33**2)
        assert stage.work >= work
        work = stage.work
    assert stage.level == 2 and stage.iterate.stop_reason


@pytest.mark.parametrize("ansatz", [ANSATZ, None], ids=["network", "finite-element"])
@pytest.mark.search
def test_levels_go_up_one_by_one(ansatz):
    run = continuation(ansatz=ansatz)
    stages = list(run.run(start_of(run)))
    levels = [stage.level for stage in stages]
    assert levels == sorted(levels) and set(levels) == {0, 1, 2}
    for before, after in zip(stages[:-1], stages[1:], strict=True):
        if after.level > before.level:
            assert before.iterate.stop_reason
            assert after.iterate.step == 0
        else:
            assert after.iterate.value <= before.iterate.value


def test_nodal_values_end_where_the_finest_mesh_alone_ends_and_are_near_with_less_work():
    many, alone = ([*run.run(start_of(run))] for run in (continuation(cells, None) for cells in ((16, 32), (32,))))
    assert abs(many[-1].iterate.value / alone[-1].iterate.value - 1.0) < 2e-3
    works = [next(stage.work for stage in stages if stage.level == len(stages[-1].solves) - 1
                  and stage.iterate.value <= 1.05 * alone[-1].iterate.value) for stages in (many, alone)]
    assert works[0] < 0.8 * works[1]


def test_a_level_is_left_below_the_discretisation_change():
    """The last step gained less than the change, and the measured change is the true one; nodal values take the same
    way under any rounding."""
    run = continuation(ansatz=None)
    stages = list(run.run(start_of(run)))
    left = [i for i, stage in enumerate(stages) if stage.iterate.stop_reason == LEVEL]
    assert left
    for i in left:
        assert stages[i - 1].iterate.value - stages[i].iterate.value <= abs(stages[i].change)
    level0 = next(i for i in left if stages[i].level == 0)
    jump = stages[level0 + 1].iterate.value - stages[level0].iterate.value
    measured = next(stage for stage in stages if np.isfinite(stage.change))
    assert measured.level == 0
    assert 0.2 < abs(measured.change / jump) < 5.0
    assert np.isclose(stages[level0 + 1].change, jump * (17.0**-2 - 33.0**-2) / (9.0**-2 - 17.0**-2))


def test_measuring_costs_one_solve_on_the_next_mesh():
    run = continuation(ansatz=None)
    before = None
    for stage in run.run(start_of(run)):
        if np.isfinite(stage.change):
            break
        before = stage
    assert sum(before.solves[1].values()) == 0
    assert stage.solves[1] == {"forward": 1, "adjoint": 0, "incremental": 0}


@pytest.mark.search
def test_network_parameters_go_on_unchanged():
    stages = list(continuation().run(THETA))
    for before, after in zip(stages[:-1], stages[1:], strict=True):
        if after.level > before.level:
            assert np.array_equal(before.iterate.theta, after.iterate.theta)
            assert len(after.iterate.m) > len(before.iterate.m)


def test_nodal_values_are_prolongated():
    """On nested meshes the function does not change."""
    run = continuation(ansatz=None)
    stages = list(run.run(start_of(run)))
    points = np.random.default_rng(0).uniform(0.01, 0.99, (40, 2))
    for before, after in zip(stages[:-1], stages[1:], strict=True):
        if after.level > before.level:
            assert after.iterate.ansatz.size == len(after.iterate.theta) > len(before.iterate.theta)
            values = [stage.iterate.ansatz(stage.iterate.theta, points) for stage in (before, after)]
            assert np.allclose(*values, atol=1e-12)


def test_meshes_need_not_be_nested():
    old, new = parameter_space(5), parameter_space(7)
    theta = 2.0 * old.basis.doflocs[0] - old.basis.doflocs[1]
    ansatz, moved = carried(FiniteElement(old), theta, old, new)
    assert ansatz.space is new
    assert np.allclose(moved, 2.0 * new.basis.doflocs[0] - new.basis.doflocs[1])


def test_spaces_know_the_coarsest_one_that_is_fine_enough(monkeypatch):
    monkeypatch.setattr(flows, "LEAST_NODES", 70)
    sizes = [getattr(flow.space.coarse, "size", None) for flow in continuation((4, 8, 10, 16, 32)).flows]
    assert sizes == [None, None, None, None, 81]  # 25, 81, 121, 289, 1089 unknowns


@pytest.mark.search
def test_a_search_whose_gram_matrices_are_those_of_a_coarser_mesh_ends_where_others_do(monkeypatch):
    """Slope and energy are those of its own mesh; what only that resolves is not learnt by new neurons."""
    ends = []
    for stored, least in ((rows.STORED, flows.LEAST_NODES), (10, 200)):
        monkeypatch.setattr(rows, "STORED", stored)
        monkeypatch.setattr(flows, "LEAST_NODES", least)
        *_, stage = growing_continuation((16, 34)).run(SEEDLING.initial(np.random.default_rng(0)))
        ends.append(stage.iterate)
    assert ends[1].space.coarse.size == 289 and ends[0].space.coarse is None
    assert ends[1].parameters > SEEDLING.size and ends[0].status == "converged"
    assert ends[1].value < 1.03 * ends[0].value


@pytest.mark.search
def test_levels_of_equal_size():
    """Another mesh with as many unknowns says nothing about the mesh width: the change is measured anew."""
    stages = list(continuation((6, 6, 12)).run(THETA))
    assert [stage for stage in stages if stage.level == 1][0].iterate.step == 0
    assert np.isnan([stage for stage in stages if stage.level == 1][0].change)
    assert stages[-1].level == 2


@pytest.mark.search
def test_natural_gradient_flows_continue_too():
    flows = tuple(NaturalGradientFlow(energy, ANSATZ, energy.space, iterations=6) for energy in energies((4, 8)))
    *_, last = Continuation(flows).run(THETA)
    assert last.level == 1 and last.iterate.value < last.iterate.start_value


# ---- resuming -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ansatz", [ANSATZ, None], ids=["network", "finite-element"])
@pytest.mark.search
def test_resume_anywhere(ansatz):
    """From every stage - in the middle of a level, at its end, at the start of the next - the same end is reached."""
    run = continuation((4, 8), ansatz)
    stages, states = [], []
    for stage in run.run(start_of(run)):
        stages.append(stage)
        states.append(deepcopy(stage.state()))
    boundary = next(i for i, stage in enumerate(stages) if stage.level == 1)
    for at in sorted({0, 2, boundary - 1, boundary, boundary + 1, len(stages) - 2}):
        fresh = continuation((4, 8), ansatz)
        like = fresh.flows[states[at]["level"]].ansatz
        resumed = fresh.resume(ansatz_from_dict(states[at]["iterate"]["ansatz"], like), states[at])
        assert resumed.solves == stages[at].solves
        assert np.isclose(resumed.work, stages[at].work)
        rest = list(fresh.run(resumed))
        assert len(rest) == len(stages) - at
        assert rest[-1].iterate.stop_reason == stages[-1].iterate.stop_reason
        assert np.abs(rest[-1].iterate.theta - stages[-1].iterate.theta).max() < 1e-12
        assert rest[-1].solves == stages[-1].solves


# ---- meshes on which the energy fails -------------------------------------------------------------------------------


class Forbidden:
    """An energy that is defined nowhere."""

    def __init__(self, energy):
        self._energy = energy

    def __getattr__(self, name):
        return getattr(self._energy, name)

    def __call__(self, m):
        return self.linearize(m).value

    def linearize(self, m, start=None):
        raise SolveError("not here")


@pytest.mark.search
def test_a_mesh_that_cannot_be_entered_ends_the_run():
    run = continuation((4, 8))
    flows = (run.flows[0], replace(run.flows[1], energy=Forbidden(run.flows[1].energy)))
    stages = list(Continuation(flows).run(THETA))
    last = stages[-1]
    assert (last.level, last.iterate.stop_reason) == (0, UNREACHABLE)
    assert not last.iterate.converged
    assert last.iterate.value < last.iterate.start_value


def test_bad_input():
    with pytest.raises(InputError, match="flows is empty"):
        Continuation(())
