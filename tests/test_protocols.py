"""What rooms ask of each other: one oracle for every PDE and its state, and the sizes that must fit."""

from dataclasses import replace

import numpy as np
import pytest
import test_electrodes
import test_evolution
import test_stationary
from problems import inverse_problem, parameter_space
from skfem import Basis, ElementTriP1, ElementTriP2

from fem_ngf import (
    PDE,
    Energy,
    GaussianNoise,
    HuberNoise,
    InputError,
    Noise,
    Observation,
    Regression,
    Regularization,
    State,
    StudentNoise,
    Tikhonov,
    TotalVariation,
    bilaplacian,
    boundary_trace,
    point_values,
    whole_field,
)
from fem_ngf.energies.protocol import Linearization

RNG = np.random.default_rng


def electrodes(element=ElementTriP1):
    currents = test_electrodes.adjacent() @ RNG(0).standard_normal((test_electrodes.ELECTRODES - 1, 3))
    return test_electrodes.model(element=element(), currents=currents)


PROBLEMS = {**test_stationary.PROBLEMS, "electrodes": electrodes, "electrodes P2": lambda: electrodes(ElementTriP2)}
PROBLEMS |= {f"evolution, {name}": make for name, make in test_evolution.UNKNOWNS.items()
             if name not in ("initial_state", "source")}  # those states are linear in m: no remainder to measure


@pytest.fixture(params=PROBLEMS)
def problem(request):
    return PROBLEMS[request.param]()


def parameters(problem):
    """A parameter, a direction and three more of them."""
    m, dm = 0.4 * RNG(0).standard_normal((2, problem.parameter_size))
    return m, dm, RNG(3).standard_normal((problem.parameter_size, 3))


# ---- PDE and state --------------------------------------------------------------------------------------------------


def test_a_pde_says_its_sizes(problem):
    assert isinstance(problem, PDE)
    state = problem.solve(parameters(problem)[0])
    assert isinstance(state, State)
    assert state.u.shape == (problem.state_size, problem.experiments) and state.m.shape == (problem.parameter_size,)
    times = len(getattr(problem, "times", [0]))
    assert problem.work_per_solve * times == problem.state_size and problem.counts.forward > 0


def test_tangent_has_taylor_rate_two(problem):
    m, dm, _ = parameters(problem)
    state = problem.solve(m)
    du = state.tangent(dm)
    errors = [np.linalg.norm(problem.solve(m + t * dm).u - state.u - t * du) for t in (1e-2, 5e-3)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.05)


def test_adjoint_identity_on_blocks(problem):
    m, _, dm = parameters(problem)
    state = problem.solve(m)
    covector = RNG(4).standard_normal((*state.u.shape, 2))
    left = np.einsum("ijb,ijc->bc", state.tangent(dm), covector)
    right = dm.T @ state.adjoint(covector)
    assert np.abs(left - right).max() < 1e-10 * np.abs(left).max()
    assert np.allclose(state.tangent(dm[:, 1]), state.tangent(dm)[..., 1], rtol=1e-10, atol=1e-11)
    p = state.adjoint_state(covector[..., 0])
    pulled = state.adjoint(covector)[:, 0]
    assert np.allclose(state.pull_back(p), pulled, rtol=1e-9, atol=1e-10 * np.abs(pulled).max())


def test_second_order_gives_the_hessian_of_a_functional(problem):
    """Hessian action of J(m) = 1/2 |u(m)|^2 through tangent, adjoint and second order: Taylor rate two."""
    m, dm, _ = parameters(problem)

    def derivative(m):
        state = problem.solve(m)
        return state.adjoint(state.u)

    state = problem.solve(m)
    p, du = state.adjoint_state(state.u), state.tangent(dm)
    on_state, on_parameter = state.second_order(du, dm, p)
    action = state.adjoint(du + on_state, kind="incremental") + on_parameter
    errors = [np.linalg.norm(derivative(m + t * dm) - derivative(m) - t * action) for t in (1e-2, 5e-3)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.05)


def test_second_order_is_symmetric_takes_blocks_and_costs_no_solve(problem):
    m, _, dm = parameters(problem)
    state = problem.solve(m)
    du, p = RNG(5).standard_normal((*state.u.shape, 3)), RNG(6).standard_normal(state.u.shape)
    state.tangent(dm)
    before = problem.counts.total
    on_state, on_parameter = state.second_order(du, dm, p)
    assert on_state.shape == du.shape and on_parameter.shape == dm.shape and problem.counts.total == before
    both = np.einsum("ijb,ijc->bc", du, on_state) + dm.T @ on_parameter
    assert np.allclose(both, both.T, rtol=1e-10, atol=1e-10 * np.abs(both).max())
    for one, block in zip(state.second_order(du[..., 1], dm[:, 1], p), (on_state[..., 1], on_parameter[:, 1]),
                          strict=True):
        assert np.allclose(one, block, rtol=1e-12, atol=1e-12 * np.abs(block).max())
    other = state.second_order(du, dm, 2.0 * p)
    assert np.allclose(other[0], 2.0 * on_state) and np.allclose(other[1], 2.0 * on_parameter)


# ---- the other rooms ------------------------------------------------------------------------------------------------


def test_every_class_has_what_its_protocol_lists():
    energy, space, m = inverse_problem(4)
    assert isinstance(energy, Energy) and isinstance(energy.linearize(m), Linearization)
    fit = Regression(space, m)
    assert isinstance(fit, Energy) and isinstance(fit.linearize(m), Linearization)
    for noise in (GaussianNoise.from_std(1.0), StudentNoise(1.0), HuberNoise(1.0)):
        assert isinstance(noise, Noise)
    basis = space.basis
    for observation in (whole_field(basis), point_values(basis, np.full((2, 2), 0.4)), boundary_trace(basis, "left")):
        assert isinstance(observation, Observation) and observation.shape[1] == basis.N
    for prior in (Tikhonov(space.stiffness), TotalVariation(basis, 1.0, 0.1), bilaplacian(basis, 0.1, 0.5)):
        assert isinstance(prior, Regularization) and prior.size == basis.N


def other(n=5):
    """Parameter space and state basis on another mesh."""
    space = parameter_space(n)
    return space, Basis(space.basis.mesh, ElementTriP2(), intorder=4)


@pytest.mark.parametrize(("part", "message"), [
    ("space", r"the parameter of pde has 25 unknowns and space has 36"),
    ("observation", r"observation has 121 unknowns and the state of pde has 81"),
    ("data", r"data have shape \(4, 1\); \(9, 1\)"),
    ("noise", r"std has shape \(4,\); the observations have shape \(9, 1\)"),
    ("matrix", r"residual has shape \(9, 1\); the noise model has 4 observations"),
    ("regularization", r"regularization has 36 unknowns and space has 25"),
])
def test_two_sizes_that_do_not_fit_are_named_in_one_line(part, message):
    energy, *_ = inverse_problem(4)
    space, state = other()
    wrong = {"space": ("space", space), "observation": ("observation", point_values(state, np.full((9, 2), 0.4))),
             "data": ("data", np.zeros(4)), "noise": ("noise", StudentNoise(np.ones(4))),
             "matrix": ("noise", GaussianNoise.from_std(np.ones(4))),
             "regularization": ("regularization", Tikhonov(space.stiffness))}[part]
    with pytest.raises(InputError, match=message) as caught:
        replace(energy, **dict([wrong]))
    assert "\n" not in str(caught.value)
