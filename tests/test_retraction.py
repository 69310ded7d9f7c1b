"""Back to the network: the regression in a metric."""

import numpy as np
import pytest
from problems import parameter_space
from skfem import Basis, ElementTriP1

from fem_ngf import MLP, FiniteElement, HilbertSpace, SolveError, TangentSpace, Transformed, realize, unit_square
from fem_ngf.ansatz.wrappers import ScaledLinearization
from fem_ngf.flows.quadratic_model import QuadraticModel
from fem_ngf.flows.retraction import Retraction, _acceleration, _realized, retract
from fem_ngf.linalg.dense import damped_inverse, orthonormalize
from fem_ngf.tangent.tangent_space import tangent_vectors


def setting(sampling="nodal", widths=(2, 6, 5, 1)):
    space = parameter_space(6, sampling)
    ansatz = MLP(widths, output_scale=0.5)
    theta = ansatz.initial(np.random.default_rng(0))
    return space, ansatz, theta, realize(ansatz, theta, space)


def regressed(ansatz, theta, m, target, space, metric, fit=1e-3, **options):
    """A retraction towards a target, and the share of the squared distance that it leaves."""
    result = retract(QuadraticModel.towards(target, m, metric), ansatz, theta, space, fit=fit, **options)
    far = distance(metric, m, target)
    return result, (1.0 + 2.0 * result.value / far if far else 0.0)


def distance(metric, v, w):
    return float((v - w) @ metric.apply(v - w))


@pytest.mark.parametrize("fixed", [(), (0, 3, 7)])
def test_finite_elements_reach_the_target_itself(fixed):
    space = HilbertSpace.h1(Basis(unit_square(4), ElementTriP1()), fixed=fixed)
    target = np.cos(np.arange(space.size))
    target[space.fixed] = 0.0
    zero = np.zeros(space.size)
    result, _ = regressed(FiniteElement(space), zero, zero, target, space, space.inner_product)
    assert np.allclose(result.m, target, atol=1e-12)
    assert np.all(result.m[space.fixed] == 0.0)
    assert np.array_equal(result.theta, result.m)
    assert result.iterations == 0
    result.m[:] = 9.0
    assert target.max() <= 1.0


@pytest.mark.search
def test_a_function_of_the_network_is_found():
    """The target is realised by parameters nearby: the misfit vanishes to the tolerance asked for."""
    space, ansatz, theta, m = setting()
    goal = theta + 0.1 * np.random.default_rng(1).standard_normal(ansatz.size)
    target = realize(ansatz, goal, space)
    result, fit = regressed(ansatz, theta, m, target, space, space.inner_product, fit=1e-8, iterations=400, rtol=0.0)
    assert fit <= 1e-8
    assert space.norm(result.m - target) <= 1.01e-4 * space.norm(m - target)


@pytest.mark.parametrize("sampling", ["quadrature", "nodal"])
@pytest.mark.search
def test_fit_is_what_it_says(sampling):
    space, ansatz, theta, m = setting(sampling)
    target = m + np.sin(9 * space.basis.doflocs[0])
    result, fit = regressed(ansatz, theta, m, target, space, space.inner_product)
    assert np.array_equal(result.m, realize(ansatz, result.theta, space))
    metric = space.inner_product
    assert np.isclose(fit, distance(metric, result.m, target) / distance(metric, m, target), rtol=1e-10)
    assert np.allclose(result.derivative, metric.apply(result.m - target), atol=1e-12)
    assert 0.0 < fit < 1.0
    assert result.iterations <= 30


def test_the_start_is_left_alone():
    space, ansatz, theta, m = setting()
    before = theta.copy(), m.copy()
    regressed(ansatz, theta, m, m + 1.0, space, space.inner_product)
    assert np.array_equal(theta, before[0]) and np.array_equal(m, before[1])


def test_a_target_already_reached():
    space, ansatz, theta, m = setting()
    result, _ = regressed(ansatz, theta, m, m.copy(), space, space.inner_product)
    assert np.array_equal(result.theta, theta)
    assert (result.value, result.iterations) == (0.0, 0)


@pytest.mark.search
def test_for_small_steps_it_is_the_projection():
    """A tiny step ends at the metric projection of the step onto the tangent space."""
    space, ansatz, theta, m = setting(widths=(2, 2, 1))
    step = 1e-6 * np.sin(9 * space.basis.doflocs[0])
    _, fit = regressed(ansatz, theta, m, m + step, space, space.inner_product, damping=1e-9, fit=0.0, rtol=0.0)
    kappa = TangentSpace.at(ansatz, theta, space).alignment(space.apply(step))
    assert kappa < 0.9 and np.isclose(fit, 1.0 - kappa**2, rtol=1e-3)


def test_the_acceleration_bends_the_path_as_the_geodesic_bends():
    """Damped step plus half the acceleration follows the meant path to third order; the step alone to second."""
    space, ansatz, theta, m = setting(widths=(2, 4, 1))
    tangents = tangent_vectors(ansatz, theta, space)
    inverse = damped_inverse(space.gram(tangents), 1e-12)
    direction = np.random.default_rng(2).standard_normal(ansatz.size)
    errors = []
    for h in (0.04, 0.02):
        step = h * direction
        target = m - tangents @ step
        model = QuadraticModel.towards(target, m, space.inner_product)
        here = Retraction(theta, m, *model.at(m), 1e-12)
        bend = _acceleration(model, ansatz, here, space, tangents, step, inverse)
        errors.append([along(space, tangents, realize(ansatz, moved, space) - target)
                       for moved in (theta - step, theta - step + 0.5 * bend)])
    plain, bent = np.log2(np.array(errors[0]) / errors[1])
    assert abs(plain - 2.0) < 0.1 and bent > 2.8


def along(space, tangents, vector):
    """Length of the projection on the tangent space: what parameters can still correct."""
    basis = orthonormalize(tangents, space.inner_product)
    return np.linalg.norm(basis.T @ space.apply(vector))


@pytest.mark.search
def test_the_metric_decides():
    """Among two metrics, each retraction of a short step is the better one in its own."""
    space, ansatz, theta, m = setting(widths=(2, 2, 1))
    target = m + 0.01 * np.sin(9 * space.basis.doflocs[0]) * np.cos(7 * space.basis.doflocs[1])
    metrics = [space.inner_product, HilbertSpace.l2(space.basis).inner_product]
    results = [regressed(ansatz, theta, m, target, space, metric, iterations=300, rtol=0.0)[0] for metric in metrics]
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
    result, fit = regressed(ansatz, theta, m, m + 100.0, space, space.inner_product, damping=1e-12)
    assert np.isfinite(result.theta).all() and np.isfinite(result.m).all()
    assert fit <= 1.0


@pytest.mark.parametrize("sampling", ["quadrature", "nodal"])
def test_overflow_is_no_vector_and_no_warning(sampling):
    ansatz = exponential(400.0)
    found = _realized(ansatz, np.full(ansatz.size, 10.0), parameter_space(4, sampling))
    assert found is None or not np.isfinite(found).all()


def test_tangents_that_are_not_finite():
    class Broken(MLP):
        def linearize(self, theta, x):
            inner = super().linearize(theta, x)
            return ScaledLinearization(inner, inner.value, np.full(len(x), np.nan))

    space, _, theta, m = setting()
    with pytest.raises(SolveError, match="not finite"):
        regressed(Broken((2, 6, 5, 1)), theta, m, m + 1.0, space, space.inner_product)
