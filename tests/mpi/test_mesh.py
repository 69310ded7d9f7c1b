"""A mesh on several processes, solved by PETSc, against one process: make test-petsc."""

import os
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import skfem as sk
import torch

from fem_ngf import (
    MLP,
    InputError,
    Measurements,
    Model,
    NewtonFlow,
    SolveError,
    Tikhonov,
    dot,
    grad,
    unit_cube,
    unit_square,
)
from fem_ngf.parallel.launch import world
from fem_ngf.parallel.mesh import owners_of_cells, share_mesh

if find_spec("petsc4py") is None or "OMPI_COMM_WORLD_SIZE" not in os.environ:
    pytest.skip("these tests are for PETSc with its MPI's launcher: make test-petsc", allow_module_level=True)
TEAM = world()
if TEAM is None:
    pytest.skip("these tests are for several processes", allow_module_level=True)
COMM = TEAM.comm
DIFFUSION = Path(__file__).resolve().parents[2] / "cases" / "diffusion.py"


def diffusion(definite, linear=True, cube=False):
    """Diffusion with a Robin condition, two experiments; conductivity may grow with the state."""
    share = 0.0 if linear else 0.5
    element = sk.ElementTetP1() if cube else sk.ElementTriP2()
    model = Model(lambda u, v, m, w: torch.exp(m) * (1 + share * u**2) * dot(grad(u), grad(v)), element,
                  sk.ElementTetP1() if cube else sk.ElementTriP1(), dirichlet="left",
                  boundary={"right": lambda u, v, m, w: 2.0 * u * v}, neumann={"top": [1.0, lambda x: x[0]]},
                  linear=linear, definite=definite, intorder=4)
    on = model.on(unit_cube(5) if cube else unit_square(8))
    points = np.random.default_rng(0).uniform(0.1, 0.9, (9, 3 if cube else 2))
    values = 0.3 + 0.1 * np.random.default_rng(1).standard_normal((9, 2))
    return on.inverse_problem(Measurements(points, values, np.full(9, 0.01)), lambda space: Tikhonov(space.stiffness))


def close(mine, other, tolerance=1e-10):
    assert np.abs(np.asarray(mine) - np.asarray(other)).max() <= tolerance * np.abs(np.asarray(other)).max()


def same_everywhere(array):
    assert len({np.asarray(part).tobytes() for part in COMM.allgather(array)}) == 1


@pytest.mark.parametrize("definite, linear, cube", [(False, True, False), (True, True, False), (False, False, False),
                                                    (True, True, True), (False, True, True)])
def test_value_derivatives_and_counts_are_those_of_one_process(definite, linear, cube):
    serial, shared = diffusion(definite, linear, cube), share_mesh(diffusion(definite, linear, cube), TEAM)
    m = 0.2 * np.sin(3 * serial.space.basis.doflocs[1])
    v = np.random.default_rng(1).standard_normal((len(m), 3))
    one, many = serial.linearize(m), shared.linearize(m)
    close(many.state.u, one.state.u)
    close(many.value, one.value)
    close(many.derivative, one.derivative)
    for kind in ("gauss-newton", "newton"):
        image = many.hessian_action(v, kind)
        close(image, one.hessian_action(v, kind), 1e-6 if definite else 1e-10)  # conjugate gradients stop at 1e-8
        same_everywhere(image)
    same_everywhere(many.derivative)
    assert shared.counts == serial.counts


def test_an_unsymmetric_equation_and_its_transpose():
    model = Model(lambda u, v, m, w: dot(grad(u), grad(v)) + 5.0 * grad(u)[0] * v - m * v, sk.ElementTriP1(),
                  sk.ElementTriP1(), dirichlet=0.0, linear=True)
    serial, shared = (model.on(unit_square(8)).inverse_problem(Measurements(np.array([[0.3, 0.4]]), np.ones(1), 0.1))
                      for _ in range(2))
    shared = share_mesh(shared, TEAM)
    m = np.ones(81)
    close(shared.linearize(m).derivative, serial.linearize(m).derivative)
    close(shared.linearize(m).hessian_action(m), serial.linearize(m).hessian_action(m))


def test_each_process_has_its_share_of_the_cells():
    energy = diffusion(True)
    mesh, shared = energy.space.basis.mesh, share_mesh(energy, TEAM)
    owners = owners_of_cells(mesh, TEAM)
    same_everywhere(owners)
    shares = np.bincount(owners, minlength=TEAM.size)
    assert len(shares) == TEAM.size and shares.max() - shares.min() <= 1
    cells = shared.pde.form.local._assembler.integrals[0].density.dx.shape[0]
    assert cells == shares[TEAM.rank]


def test_a_solve_that_fails_on_one_process_fails_on_all():
    shared = share_mesh(diffusion(True), TEAM)
    local, broken = shared.pde.form.local, TEAM.rank == TEAM.size - 1
    tangent = local.tangent

    def failing(u, m):
        raise SolveError("no tangent here")

    if broken:
        local.tangent = failing
    with pytest.raises(SolveError, match="no tangent here"):
        shared(np.zeros(81))
    local.tangent = tangent
    same_everywhere(shared(np.zeros(81)))


def test_a_singular_equation_is_told():
    model = Model(lambda u, v, m, w: m * dot(grad(u), grad(v)) - v, sk.ElementTriP1(), sk.ElementTriP1(), linear=True)
    energy = model.on(unit_square(4)).inverse_problem(Measurements(np.array([[0.3, 0.4]]), np.ones(1), 0.1))
    with pytest.raises(SolveError, match="PETSc"):
        share_mesh(energy, TEAM)(np.ones(25))


def test_what_cannot_be_shared_is_refused():
    with pytest.raises(InputError, match="StationaryProblem"):
        share_mesh(object(), TEAM)
    with pytest.raises(InputError, match=f"{TEAM.size} processes share a mesh of 1 cells"):
        owners_of_cells(sk.MeshTri().restrict([0]), TEAM)


def test_a_search_has_the_same_parameters_everywhere():
    shared = share_mesh(diffusion(True), TEAM)
    flow = NewtonFlow(shared, MLP((2, 6, 1)), replace(shared.space, team=TEAM), iterations=3)
    first, *_, last = flow.run(flow.ansatz.initial(np.random.default_rng(0)))
    same_everywhere(last.theta)
    assert last.value < first.value


def test_one_run_directory_that_can_be_resumed(tmp_path, summary):
    folder = Path(COMM.bcast(str(tmp_path), root=0)) / "run"
    flags = [str(DIFFUSION), "--cells", "8", "--out", str(folder), "--bare", "--quiet", "--backend", "petsc"]
    first = summary(folder, "run", *flags, "--iterations", "2")
    second = summary(folder, "resume", str(folder), "--iterations", "4")
    assert second["iterations"] > first["iterations"] and second["energy"] < first["energy"]
    assert np.isfinite(second["energy"])
