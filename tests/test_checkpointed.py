"""Evolutions with snapshots: bitwise the derivatives of the kept trajectory, at the least number of steps."""

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
import skfem as sk
import test_evolution
from checkpoint_schedules.multistage import optimal_extra_steps
from scipy.sparse.linalg import LinearOperator

from fem_ngf import (
    PDE,
    CheckpointedEvolution,
    EvolutionProblem,
    GaussianNoise,
    InputError,
    InverseProblem,
    MatrixObservation,
    SampleSpace,
    State,
    Tikhonov,
    Visited,
    WeakForm,
    dot,
    grad,
    taylor_rate,
)
from fem_ngf.spaces.hilbert import HilbertSpace
from fem_ngf.verify import adjoint_error

RNG = np.random.default_rng


def random_observation(problem, rows=3):
    """Three sums of unknowns, at two times and in between others."""
    matrix = RNG(1).standard_normal((rows, problem.size))
    weights = np.zeros((3, len(problem.times)))
    weights[0, 1] = weights[1, -1] = 1.0
    weights[2, -3:-1] = 0.25, 0.75
    return MatrixObservation(matrix), weights


PROBLEMS = {f"{name}, {method}": lambda make=make, method=method: make(method)
            for name, make in test_evolution.UNKNOWNS.items() if name != "equilibrium"
            for method in (("bdf2",) if name == "several" else ("crank-nicolson", "bdf2"))}
PROBLEMS |= {"membrane": test_evolution.membrane}


@pytest.mark.parametrize(("name", "snapshots", "disk"), [*((name, 1, 1) for name in PROBLEMS),
                                                         ("coefficient, bdf2", 1, 0)])
def test_derivatives_are_bitwise_those_of_the_kept_trajectory(name, snapshots, disk, tmp_path):
    problem = PROBLEMS[name]()
    observed = CheckpointedEvolution(problem, *random_observation(problem), snapshots=snapshots, disk=disk,
                                     folder=tmp_path)
    assert isinstance(observed, PDE)
    m, dm, _ = test_evolution.directions(problem)
    kept, state = problem.solve(m), observed.solve(m)
    assert isinstance(state, State) and state.u.shape == (9, problem.experiments)
    covector = RNG(2).standard_normal((*state.u.shape, 2))
    blocks = covector.reshape(3, 3, *covector.shape[1:])
    film = np.stack([observed.covector(i, blocks) for i in range(len(problem.times))])
    expected = kept.adjoint(film.reshape(problem.state_size, *covector.shape[1:]))
    assert np.array_equal(state.adjoint(covector), expected)
    assert np.array_equal(state.adjoint(covector), expected)  # and from a new sweep
    seen = np.zeros_like(blocks[..., 0])
    for i, states in enumerate(kept.tangent(dm).reshape(kept.film.shape)):
        observed.observed(i, states, seen)
    assert np.array_equal(state.tangent(dm), seen.reshape(state.u.shape))
    assert adjoint_error(state, dm, covector[..., 0]) < 1e-12
    assert not list(tmp_path.iterdir())  # folders of snapshots go with their sweeps


@pytest.mark.parametrize(("name", "snapshots", "disk"), [
    *((name, 1, 1) for name in PROBLEMS if "source" not in name and "state" not in name), ("coefficient, bdf2", 2, 0)])
def test_second_derivatives_are_bitwise_those_of_the_kept_trajectory(name, snapshots, disk, tmp_path):
    """In two directions at once; a snapshot is then one of states and of how they move."""
    problem = PROBLEMS[name]()
    observed = CheckpointedEvolution(problem, *random_observation(problem), snapshots=snapshots, disk=disk,
                                     folder=tmp_path)
    m, *directions = test_evolution.directions(problem)
    kept, state, dm = problem.solve(m), observed.solve(m), np.stack(directions, axis=1)
    p = RNG(2).standard_normal(state.u.shape)
    film = np.stack([observed.covector(i, -p.reshape(3, 3, -1)) for i in range(len(problem.times))])
    bent, on_parameter = kept.second_order(kept.tangent(dm), dm, kept.adjoint_state(film.reshape(kept.u.shape)))
    expected = kept.adjoint(bent, kind="incremental") + on_parameter
    before = observed.counts.copy()
    on_state, found = state.second_order(state.tangent(dm), dm, p)
    assert np.array_equal(found, expected) and on_state.shape == (9, problem.experiments, 2) and not on_state.any()
    del state  # and its own snapshots, for the adjoint that nobody asked for
    assert (observed.counts - before).adjoint == 0 and not list(tmp_path.iterdir())


def test_a_law_is_visited_at_all_times():
    """Its arguments over a whole evolution, whether that is kept or not."""
    problem = test_evolution.cooling()
    m = test_evolution.directions(problem)[0]
    seen = [Visited.at(SimpleNamespace(energy=SimpleNamespace(pde=pde), state=pde.solve(m), m=m), None)
            for pde in (problem, CheckpointedEvolution(problem, *random_observation(problem), snapshots=1))]
    assert np.array_equal(seen[0].arguments, seen[1].arguments)
    first, *_, last = np.split(seen[0].arguments, len(problem.times))
    assert np.allclose(first, 1.5) and last.min() < 1.5 - 1e-3


