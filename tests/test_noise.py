"""Noise models: values by hand, Taylor rates, weights, seeds."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.stats import t as student
from skfem import Basis, BilinearForm, ElementTriP1

from fem_ngf import GaussianNoise, HuberNoise, InputError, StudentNoise, unit_square

N, K = 12, 3
GENERATOR = np.random.default_rng(0)
STD = GENERATOR.uniform(0.5, 2.0, N)
STD2 = GENERATOR.uniform(0.5, 2.0, (N, K))
SPD = sp.csr_array(np.eye(N) * 3 + np.ones((N, N)))

MODELS = {
    "scalar": GaussianNoise.from_std(0.7), "each": GaussianNoise.from_std(STD), "both": GaussianNoise.from_std(STD2),
    "matrix": GaussianNoise.from_matrix(SPD, 0.3, constant=2.0), "student": StudentNoise(STD, 3.0),
    "student-both": StudentNoise(STD2, 5.0), "huber": HuberNoise(STD, 1.345), "huber-both": HuberNoise(STD2, 0.8),
}


def rate(remainder):
    """Observed order of a remainder as the step is halved."""
    size = np.array([abs(remainder(2.0**-j)) for j in range(6, 10)])
    return np.log2(size[:-1] / size[1:])


@pytest.mark.parametrize("name", MODELS)
def test_taylor(name):
    noise, generator = MODELS[name], np.random.default_rng(1)
    r, dr = 2.0 * generator.standard_normal((N, K)), generator.standard_normal((N, K))
    value, slope, curvature = noise.value(r), np.sum(noise.derivative(r) * dr), noise.hessian(r, "newton")(dr)
    first = rate(lambda h: noise.value(r + h * dr) - value - h * slope)
    assert first == pytest.approx(2.0, abs=0.02)
    change = (noise.derivative(r + 1e-5 * dr) - noise.derivative(r - 1e-5 * dr)) / 2e-5
    assert np.abs(change - curvature).max() < 1e-8 * np.abs(curvature).max()


@pytest.mark.parametrize("name", MODELS)
def test_gauss_newton_is_symmetric_and_positive(name):
    noise, generator = MODELS[name], np.random.default_rng(2)
    r = 5.0 * generator.standard_normal((N, K))
    action = noise.hessian(r)
    unit = np.eye(N * K).reshape(N, K, N * K)
    matrix = action(unit).reshape(N * K, N * K)
    columns = np.stack([action(unit[..., j]).ravel() for j in range(N * K)], axis=1)
    assert np.array_equal(matrix, columns) and np.allclose(matrix, matrix.T)
    assert np.linalg.eigvalsh(matrix)[0] > 0


def test_newton_equals_gauss_newton_at_small_residuals():
    r, dr = np.full((N, K), 1e-9), np.ones((N, K))
    for name in ("student", "huber", "each"):
        assert np.allclose(MODELS[name].hessian(r, "newton")(dr), MODELS[name].hessian(r)(dr), rtol=1e-12)


def test_gaussian_by_hand():
    r = np.arange(6.0).reshape(3, 2)
    std = np.array([1.0, 2.0, 0.5])
    by_hand = 0.5 * sum((r[i, j] / std[i]) ** 2 for i in range(3) for j in range(2))
    assert GaussianNoise.from_std(std).value(r) == pytest.approx(by_hand, rel=1e-14)
    assert GaussianNoise.from_std(np.tile(std[:, None], 2)).value(r) == pytest.approx(by_hand, rel=1e-14)
    assert GaussianNoise.from_std(2.0).value(r) == pytest.approx(0.125 * np.sum(r**2), rel=1e-14)
    assert GaussianNoise.from_std(std).precision.toarray() == pytest.approx(np.diag(std**-2.0))


def test_l2_misfit_is_the_integral():
    basis = Basis(unit_square(3), ElementTriP1())
    mass = BilinearForm(lambda u, v, w: u * v).assemble(basis)
    noise = GaussianNoise.from_matrix(mass, scale=4.0, constant=1.0)
    assert noise.value(np.full((basis.N, 1), 3.0)) == pytest.approx(1.0 + 0.5 * 4.0 * 9.0, rel=1e-13)


def test_missing_observations_weigh_nothing():
    std = np.array([1.0, np.inf])
    for noise in (GaussianNoise.from_std(std), StudentNoise(std), HuberNoise(std)):
        assert noise.value(np.array([[0.0], [1e6]])) == 0.0
        assert np.array_equal(noise.derivative(np.array([[0.0], [1e6]])), [[0.0], [0.0]])


def test_student_is_the_log_density():
    r = np.linspace(-4, 4, 9)[:, None]
    density = -student.logpdf(r, df=3.5, scale=1.3).sum() + 9 * student.logpdf(0.0, df=3.5, scale=1.3)
    assert StudentNoise(1.3, 3.5).value(r) == pytest.approx(density, rel=1e-12)
    assert StudentNoise(1.3, 1e9).value(r) == pytest.approx(GaussianNoise.from_std(1.3).value(r), rel=1e-6)


def test_huber_by_hand():
    """Half the square up to the threshold; beyond it the tangent there, so that value and slope are continuous."""
    noise = HuberNoise(2.0, 1.5)
    assert noise.value(np.array([[2.0]])) == pytest.approx(0.5)
    assert noise.value(np.array([[-8.0]])) == pytest.approx(0.5 * 1.5**2 + 1.5 * (4.0 - 1.5))
    assert noise.value(np.array([[3.0 - 1e-9]])) == pytest.approx(noise.value(np.array([[3.0 + 1e-9]])), abs=1e-8)


def test_outliers_move_the_location_less():
    data = np.random.default_rng(3).standard_normal(200)
    data[:10] += 50.0

    def location(noise):
        m = 0.0
        for _ in range(60):  # reweighted least squares
            r = (m - data)[:, None]
            m -= noise.derivative(r).sum() / noise.hessian(r)(np.ones_like(r)).sum()
        return m

    clean = data[10:].mean()
    assert location(GaussianNoise.from_std(1.0)) - clean > 2.0
    assert abs(location(StudentNoise(1.0, 4.0)) - clean) < 0.1
    assert abs(location(HuberNoise(1.0)) - clean) < 0.15


@pytest.mark.parametrize("std", [0.0, -1.0, np.nan, [1.0, 0.0], [], [1.0, np.nan], np.ones((2, 2, 2))])
@pytest.mark.parametrize("make", [GaussianNoise.from_std, StudentNoise, HuberNoise])
def test_bad_std(make, std):
    with pytest.raises(InputError, match="^std is"):
        make(std)


def test_bad_arguments():
    with pytest.raises(InputError, match="degrees is 0.0"):
        StudentNoise(1.0, 0.0)
    with pytest.raises(InputError, match="threshold is -1.0"):
        HuberNoise(1.0, -1.0)
    with pytest.raises(InputError, match="mass has shape"):
        GaussianNoise.from_matrix(np.ones((2, 3)))
    with pytest.raises(InputError, match="scale is 0.0"):
        GaussianNoise.from_matrix(np.eye(2), 0.0)
    with pytest.raises(InputError, match="constant is nan"):
        GaussianNoise.from_matrix(np.eye(2), 1.0, np.nan)
    with pytest.raises(InputError, match="kind is 'full'"):
        GaussianNoise.from_std(1.0).hessian(np.ones((2, 1)), "full")
    for noise in MODELS.values():
        if noise is not MODELS["scalar"]:
            with pytest.raises(InputError, match=r"\(5, 3\)"):
                noise.value(np.ones((5, 3)))
