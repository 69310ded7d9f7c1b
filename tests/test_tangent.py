"""Tangent spaces against brute force: torch.func, quadrature sums and dense linear algebra."""

import numpy as np
import pytest
import scipy.linalg
import torch
from problems import alignment_error, inverse_problem, parameter_space
from skfem import Basis, ElementLineP2, ElementTetP1, ElementTriP1, ElementTriP2, FacetBasis, MeshLine, MeshTet

from fem_ngf import (
    MLP,
    FiniteElement,
    HilbertSpace,
    InputError,
    TangentSpace,
    Transformed,
    realize,
    taylor_rate,
    unit_square,
)
from fem_ngf.linalg.dense import deflate, orthonormalize
from fem_ngf.tangent.tangent_space import tangent_vectors

WIDTHS = (2, 4, 3, 1)


def network_and_theta(widths=WIDTHS, seed=0):
    ansatz = MLP(widths, output_scale=0.5)
    return ansatz, ansatz.initial(np.random.default_rng(seed))


def torch_network(theta, x, widths=WIDTHS):
    """The same network from its description: layer by layer W row by row, then b; inputs scaled to [-1, 1]."""
    z, at = 2.0 * x - 1.0, 0
    for i, (inputs, outputs) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
        weights = theta[at:at + inputs * outputs].reshape(outputs, inputs)
        at += inputs * outputs
        z = weights @ z + theta[at:at + outputs]
        at += outputs
        z = torch.sin(z) if i < len(widths) - 2 else z
    return z[0]


def brute_force_vectors(theta, space, widths=WIDTHS):
    """``Pi dN/dtheta`` with torch.func's Jacobian, scikit-fem's own values of shape functions and dense solves."""
    x = torch.tensor(np.ascontiguousarray(space.basis.global_coordinates().reshape(space.points.shape[1], -1).T))
    one_point = torch.func.jacrev(lambda theta, x: torch_network(theta, x, widths))
    jacobian = torch.func.vmap(one_point, in_dims=(None, 0))(torch.tensor(theta), x).numpy()
    shapes = np.stack([np.asarray(space.basis.interpolate(unit)).ravel() for unit in np.eye(space.size)], axis=1)
    weights = space.basis.dx.ravel()[:, None]
    free = space.free
    vectors = np.zeros((space.size, len(theta)))
    mass = (shapes.T @ (weights * shapes))[np.ix_(free, free)]
    vectors[free] = np.linalg.solve(mass, (shapes.T @ (weights * jacobian))[free])
    return vectors


SPACES = {
    "h1": lambda basis: HilbertSpace.h1(basis, 0.4),
    "l2": HilbertSpace.l2,
    "half": lambda basis: HilbertSpace.sobolev(basis, 0.5),
    "fixed": lambda basis: HilbertSpace.h1(basis, fixed=basis.get_dofs("left").all()),
}


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("element", [ElementTriP1, ElementTriP2])
def test_gram_equals_brute_force(name, element):
    space = SPACES[name](Basis(unit_square(3), element(), intorder=4))
    ansatz, theta = network_and_theta()
    vectors = brute_force_vectors(theta, space)
    tangent = TangentSpace.at(ansatz, theta, space)
    assert np.abs(tangent.vectors - vectors).max() < 1e-11 * np.abs(vectors).max()
    expected = vectors.T @ space.apply(vectors)
    assert np.abs(tangent.gram() - expected).max() < 1e-10 * np.abs(expected).max()
    assert np.array_equal(tangent.matrix, tangent.gram())


def test_the_h1_gram_is_an_integral():
    """By quadrature of the projected tangent functions and their gradients, without any matrix."""
    space = HilbertSpace.h1(Basis(unit_square(3), ElementTriP1(), intorder=4), 0.4)
    ansatz, theta = network_and_theta()
    fields = [space.basis.interpolate(column) for column in brute_force_vectors(theta, space).T]
    dx = space.basis.dx
    expected = [[np.sum((np.asarray(a) * np.asarray(b) + 0.16 * (a.grad * b.grad).sum(axis=0)) * dx) for b in fields]
                for a in fields]
    assert np.abs(TangentSpace.at(ansatz, theta, space).gram() - expected).max() < 1e-10 * np.abs(expected).max()


@pytest.mark.parametrize("block", [1, 7, 64, 10**6])
@pytest.mark.parametrize("sampling", ["quadrature", "nodal"])
def test_blocks_do_not_matter(block, sampling):
    space = parameter_space(4, sampling)
    ansatz, theta = network_and_theta()
    whole = tangent_vectors(ansatz, theta, space)
    assert np.abs(tangent_vectors(ansatz, theta, space, block) - whole).max() < 1e-12 * np.abs(whole).max()


