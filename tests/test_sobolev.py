"""The Sobolev flow: order in time, exact flows, the energy law, networks that stay on the path."""

from dataclasses import replace

import numpy as np
import pytest
from problems import inverse_problem
from scipy.integrate import solve_ivp
from skfem import Basis, ElementTriP1

from fem_ngf import (
    MLP,
    Expansion,
    FiniteElement,
    HilbertSpace,
    InputError,
    NaturalGradientFlow,
    NewtonFlow,
    Regression,
    SobolevFlow,
    TangentSpace,
    dot,
    grad,
    unit_square,
)

RNG = np.random.default_rng
DISCRETIZATIONS = ("projected", "retracted")


def regression(length=0.3):
    """Half the squared distance to a function in H1, whose flow is m(t) = y + exp(-t) (m(0) - y)."""
    space = HilbertSpace.h1(Basis(unit_square(8), ElementTriP1()), length, sampling="nodal")
    x, y = space.basis.doflocs
    return Regression(space, np.cos(2 * x) + np.sin(3 * y)), space


def test_steps_of_fixed_length_are_of_second_order():
    energy, space = regression()
    start, errors = np.zeros(space.size), []
    exact = energy.target * (1.0 - np.exp(-1.0))
    for steps in (4, 8, 16):
        flow = SobolevFlow(energy, FiniteElement(space), space, step_length=1.0 / steps, duration=1.0)
        *_, last = flow.run(start)
        assert last.time == pytest.approx(1.0) and last.step == steps
        errors.append(space.norm(last.m - exact))
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert np.all(np.abs(orders - 2.0) < 0.15)


@pytest.mark.parametrize("discretization", DISCRETIZATIONS)
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.search
def test_a_network_stays_within_its_bound_of_the_exact_flow(discretization, seed):
    energy, space = regression()
    ansatz = MLP((2, 10, 6, 1))
    flow = SobolevFlow(energy, ansatz, space, discretization=discretization, duration=2.0)
    first, *_, last = flow.run(ansatz.initial(np.random.default_rng(seed)))
    exact = energy.target + np.exp(-last.time) * (first.m - energy.target)
    bound = last.memory.deviation
    distance = space.norm(last.m - exact)
    assert distance <= bound * (1.0 + 1e-10)
    assert distance < {"projected": 0.2, "retracted": 0.02}[discretization] * last.memory.length


def test_the_nodal_flow_is_the_path_of_an_independent_integrator():
    energy, space, _ = inverse_problem(5)
    flow = SobolevFlow(energy, FiniteElement(space), space, accuracy=0.02, iterations=40)
    first, *_, last = flow.run(np.zeros(space.size))
    solution = solve_ivp(lambda _, m: -space.riesz(energy.linearize(m).derivative), (0.0, last.time), first.m,
                         rtol=1e-9, atol=1e-10)
    assert space.norm(last.m - solution.y[:, -1]) < 1e-3 * space.norm(last.m - first.m)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.search
def test_the_energy_falls_by_the_squared_projected_gradient(seed):
    energy, space, _ = inverse_problem(sampling="quadrature")
    ansatz = MLP((2, 8, 1), "tanh")
    flow = SobolevFlow(energy, ansatz, space, discretization="projected", iterations=6)
    *_, before = flow.run(ansatz.initial(np.random.default_rng(seed)))
    rate, ratios = before.kappa**2 * before.gradient_norm**2, []
    for share in (0.1, 0.05, 0.025):
        h = share * before.step_size
        after = replace(flow, step_length=h, damping=1e-10, iterations=100).step(before)
        ratios.append((before.value - after.value) / (h * rate))
    assert abs(2.0 * ratios[2] - ratios[1] - 1.0) < 0.02  # extrapolated to a step of length zero
    assert abs(ratios[2] - 1.0) < 0.7 * abs(ratios[1] - 1.0) + 0.01


@pytest.mark.parametrize("discretization", DISCRETIZATIONS)
@pytest.mark.search
def test_a_small_network_does_not_destroy_itself_at_small_steps(discretization):
    """Its weights stay of the size of its start's, and no more than one neuron is switched off on the way."""
    energy, space, _ = inverse_problem(5, sampling="quadrature")
    ansatz = MLP((2, 4, 4, 1))
    flow = SobolevFlow(energy, ansatz, space, discretization=discretization, accuracy=0.05, iterations=40)
    *_, last = flow.run(ansatz.initial(np.random.default_rng(0)))
    lengths = np.sqrt(np.diag(space.gram(TangentSpace.at(ansatz, last.theta, space).vectors)))
    assert np.abs(last.theta).max() < 30.0 and np.sum(lengths < 1e-4 * lengths.max()) <= 5


