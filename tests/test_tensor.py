"""Spaces of space and time against hexahedra, dense Kronecker products and rates."""

import numpy as np
import pytest
from problems import alignment_error
from skfem import (
    Basis,
    BilinearForm,
    ElementHex1,
    ElementLineP0,
    ElementLineP1,
    ElementLineP2,
    ElementQuad1,
    ElementTriP1,
    ElementTriP2,
    ElementVector,
    MeshHex,
    MeshLine,
    MeshQuad,
)

from fem_ngf import (
    MLP,
    Expansion,
    FiniteElement,
    HilbertSpace,
    InputError,
    ProductSpace,
    Space,
    TangentSpace,
    TensorSpace,
    Tikhonov,
    interval,
    prolongate,
    realize,
    unit_square,
)
from fem_ngf.flows.curvature import prolonged_columns
from fem_ngf.growth.grow import grow
from fem_ngf.tangent.dual import dual_direction, primal_direction
from fem_ngf.tangent.matrix_free import MatrixFreeTangent
from fem_ngf.verify import gram_error

RNG = np.random.default_rng


def factors(cells=3, steps=4, *, element=ElementTriP1, in_time=ElementLineP1, fixed=(), start=(),
            sampling="quadrature"):
    """L2 on the unit square and on the interval (0, 2)."""
    return (HilbertSpace.l2(Basis(unit_square(cells), element()), fixed=fixed, sampling=sampling),
            HilbertSpace.l2(Basis(interval(steps, 0.0, 2.0), in_time()), fixed=start, sampling=sampling))


SPACES = {
    "l2": lambda sampling="quadrature": TensorSpace(*factors(sampling=sampling)),
    "h1": lambda sampling="quadrature": TensorSpace.h1(*factors(sampling=sampling), 0.3, 0.7),
    "fixed": lambda sampling="quadrature": TensorSpace.h1(*factors(fixed=np.arange(4), start=[0], sampling=sampling),
                                                          0.3, 2.0),
    "quadratic": lambda sampling="quadrature": TensorSpace.h1(
        *factors(2, 3, element=ElementTriP2, in_time=ElementLineP2, sampling=sampling), 0.5),
    "vectors": lambda sampling="quadrature": TensorSpace.h1(
        *factors(2, element=lambda: ElementVector(ElementTriP1()), sampling=sampling)),
    "a fractional factor": lambda sampling="quadrature": TensorSpace(
        HilbertSpace.sobolev(Basis(unit_square(3), ElementTriP1()), 1.5, 0.3, sampling=sampling),
        HilbertSpace.h1(Basis(interval(4), ElementLineP1()), 0.2, sampling=sampling)),
}


@pytest.fixture(params=SPACES)
def space(request):
    return SPACES[request.param]()


def dense(space):
    """The inner product (n, n), column by column."""
    return space.apply(np.eye(space.size))


# ---- the inner product ----------------------------------------------------------------------------------------------


def test_inner_products_are_those_of_hexahedra():
    """Q1 in the plane times P1 in time is Q1 on bricks: nothing of the tensor product is in the oracle."""
    x, y, t = np.array([0.0, 0.3, 1.0]), np.array([0.0, 0.5, 0.6, 1.0]), np.array([0.0, 0.2, 1.0, 1.5])
    plane, line = Basis(MeshQuad.init_tensor(x, y), ElementQuad1()), Basis(MeshLine(t), ElementLineP1())
    brick = Basis(MeshHex.init_tensor(x, y, t), ElementHex1())
    lengths = np.array([0.3, 0.3, 0.7])[:, None, None] ** 2
    bricks = HilbertSpace.from_form(brick, BilinearForm(
        lambda u, v, w: u * v + np.sum(lengths * u.grad * v.grad, axis=0)))
    space = TensorSpace.h1(HilbertSpace.l2(plane), HilbertSpace.l2(line), 0.3, 0.7)
    found, wanted = (np.lexsort(nodes.round(9).T) for nodes in (space.nodes, brick.doflocs.T))
    same = np.ix_(found, found), np.ix_(wanted, wanted)
    assert np.allclose(dense(space)[same[0]], bricks.matrix.toarray()[same[1]], atol=1e-14)
    for name in ("mass", "stiffness"):
        assert np.allclose(getattr(space, name).toarray()[same[0]], getattr(bricks, name).toarray()[same[1]],
                           atol=1e-14)
    assert space.weights.sum() == pytest.approx(1.5)
    covector = RNG(0).standard_normal(space.size)
    assert np.allclose(space.riesz(covector)[found], bricks.riesz(covector[found][np.argsort(wanted)])[wanted])


