"""Back to the network: the regression in a metric."""

import numpy as np
import pytest
from problems import parameter_space
from skfem import Basis, ElementTriP1

from fem_ngf import MLP, FiniteElement, HilbertSpace, SolveError, TangentSpace, Transformed, realize, unit_square
from fem_ngf.ansatz.wrappers import ScaledLinearization
from fem_ngf.flows.retraction import retract


def setting(sampling="nodal", widths=(2, 6, 5, 1)):
    space = parameter_space(6, sampling)
    ansatz = MLP(widths, output_scale=0.5)
    theta = ansatz.initial(np.random.default_rng(0))
    return space, ansatz, theta, realize(ansatz, theta, space)


def distance(metric, v, w):
    return float((v - w) @ metric.apply(v - w))


@pytest.mark.parametrize("fixed", [(), (0, 3, 7)])
def test_finite_elements_reach_the_target_itself(fixed):
    space = HilbertSpace.h1(Basis(unit_square(4), ElementTriP1()), fixed=fixed)
    target = np.cos(np.arange(space.size))
    result = retract(FiniteElement(space), np.zeros(space.size), np.zeros(space.size), target, space,
                     space.inner_product)
    assert np.array_equal(result.m[space.free], target[space.free])
    assert np.all(result.m[space.fixed] == 0.0)
    assert np.array_equal(result.theta, result.m)
    assert (result.fit, result.iterations) == (0.0, 0)
    result.m[:] = 9.0
    assert target.max() <= 1.0


@pytest.mark.search
def test_a_function_of_the_network_is_found():
    """The target is realised by parameters nearby: the misfit vanishes to the tolerance asked for."""
    space, ansatz, theta, m = setting()
    goal = theta + 0.1 * np.random.default_rng(1).standard_normal(ansatz.size)
    target = realize(ansatz, goal, space)
    result = retract(ansatz, theta, m, target, space, space.inner_product, iterations=400, tolerance=1e-8, paying=0.0)
    assert result.fit <= 1e-8
    assert space.norm(result.m - target) <= 1.01e-4 * space.norm(m - target)


@pytest.mark.search
def test_nodal_steering_finds_projected_functions_on_a_mesh_that_resolves_them():
    """Tangents at the nodes steer a retraction of the projected function: to the default tolerance of the fit."""
    space = parameter_space(32, "quadrature")
    ansatz = MLP((2, 6, 5, 1), output_scale=0.5)
    theta = ansatz.initial(np.random.default_rng(0))
    target = realize(ansatz, theta + 0.03 * np.random.default_rng(1).standard_normal(ansatz.size), space)
    result = retract(ansatz, theta, realize(ansatz, theta, space), target, space, space.inner_product)
    assert result.fit <= 1e-3


@pytest.mark.parametrize("sampling", ["quadrature", "nodal"])
@pytest.mark.search
def test_fit_is_what_it_says(sampling):
    space, ansatz, theta, m = setting(sampling)
    target = m + np.sin(9 * space.basis.doflocs[0])
    result = retract(ansatz, theta, m, target, space, space.inner_product)
    assert np.array_equal(result.m, realize(ansatz, result.theta, space))
    metric = space.inner_product
    assert np.isclose(result.fit, distance(metric, result.m, target) / distance(metric, m, target), rtol=1e-12)
    assert 0.0 < result.fit < 1.0
    assert result.iterations <= 30


def test_the_start_is_left_alone():
    space, ansatz, theta, m = setting()
    before = theta.copy(), m.copy()
    retract(ansatz, theta, m, m + 1.0, space, space.inner_product)
    assert np.array_equal(theta, before[0]) and np.array_equal(m, before[1])


def test_a_target_already_reached():
    space, ansatz, theta, m = setting()
    result = retract(ansatz, theta, m, m.copy(), space, space.inner_product)
    assert np.array_equal(result.theta, theta)
    assert (result.fit, result.iterations) == (0.0, 0)


@pytest.mark.search
def test_for_small_steps_it_is_the_projection():
    """A tiny step ends at the metric projection of the step onto the tangent space."""
    space, ansatz, theta, m = setting(widths=(2, 2, 1))
    step = 1e-6 * np.sin(9 * space.basis.doflocs[0])
    result = retract(ansatz, theta, m, m + step, space, space.inner_product, damping=1e-9, tolerance=0.0, paying=0.0)
    kappa = TangentSpace.at(ansatz, theta, space).alignment(space.apply(step))
    assert kappa < 0.9 and np.isclose(result.fit, 1.0 - kappa**2, rtol=1e-3)


@pytest.mark.search
def test_the_metric_decides():
    """Among two metrics, each retraction of a short step is the better one in its own."""
    space, ansatz, theta, m = setting(widths=(2, 2, 1))
    target = m + 0.01 * np.sin(9 * space.basis.doflocs[0]) * np.cos(7 * space.basis.doflocs[1])
    metrics = [space.inner_product, HilbertSpace.l2(space.basis).inner_product]
    results = [retract(ansatz, theta, m, target, space, metric, iterations=300, paying=0.0) for metric in metrics]
    for own, other in ((0, 1), (1, 0)):
        assert distance(metrics[own], results[own].m, target) < distance(metrics[own], results[other].m, target)


def exponential(rate):
    """A positive network that overflows not far from its start."""
    return Transformed(MLP((2, 6, 1), output_scale=0.2), lambda n: np.exp(rate * n), lambda n: rate * np.exp(rate * n))


@pytest.mark.parametrize("sampling", ["quadrature", "nodal"])
@pytest.mark.search
def test_overflow_is_a_rejected_trial(sampling):
    space, ansatz = parameter_space(4, sampling), exponential(400.0)
    theta = 0.01 * ansatz.initial(np.random.default_rng(0))
    m = realize(ansatz, theta, space)
    result = retract(ansatz, theta, m, m + 100.0, space, space.inner_product, damping=1e-12)
    assert np.isfinite(result.theta).all() and np.isfinite(result.m).all()
    assert result.fit <= 1.0


def test_tangents_that_are_not_finite():
    class Broken(MLP):
        def linearize(self, theta, x):
            inner = super().linearize(theta, x)
            return ScaledLinearization(inner, inner.value, np.full(len(x), np.nan))

    space, _, theta, m = setting()
    with pytest.raises(SolveError, match="not finite"):
        retract(Broken((2, 6, 5, 1)), theta, m, m + 1.0, space, space.inner_product)
