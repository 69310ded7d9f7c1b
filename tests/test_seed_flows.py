"""The neighbouring systems: each against the formula it must equal on a small problem."""

import numpy as np
import pytest
from skfem import Basis, ElementTriP1

from fem_ngf import (
    MLP,
    AdaptedFlow,
    DirectedFlow,
    DualDirection,
    FunctionMomentum,
    HilbertSpace,
    InputError,
    LowRankDirection,
    MatrixFreeDirection,
    NaturalGradientFlow,
    Regression,
    SampleSpace,
    SolveError,
    Spring,
    TangentSpace,
    sobolev_samples,
    unit_square,
)
from fem_ngf.spaces.matern import matern
from fem_ngf.tangent.dual import dual_direction, primal_direction
from fem_ngf.tangent.matrix_free import MatrixFreeTangent, nystrom, solve


def target(x):
    return np.sin(3.0 * x[:, 0]) * (1.0 + x[:, 1])


def small_problem(n: int = 5, widths=(2, 6, 1), metric="h1", sampling="quadrature"):
    """Regression energy, space, network, parameters."""
    basis = Basis(unit_square(n), ElementTriP1(), intorder=2)
    space = getattr(HilbertSpace, metric)(basis, sampling=sampling)
    ansatz = MLP(widths, output_scale=1.0)
    return Regression.of_function(space, target), space, ansatz, ansatz.initial(np.random.default_rng(0))


# ---- geometrically adapted flow -------------------------------------------------------------------------------------


def adapted(count: int, neurons: int, homotopy: float = 1.0, outputs: int = 1):
    points = np.linspace(0.0, 1.0, count)[:, None]
    targets = np.cos(4.0 * points[:, 0]) if outputs == 1 else np.column_stack([np.cos(4 * points), np.sin(3 * points)])
    ansatz = MLP((1, neurons, outputs), output_scale=1.0, scale=4.0)
    flow = AdaptedFlow(ansatz, points, targets, homotopy)
    return flow, ansatz.initial(np.random.default_rng(3))


@pytest.mark.parametrize("outputs", [1, 2])
def test_adapted_flow_overparametrised(outputs):
    """Slope -2/N, the a priori stopping time, and the straight line in output space."""
    flow, theta = adapted(6, 20, outputs=outputs)
    assert flow.overparametrised and flow.rank(theta) == 6 * outputs
    cost = 1e-4 * flow.cost(theta)
    path = flow.integrate(theta, flow.stopping_time(theta, cost))
    slope = np.polyfit(path.times, np.log(path.costs), 1)[0]
    assert abs(slope * 6 / -2.0 - 1.0) < 1e-5
    assert abs(path.costs[-1] / cost - 1.0) < 1e-4
    assert path.deviation(flow.targets, 6) < 1e-6
    assert np.isclose(flow.alignment(theta), 1.0)


def test_adapted_flow_underparametrised_is_the_natural_gradient():
    flow, theta = adapted(40, 3)
    assert not flow.overparametrised and flow.rank(theta) == flow.ansatz.size
    assert flow.alignment(theta) < 1.0
    space = SampleSpace(flow.points)
    tangent = TangentSpace.at(flow.ansatz, theta, space)
    derivative = Regression(space, flow.targets).linearize(flow.outputs(theta)).derivative
    direction = tangent.direction(derivative)
    assert np.allclose(flow.velocity(theta), -direction / flow.count, rtol=1e-5)
    path = flow.integrate(theta, 40.0, tolerance=1e-7, samples=10)
    assert np.all(np.diff(path.costs) < 0) and path.costs[-1] > 0


def test_homotopy_links_the_flows_and_keeps_the_equilibria():
    plain, theta = adapted(6, 10, homotopy=0.0)
    half, full = adapted(6, 10, homotopy=0.5)[0], adapted(6, 10)[0]
    jacobian = plain.ansatz.linearize(theta, plain.points).jacobian()
    slope = (plain.outputs(theta) - plain.targets) / plain.count
    assert np.allclose(plain.velocity(theta), -jacobian.T @ slope)
    assert np.allclose(full.velocity(theta), -np.linalg.pinv(jacobian) @ slope)
    assert np.allclose(half.velocity(theta), 0.5 * (plain.velocity(theta) + full.velocity(theta)))
    settled = AdaptedFlow(plain.ansatz, plain.points, plain.outputs(theta), 0.5)
    assert np.abs(settled.velocity(theta)).max() == 0.0


