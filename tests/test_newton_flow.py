"""The Newton flow: identities of a single step, the certificate, honest ends, resuming, and ends of many starts."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from problems import inverse_problem, plain_residual, sketched

from fem_ngf import MLP, Expansion, FiniteElement, InputError, NewtonFlow, TorchModule, realize
from fem_ngf.flows.certificate import negligible
from fem_ngf.flows.curvature import Curvature
from fem_ngf.flows.iterate import CERTIFIED, EXHAUSTED, STALLED, TOO_SMALL, solve_kinds
from fem_ngf.flows.quadratic_model import QuadraticModel
from fem_ngf.flows.retraction import retract
from fem_ngf.tangent.tangent_space import tangent_vectors

RNG = np.random.default_rng


@pytest.fixture(scope="module")
def sensors():
    """Energy and space of sensors with little noise, and the energy at the nodal minimum."""
    energy, space, _ = inverse_problem(8, fraction=2e-3, weight=3e-4)
    *_, last = NewtonFlow(energy, FiniteElement(space), space, tolerance=1e-6).run(np.zeros(space.size))
    return energy, space, last.value


def setting(n=5, **options):
    energy, space, _ = inverse_problem(n, **options)
    network = MLP((2, 6, 6, 1), output_scale=0.1)
    return NewtonFlow(energy, network, space), network.initial(RNG(0))


def model_at(iterate, rank=5, mu=0.0):
    curvature = replace(sketched(iterate.linearization, RNG(0), rank), mu=mu)
    return QuadraticModel(iterate.m, iterate.linearization.derivative, curvature)


# ---- the model ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mu", [0.0, 100.0])
def test_the_first_gradient_on_the_parameters_is_that_of_the_energy(mu):
    """Whatever the curvature: d/dtheta of the model at its start is ``T^T g``."""
    flow, theta = setting()
    iterate = flow.start(theta)
    model, direction = model_at(iterate, mu=mu), RNG(1).standard_normal(theta.size)
    slope = tangent_vectors(flow.ansatz, theta, iterate.space).T @ iterate.linearization.derivative
    ends = [model(realize(flow.ansatz, theta + h * direction, iterate.space)) for h in (1e-6, -1e-6)]
    assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(slope @ direction, rel=1e-5)


def test_the_model_is_a_distance_from_the_newton_step():
    flow, theta = setting()
    iterate = flow.start(theta)
    model = model_at(iterate)
    end = model.minimiser
    assert np.allclose(model.at(end)[1], 0.0, atol=1e-8 * np.abs(model.derivative).max())
    v = iterate.m + RNG(2).standard_normal(iterate.m.size)
    distance = 0.5 * (v - end) @ model.curvature.apply(v - end)
    assert model(v) - model(end) == pytest.approx(distance, rel=1e-8)
    assert model.expected_decrease(None) == pytest.approx(-model(end), rel=1e-8)


def test_certificate_against_dense_algebra():
    """The best step along the tangent space, found by least squares in a factor of the metric."""
    flow, theta = setting()
    iterate = flow.start(theta)
    model, tangents = model_at(iterate), tangent_vectors(flow.ansatz, theta, iterate.space)[:, :30]
    root = np.linalg.cholesky(model.curvature.apply(np.eye(iterate.m.size))).T
    step = np.linalg.lstsq(root @ tangents, np.linalg.solve(root.T, -model.derivative), rcond=1e-12)[0]
    assert model.expected_decrease(tangents) == pytest.approx(-model(iterate.m + tangents @ step), rel=1e-2)
    assert model.expected_decrease(tangents) <= model.expected_decrease(None)


def test_a_realisation_lowers_the_model_and_nodal_values_minimise_it():
    flow, theta = setting()
    iterate = flow.start(theta)
    model = model_at(iterate)
    found = retract(model, flow.ansatz, theta, iterate.space)
    assert np.array_equal(found.m, realize(flow.ansatz, found.theta, iterate.space))
    assert model(model.minimiser) <= model(found.m) < 0.0 and 0 < found.iterations <= 30
    nodal = retract(model, FiniteElement(flow.space), iterate.m, flow.space)
    assert np.allclose(nodal.m, model.minimiser) and nodal.iterations == 0


# ---- the flow -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", ["nodal", "quadrature"])
@pytest.mark.search
def test_descent_accounting_and_sampling(sampling):
    flow, theta = setting(sampling=sampling)
    before, values = solve_kinds(flow.energy.counts), []
    for iterate in flow.run(theta):
        now = solve_kinds(flow.energy.counts)
        assert iterate.solves == {kind: number - before[kind] for kind, number in now.items()}
        assert np.array_equal(iterate.m, realize(flow.ansatz, iterate.theta, iterate.space))
        values.append((iterate.space.sampling, iterate.value))
        assert iterate.memory.gain > 0.1 or np.isnan(iterate.memory.gain)
    assert iterate.space is flow.space or iterate.space.sampling == flow.space.sampling == sampling
    assert values[0][0] == "nodal"
    for (one, first), (other, second) in zip(values[:-1], values[1:], strict=True):
        assert second <= first or one != other
    assert iterate.stop_reason in (CERTIFIED, STALLED, TOO_SMALL, EXHAUSTED)


def test_the_gain_ratio_compares_actual_and_predicted_decrease():
    """For nodal values and a full sketch of a nearly linear problem the ratio is one."""
    energy, space, _ = inverse_problem(6, weight=1e-3)
    flow = NewtonFlow(energy, FiniteElement(space), space)
    iterates = list(flow.run(FiniteElement(space).initial()))
    assert iterates[-1].stop_reason == CERTIFIED and iterates[-1].converged
    assert iterates[-1].memory.gain == pytest.approx(1.0, abs=0.2)
    reference = list(replace(flow, tolerance=1e-10).run(np.zeros(space.size)))[-1]
    assert iterates[-1].value <= reference.value * 1.001


def test_a_resumed_flow_takes_the_same_step():
    flow, theta = setting()
    stages = flow.run(theta)
    for _ in range(3):
        iterate = next(stages)
    state = iterate.state()
    assert all(isinstance(value, np.ndarray | float | int | str) for value in state["memory"].values())
    following, again = flow.step(iterate), flow.step(flow.resume(flow.ansatz, state))
    assert following.solves == again.solves and following.step == again.step
    assert np.allclose(following.m, again.m, atol=1e-6 * np.abs(following.m).max())


def test_a_step_that_gained_twice_what_was_promised_is_no_end():
    """The energy does not bend there as its model does, so what the model expects is not what could be gained."""
    energy, space, _ = inverse_problem(6, weight=1e-3)
    flow = NewtonFlow(energy, FiniteElement(space), space)
    *_, end = flow.run(FiniteElement(space).initial())
    last = replace(end, stop_reason="", memory=replace(end.memory, learnt=False))
    assert flow.step(last).stop_reason == CERTIFIED
    for remaining, ends in ((0.0, True), (1.0 * end.value, False), (float("nan"), False)):
        memory = replace(last.memory, gain=1.9, remaining=remaining)
        assert (flow.step(replace(last, memory=memory)).stop_reason == CERTIFIED) == ends


@pytest.mark.search
def test_no_false_convergence():
    """One step is not the end; an energy that is undefined nearby stalls or goes on, and never converges by that."""
    flow, theta = setting()
    assert list(replace(flow, iterations=1).run(theta))[-1].stop_reason == EXHAUSTED
    energy, space, _ = inverse_problem(6, residual=plain_residual, truth=lambda x: 1.0 + 0.3 * x[0])
    network = MLP((2, 5, 1), start=1.0)
    last = list(NewtonFlow(energy, network, space).run(network.initial(RNG(0))))[-1]
    beyond = last.memory.expected_beyond > max(negligible(last), 1e-2 * last.value)
    assert last.converged == (last.memory.expected_decrease <= negligible(last) and not beyond)


def test_steps_survive_failing_solves():
    """Where the equation cannot be solved a step is shortened."""
    def residual(u, v, m, w):
        return plain_residual(u, v, torch.where(m < 1.2, m, torch.nan), w)

    energy, space, _ = inverse_problem(6, residual=residual, truth=lambda x: 1.15 + 0 * x[0], weight=1e-6)
    ansatz = FiniteElement(space, 0.3)
    values = [iterate.value for iterate in NewtonFlow(energy, ansatz, space).run(ansatz.initial())]
    assert values[-1] < 0.5 * values[0]


@pytest.mark.search
def test_searches_end_near_nodal_values(sensors):
    """Sensors with little noise, five starts: the median end is far below where the Krylov metric stalled."""
    energy, space, nodal = sensors
    network, ends = MLP((2, 10, 10, 1)), []
    for seed in range(5):
        last = list(NewtonFlow(energy, network, space).run(network.initial(RNG(seed))))[-1]
        ends.append(last.value / nodal - 1.0)
    assert np.median(ends) < 0.05 and max(ends) < 0.2


@pytest.mark.search
def test_curvature_goes_on_to_the_next_mesh():
    """The fine flow starts with the coarse flow's Ritz values, and says what nodal values could gain beyond it."""
    (coarse, theta), (fine, _) = (setting(n, sampling="quadrature") for n in (6, 12))
    stages = coarse.run(theta)
    for _ in range(4):
        before = next(stages)
    after = fine.entered(before.theta, before)
    known, carried = (Curvature.of(each.linearization, each.memory.factor).ritz_values for each in (before, after))
    assert np.allclose(carried[:3], known[:3], rtol=0.1)
    following = fine.step(after)
    assert following.value < after.value
    assert fine.expected(following) <= QuadraticModel.of(following).expected_decrease(None) * (1 + 1e-6)


@pytest.mark.search
def test_growth_takes_what_the_network_misses(sensors):
    """From four neurons a layer; five starts end within 1 % of nodal values, where the small network ends far above."""
    energy, space, nodal = sensors
    network, ends = MLP((2, 4, 4, 1)), {}
    for expansion in (None, Expansion(neurons=4, max_parameters=400)):
        flow = NewtonFlow(energy, network, space, iterations=100, expansion=expansion)
        lasts = [list(flow.run(network.initial(RNG(seed))))[-1] for seed in range(3 if expansion is None else 5)]
        ends[expansion is None] = [last.value / nodal - 1.0 for last in lasts]
    assert max(ends[False]) < 0.02 and max(ends[False]) < 0.3 * np.median(ends[True])


def test_a_network_that_cannot_grow_is_named():
    energy, space, _ = inverse_problem(6)
    with pytest.raises(InputError, match="TorchModule cannot grow"):
        NewtonFlow(energy, TorchModule(torch.nn.Linear(2, 1)), space, expansion=Expansion())
