"""Bilaplacian priors against dense matrices, samples, a published reference."""

import numpy as np
import pytest
from published import DATA, arrays, needs
from skfem import Basis, BilinearForm, ElementTetP1, ElementTriP1, ElementTriP2, FacetBasis
from skfem.helpers import dot, grad

from fem_ngf import HilbertSpace, InputError, bilaplacian, disk, nodal_values, rotated_tensor, unit_cube, unit_square
from fem_ngf.regularization.bilaplacian import mass_root

FILE = DATA / "hippylib" / "subsurface_n64.npz"
TENSOR = rotated_tensor(2.0, 0.5, np.pi / 4)
GAMMA, DELTA = 0.1, 0.5


def square(n=6, element=None):
    return Basis(unit_square(n), element or ElementTriP1())


def make(n=6, element=None, **kwargs):
    return bilaplacian(square(n, element), GAMMA, DELTA, tensor=TENSOR, **kwargs)


def dense(basis, lumped=False):
    """Precision and covariance by scikit-fem's forms and dense algebra."""
    mass = BilinearForm(lambda u, v, w: u * v).assemble(basis).toarray()
    stiffness = BilinearForm(lambda u, v, w: dot(grad(u), np.stack([
        TENSOR[0, 0] * grad(v)[0] + TENSOR[0, 1] * grad(v)[1],
        TENSOR[1, 0] * grad(v)[0] + TENSOR[1, 1] * grad(v)[1]]))).assemble(basis).toarray()
    edge = BilinearForm(lambda u, v, w: u * v).assemble(FacetBasis(basis.mesh, basis.elem)).toarray()
    operator = GAMMA * stiffness + DELTA * mass + GAMMA * np.sqrt(DELTA / GAMMA) / 1.42 * edge
    mass = np.diag(mass.sum(axis=1)) if lumped else mass
    return operator @ np.linalg.solve(mass, operator), np.linalg.solve(operator, mass) @ np.linalg.inv(operator)


@pytest.mark.parametrize(("element", "lumped"), [
    (ElementTriP1(), False), (ElementTriP2(), False), (ElementTriP1(), True)])
def test_against_dense_matrices(element, lumped):
    prior, (precision, covariance) = make(4, element, lumped=lumped), dense(square(4, element), lumped)
    v = np.random.default_rng(0).standard_normal((prior.size, 3))
    image = precision @ v
    assert prior.precision.apply(v) == pytest.approx(image, rel=1e-9, abs=1e-9 * np.abs(image).max())
    assert prior.precision.solve(v) == pytest.approx(covariance @ v, rel=1e-10, abs=1e-11)
    assert prior.precision.gram(v) == pytest.approx(v.T @ precision @ v, rel=1e-10)
    assert prior.pointwise_variance(block=7) == pytest.approx(np.diag(covariance), rel=1e-11)
    assert (prior.precision.sparse is not None) == lumped
    root = prior.root @ np.eye(prior.root.shape[1])  # takes white noise to samples
    assert root @ root.T == pytest.approx(covariance, rel=1e-10, abs=1e-13)
    assert prior.root.T @ v == pytest.approx(root.T @ v)


def test_noise_is_exact_on_tetrahedra():
    basis = Basis(unit_cube(2), ElementTetP1())
    mass = BilinearForm(lambda u, v, w: u * v).assemble(basis)
    root = mass_root(basis)
    assert abs(root @ root.T - mass).max() < 1e-15 + 1e-12 * abs(mass).max()
    with pytest.raises(InputError, match="lumped mass of ElementTriP2"):
        make(2, ElementTriP2(), lumped=True)


def test_samples_are_seeded_and_have_mean_and_variance():
    mean = np.linspace(0, 5, 49)
    prior = make(6, mean=mean)
    samples = prior.sample(np.random.default_rng(1), 20_000)
    assert np.array_equal(samples, prior.sample(np.random.default_rng(1), 20_000))
    assert prior.sample(np.random.default_rng(1)).shape == (49,)
    deviation = np.sqrt(prior.pointwise_variance())
    assert np.abs((samples.mean(axis=1) - mean) / deviation).max() < 4 / np.sqrt(20_000)
    assert samples.std(axis=1) / deviation == pytest.approx(1.0, abs=0.03)


def test_randomized_variance():
    prior = make(16)
    exact = prior.pointwise_variance("exact")
    full = prior.pointwise_variance("randomized", rank=prior.size)
    assert full == pytest.approx(exact, rel=1e-10)
    few, many = (prior.pointwise_variance("randomized", rank=20, probes=p) for p in (50, 800))
    errors = [np.sqrt(np.mean((v / exact - 1) ** 2)) for v in (few, many)]
    assert errors[1] < 0.02 and 2.0 < errors[0] / errors[1] < 8.0  # probes^-1/2: a factor of four
    assert np.array_equal(few, prior.pointwise_variance("randomized", rank=20, probes=50))