def test_lost_rank_shows_in_the_alignment():
    points = np.array([[0.1], [0.1], [0.8]])
    flow = AdaptedFlow(MLP((1, 10, 1), output_scale=1.0), points, np.array([1.0, -1.0, 0.5]))
    theta = flow.ansatz.initial(np.random.default_rng(0))
    assert flow.rank(theta) == 2 and flow.alignment(theta) < 1.0 - 1e-3
    with pytest.raises(InputError, match="homotopy"):
        AdaptedFlow(flow.ansatz, points, flow.targets, 2.0)
    with pytest.raises(SolveError, match="not finite"):
        flow.velocity(np.full(flow.ansatz.size, np.nan))


# ---- directions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric, sampling", [("h1", "quadrature"), ("l2", "nodal")])
def test_dual_and_primal_directions_agree(metric, sampling):
    energy, space, ansatz, theta = small_problem(2, (2, 12, 1), metric, sampling)
    tangent = MatrixFreeTangent.at(ansatz, theta, space)
    assert space.size < ansatz.size
    derivative = energy.linearize(np.ones(space.size)).derivative
    for damping in (1e-1, 1e-3):
        primal = primal_direction(tangent.dense, derivative, damping)
        dual = dual_direction(tangent, derivative, damping)
        assert np.allclose(primal, dual, rtol=1e-8, atol=1e-8 * np.abs(primal).max())


def test_dual_form_is_the_published_one_at_points():
    generator = np.random.default_rng(1)
    points = generator.random((9, 2))
    space, ansatz = SampleSpace(points), MLP((2, 10, 1), output_scale=1.0)
    theta = ansatz.initial(generator)
    tangent = MatrixFreeTangent.at(ansatz, theta, space)
    J, r, damping = tangent.dense.vectors, generator.standard_normal(9), 1e-3
    published = J.T @ np.linalg.solve(J @ J.T + 9 * damping * np.eye(9), r)
    assert np.allclose(dual_direction(tangent, space.apply(r), damping), published)
    assert np.allclose(J @ J.T, ansatz.linearize(theta, points).dual_gram())


def test_spring_is_the_published_formula():
    generator = np.random.default_rng(2)
    points = generator.random((7, 2))
    space, ansatz = SampleSpace(points), MLP((2, 8, 1), output_scale=1.0)
    tangent = MatrixFreeTangent.at(ansatz, ansatz.initial(generator), space)
    J, r, previous = tangent.dense.vectors, generator.standard_normal(7), generator.standard_normal(ansatz.size)
    damping, mu = 1e-3, 0.8
    kernel = J @ J.T + 7 * damping * np.eye(7)
    published = mu * previous + J.T @ np.linalg.solve(kernel, r - mu * J @ previous)
    direction, carried = Spring(damping, mu)(tangent, space.apply(r), previous)
    assert np.allclose(direction, published) and carried is direction
    first = Spring(damping, mu)(tangent, space.apply(r))[0]
    assert np.allclose(first, dual_direction(tangent, space.apply(r), damping))


def test_momentum_is_reprojected_by_the_cross_gram():
    energy, space, ansatz, theta = small_problem()
    rule, generator = FunctionMomentum(0.7, 1e-4), np.random.default_rng(3)
    before = MatrixFreeTangent.at(ansatz, theta, space)
    first, carried = rule(before, energy.linearize(np.ones(space.size)).derivative)
    after = MatrixFreeTangent.at(ansatz, theta + 0.1 * generator.standard_normal(ansatz.size), space)
    derivative = energy.linearize(np.zeros(space.size)).derivative
    second, _ = rule(after, derivative, carried)
    cross = after.dense.vectors.T @ (space.matrix @ before.dense.vectors)
    damped = after.dense.gram() + 1e-4 * np.eye(ansatz.size)
    assert np.allclose(second, np.linalg.solve(damped, after.pull_back(derivative) + 0.7 * cross @ first), rtol=1e-6)