def test_the_jacobian_is_never_whole():
    """Only blocks of at most the given size are asked for."""
    seen = []

    class Watched(MLP):
        def linearize(self, theta, x):
            seen.append(len(x))
            return super().linearize(theta, x)

    ansatz = Watched(WIDTHS, output_scale=0.5)
    space = parameter_space(6, "quadrature")
    tangent_vectors(ansatz, ansatz.initial(np.random.default_rng(0)), space, block=50)
    assert max(seen) == 50
    assert sum(seen) == len(space.points)


@pytest.mark.parametrize("basis", [
    lambda: Basis(MeshLine().refined(3), ElementLineP2()), lambda: Basis(MeshTet().refined(1), ElementTetP1()),
    lambda: FacetBasis(unit_square(3), ElementTriP1(), facets="left"),
], ids=["line", "tetrahedra", "facets"])
def test_other_dimensions(basis):
    space = HilbertSpace.h1(basis())
    widths = (space.points.shape[1], 3, 1)
    ansatz, theta = network_and_theta(widths)
    vectors = brute_force_vectors(theta, space, widths)
    assert np.abs(tangent_vectors(ansatz, theta, space) - vectors).max() < 1e-10 * np.abs(vectors).max()


# ---- derivatives of theta -> E --------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", ["quadrature", "nodal"])
def test_realization_and_its_tangent(sampling):
    space = parameter_space(4, sampling)
    ansatz, theta = network_and_theta()
    direction = np.random.default_rng(1).standard_normal(ansatz.size)

    def function(theta):
        return realize(ansatz, theta, space), TangentSpace.at(ansatz, theta, space).vectors

    assert abs(taylor_rate(function, theta, direction) - 2.0) <= 0.02
    m = realize(ansatz, theta, space)
    assert np.allclose(m, space.project(ansatz(theta, space.points)))


@pytest.mark.parametrize("sampling", ["quadrature", "nodal"])
def test_pull_back_is_the_gradient_in_the_parameters(sampling):
    energy, space, _ = inverse_problem(5, sampling=sampling)
    ansatz, theta = network_and_theta()

    def value(theta):
        return energy(realize(ansatz, theta, space))

    slope = TangentSpace.at(ansatz, theta, space).pull_back(energy.linearize(realize(ansatz, theta, space)).derivative)
    units = np.eye(ansatz.size)
    numerical = [(value(theta + 1e-5 * unit) - value(theta - 1e-5 * unit)) / 2e-5 for unit in units]
    assert np.abs(numerical - slope).max() < 1e-7 * np.abs(slope).max()


def test_pull_back_and_push_forward_are_adjoint():
    space = parameter_space(4)
    tangent = TangentSpace.at(*network_and_theta(), space)
    generator = np.random.default_rng(0)
    d, g = generator.standard_normal(tangent.vectors.shape[1]), generator.standard_normal(space.size)
    assert np.isclose(g @ tangent.push_forward(d), tangent.pull_back(g) @ d)


# ---- projection and alignment ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPACES)
def test_alignment_equals_dense_least_squares(name):
    space = SPACES[name](Basis(unit_square(5), ElementTriP1(), intorder=4))
    ansatz, theta = network_and_theta((2, 3, 1))
    derivative = np.random.default_rng(0).standard_normal(space.size)
    assert alignment_error(ansatz, theta, space, derivative) < 1e-7
    tangent = TangentSpace.at(ansatz, theta, space)
    free = np.ix_(space.free, space.free)
    root = scipy.linalg.cholesky(space.apply(np.eye(space.size))[free])
    gradient = space.riesz(derivative)[space.free]
    d, *_ = np.linalg.lstsq(root @ tangent.vectors[space.free], root @ gradient, rcond=None)
    projected = np.linalg.norm(root @ tangent.vectors[space.free] @ d)
    kappa = projected / space.dual_norm(derivative)
    assert np.isclose(tangent.alignment(derivative), kappa, atol=1e-7)
    direction = tangent.direction(derivative)
    assert np.allclose(tangent.push_forward(direction)[space.free], tangent.vectors[space.free] @ d, atol=1e-5)
    assert np.isclose(tangent.realized_alignment(derivative, direction), kappa, atol=1e-6)


def test_damping_lowers_the_realized_alignment():
    space = parameter_space(6)
    tangent = TangentSpace.at(*network_and_theta(), space)
    derivative = np.random.default_rng(3).standard_normal(space.size)
    kappa = tangent.alignment(derivative)
    realized = [tangent.realized_alignment(derivative, tangent.direction(derivative, damping))
                for damping in (1e-8, 1e-4, 1e-1, 1e2)]
    assert np.all(np.array(realized) <= kappa + 1e-9)
    assert realized[-1] < 0.9 * realized[0]


