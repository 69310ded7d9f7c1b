"""Experiments on several processes against one process: mpiexec -n 2 python -m pytest tests/mpi."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skfem as sk
import torch

from fem_ngf import (
    MLP,
    GaussianNoise,
    HilbertSpace,
    InputError,
    InverseProblem,
    NewtonFlow,
    SolveError,
    StationaryProblem,
    StudentNoise,
    Tikhonov,
    WeakForm,
    dot,
    grad,
    point_values,
)
from fem_ngf.flows.curvature import Curvature, misfit_factor
from fem_ngf.parallel.experiments import share_experiments
from fem_ngf.parallel.launch import world
from fem_ngf.run.cli import command
from fem_ngf.tangent.rows import tangents
from fem_ngf.tangent.tangent_space import tangent_vectors

TEAM = world()
if TEAM is None:
    pytest.skip("these tests are for several processes: make test-mpi", allow_module_level=True)
COMM = TEAM.comm
PLATE = Path(__file__).resolve().parents[2] / "cases" / "perforated_plate.py"


def energy(linear=True, noise="normal", experiments=5):
    """Loads of different places in a diffusion equation, whose conductivity may grow with the state."""
    basis = sk.Basis(sk.MeshTri().refined(3), sk.ElementTriP1(), intorder=3)
    x = basis.doflocs
    share = 0.0 if linear else 0.5
    form = WeakForm(lambda u, v, m, w: torch.exp(m) * (1 + share * u**2) * dot(grad(u), grad(v)), basis, basis)
    loads = np.stack([np.exp(-9 * (x[0] - c) ** 2) for c in np.linspace(0.2, 0.8, experiments)], axis=1) / 9
    problem = StationaryProblem(form, dirichlet=basis.get_dofs(), loads=loads, linear=linear)
    points = np.stack(np.meshgrid([0.25, 0.5, 0.7], [0.3, 0.6]), axis=-1).reshape(-1, 2)
    observation = point_values(basis, points)
    data = observation(problem.solve(0.3 * x[0]).u) + 1e-3 * np.random.default_rng(0).standard_normal((6, experiments))
    std = 1e-3 * (1 + np.arange(6 * experiments)).reshape(6, -1) ** 0.1
    model = GaussianNoise.from_std(std) if noise == "normal" else StudentNoise(1e-3)
    space = HilbertSpace.h1(basis)
    return InverseProblem(problem, observation, data, model, Tikhonov(space), space, 0.1)


def close(mine, other):
    assert np.abs(np.asarray(mine) - np.asarray(other)).max() <= 1e-10 * np.abs(np.asarray(other)).max()


def same_everywhere(array):
    assert len({np.asarray(part).tobytes() for part in COMM.allgather(array)}) == 1


@pytest.mark.parametrize("linear, noise", [(True, "normal"), (False, "normal"), (True, "student")])
def test_value_derivatives_and_counts_are_those_of_one_process(linear, noise):
    serial = energy(linear, noise)
    serial = replace(serial, pde=serial.pde.of_experiments(np.arange(5)))  # which has not seen the data
    shared = share_experiments(serial, TEAM)
    m = 0.2 * np.sin(3 * serial.space.basis.doflocs[1])
    v = np.random.default_rng(1).standard_normal((len(m), 3))
    one, many = serial.linearize(m), shared.linearize(m)
    close(many.value, one.value)
    for name in one.terms:
        close(many.terms[name], one.terms[name])
    close(many.derivative, one.derivative)
    for kind in ("gauss-newton", "newton"):
        image = many.hessian_action(v, kind)
        close(image, one.hessian_action(v, kind))
        same_everywhere(image)
    same_everywhere(many.derivative)
    assert shared.counts == serial.counts
    assert shared.pde.local.experiments < serial.pde.experiments


def test_the_whole_curvature_is_that_of_one_process():
    one, many = (each.linearize(np.zeros(81)) for each in (energy(), share_experiments(energy(), TEAM)))
    close(misfit_factor(many) @ misfit_factor(many).T, misfit_factor(one) @ misfit_factor(one).T)


@pytest.mark.parametrize("first", [0, COMM.size - 1])
def test_a_solve_that_fails_on_one_process_fails_on_all(first):
    shared = share_experiments(energy(False), TEAM)
    solve = shared.pde.local.solve

    def failing(m, start=None):
        raise SolveError(f"no state on process {COMM.rank}")

    if COMM.rank >= first:
        shared.pde.local.solve = failing
    with pytest.raises(SolveError, match=f"no state on process {first}"):
        shared(np.zeros(81))
    shared.pde.local.solve = solve
    same_everywhere(shared(np.zeros(81)))


def test_processes_that_drift_apart_are_stopped():
    shared = share_experiments(energy(), TEAM)
    with pytest.raises(InputError, match="round differently"):
        shared(np.full(81, 1e-16 * COMM.rank))


def test_more_processes_than_experiments_are_refused():
    with pytest.raises(InputError, match=f"{COMM.size} processes share {COMM.size - 1} experiment"):
        share_experiments(energy(experiments=COMM.size - 1), TEAM)
    with pytest.raises(InputError, match="none that can be taken apart"):
        share_experiments(object(), TEAM)


def test_a_search_has_the_same_parameters_everywhere():
    shared = share_experiments(energy(), TEAM)
    flow = NewtonFlow(shared, MLP((2, 6, 1)), shared.space, iterations=3)
    *_, last = flow.run(flow.ansatz.initial(np.random.default_rng(0)))
    same_everywhere(last.theta)
    start = shared(np.asarray(shared.space.project(flow.ansatz(flow.ansatz.initial(np.random.default_rng(0)),
                                                               shared.space.points))))
    assert last.value < start


@pytest.mark.skipif(COMM.size > 2, reason="the plate has two experiments")
def test_one_run_directory_that_can_be_resumed(tmp_path, summary):
    folder = Path(COMM.bcast(str(tmp_path), root=0)) / "run"
    flags = [str(PLATE), "--refinements", "0", "--out", str(folder), "--bare", "--quiet"]
    first = summary(folder, "run", *flags, "--iterations", "2")
    second = summary(folder, "resume", str(folder), "--iterations", "3")
    assert second["iterations"] > first["iterations"] and second["energy"] < first["energy"]
    for wrong in (("report", str(folder)), ("run", *flags, "--no-such-flag")):
        assert command(wrong) == 2
    (folder / "checkpoint.pt").unlink(missing_ok=True)
    COMM.barrier()
    assert command(["run", *flags]) == 2  # the first process alone sees a directory that is not ours


@pytest.mark.parametrize("element", [sk.ElementTriP1(), sk.ElementVector(sk.ElementTriP1())])
def test_shared_tangent_vectors_are_those_of_one_process(element):
    whole = HilbertSpace.h1(sk.Basis(sk.MeshTri().refined(4), element, intorder=2), sampling="nodal")
    space, ansatz = replace(whole, team=TEAM), MLP((2, 7, whole.components), output_scale=1.0)
    theta, random = ansatz.initial(np.random.default_rng(0)), np.random.default_rng(1)
    stored, shared = tangent_vectors(ansatz, theta, whole), tangents(ansatz, theta, space)
    curvature, covector = Curvature(space.inner_product, random.standard_normal((space.size, 4)), 0.1), np.sin(
        np.arange(space.size))
    for mine, other in ((curvature.gram(shared), curvature.gram(stored)), (shared.T @ covector, stored.T @ covector),
                        (shared @ theta, stored @ theta)):
        close(mine, other)
        same_everywhere(mine)
    assert sum(map(len, space.patches)) < 0.6 * len(space.nodes)


def test_energies_keep_their_share_when_they_are_changed():
    shared = share_experiments(energy(), TEAM)
    heavier = replace(shared, weight=10 * shared.weight)
    m = 0.1 * np.ones(81)
    assert heavier.linearize(m).terms["misfit"] == shared.linearize(m).terms["misfit"]