def test_a_window_of_gradients_is_a_preconditioner():
    energy, space, ansatz, theta = small_problem()
    tangent = TangentSpace.at(ansatz, theta, space)
    carried, rule = None, LowRankDirection(window=3, damping=0.3)
    for k in range(5):
        derivative = energy.linearize(np.full(space.size, float(k))).derivative
        direction, carried = rule(tangent, derivative, carried)
        slope, columns = tangent.pull_back(derivative), carried.shape[1]
        dense = 0.3 * np.eye(ansatz.size) + carried @ carried.T / np.sum(carried**2)
        assert np.allclose(dense @ direction, slope) and columns == min(k + 1, 3)


# ---- Sobolev natural gradient ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("nu, formula", [
    (0.5, lambda r: np.exp(-r)),
    (1.5, lambda r: (1 + np.sqrt(3) * r) * np.exp(-np.sqrt(3) * r)),
    (2.5, lambda r: (1 + np.sqrt(5) * r + 5 * r**2 / 3) * np.exp(-np.sqrt(5) * r)),
])
def test_matern_kernel(nu, formula):
    x = np.linspace(0.0, 2.0, 9)[:, None]
    assert np.allclose(matern(x, x, nu, 0.4), formula(np.abs(x - x.T) / 0.4))


def test_kernel_is_that_of_h1_on_the_line():
    """exp(-|x - y|/l) reproduces (f^2 + l^2 f'^2)/(2 l) on the line: its interpolant's norm is the H1 norm."""
    x, length = np.linspace(-12.0, 12.0, 4001)[:, None], 0.5
    nodes = x[1800:2200:50]
    kernel = matern(nodes, nodes, 0.5, length)
    values = np.cos(nodes[:, 0])
    weights = np.linalg.solve(kernel, values)
    f = matern(x, nodes, 0.5, length) @ weights
    h = x[1, 0] - x[0, 0]
    norm = (np.sum(f**2) * h + length**2 * np.sum(np.diff(f) ** 2) / h) / (2 * length)
    assert np.isclose(norm, values @ weights, rtol=1e-2)


def test_sobolev_direction_primal_and_dual():
    generator = np.random.default_rng(5)
    points = generator.random((15, 2))
    space, ansatz = sobolev_samples(points, 2.0, 0.5), MLP((2, 5, 1), output_scale=1.0)
    theta = ansatz.initial(generator)
    tangent, error = MatrixFreeTangent.at(ansatz, theta, space), generator.standard_normal(15)
    kernel, J = matern(points, points, 1.0, 0.5) + 1e-10 * np.eye(15), tangent.dense.vectors
    published = J.T @ np.linalg.solve(J @ J.T + 1e-2 * kernel, kernel @ error)
    assert np.allclose(dual_direction(tangent, error, 1e-2), published, rtol=1e-8)
    assert np.allclose(primal_direction(tangent.dense, error, 1e-2), published, rtol=1e-5,
                       atol=1e-6 * np.abs(published).max())
    with pytest.raises(InputError, match="s > d/2"):
        sobolev_samples(points, 1.0)
    with pytest.raises(SolveError, match="points coincide"):
        sobolev_samples(np.zeros((3, 2)), 2.0, nugget=0.0).gram(np.eye(3))


# ---- matrix-free ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric, sampling", [("h1", "quadrature"), ("h1", "nodal"), ("l2", "quadrature")])
def test_matrix_free_tangent(metric, sampling):
    energy, space, ansatz, theta = small_problem(4, (2, 5, 1), metric, sampling)
    dense, free = TangentSpace.at(ansatz, theta, space), MatrixFreeTangent.at(ansatz, theta, space)
    generator = np.random.default_rng(6)
    v, g = generator.standard_normal(ansatz.size), generator.standard_normal(space.size)
    assert np.allclose(free.push_forward(v), dense.push_forward(v))
    assert np.allclose(free.pull_back(g), dense.pull_back(g))
    assert np.isclose(free.push_forward(v) @ g, v @ free.pull_back(g))
    assert np.allclose(free.gram_product(v), dense.matrix @ v)