def test_gram_matrices_against_the_assembled_one(space):
    matrix, free = dense(space), space.free
    assert np.allclose(matrix, matrix.T, atol=1e-12) and isinstance(space, Space)
    vectors = RNG(1).standard_normal((space.size, 5))
    assert np.allclose(space.gram(vectors), vectors.T @ matrix @ vectors, rtol=1e-12)
    expected = np.zeros_like(vectors)
    expected[free] = np.linalg.solve(matrix[np.ix_(free, free)], vectors[free])
    assert np.abs(space.riesz(vectors) - expected).max() < 1e-11 * np.abs(expected).max()
    assert np.allclose(space.riesz(vectors[:, 0]), expected[:, 0])
    assert len(space.free) + len(space.fixed) == space.size


def test_the_default_is_the_tensor_product_of_both_inner_products():
    space = SPACES["a fractional factor"]()
    v, a = RNG(2).standard_normal(space.spatial.size), RNG(3).standard_normal(space.temporal.size)
    assert space.norm(np.kron(a, v)) == pytest.approx(space.spatial.norm(v) * space.temporal.norm(a))
    with pytest.raises(InputError, match="no sparse matrix"):
        _ = space.matrix
    both = TensorSpace(space.spatial.with_inner_product(HilbertSpace.h1(space.spatial.basis).inner_product),
                       space.temporal)
    assert np.allclose(both.matrix.toarray(), dense(both))


# ---- samples --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", ["quadrature", "nodal"])
def test_projection_and_its_transpose(space, sampling):
    space = space if sampling == "quadrature" else space.nodal_twin
    assert space.sampling == sampling and space.points.shape[1] == space.dimension == 3
    vectors = RNG(4).standard_normal((space.size, 2))
    vectors[space.fixed] = 0.0
    samples = space.evaluate(vectors)
    assert np.allclose(space.project(samples), vectors) and np.allclose(space.project(samples[..., 0]), vectors[:, 0])
    assert np.allclose(samples.reshape(-1, 2), space.evaluation @ vectors)
    assert np.allclose(space.interpolation(space.points) @ vectors, samples.reshape(-1, 2))
    covector, noise = RNG(5).standard_normal(space.size), RNG(6).standard_normal(samples.shape[:-1])
    assert np.sum(space.project_transposed(covector) * noise) == pytest.approx(covector @ space.project(noise))
    assert space.weights.sum() == pytest.approx(np.ptp(space.temporal.basis.mesh.p))
    quadrature = space.quadrature
    moments = quadrature.matrix.T @ (quadrature.weights * (quadrature.matrix @ vectors[:, 0]))
    assert np.allclose(space.project_moments(moments), vectors[:, 0])


def test_values_at_any_points_and_times():
    """A product of linear functions is in the space, and so are its values everywhere."""
    space = SPACES["h1"]()
    nodes, x = space.nodes, RNG(7).random((50, 3)) * [1.0, 1.0, 2.0]
    vector = (1.0 + nodes[:, 0] - 2.0 * nodes[:, 1]) * (3.0 - nodes[:, 2])
    assert np.allclose(space.interpolation(x) @ vector, (1.0 + x[:, 0] - 2.0 * x[:, 1]) * (3.0 - x[:, 2]))
    places, times = space.spatial.nodes, np.array([0.1, 1.3])
    expected = (1.0 + places[:, 0] - 2.0 * places[:, 1]) * (3.0 - times[:, None])
    assert np.allclose(space.at(vector, times), expected)
    ansatz = FiniteElement(space, start=2.0)
    assert np.allclose(ansatz(vector, x), space.interpolation(x) @ vector) and ansatz.inputs == 3
    assert np.allclose(ansatz(ansatz.initial(), x), 2.0)


@pytest.mark.parametrize(("in_time", "order"), [(ElementLineP0, 1), (ElementLineP1, 2)])
def test_projection_converges(in_time, order):
    """In L2 with the order of the factor in time; the one in space is quadratic."""

    def wave(x):
        return np.sin(3.0 * x[:, 0] - 2.0 * x[:, 2]) * np.cos(2.0 * x[:, 1])

    errors = []
    for steps in (8, 16):
        space = TensorSpace(*factors(8, steps, element=ElementTriP2, in_time=in_time))
        fine = TensorSpace(*factors(8, 2 * steps))
        found = space.interpolation(fine.points) @ space.project(wave(space.points))
        errors.append(np.sqrt(fine.weights @ (found - wave(fine.points)) ** 2))
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize("name", ["h1", "vectors"])
def test_functions_go_to_other_meshes(name):
    coarse = SPACES[name]()
    element = coarse.spatial.basis.elem
    fine = TensorSpace(HilbertSpace.l2(Basis(coarse.spatial.basis.mesh.refined(), element)),
                       HilbertSpace.l2(Basis(coarse.temporal.basis.mesh.refined(), ElementLineP1())))
    theta = RNG(8).standard_normal((coarse.size, 2))
    carried = prolonged_columns(theta, coarse, fine)
    assert np.allclose(carried[:, 0], prolongate(theta[:, 0], coarse, fine))
    x = RNG(9).random((30, 3))
    assert np.allclose(fine.interpolation(x) @ carried, coarse.interpolation(x) @ theta)
    assert np.allclose(prolongate(carried[:, 1], fine, coarse), theta[:, 1])


