"""Choosing the weight: every rule against closed forms and dense algebra on linear problems."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from problems import inverse_problem
from scipy.optimize import brentq

from fem_ngf import (
    MLP,
    FiniteElement,
    GaussianNoise,
    InputError,
    NewtonFlow,
    StudentNoise,
    TangentSpace,
    Tikhonov,
    bilaplacian,
    discrepancy,
    dot,
    expected_misfit,
    flow_solver,
    gcv,
    grad,
    lcurve,
    realize,
)
from fem_ngf.run.weighting import apply_rule
from fem_ngf.weights.choice import WeightedRun
from fem_ngf.weights.discrepancy import chi_squared_target
from fem_ngf.weights.lcurve import corner
from fem_ngf.weights.model import weight_model


def source_residual(u, v, m, w):
    """``-lap u = m``: the state is linear in the parameter, so that Gauss-Newton is exact."""
    return dot(grad(u), grad(v)) - m * v


@cache
def linear_problem(sensors=False):
    energy, space, truth = inverse_problem(8, residual=source_residual, sensors=sensors, fraction=0.05)
    return replace(energy, regularization=Tikhonov(space.stiffness, 1.0)), space, truth


@cache
def dense(sensors=False):
    """Sensitivities J (n_obs, n), penalty R, residual at zero, inverse variances."""
    energy, space, _ = linear_problem(sensors)
    at = energy.linearize(np.zeros(space.size))
    jacobian = energy.observation(at.state.tangent(np.eye(space.size)))[:, 0]
    precision = np.broadcast_to(energy.noise.precision, at.residual.shape)[:, 0]
    return jacobian, space.stiffness.toarray(), at.residual[:, 0], precision


def dense_solve(weight, start=None, sensors=False):
    """Closed-form minimiser at a weight."""
    jacobian, penalty, residual, precision = dense(sensors)
    m = -np.linalg.solve(jacobian.T @ (precision[:, None] * jacobian) + weight * penalty,
                         jacobian.T @ (precision * residual))
    left = residual + jacobian @ m
    return WeightedRun(weight, 0.5 * left @ (precision * left), 0.5 * m @ penalty @ m, start=m)


def dense_score(weight, sensors=False):
    """Generalised cross-validation from the influence matrix itself."""
    jacobian, penalty, residual, precision = dense(sensors)
    whitened = np.sqrt(precision)[:, None] * jacobian
    influence = whitened @ np.linalg.solve(whitened.T @ whitened + weight * penalty, whitened.T)
    run = dense_solve(weight, sensors=sensors)
    return run.misfit / (1.0 - np.trace(influence) / len(residual)) ** 2


def nodal_solver(energy, space):
    flow = NewtonFlow(energy, FiniteElement(space), space, tolerance=1e-12, share=1e-8, cg_iterations=100)
    return flow_solver([flow], np.zeros(space.size))


# ---- the same energy with another weight ------------------------------------------------------------------------


def test_the_weight_multiplies_the_regularization_and_keeps_the_kind_of_its_hessian():
    energy, space, m = linear_problem()
    for part in (energy.regularization, bilaplacian(space.basis, 0.1, 0.5)):
        one, three = (replace(energy, regularization=part, weight=w).linearize(m) for w in (1.0, 3.0))
        assert three.terms["misfit"] == one.terms["misfit"]
        assert three.terms["regularization"] == pytest.approx(3.0 * one.terms["regularization"])
        assert np.allclose(three.derivative - one.derivative, 2.0 * part.derivative(m))
        hessian = three.regularization_hessian()
        assert np.allclose(hessian @ m, 3.0 * (part.hessian(m) @ m))
        assert np.allclose(three.hessian_action(m) - one.hessian_action(m), 2.0 * (part.hessian(m) @ m))
        assert hessian.definite == part.hessian(m).definite
        if hessian.definite:
            assert np.allclose(hessian.solve(hessian @ m), m)
    with pytest.raises(InputError, match="weight is -1.0"):
        replace(energy, weight=-1.0)


def test_flows_solve_at_any_weight_and_go_on_from_earlier_runs():
    energy, space, _ = linear_problem()
    solve = nodal_solver(energy, space)
    first = solve(10.0, None)
    expected = dense_solve(10.0)
    assert np.isclose(first.misfit, expected.misfit, rtol=1e-8) and np.isclose(first.roughness, expected.roughness)
    plain = flow_solver([NewtonFlow(energy, FiniteElement(space), space)], np.zeros(space.size))
    first = plain(10.0, None)
    again = plain(11.0, first.start)
    assert again.solves < first.solves and first.misfit < again.misfit < 1.1 * first.misfit


# ---- discrepancy ------------------------------------------------------------------------------------------------


def test_discrepancy_finds_the_root_in_few_runs():
    jacobian, *_ = dense()
    target = 0.5 * len(jacobian)
    root = brentq(lambda t: dense_solve(np.exp(t)).misfit - target, np.log(1e-4), np.log(1e6))
    for start in (1e5, 1e-3):
        found = discrepancy(dense_solve, start, target, tolerance=1e-4, runs=30, width=1.0001)
        assert found.found and np.isclose(found.run.misfit, target, rtol=2e-4) and len(found.runs) <= 20
        assert np.isclose(found.weight, np.exp(root), rtol=0.01)
    assert len(discrepancy(dense_solve, 1e4, target).runs) <= 9


def test_every_run_starts_from_the_nearest_earlier_one():
    calls = []

    def solve(weight, start):
        calls.append((weight, start))
        return WeightedRun(weight, weight, 1.0 / weight, start=weight)

    found = discrepancy(solve, 1e3, 0.5, tolerance=1e-6)
    assert found.found and np.isclose(found.weight, 0.5, rtol=0.1) and calls[0][1] is None
    for i, (weight, start) in enumerate(calls[1:], 1):
        earlier = [known for known, _ in calls[:i]]
        assert start == min(earlier, key=lambda known: abs(np.log(known / weight)))


def test_discrepancy_says_when_the_target_is_out_of_reach():
    found = discrepancy(lambda w, start: WeightedRun(w, 2.0 + w, 1.0 / w), 1.0, 1.0)
    assert not found.found and "no weight brings" in found.reason and found.run.misfit <= 1.02 * 2.0
    assert len(found.runs) < 12


def test_expected_misfit_is_the_mean_over_the_noise():
    energy, space, _ = linear_problem()
    noise = GaussianNoise.from_matrix(space.mass, 3.0, constant=0.25)
    std = np.linspace(0.0, 2.0, space.size)
    drawn = std[:, None] * np.random.default_rng(0).standard_normal((space.size, 4000))
    values = [noise.value(column[:, None]) for column in drawn.T]
    assert np.isclose(np.mean(values), expected_misfit(noise, std), rtol=4 * np.std(values) / np.mean(values) / 63)
    dense_noise = GaussianNoise.from_std(np.array([[1.0, 2.0], [3.0, 4.0]]))
    assert np.isclose(expected_misfit(dense_noise, np.array([[1.0, 2.0], [3.0, 4.0]])), 2.0)


def test_chi_squared_target_counts_the_data():
    energy, *_ = linear_problem(True)
    assert chi_squared_target(energy) == 0.5 * energy.data.size
    several, *_ = inverse_problem(4, experiments=2)
    assert chi_squared_target(several) == 0.5 * several.data.size
    missing = np.ones(several.data.shape)
    missing[0] = np.inf
    assert chi_squared_target(replace(several, noise=GaussianNoise.from_std(missing))) == 0.5 * (several.data.size - 2)
    field, space, _ = inverse_problem(4, sensors=False)
    mass = field.observation.matrix * 0 + np.eye(field.data.shape[0]) + np.diag(np.ones(field.data.shape[0] - 1), 1)
    for noise in (GaussianNoise.from_matrix(mass), StudentNoise(1.0)):
        with pytest.raises(InputError, match="expected_misfit"):
            chi_squared_target(replace(field, noise=noise))


# ---- L-curve ----------------------------------------------------------------------------------------------------


def test_corner_of_a_known_curve():
    """misfit = 1 + w^2, roughness = 1 + c/w: the corner lies where the two bends meet, whatever the units."""
    weights = np.geomspace(1e-6, 1e4, 21)
    for place in (1e-2, 1.0):
        misfits, roughness = 1.0 + (weights / place) ** 2, 1.0 + (place / weights) ** 2
        found, curvature = corner(weights, 7.0 * misfits, 0.1 * roughness)
        assert curvature > 0 and place / 3 < found < 3 * place


def test_plateaus_and_wiggles_do_not_make_corners():
    weights = np.geomspace(1e-6, 1e4, 21)
    misfits, roughness = 1.0 + weights**2, 1.0 + weights**-2.0
    wiggly = roughness * (1.0 + 1e-9 * (-1.0) ** np.arange(21))
    misfits[:6] = misfits[5] * (1.0 - 1e-9 * np.arange(6))  # an unknown that follows no smaller weight
    wiggly[:6] = wiggly[5] * (1.0 + 1e-9 * np.arange(6))
    found, _ = corner(weights, misfits, wiggly)
    assert 0.1 < found < 10.0


def test_lcurve_finds_a_weight_near_the_best():
    jacobian, penalty, *_ = dense()
    truth = linear_problem()[2]
    choice = lcurve(dense_solve, np.geomspace(1e-6, 1e6, 13))
    errors = {w: np.linalg.norm(dense_solve(w).start - truth) for w in np.geomspace(1e-6, 1e6, 25)}
    assert choice.found and np.linalg.norm(choice.run.start - truth) < 2.0 * min(errors.values())
    assert len(choice.runs) == 14 and choice.runs[-1] is choice.run
    assert [run.weight for run in choice.runs[:-1]] == sorted((run.weight for run in choice.runs[:-1]), reverse=True)


def test_lcurve_says_when_there_is_no_corner():
    choice = lcurve(lambda w, start: WeightedRun(w, w, 1.0 / w), np.geomspace(1e-3, 1e3, 9))
    assert not choice.found and "no corner" in choice.reason


# ---- generalised cross-validation -------------------------------------------------------------------------------


@pytest.mark.parametrize("sensors", [True, False])
def test_model_equals_dense_algebra_at_all_weights(sensors):
    energy, space, _ = linear_problem(sensors)
    run = nodal_solver(energy, space)(50.0, None)
    model = weight_model(run.start.iterate.linearization)
    jacobian, penalty, residual, precision = dense(sensors)
    hessian = jacobian.T @ (precision[:, None] * jacobian)
    assert model.solves == space.size  # one tangent an unknown
    for weight in (1.0, 50.0, 2e3):
        expected = dense_solve(weight, sensors=sensors)
        assert np.isclose(model.misfit_at(weight), expected.misfit, rtol=1e-6)
        assert np.isclose(model.degrees(weight), np.trace(np.linalg.solve(hessian + weight * penalty, hessian)))
        assert np.isclose(model.score(weight), dense_score(weight, sensors), rtol=1e-6)


def test_fitted_share_of_noise_that_the_misfit_does_not_weigh_by_its_variance():
    """Mass-matrix misfit, equal variances: the share is a trace with the mass matrix squared."""
    energy, space, _ = linear_problem()
    mass = energy.observation.matrix @ energy.pde.form.tangent(np.zeros(energy.pde.state_size), np.zeros(space.size))
    mass = mass @ mass.T + np.eye(mass.shape[0])  # any coupled weights will do
    at = replace(energy, noise=GaussianNoise.from_matrix(mass)).linearize(np.zeros(space.size))
    jacobian, penalty, *_ = dense()
    inverse = np.linalg.inv(jacobian.T @ mass @ jacobian + 7.0 * penalty)
    at = replace(at, energy=replace(at.energy, weight=7.0))
    expected = np.trace(jacobian @ inverse @ jacobian.T @ mass @ mass) / np.trace(mass)
    assert np.isclose(weight_model(at).fitted(7.0), expected, rtol=1e-6)
    variance = np.linspace(0.0, 1.0, mass.shape[0])
    picked = np.trace(jacobian @ inverse @ jacobian.T @ mass @ np.diag(variance) @ mass)
    expected = picked / (mass.diagonal() @ variance)
    assert np.isclose(weight_model(at, variance=variance).fitted(7.0), expected, rtol=1e-6)


def test_range_finder_sees_what_all_vectors_see(monkeypatch):
    energy, space, _ = linear_problem()
    run = nodal_solver(energy, space)(50.0, None)
    full = weight_model(run.start.iterate.linearization)
    monkeypatch.setattr("fem_ngf.weights.model.DENSE", 0)
    low = weight_model(run.start.iterate.linearization, threshold=1e-6)
    for weight in (20.0, 50.0, 500.0):
        assert np.isclose(low.degrees(weight), full.degrees(weight), rtol=1e-3)
        assert np.isclose(low.misfit_at(weight), full.misfit_at(weight), rtol=1e-3)


def test_model_in_the_tangent_space_equals_dense_algebra_there():
    energy, space, _ = linear_problem()
    energy = replace(energy, weight=20.0)
    ansatz = MLP((2, 4, 1))
    theta = ansatz.initial(np.random.default_rng(0)) + 0.2 * np.random.default_rng(1).standard_normal(ansatz.size)
    at = energy.linearize(realize(ansatz, theta, space))
    tangent = TangentSpace.at(ansatz, theta, space)
    assert np.isfinite(at.derivative).all()  # the adjoint solve is made before the model's are counted
    model = weight_model(at, tangent=tangent)
    jacobian, penalty, _, precision = dense()
    seen = jacobian @ tangent.vectors
    hessian = seen.T @ (precision[:, None] * seen)
    restricted = tangent.vectors.T @ penalty @ tangent.vectors
    degrees = np.trace(np.linalg.lstsq(hessian + 5.0 * restricted, hessian, rcond=1e-13)[0])
    assert np.isclose(model.degrees(5.0), degrees, rtol=1e-4) and model.solves == ansatz.size


@pytest.mark.parametrize("start", [1e4, 1e-2])
def test_gcv_finds_the_minimum_of_the_score(start):
    energy, space, _ = linear_problem()
    choice = gcv(nodal_solver(energy, space), start, agreement=1.05)
    weights = np.geomspace(1e-4, 1e6, 201)
    best = weights[np.argmin([dense_score(w) for w in weights])]
    assert choice.found and best / 1.3 < choice.weight < 1.3 * best
    assert len(choice.runs) <= 8 and choice.solves > sum(run.start.total_solves for run in choice.runs)
    assert set(choice.curve) == {"weight", "misfit", "roughness", "score"}
    assert 0 < choice.extra["degrees"] < space.size


@pytest.mark.search
def test_gcv_of_a_network_uses_its_tangent_space():
    energy, space, truth = linear_problem()
    ansatz = MLP((2, 6, 1))
    flow = NewtonFlow(energy, ansatz, space)
    choice = gcv(flow_solver([flow], ansatz.initial(np.random.default_rng(0))), 1e3, space=space)
    errors = [np.linalg.norm(dense_solve(w).start - truth) for w in np.geomspace(1e-2, 1e4, 13)]
    assert np.linalg.norm(choice.run.start.iterate.m - truth) < 2.0 * min(errors)


@pytest.mark.parametrize("rule", ["discrepancy", "lcurve", "gcv"])
def test_one_door_to_all_rules(rule):
    energy, space, truth = linear_problem()
    flow = NewtonFlow(replace(energy, weight=30.0), FiniteElement(space), space)
    choice = apply_rule(rule, flow_solver([flow], np.zeros(space.size)), flow)
    errors = [np.linalg.norm(dense_solve(w).start - truth) for w in np.geomspace(1e-2, 1e4, 13)]
    assert choice.rule == rule and choice.found
    assert np.linalg.norm(choice.run.start.iterate.m - truth) < 2.0 * min(errors)


def test_bad_input_is_named():
    with pytest.raises(InputError, match="target is -1"):
        discrepancy(dense_solve, 1.0, -1.0)
    with pytest.raises(InputError, match="weight is nan"):
        gcv(dense_solve, float("nan"))
    with pytest.raises(InputError, match="evenly spaced"):
        lcurve(dense_solve, [1.0, 2.0, 3.0, 4.0, 5.0])
    with pytest.raises(InputError, match="five"):
        corner(np.ones(3), np.ones(3), np.ones(3))
    energy, space, m = linear_problem()
    with pytest.raises(InputError, match="variance has shape"):
        weight_model(energy.linearize(m), variance=np.ones(3))
    with pytest.raises(InputError, match="std must be finite"):
        expected_misfit(energy.noise, np.zeros(energy.data.shape[0]))