@pytest.mark.search
def test_growth_keeps_the_path():
    energy, space = regression()
    small = MLP((2, 2, 1))
    theta = small.initial(np.random.default_rng(0))
    ends = {}
    growing = Expansion(trigger="alignment", alignment=0.99, max_parameters=80)
    for name, expansion in (("fixed", None), ("grown", growing)):
        *_, last = SobolevFlow(energy, small, space, duration=2.0, expansion=expansion).run(theta)
        ends[name] = last
    assert ends["grown"].parameters > ends["fixed"].parameters
    assert ends["grown"].memory.realization < 0.5 * ends["fixed"].memory.realization


@pytest.mark.search
def test_a_flow_goes_on_where_it_was():
    energy, space, _ = inverse_problem(5, sampling="quadrature")
    ansatz = MLP((2, 6, 1))
    flow = SobolevFlow(energy, ansatz, space, iterations=6)
    iterates = list(flow.run(ansatz.initial(np.random.default_rng(1))))
    again = flow.resume(ansatz, iterates[3].state())
    assert again.memory == iterates[3].memory
    assert np.array_equal(flow.step(again).theta, iterates[4].theta)


def test_bad_settings_are_named():
    energy, space = regression()
    flow = SobolevFlow(energy, FiniteElement(space), space)
    with pytest.raises(InputError, match="discretization is 'implicit'"):
        replace(flow, discretization="implicit")
    for name in ("step_length", "accuracy", "duration", "damping"):
        with pytest.raises(InputError, match=f"{name} is -1"):
            replace(flow, **{name: -1.0})


# ---- the metric of the states ---------------------------------------------------------------------------------------


def source_residual(u, v, m, w):
    """``-lap u = m``: the energy is quadratic."""
    return dot(grad(u), grad(v)) - m * v


def test_the_flow_in_the_metric_of_the_states_is_newtons_in_continuous_time():
    """Of a quadratic energy: what is above the minimum falls like exp(-2t), whatever the data."""
    energy, space, truth = inverse_problem(6, residual=source_residual, weight=1e-3)
    start = np.ones(space.size)
    least = list(NewtonFlow(energy, FiniteElement(space), space, tolerance=1e-12).run(start))[-1].value
    flow = SobolevFlow(energy, FiniteElement(space), space, metric="gauss-newton", step_length=0.05, duration=1.0)
    iterates = list(flow.run(start))
    above = np.array([iterate.value - least for iterate in iterates])
    times = np.array([iterate.time for iterate in iterates])
    assert np.allclose(above / above[0], np.exp(-2.0 * times), rtol=5e-2)


@pytest.mark.search
@pytest.mark.parametrize("discretization", DISCRETIZATIONS)
def test_networks_follow_newtons_flow(discretization):
    """A fixed time is enough, whatever the units: three networks come below half of the start."""
    energy, space, _ = inverse_problem(5, weight=1e-3)
    for seed in range(3):
        network = MLP((2, 8, 1))
        flow = SobolevFlow(energy, network, space, discretization, metric="gauss-newton", duration=1.0)
        last = list(flow.run(network.initial(RNG(seed))))[-1]
        assert last.time == pytest.approx(1.0) and last.value < 0.5 * last.start_value


@pytest.mark.search
@pytest.mark.parametrize("method", ["euler", "levenberg-marquardt"])
def test_natural_gradients_in_the_metric_of_the_states(method):
    """Ten steps go deeper than ten in H1, from three starts."""
    energy, space, _ = inverse_problem(5, weight=1e-3)
    for seed in range(3):
        network, ends = MLP((2, 8, 1)), {}
        for metric in ("space", "gauss-newton"):
            flow = NaturalGradientFlow(energy, network, space, method, metric=metric, iterations=10)
            ends[metric] = list(flow.run(network.initial(RNG(seed))))[-1].value
        assert ends["gauss-newton"] < ends["space"]


def test_unknown_metrics():
    energy, space = regression()
    for metric, message in (("h1", "choose 'space'"), ("gauss-newton", "InverseProblem")):
        for flow in (SobolevFlow, NaturalGradientFlow):
            with pytest.raises(InputError, match=message):
                flow(energy, FiniteElement(space), space, metric=metric)
