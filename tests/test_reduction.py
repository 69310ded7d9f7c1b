"""Model reduction: energies against brute force, their derivatives, metrics, and a short training in V."""

import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from fem_ngf import (
    InputError,
    Matrix,
    NaturalGradientFlow,
    coefficient_space,
    pod,
    residual_reduction,
    snapshot_reduction,
    taylor_rate,
)

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cases.parametric_diffusion import case, diffusion, draw, network


@cache
def data():
    """Problem on 8 x 8 cells, 2 x 2 squares; 30 parameters with their solutions; a basis of dimension 5."""
    problem, parameters = diffusion(8, 2), draw(30, 2, seed=3)
    solutions = problem.solve(parameters)
    return problem, parameters, solutions, pod(solutions, sp.eye_array(len(solutions)), 5)


def energy_of(kind):
    problem, parameters, solutions, basis = data()
    if kind == "snapshots":
        return snapshot_reduction(parameters, solutions, problem.stiffness, basis)
    return residual_reduction(parameters, problem.operators, problem.load, Matrix(problem.stiffness), basis)


def brute(kind, m):
    """The mean over the parameters, one by one, with dense linear algebra."""
    problem, parameters, solutions, basis = data()
    stiffness, values = problem.stiffness.toarray(), []
    for y, u, c in zip(parameters, solutions.T, m.reshape(len(parameters), -1), strict=True):
        if kind == "snapshots":
            values.append((u - basis @ c) @ stiffness @ (u - basis @ c))
        else:
            matrix = sum(factor * operator.toarray() for factor, operator in zip(y, problem.operators, strict=True))
            residual = matrix @ basis @ c - problem.load
            values.append(residual @ np.linalg.solve(stiffness, residual))
    return 0.5 * np.mean(values)


@pytest.mark.parametrize("kind", ["snapshots", "residual"])
def test_energies(kind):
    energy, generator = energy_of(kind), np.random.default_rng(0)
    m, v, w = generator.standard_normal((3, 150))
    assert np.isclose(energy(m), brute(kind, m), rtol=1e-10)

    def value_and_derivative(at):
        return energy(at), energy.linearize(at).derivative

    assert abs(taylor_rate(value_and_derivative, m, v) - 2.0) < 0.1
    at, ahead = energy.linearize(m), energy.linearize(m + v)
    size = np.abs(ahead.derivative).max()
    assert np.allclose(ahead.derivative - at.derivative, at.hessian_action(v), atol=1e-9 * size)
    assert np.isclose(v @ at.hessian_action(w), w @ at.hessian_action(v))
    assert np.isclose(sum(at.terms.values()), at.value)


def test_solutions_have_no_residual():
    """With the whole space as reduced space both energies vanish at the solutions."""
    problem, parameters, solutions, _ = data()
    riesz, everything = Matrix(problem.stiffness), np.eye(len(solutions))
    distance = snapshot_reduction(parameters, solutions, problem.stiffness, everything)
    residual = residual_reduction(parameters, problem.operators, problem.load, riesz, everything)
    scale = residual(np.zeros(solutions.size))
    assert abs(distance(solutions.T.ravel())) < 1e-14
    assert abs(residual(solutions.T.ravel())) < 1e-12 * scale


def test_residual_is_equivalent_to_the_distance():
    """a_min ||u - u_c||_V <= ||A u_c - f||_V' <= a_max ||u - u_c||_V, parameter by parameter in the mean."""
    _, parameters, _, _ = data()
    distance, residual = energy_of("snapshots"), energy_of("residual")
    m = distance.target + 0.1 * np.random.default_rng(1).standard_normal(150)
    ratio = np.sqrt(residual(m) / distance(m))
    assert parameters.min() <= ratio <= parameters.max()


def test_pod_is_the_best_subspace():
    problem, _, solutions, _ = data()
    basis = pod(solutions, problem.stiffness, 6)
    assert np.allclose(basis.T @ (problem.stiffness @ basis), np.eye(6), atol=1e-9)
    missed = solutions - basis @ (basis.T @ (problem.stiffness @ solutions))
    root = np.linalg.cholesky(problem.stiffness.toarray())
    tail = np.linalg.svd(root.T @ solutions, compute_uv=False)[6:]
    assert np.isclose(np.sum(missed * (problem.stiffness @ missed)), np.sum(tail**2), rtol=1e-8)
    with pytest.raises(InputError, match="span"):
        pod(solutions[:, :2], problem.stiffness, 5)


def test_metrics_of_the_coefficients():
    problem, _, _, basis = data()
    parameters, c = data()[1], np.random.default_rng(2).standard_normal((30, 5))
    for matrix in (problem.stiffness, problem.mass):
        space = coefficient_space(parameters, basis, matrix)
        brute_norm = np.sqrt(np.mean([x @ matrix @ x for x in c @ basis.T]))
        assert np.isclose(space.norm(c.ravel()), brute_norm)
    residual = energy_of("residual")
    shifted = residual.linearize(c.ravel()).derivative - residual.linearize(np.zeros(150)).derivative
    assert np.allclose(residual.space.apply(c.ravel()), shifted)
    assert np.isclose(coefficient_space(parameters, basis).norm(c.ravel()), np.sqrt(np.mean(np.sum(c**2, axis=1))))


@pytest.mark.parametrize("kind", ["snapshots", "residual"])
@pytest.mark.search
def test_training_in_v(kind):
    """A network learns the map in the energy's own metric; the residual form without having seen a solution.

    Five starts end at 0.0055 to 0.0056 (snapshots) and 0.0117 (residual) of the zero map's energy.
    """
    energy, distance = energy_of(kind), energy_of("snapshots")
    ansatz = network(2, 5, 8)
    flow = NaturalGradientFlow(energy, ansatz, energy.space, method="levenberg-marquardt", damping=1e-2,
                               iterations=40)
    *_, last = flow.run(ansatz.initial(np.random.default_rng(0)))
    assert distance(last.m) < 0.02 * distance(np.zeros(150))


def test_case_and_bad_input():
    problem = case(cells=8, squares=2, snapshots=12, rank=3, neurons=4, energy="residual")
    level = problem.levels[0]
    assert set(level.spaces) == {"v", "l2", "euclid", "residual"} and problem.ansatz.inputs == 4
    at = level.energy.linearize(level.truth)
    assert set(level.exports(at)) == {"m", "truth", "error"}
    with pytest.raises(InputError, match="metric"):
        level.space("h1")
    stiffness, parameters = data()[0].stiffness, data()[1]
    with pytest.raises(InputError, match="snapshots"):
        snapshot_reduction(parameters, np.zeros((3, 30)), stiffness, data()[3])
    with pytest.raises(InputError, match="one column an operator"):
        residual_reduction(parameters[:, :2], data()[0].operators, data()[0].load, None, data()[3])