def test_taylor_and_hessian():
    prior = make(5, mean=0.7)
    generator = np.random.default_rng(2)
    m, dm = generator.standard_normal((2, prior.size))
    value, derivative = prior.value(m), prior.derivative(m)
    assert prior.value(m + dm) == pytest.approx(value + derivative @ dm + 0.5 * dm @ (prior.hessian(m) @ dm), rel=1e-12)
    size = np.array([abs(prior.value(m + h * dm) - value - h * derivative @ dm) for h in (0.1, 0.05, 0.025)])
    assert np.log2(size[:-1] / size[1:]) == pytest.approx(2.0, abs=1e-6)
    assert prior.value(np.full(prior.size, 0.7)) == 0.0


def test_as_a_hilbert_space():
    prior = make(5)
    space = HilbertSpace.l2(square(5)).with_inner_product(prior.precision)
    generator = np.random.default_rng(3)
    v, w = generator.standard_normal((2, prior.size))
    assert space.riesz(space.apply(v)) == pytest.approx(v, rel=1e-9, abs=1e-9)
    assert space.inner(v, w) == pytest.approx(v @ prior.precision.apply(w), rel=1e-12)
    assert space.norm(v) ** 2 == pytest.approx(2 * prior.value(v), rel=1e-12)
    vectors = generator.standard_normal((prior.size, 4))
    assert space.gram(vectors) == pytest.approx(vectors.T @ space.apply(vectors), rel=1e-10)


def test_variance_of_the_interior_approaches_that_of_the_whole_plane():
    gamma, delta = 0.0025, 1.0  # correlation length much smaller than the square
    basis = square(40)
    prior = bilaplacian(basis, gamma, delta)
    variance = prior.pointwise_variance()
    inside = np.max(np.abs(basis.doflocs - 0.5), axis=0) < 0.2
    assert variance[inside] == pytest.approx(1 / (4 * np.pi * gamma * delta), rel=0.03)
    neumann = bilaplacian(basis, gamma, delta, robin=False).pointwise_variance()
    edge = np.min([basis.doflocs, 1 - basis.doflocs], axis=(0, 1)) == 0
    middle = 1 / (4 * np.pi * gamma * delta)
    assert np.abs(variance[edge] / middle - 1).mean() < 0.5 * np.abs(neumann[edge] / middle - 1).mean()


def test_tensor_turns_the_correlation():
    basis = Basis(disk(1.0, 0.08), ElementTriP1())
    prior = bilaplacian(basis, 0.02, 1.0, tensor=TENSOR)
    centre = np.zeros(prior.size)
    centre[np.argmin(np.linalg.norm(basis.doflocs, axis=0))] = 1.0
    correlation = prior.precision.solve(centre)
    along, across = (correlation[np.argmin(np.linalg.norm(basis.doflocs.T - 0.3 * np.array(d), axis=1))]
                     for d in ((np.sqrt(0.5), np.sqrt(0.5)), (np.sqrt(0.5), -np.sqrt(0.5))))
    assert along > 1.5 * across > 0


@needs(FILE)
def test_hippylibs_subsurface_prior():
    prior, data = make(64), arrays(FILE)
    variance, m_map = (nodal_values(square(64), data["p1_xy"], data[key]) for key in ("prior_var", "m_map"))
    assert prior.pointwise_variance() == pytest.approx(variance, rel=1e-10)
    assert prior.value(m_map) == pytest.approx(7.62328, abs=5e-6)


@pytest.mark.parametrize(("kwargs", "message"), [
    ({"gamma": 0.0}, "gamma is 0.0"), ({"delta": np.nan}, "delta is nan"), ({"robin": -1.0}, "robin is -1.0"),
    ({"tensor": np.eye(3)}, "tensor has shape"), ({"tensor": [[1, 2], [2, 1]]}, "not symmetric positive definite"),
    ({"tensor": [[1, 1], [0, 1]]}, "not symmetric"), ({"mean": np.zeros(3)}, "mean has shape"),
    ({"mean": np.inf}, "finite"),
])
def test_bad_arguments(kwargs, message):
    basis = Basis(unit_square(2), ElementTriP1())
    with pytest.raises(InputError, match=message):
        bilaplacian(basis, **{"gamma": 0.1, "delta": 0.5, **kwargs})


def test_unknown_variance_method():
    with pytest.raises(InputError, match="method is 'guess'"):
        make(2).pointwise_variance("guess")