def test_matrix_free_agrees_with_dense_at_a_thousand_parameters():
    energy, space, ansatz, theta = small_problem(12, (2, 30, 28, 1), "h1", "quadrature")
    assert 900 < ansatz.size < 1100
    tangent = MatrixFreeTangent.at(ansatz, theta, space)
    dense = TangentSpace.at(ansatz, theta, space)
    derivative = energy.linearize(np.zeros(space.size)).derivative
    damping = 1e-4 * np.linalg.eigvalsh(dense.matrix)[-1]
    sketch = nystrom(tangent.gram_product, ansatz.size, 60, damping, np.random.default_rng(0))
    with_sketch = solve(tangent, tangent.pull_back(derivative), damping, sketch, 1e-11, 1000)
    without = solve(tangent, tangent.pull_back(derivative), damping, None, 1e-11, 1000)
    exact = primal_direction(dense, derivative, damping)
    assert np.linalg.norm(with_sketch.x - exact) < 1e-6 * np.linalg.norm(exact)
    assert with_sketch.iterations < 0.5 * without.iterations


def test_nystrom_is_exact_for_low_rank():
    generator = np.random.default_rng(7)
    Q = np.linalg.qr(generator.standard_normal((40, 6)))[0]
    values = 2.0 ** -np.arange(6)
    found = nystrom(lambda v: Q @ (values * (Q.T @ v)), 40, 6, 1e-3, generator)
    assert np.allclose(found.values, values, rtol=1e-6)
    x = generator.standard_normal(40)
    dense = Q @ np.diag(values) @ Q.T + 1e-3 * np.eye(40)
    inside = Q @ (Q.T @ x)
    assert np.allclose(found(dense @ inside), (values[-1] + 1e-3) * inside, rtol=1e-5)


# ---- every rule descends --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule, factor", [
    (DualDirection(1e-5), 0.3), (Spring(1e-5, 0.9), 1.0), (FunctionMomentum(0.5, 1e-5), 1e-2),
    (LowRankDirection(10, 1e-3), 0.8), (MatrixFreeDirection(1e-5, rank=10), 1e-2),
    (MatrixFreeDirection(1e-4, rank=0), 1e-2),
])
@pytest.mark.search
def test_rules_lower_the_energy(rule, factor):
    """At every step, and in all to the stated factor: above five starts' ends by three times their spread."""
    energy, space, ansatz, theta = small_problem(6, (2, 8, 1))
    iterates = list(DirectedFlow(energy, ansatz, space, rule, iterations=25).run(theta))
    values = np.array([iterate.value for iterate in iterates])
    assert np.all(np.diff(values) < 0) and values[-1] < factor * values[0]


@pytest.mark.search
def test_sobolev_samples_steer_the_natural_gradient():
    points = np.random.default_rng(8).random((60, 2))
    energy = Regression(SampleSpace(points), target(points))
    ansatz = MLP((2, 8, 1))
    flow = NaturalGradientFlow(energy, ansatz, sobolev_samples(points, 2.0, 0.5), damping=1e-3, iterations=60)
    *_, last = flow.run(ansatz.initial(np.random.default_rng(0)))
    assert last.value < 1e-2 * last.start_value


@pytest.mark.search
def test_vector_valued_samples_in_a_directed_flow():
    points = np.random.default_rng(9).random((30, 2))
    space, ansatz = SampleSpace(points, components=2), MLP((2, 6, 2))
    energy = Regression(space, space.project(np.column_stack([target(points), points[:, 0] ** 2])))
    *_, last = DirectedFlow(energy, ansatz, space, DualDirection(1e-5), iterations=30).run(
        ansatz.initial(np.random.default_rng(0)))
    assert last.value < 1e-2 * last.start_value
