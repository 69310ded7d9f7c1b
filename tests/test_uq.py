"""Laplace approximations against dense computations on a small problem."""

from dataclasses import replace

import numpy as np
import pytest
from problems import bump, inverse_problem
from scipy.linalg import eigh, orth

from fem_ngf import (
    MLP,
    FiniteElement,
    InputError,
    TangentSpace,
    bilaplacian,
    independent,
    laplace,
    misfit_spectrum,
    realize,
)
from fem_ngf.linalg.operators import Diagonal
from fem_ngf.uq.eigen import BLOCK, generalized_spectrum
from fem_ngf.uq.laplace import restrict


@pytest.fixture(scope="module", params=[1, 2])
def problem(request):
    """Linearization, prior, parameter space, dense misfit Hessian and dense prior precision."""
    energy, space, _ = inverse_problem(8, experiments=request.param)
    prior = bilaplacian(space.basis, 0.1, 0.5, mean=0.2)
    linearization = replace(energy, regularization=prior).linearize(0.7 * bump(space.basis.doflocs))
    identity = np.eye(space.size)
    hessian = np.column_stack([linearization.misfit_action(column) for column in identity])
    return linearization, prior, space, 0.5 * (hessian + hessian.T), prior.precision.apply(identity)


def test_spectrum_equals_the_dense_generalized_eigenproblem(problem):
    linearization, prior, _, hessian, precision = problem
    before = linearization.energy.counts.copy()
    found = misfit_spectrum(linearization, prior.precision, threshold=1e-4)
    dense = eigh(hessian, precision, eigvals_only=True)[::-1]
    assert found.complete and found.rank == np.count_nonzero(dense >= 1e-4)
    assert np.allclose(found.values, dense[: found.rank], rtol=1e-7)
    assert np.allclose(found.vectors.T @ precision @ found.vectors, np.eye(found.rank), atol=1e-9)
    spent = linearization.energy.counts - before
    assert found.solves == {"forward": 0, "adjoint": 0, "incremental": spent.incremental}
    columns = linearization.residual.size + BLOCK  # two actions a column, two solves an action and experiment
    assert 0 < spent.total <= 4 * columns * linearization.energy.pde.experiments


def test_truncation_keeps_the_leading_pairs_and_says_that_it_truncates(problem):
    linearization, prior, _, hessian, precision = problem
    found = misfit_spectrum(linearization, prior.precision, rank=3)
    dense = eigh(hessian, precision, eigvals_only=True)[::-1]
    assert found.rank == 3 and not found.complete
    assert np.allclose(found.values, dense[:3], rtol=1e-3)


def test_posterior_equals_the_dense_inverse(problem):
    linearization, prior, space, hessian, precision = problem
    approximation = laplace(linearization, threshold=1e-10)
    covariance = np.linalg.inv(hessian + precision)
    rng = np.random.default_rng(3)
    block = rng.standard_normal((space.size, 3))
    found = approximation.precision
    assert np.allclose(found.solve(block), covariance @ block, rtol=1e-6, atol=1e-9 * np.abs(covariance).max())
    assert np.allclose(found.apply(found.solve(block[:, 0])), block[:, 0], atol=1e-6)
    assert np.allclose(approximation.pointwise_variance(), np.diag(covariance), rtol=1e-6)
    assert np.isclose(approximation.trace(), np.trace(covariance), rtol=1e-6)
    lumped = np.asarray(space.mass.sum(axis=1)).ravel()
    prior_covariance = np.linalg.inv(precision)
    expected = lumped @ np.diag(prior_covariance) - np.trace(space.mass @ (prior_covariance - covariance))
    assert np.isclose(approximation.trace(space.mass), expected, rtol=1e-6)