def heat(steps, method="euler", cells=4):
    space = sk.Basis(sk.MeshTri().refined(cells), sk.ElementTriP1())
    mass, form, start = (WeakForm(residual, space, space) for residual in (
        lambda u, v, m, w: u * v, lambda u, v, m, w: dot(grad(u), grad(v)), lambda u, v, m, w: (u - m) * v))
    return space, EvolutionProblem(mass, form, np.linspace(0, 0.1, steps + 1), method, initial=start, linear=True)


def at_the_end(problem):
    weights = np.zeros((1, len(problem.times)))
    weights[0, -1] = 1.0
    return MatrixObservation(np.eye(3, problem.size)), weights


@pytest.mark.parametrize(("steps", "snapshots"), [(60, 1), (60, 5), (60, 20), (60, 59), (1, 1)])
def test_as_few_steps_as_the_binomial_optimum(steps, snapshots):
    """An adjoint step needs no state after its own, so that the optimum's last steps before each are saved."""
    _, problem = heat(steps, cells=1)
    observed = CheckpointedEvolution(problem, *at_the_end(problem), snapshots=snapshots)
    state = observed.solve(RNG(0).standard_normal(problem.size))
    state.adjoint(np.ones_like(state.u))
    assert observed.recomputed == optimal_extra_steps(steps, min(snapshots, steps - 1)) - (steps - 1)
    assert problem.counts.forward == steps + 1 + observed.recomputed and problem.counts.adjoint == steps + 1
    assert problem.evolutions.as_dict() == {"forward": 1, "adjoint": 1, "incremental": 0, "total": 2}


def test_memory_stays_within_its_budget():
    space, problem = heat(100, cells=6)
    m = RNG(0).standard_normal(space.N)
    state_size = 8 * int(space.N)
    observed = CheckpointedEvolution(problem, *at_the_end(problem), memory=10 * state_size)
    observed.solve(m).adjoint(np.ones((3, 1)))  # what is kept for all parameters is there now
    tracemalloc.start()
    state = observed.solve(m)
    state.adjoint(np.ones((3, 1)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert observed.snapshots == 10 and peak < 30 * state_size  # the trajectory has 101 of them


def test_an_inverse_problem_does_not_see_the_difference():
    space, problem = heat(12, "bdf2", cells=2)
    observed = CheckpointedEvolution(problem, *at_the_end(problem), snapshots=3)
    readings = MatrixObservation(np.eye(3))
    energy = InverseProblem(observed, readings, np.ones(3), GaussianNoise.from_std(0.1),
                            Tikhonov(HilbertSpace.h1(space).stiffness), HilbertSpace.l2(space))
    m, dm = RNG(0).standard_normal((2, space.N))
    assert taylor_rate(energy.as_scipy(), m, dm) == pytest.approx(2.0, abs=0.02)
    at = energy.linearize(m)
    change = energy.linearize(m + dm).derivative - at.derivative
    assert np.allclose(at.hessian_action(dm), change, rtol=1e-8, atol=1e-8 * np.abs(change).max())  # it is quadratic
    before = observed.evolutions.incremental
    assert np.array_equal(at.hessian_action(dm, "newton"), at.hessian_action(dm))  # without a sweep for what vanishes
    assert observed.evolutions.incremental == before + 4


def test_the_exact_hessian_of_an_inverse_problem():
    """The derivative's Taylor rate, symmetry, and the Hessian of the problem with its trajectory kept, to rounding."""
    problem = test_evolution.membrane()
    observation, weights = random_observation(problem)
    observed = CheckpointedEvolution(problem, observation, weights, snapshots=2)
    space = SampleSpace(np.zeros((problem.parameter_size, 1)))
    data = RNG(3).standard_normal((9, problem.experiments))
    energies = [InverseProblem(pde, seen, data, GaussianNoise.from_std(0.5), Tikhonov(space), space)
                for pde, seen in ((observed, MatrixObservation(np.eye(9))),
                                  (problem, MatrixObservation(sp.kron(weights, observation.matrix))))]
    m, dm, dn = test_evolution.directions(problem)
    at, kept = (energy.linearize(m) for energy in energies)
    action = at.hessian_action(dm, "newton")
    assert np.allclose(action, kept.hessian_action(dm, "newton"), rtol=1e-12, atol=1e-12 * np.abs(action).max())
    assert dn @ action == pytest.approx(dm @ at.hessian_action(dn, "newton"), rel=1e-11)
    assert abs(dm @ (action - at.hessian_action(dm))) > 1e-3 * abs(dm @ action)

    def derivative(m):
        at = energies[0].linearize(m)
        return at.derivative, LinearOperator((m.size, m.size), matvec=lambda v: at.hessian_action(v, "newton"))

    assert taylor_rate(derivative, m, dm) == pytest.approx(2.0, abs=0.02)


@pytest.mark.parametrize(("options", "message"), [
    ({}, "give one of memory .* and snapshots"), ({"snapshots": 0}, "snapshots is 0 and disk 0"),
    ({"memory": 70.0}, "memory is 70 bytes; one snapshot of this evolution takes 72"),
    ({"snapshots": 2, "memory": 1e9}, "give one of memory"), ({"snapshots": 2, "disk": -1}, "disk is -1"),
    ({"memory": np.nan}, "memory is nan"),
])
def test_bad_input_is_named(options, message):
    _, problem = heat(3, cells=1)
    with pytest.raises(InputError, match=message):
        CheckpointedEvolution(problem, *at_the_end(problem), **options)
    with pytest.raises(InputError, match="the evolution has 9 unknowns at 4 times"):
        CheckpointedEvolution(problem, MatrixObservation(np.eye(3)), np.ones((1, 4)), snapshots=2)