# ---- networks and regularisation ------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", ["quadrature", "nodal"])
def test_tangent_spaces_against_dense_algebra(space, sampling):
    space = space if sampling == "quadrature" else space.nodal_twin
    network = MLP((3, 4, space.components), box=((0.0, 0.0, 0.0), (1.0, 1.0, 2.0)))
    theta = network.initial(RNG(10)) + 0.3 * RNG(11).standard_normal(network.size)
    assert gram_error(network, theta, space) < 1e-10
    derivative = RNG(12).standard_normal(space.size)
    derivative[space.fixed] = 0.0
    assert alignment_error(network, theta, space, derivative) < 1e-8
    tangent = MatrixFreeTangent.at(network, theta, space)
    direction = RNG(13).standard_normal(network.size)
    assert np.allclose(tangent.push_forward(direction), tangent.dense.vectors @ direction)
    assert np.allclose(tangent.pull_back(derivative), tangent.dense.vectors.T @ derivative)
    primal = primal_direction(tangent.dense, derivative, 1e-2)
    assert np.allclose(dual_direction(tangent, derivative, 1e-2), primal, atol=1e-9 * np.abs(primal).max())


def test_networks_grow_by_neurons_of_space_and_time():
    """Growth keeps the function, and raises the squared alignment with what is missed by the predicted gain."""
    space = TensorSpace.h1(*factors(8, 8, sampling="nodal"), 0.2, 0.3)
    network, x = MLP((3, 4, 1), box=((0.0, 0.0, 0.0), (1.0, 1.0, 2.0))), space.points
    theta = network.initial(RNG(14))
    m = realize(network, theta, space)
    missed = np.exp(-20.0 * ((x[:, 0] - 0.2 - 0.3 * x[:, 2]) ** 2 + (x[:, 1] - 0.5) ** 2)) - m
    growth = grow(Expansion(neurons=4), network, theta, missed, space, space.inner_product, 0)
    assert growth.ansatz.size == network.size + 4 * 5 and growth.gain > 0.01
    assert np.allclose(realize(growth.ansatz, growth.theta, space), m, atol=1e-13)
    before, after = (TangentSpace.at(one, at, space).alignment(space.apply(missed)) ** 2
                     for one, at in ((network, theta), (growth.ansatz, growth.theta)))
    assert after - before == pytest.approx(growth.gain, rel=1e-6)


def test_regularisation_measures_both_directions():
    """The norm of a wave that travels: of its values, its slope in space, its slope in time."""
    space = TensorSpace.h1(*factors(24, 48), 0.3, 0.7)
    x = space.nodes
    wave = np.sin(np.pi * x[:, 0]) * np.cos(np.pi * x[:, 2])
    exact = 0.5 + 0.3**2 * 0.5 * np.pi**2 + 0.7**2 * 0.5 * np.pi**2
    penalty = Tikhonov(space, 3.0)
    assert 2.0 * penalty.value(wave) == pytest.approx(3.0 * exact, rel=5e-3)
    hessian = penalty.hessian(wave)
    assert hessian.definite and hessian.sparse is None
    assert np.allclose(hessian.solve(penalty.derivative(wave)), wave)
    calm = TensorSpace.h1(space.spatial, space.temporal, 0.3, 1e-6)
    assert calm.norm(wave) ** 2 == pytest.approx(0.5 + 0.3**2 * 0.5 * np.pi**2, rel=1e-2)


def test_several_fields_of_space_and_time():
    spaces = SPACES["h1"](), SPACES["l2"]()
    both = ProductSpace(spaces)
    network = MLP((3, 4, 2))
    theta = network.initial(RNG(15)) + 0.3 * RNG(16).standard_normal(network.size)
    assert gram_error(network, theta, both) < 1e-10 and gram_error(network, theta, both.nodal_twin) < 1e-10
    v = RNG(17).standard_normal(both.size)
    parts = both.split(v)
    assert both.norm(v) ** 2 == pytest.approx(sum(one.norm(part) ** 2 for one, part in zip(spaces, parts, strict=True)))
    assert np.allclose(both.riesz(both.apply(v)), v)


def test_bad_spaces():
    x, t = factors()
    with pytest.raises(InputError, match="temporal has 1 components on a mesh of dimension 2"):
        TensorSpace(t, x)
    with pytest.raises(InputError, match="spatial is sampled at nodal points"):
        TensorSpace(x.nodal_twin, t)
    with pytest.raises(InputError, match="time is 0.0"):
        TensorSpace.h1(x, t, 1.0, 0.0)
    with pytest.raises(InputError, match="ElementLineP0 has no gradient"):
        TensorSpace.h1(*factors(in_time=ElementLineP0))
    with pytest.raises(InputError, match="product has 16 unknowns and the space has 80"):
        TensorSpace(x, t, x.inner_product)
    with pytest.raises(InputError, match=r"vector has shape \(3,\)"):
        TensorSpace(x, t).at(np.ones(3), [0.0])