def test_the_prior_counts_with_the_weight_of_the_energy(problem):
    """Weight w and the regularisation R are weight one and w R: the same energy, the same posterior."""
    linearization, prior, space, *_ = problem
    diagonal = independent(np.linspace(0.5, 2.0, space.size), np.full(space.size, 0.1))
    for regularization in (prior, diagonal):
        energies = (replace(linearization.energy, regularization=regularization, weight=3.0),
                    replace(linearization.energy, regularization=3.0 * regularization))
        one, other = (energy.linearize(linearization.m) for energy in energies)
        assert np.isclose(one.value, other.value) and np.allclose(one.derivative, other.derivative)
        one, other = (laplace(at, threshold=1e-10) for at in (one, other))
        v = np.random.default_rng(0).standard_normal(space.size)
        assert np.allclose(one.precision.apply(v), energies[0].linearize(linearization.m).hessian_action(v))
        assert np.allclose(one.pointwise_variance(), other.pointwise_variance(), rtol=1e-8)
        assert np.allclose(one.prior_variance, regularization.pointwise_variance() / 3.0)
        assert np.allclose(*(posterior.sample(np.random.default_rng(0)) for posterior in (one, other)), rtol=1e-6)


def test_divergence_equals_that_of_two_dense_gaussians(problem):
    linearization, prior, space, hessian, precision = problem
    approximation = laplace(linearization, threshold=1e-10)
    covariance = np.linalg.inv(hessian + precision)
    shift = linearization.m - prior.mean
    dense = 0.5 * (np.trace(precision @ covariance) - space.size + shift @ precision @ shift
                   - np.linalg.slogdet(precision @ covariance)[1])
    assert np.isclose(approximation.kl_divergence(), dense, rtol=1e-7)


def test_samples_have_the_posterior_mean_and_covariance(problem):
    linearization, prior, space, hessian, precision = problem
    approximation = laplace(linearization, threshold=1e-6)
    count = 20_000
    drawn = approximation.sample(np.random.default_rng(4), count)
    covariance = np.linalg.inv(hessian + precision)
    spread = np.sqrt(np.diag(covariance))
    assert np.abs((drawn.mean(axis=1) - linearization.m) / spread).max() < 5.0 / np.sqrt(count)
    probes = np.random.default_rng(5).standard_normal((space.size, 6))
    seen, expected = np.var(probes.T @ drawn, axis=1), np.einsum("ij,ij->j", probes, covariance @ probes)
    assert np.abs(seen / expected - 1.0).max() < 5.0 * np.sqrt(2.0 / count)
    assert approximation.sample(np.random.default_rng(4)).shape == (space.size,)


def test_tangent_posterior_equals_the_dense_one_in_parameters(problem):
    linearization, prior, space, hessian, precision = problem
    ansatz = MLP((2, 4, 1))
    theta = ansatz.initial(np.random.default_rng(1)) + 0.3 * np.random.default_rng(2).standard_normal(ansatz.size)
    at = linearization.energy.linearize(realize(ansatz, theta, space))
    tangent = TangentSpace.at(ansatz, theta, space)
    approximation = laplace(at, tangent=tangent, threshold=1e-10)
    span = orth(tangent.vectors)
    hessian = np.column_stack([at.misfit_action(column) for column in span.T])
    covariance = span @ np.linalg.inv(span.T @ (hessian + precision @ span)) @ span.T
    assert np.allclose(approximation.pointwise_variance(), np.diag(covariance), rtol=1e-6, atol=1e-12)
    whole = laplace(at, threshold=1e-10)
    assert (approximation.pointwise_variance() <= whole.pointwise_variance() * (1 + 1e-9)).all()
    assert np.all(approximation.spectrum.values <= whole.spectrum.values[: approximation.spectrum.rank] * (1 + 1e-9))
    drawn = approximation.sample(np.random.default_rng(6), 5) - at.m[:, None]
    assert np.linalg.norm(drawn - span @ (span.T @ drawn)) < 1e-8 * np.linalg.norm(drawn)