def test_gradients_in_the_span_are_aligned():
    space = parameter_space(6)
    tangent = TangentSpace.at(*network_and_theta(), space)
    inside = tangent.push_forward(np.linspace(-1.0, 1.0, tangent.vectors.shape[1]))
    assert np.isclose(tangent.alignment(space.apply(inside)), 1.0, atol=1e-9)
    again = tangent.push_forward(tangent.project(inside))
    assert space.norm(again - inside) < 1e-5 * space.norm(inside)
    outside = np.random.default_rng(0).standard_normal(space.size)
    for _ in range(3):
        outside -= tangent.push_forward(tangent.project(outside))
    assert tangent.alignment(space.apply(outside)) < 1e-3


def test_zero_derivative():
    space = parameter_space(3)
    tangent = TangentSpace.at(*network_and_theta(), space)
    assert tangent.alignment(np.zeros(space.size)) == 1.0
    assert tangent.realized_alignment(np.zeros(space.size), np.zeros(tangent.vectors.shape[1])) == 0.0


def test_nearly_dependent_tangents_count_in_full():
    """A function that is new by one part in a hundred thousand is another dimension, orthonormal to rounding."""
    space = parameter_space(4)
    one, two, new = np.random.default_rng(0).standard_normal((3, space.size))
    basis = orthonormalize(np.column_stack([one, two, one + two + 1e-5 * new]), space.inner_product)
    assert basis.shape[1] == 3
    assert np.abs(space.gram(basis) - np.eye(3)).max() < 1e-13
    rest = deflate(one + 1e-9 * np.cos(np.arange(space.size)), basis, space.apply(basis))
    assert np.abs(basis.T @ space.apply(rest)).max() < 1e-9 * space.norm(rest)


def test_dead_parameters_do_no_harm():
    """A neuron with zero output weight has tangent functions that vanish."""
    space = parameter_space(4)
    ansatz = MLP((2, 3, 1))
    theta = ansatz.initial(np.random.default_rng(0))
    tangent = TangentSpace.at(ansatz, theta, space)
    assert np.linalg.matrix_rank(tangent.gram()) == 4
    derivative = np.cos(np.arange(space.size))
    assert 0.0 < tangent.alignment(derivative) < 1.0
    assert alignment_error(ansatz, theta, space, derivative) < 1e-8


# ---- the finite-element ansatz --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPACES)
def test_finite_elements_are_the_whole_space(name):
    space = SPACES[name](Basis(unit_square(3), ElementTriP1(), intorder=4))
    ansatz = FiniteElement(space)
    theta = np.random.default_rng(0).standard_normal(space.size)
    theta[space.fixed] = 0.0
    tangent = TangentSpace.at(ansatz, theta, space)
    assert tangent.is_full
    assert np.array_equal(realize(ansatz, theta, space), theta)
    assert np.array_equal(tangent.push_forward(theta), theta)
    assert np.allclose(tangent.gram() @ theta, space.apply(theta))
    g = np.cos(np.arange(space.size))
    assert np.array_equal(tangent.pull_back(g)[space.free], g[space.free])
    assert not tangent.pull_back(g)[space.fixed].any()
    assert np.allclose(tangent.direction(g), space.riesz(g))
    assert tangent.alignment(g) == 1.0
    other = HilbertSpace.l2(space.basis)
    assert np.allclose((tangent.gram(other) @ theta), other.mass @ theta)


def test_the_network_path_agrees_with_the_shortcut_for_finite_elements():
    """A transformed finite-element ansatz goes the way of the networks; with the identity nothing changes."""
    space = parameter_space(3, "quadrature")
    plain = FiniteElement(space)
    wrapped = Transformed(plain, lambda value: value, lambda value: np.ones_like(value))
    theta = np.random.default_rng(0).standard_normal(space.size)
    tangent = TangentSpace.at(wrapped, theta, space)
    assert np.allclose(tangent.vectors, np.eye(space.size), atol=1e-12)
    assert np.allclose(tangent.gram(), space.matrix.toarray(), atol=1e-12)
    assert np.allclose(realize(wrapped, theta, space), theta)


def test_bad_input():
    space = parameter_space(3)
    ansatz, theta = network_and_theta()
    with pytest.raises(InputError, match="theta has shape"):
        TangentSpace.at(ansatz, theta[:-1], space)
    with pytest.raises(InputError, match="theta has shape"):
        realize(ansatz, theta[:-1], space)
    with pytest.raises(InputError, match="theta has shape"):
        realize(FiniteElement(space), np.zeros(3), space)
    with pytest.raises(InputError, match="damping is for networks"):
        TangentSpace.at(FiniteElement(space), np.zeros(space.size), space).direction(np.zeros(space.size), 0.1)
    with pytest.raises(InputError, match="has 25 unknowns"):
        realize(FiniteElement(space), np.zeros(space.size), parameter_space(4))
