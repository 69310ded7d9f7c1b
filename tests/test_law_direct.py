"""A law's network without a mesh of arguments: at the arguments of a measured state, in the push-forward measure."""

import numpy as np
import pytest
import scipy.sparse as sp
import skfem as sk
from starts import end

from fem_ngf import (
    MLP,
    FrozenEquation,
    GaussianNoise,
    InverseProblem,
    MatrixObservation,
    NewtonFlow,
    Reactions,
    SampleSpace,
    StationaryProblem,
    TangentSpace,
    Tikhonov,
    WeakForm,
    dot,
    grad,
    law_error,
    realize,
    unit_square,
    verify_energy,
)


def truth(u):
    return 1.0 + 0.5 * np.sin(2.0 * u)


@pytest.fixture(scope="module")
def problem():
    """Energy of the equation error, its space, and a network of one argument: the values of the law are the unknown."""
    state = sk.Basis(unit_square(6), sk.ElementTriP1(), intorder=1)
    form = WeakForm(lambda u, v, k, w: k * dot(grad(u), grad(v)) - 4.0 * v, state, sk.ElementTriP0())
    edge = state.get_dofs().all()
    values = np.where(state.doflocs[0] < 0.5, 0.0, 1.0)[:, None] * state.doflocs[1][:, None]
    equation = StationaryProblem(form, dirichlet=edge, values=values)
    k, at = np.ones(form.parameter_size), None
    for _ in range(30):  # the state that belongs to the law, by fixed points
        u = equation.solve(k).u
        at = np.asarray(state.interpolate(u[:, 0]))[:, 0]
        k = truth(at)
    u = equation.solve(k).u
    space = SampleSpace(np.asarray(state.interpolate(u[:, 0]))[:, :1], weights=state.dx[:, 0])
    frozen = FrozenEquation(Reactions(equation, (edge,)), u, 0.8 * k)
    observation = MatrixObservation(sp.eye_array(frozen.state_size, format="csr"), np.zeros((frozen.state_size, 2)))
    noise = GaussianNoise.from_std(1e-3)
    energy = InverseProblem(frozen, observation, frozen.solve(k).u, noise, Tikhonov(space), space, 1e-3)
    box = (tuple(space.points.min(axis=0)), tuple(space.points.max(axis=0)))
    return energy, space, MLP((1, 8, 1), box=box), k


def test_derivatives_and_gram_matrix(problem):
    """Taylor rates, adjoint identity; the Gram matrix is the mean of J J^T in the measure of the visited arguments."""
    energy, space, network, _ = problem
    rng = np.random.default_rng(0)
    theta = network.initial(rng) + 0.1 * rng.standard_normal(network.size)
    checks = verify_energy(energy, network, theta, space, rng)
    assert [str(check) for check in checks if not check.passed] == []
    jacobian = network.linearize(theta, space.points).jacobian()
    expected = (jacobian * space.weights[:, None]).T @ jacobian
    assert np.allclose(TangentSpace.at(network, theta, space).gram(), expected, rtol=1e-10)


def test_the_law_is_found_where_the_state_is(problem):
    energy, space, network, k = problem
    errors = []
    for seed in range(3):
        last = end(NewtonFlow(energy, network, space).run(network.initial(np.random.default_rng(seed))))
        y = space.points[:, 0]
        errors.append(law_error(lambda s, at=last: at.ansatz(at.theta, s), lambda s: truth(s[:, 0]), y.min(), y.max()))
        assert space.norm(realize(last.ansatz, last.theta, space) - k) < 0.05 * space.norm(k)
    assert sorted(errors)[1] < 0.05