def test_tangent_space_of_finite_elements_is_the_whole_space(problem):
    linearization, prior, space, *_ = problem
    ansatz = FiniteElement(space)
    tangent = TangentSpace.at(ansatz, linearization.m, space)
    assert restrict(prior, tangent) is prior


def test_dependent_tangent_vectors_do_not_spoil_the_restriction(problem):
    _, prior, space, *_ = problem
    vectors = np.random.default_rng(0).standard_normal((space.size, 4))
    doubled = TangentSpace(space, np.column_stack([vectors, 1e6 * vectors @ np.ones((4, 2)), vectors]))
    restricted, plain = restrict(prior, doubled), restrict(prior, TangentSpace(space, vectors))
    assert restricted.root.shape[1] == 4
    assert np.allclose(restricted.pointwise_variance(), plain.pointwise_variance(), rtol=1e-9)


def test_steep_spectra_are_found_down_to_the_threshold():
    size = 120
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.standard_normal((size, size)))[0]
    values = 10.0 ** np.linspace(6, -6, size)
    found = generalized_spectrum(lambda v: rotation @ ((rotation.T @ v).T * values).T, Diagonal(np.ones(size)))
    wanted = values[values >= 0.01]
    assert found.complete and found.rank == len(wanted) < 0.8 * size
    assert np.allclose(found.values, wanted, rtol=2e-2) and np.allclose(found.values[:40], wanted[:40], rtol=1e-6)


def test_newton_hessian_is_the_second_derivative(problem):
    linearization, prior, space, *_ = problem
    found = misfit_spectrum(linearization, prior.precision, threshold=1e-3, kind="newton")
    v = found.vectors[:, 0]
    step = 1e-4
    ends = [linearization.energy.linearize(linearization.m + s * v).terms["misfit"] for s in (step, 0.0, -step)]
    assert np.isclose((ends[0] - 2 * ends[1] + ends[2]) / step**2, found.values[0], rtol=1e-3)


def test_fields_for_export(problem):
    linearization, prior, space, *_ = problem
    approximation = laplace(linearization)
    fields = approximation.fields(space.basis, modes=2, samples=1)
    assert set(fields) == {"standard_deviation", "prior_standard_deviation", "mode_1", "mode_2", "sample_1"}
    assert all(basis is space.basis and vector.shape == (space.size,) for basis, vector in fields.values())
    assert (fields["standard_deviation"][1] <= fields["prior_standard_deviation"][1]).all()
    assert 0 < approximation.degrees < linearization.residual.size


def test_independent_prior_is_a_gaussian():
    prior = independent(np.array([1.0, 2.0]), np.array([0.0, 3.0]))
    m = np.array([1.0, -1.0])
    assert np.isclose(prior.value(m), 0.5 * (1.0 + 4.0))
    step = 1e-6 * np.array([0.3, -0.7])
    assert np.isclose(prior.value(m + step) - prior.value(m - step), 2 * prior.derivative(m) @ step, rtol=1e-6)
    assert np.allclose(prior.hessian(m) @ prior.precision.solve(m), m)
    assert np.allclose(prior.pointwise_variance(), [1.0, 4.0])
    drawn = prior.sample(np.random.default_rng(0), 20_000)
    assert np.allclose(drawn.mean(axis=1), prior.mean, atol=0.07)
    assert np.allclose(drawn.std(axis=1), [1.0, 2.0], rtol=0.03)


def test_bad_input_is_named():
    energy, space, m = inverse_problem(4)
    with pytest.raises(InputError, match="prior is a Tikhonov; give a Gaussian"):
        laplace(energy.linearize(m))
    with pytest.raises(InputError, match="rank is 0"):
        misfit_spectrum(energy.linearize(m), bilaplacian(space.basis, 0.1, 0.5).precision, rank=0)
    with pytest.raises(InputError, match="std must be positive"):
        independent(np.array([1.0, 0.0]), np.zeros(2))
    with pytest.raises(InputError, match="both must be"):
        independent(np.ones(3), np.zeros(2))
