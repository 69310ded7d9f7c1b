"""The curvature of an inverse problem: against dense algebra, exact where it must be."""

from dataclasses import replace

import numpy as np
import pytest
from problems import inverse_problem, parameter_space, random_pairs, sketched

from fem_ngf import MLP, InputError, StudentNoise, TangentSpace
from fem_ngf.flows.curvature import Curvature, krylov_pairs, metric_space, misfit_factor
from fem_ngf.linalg.operators import Actions

RNG = np.random.default_rng


@pytest.fixture(scope="module")
def linearization():
    energy, space, truth = inverse_problem(6, experiments=2, weight=1e-3)
    return energy.linearize(0.5 * truth)


def dense(inner_product, size):
    return inner_product.apply(np.eye(size))


def known(linearization, rank=4, mu=0.0):
    return replace(sketched(linearization, RNG(0), rank), mu=mu)


@pytest.mark.parametrize("mu", [0.0, 0.5, 300.0, 1e12])
def test_woodbury_against_dense(linearization, mu):
    curvature, size = known(linearization, mu=mu), len(linearization.m)
    matrix, g = dense(curvature, size), RNG(1).standard_normal((size, 3))
    assert np.allclose(matrix, matrix.T, rtol=1e-12, atol=1e-12 * np.abs(matrix).max())
    assert np.allclose(matrix @ curvature.solve(g), g, atol=1e-7)
    assert np.allclose(curvature.solve(g[:, 0]), curvature.solve(g)[:, 0])
    assert np.allclose(curvature.gram(g), g.T @ matrix @ g, rtol=1e-10)


def test_spectrum_is_lifted_to_mu(linearization):
    """Against ``A'`` the eigenvalues are ``1 + max(lambda, mu)``."""
    base, size = dense(linearization.preconditioner, len(linearization.m)), len(linearization.m)
    ritz = known(linearization).ritz_values
    mu = float(np.sqrt(ritz[0] * ritz[-1]))
    expected = np.full(size, 1.0 + mu)
    expected[: len(ritz)] = 1.0 + np.maximum(ritz, mu)
    found = np.linalg.eigvals(np.linalg.solve(base, dense(known(linearization, mu=mu), size))).real
    assert np.allclose(np.sort(found), np.sort(expected), rtol=1e-6)
    assert np.all(np.diff(ritz) <= 0) and known(linearization).smallest == ritz[-1]


def test_a_sketch_of_full_rank_is_exact(linearization):
    """Two experiments with nine sensors: the misfit's Hessian has rank 18 at most."""
    size = len(linearization.m)
    misfit = linearization.misfit_action(np.eye(size))
    curvature = sketched(linearization, RNG(0), linearization.residual.size)
    found = curvature.factor @ curvature.factor.T
    weakest = np.abs(dense(linearization.preconditioner, size)).max()
    assert np.allclose(found, misfit, atol=1e-2 * weakest)  # Ritz values below 1e-2 are left out
    v = RNG(2).standard_normal(size)
    assert np.isclose(v @ found @ v, v @ misfit @ v, rtol=1e-4)


def test_what_pairs_tell_stays_below_the_hessian(linearization):
    curvature, misfit = known(linearization), linearization.misfit_action(np.eye(len(linearization.m)))
    rest = np.linalg.eigvalsh(misfit - curvature.factor @ curvature.factor.T)
    assert rest[0] > -1e-10 * np.abs(misfit).max()


def test_what_has_been_solved_for_is_not_solved_for_again(linearization):
    base, size, columns = linearization.preconditioner, len(linearization.m), []

    def solve(covectors):
        columns.append(covectors.shape[1])
        return base.solve(covectors)

    old = replace(known(linearization), base=Actions(size, base.apply, solve))
    assert old.smallest > 0
    grown = old.with_mu(old.smallest).with_pairs(*random_pairs(linearization, RNG(5), 3)).with_mu(0.0)
    fresh, g = Curvature(base, grown.factor), RNG(6).standard_normal(size)
    assert np.allclose(grown.ritz_values, fresh.ritz_values, rtol=1e-9)
    assert sum(columns) == old.rank + 3
    assert np.allclose(replace(grown, base=base).solve(g), fresh.solve(g), rtol=1e-9, atol=1e-9 * np.abs(g).max())


def test_on_a_coarser_mesh_it_is_the_galerkin_product(linearization):
    """Of the functions there, with its inverse on those that are not fixed."""
    fine, coarse = parameter_space(6), parameter_space(3)
    fine = replace(fine, coarse=coarse)
    curvature, prolongation = known(linearization, mu=0.5), fine.prolongation.toarray()
    found, expected = curvature.coarsened(fine), prolongation.T @ curvature.apply(prolongation)
    assert np.allclose(found.apply(np.eye(coarse.size)), expected, atol=1e-12 * np.abs(expected).max())
    assert np.allclose(found.solve(expected), np.eye(coarse.size), atol=1e-8)
    assert curvature.coarsened(fine).base is found.base


def test_pairs_are_exact_whatever_was_known_before(linearization):
    """Pairs of another linearisation are corrected along the new directions, and stay positive."""
    elsewhere = linearization.energy.linearize(linearization.m + 1.0)
    old = sketched(elsewhere, RNG(3), 6)
    directions, images = random_pairs(linearization, RNG(4), 3)
    for start in (old, Curvature.of(linearization), replace(old, factor=5.0 * old.factor)):
        curvature = start.with_pairs(directions, images)
        found = curvature.factor @ (curvature.factor.T @ directions)
        assert np.allclose(found, images, atol=1e-2 * np.abs(linearization.preconditioner.apply(directions)).max())


def test_pairs_of_one_linearisation_add_up_to_nystrom(linearization):
    """What comes later extends what came before, when it is new: as if all had come at once."""
    directions, images = random_pairs(linearization, RNG(5), 8)
    core = directions.T @ images
    turned = np.linalg.solve(np.linalg.cholesky(core), directions.T).T  # M-orthonormal: new beside each other
    images = linearization.misfit_action(turned)
    once = Curvature.of(linearization).with_pairs(turned, images)
    first = Curvature.of(linearization).with_pairs(turned[:, :3], images[:, :3])
    twice = first.with_pairs(turned[:, 3:], images[:, 3:])
    scale = np.abs(images @ images.T).max()
    assert np.allclose(once.factor @ once.factor.T, twice.factor @ twice.factor.T, atol=1e-6 * scale)


def test_conjugate_gradients_tell_the_gauss_newton_step(linearization):
    """To the end, the curvature's own step is the exact Gauss-Newton step."""
    directions, images = krylov_pairs(linearization, Curvature.of(linearization), share=0.0, maximum=40)
    curvature = Curvature.of(linearization).with_pairs(directions, images)
    size = len(linearization.m)
    hessian = linearization.misfit_action(np.eye(size)) + dense(linearization.preconditioner, size)
    step = np.linalg.solve(hessian, linearization.derivative)
    assert np.allclose(curvature.solve(linearization.derivative), step, atol=1e-2 * np.abs(step).max())
    assert np.allclose(images, linearization.misfit_action(directions))


def test_negligible_and_negative_pairs_are_left_out(linearization):
    curvature, v = known(linearization), RNG(6).standard_normal((len(linearization.m), 1))
    assert curvature.with_pairs(v, -v) is curvature
    tiny = 1e-4 * linearization.preconditioner.apply(v)
    assert Curvature.of(linearization).with_pairs(v, tiny).rank == 0
    assert curvature.forgotten().rank == 0


def test_a_prolonged_curvature_is_that_of_the_same_functions():
    """On the finer mesh the modes are the same functions and the Ritz values nearly the same."""
    coarse, fine = (inverse_problem(n, weight=1e-3) for n in (6, 12))
    here, there = coarse[0].linearize(np.zeros(coarse[1].size)), fine[0].linearize(np.zeros(fine[1].size))
    old = known(here)
    new = old.prolonged(parameter_space(6), parameter_space(12), there.preconditioner)
    assert np.allclose(new.ritz_values, old.ritz_values, rtol=0.05)
    modes = there.preconditioner.solve(new.factor)
    assert np.allclose(modes.T @ there.misfit_action(modes), modes.T @ new.factor @ (new.factor.T @ modes),
                       atol=0.1 * new.ritz_values[0] ** 2)


@pytest.mark.parametrize("how", [{}, {"experiments": 2}, {"sensors": False}, {"noise": StudentNoise}])
def test_the_whole_curvature(how):
    """All that the action of the Hessian says, by a solve a datum or an unknown, whichever are fewer."""
    energy, space, truth = inverse_problem(5, **how)
    at = energy.linearize(0.5 * truth)
    at.derivative  # noqa: B018  its solves are not counted here
    before, expected = energy.counts.total, at.misfit_action(np.eye(space.size))
    factor, data = misfit_factor(at), energy.data
    spent = energy.counts.total - before - 2 * space.size * data.shape[1]
    assert spent == data.shape[1] * min(space.size, data.size)
    assert np.allclose(factor @ factor.T, expected, atol=1e-10 * np.abs(expected).max())


def test_gram_matrix_of_the_states():
    """``T^T (R'' + J^T W J) T`` against differences of the data that the network causes."""
    energy, space, _ = inverse_problem(5, weight=1e-3, experiments=2)
    network = MLP((2, 3, 1), output_scale=1.0)
    theta, step = network.initial(RNG(0)), 1e-5
    tangent, at = TangentSpace.at(network, theta, space), energy.linearize(space.project(network(theta, space.points)))

    def observed(moved):
        return energy.observation(energy.pde.solve(space.project(network(moved, space.points))).u)

    columns = [(observed(theta + step * e) - observed(theta - step * e)) / (2 * step) for e in np.eye(network.size)]
    jacobian = np.stack([column.ravel() for column in columns], axis=1)
    weight = energy.noise.hessian(at.residual)(np.ones_like(at.residual)).ravel()  # independent data
    expected = jacobian.T @ (weight[:, None] * jacobian) + at.preconditioner.gram(tangent.vectors)
    found = metric_space(space, at, "gauss-newton").gram(tangent.vectors)
    assert np.allclose(found, expected, rtol=1e-5, atol=1e-7 * np.abs(expected).max())
    assert metric_space(space, at, "space") is space


def test_too_many_data_for_a_whole_hessian(linearization, monkeypatch):
    monkeypatch.setattr("fem_ngf.flows.curvature.MANY", 3)
    with pytest.raises(InputError, match="as many solves"):
        misfit_factor(linearization)
