"""Regularization: known values, Taylor rates, Gauss-Newton Hessians, sums and blocks."""

import numpy as np
import pytest
import scipy.sparse as sp
from published import DATA, arrays, needs
from skfem import Basis, ElementQuad1, ElementTriP1, ElementTriP2

from fem_ngf import Blocks, HilbertSpace, InputError, SumOf, Tikhonov, TotalVariation, nodal_values, unit_square

FILE = DATA / "hippylib" / "diffusion_n64.npz"
BASIS = Basis(unit_square(4), ElementTriP1())
SPACE = HilbertSpace.h1(BASIS, 0.3)
HALF = HilbertSpace.sobolev(BASIS, 0.5, 0.3)
MEAN = np.linspace(-1, 1, BASIS.N)

CASES = {
    "h1": Tikhonov(SPACE, 0.7, MEAN), "gradient": Tikhonov(SPACE.stiffness, 2.0), "H^1/2": Tikhonov(HALF, 0.7, 0.4),
    "nodes": Tikhonov(sp.eye_array(BASIS.N, format="csr"), 0.25), "TV": TotalVariation(BASIS, 0.6, 0.2),
    "TV P2": TotalVariation(Basis(unit_square(3), ElementTriP2()), 0.6, 0.2),
    "TV quads": TotalVariation(Basis(unit_square(4, "quad"), ElementQuad1()), 0.6, 0.2),
    "sum": SumOf([Tikhonov(SPACE, 0.7), TotalVariation(BASIS, 0.1, 0.5)]),
    "sum with operator": SumOf([Tikhonov(HALF, 0.7), TotalVariation(BASIS, 0.1, 0.5)]),
}


def size_of(regularization):
    basis = getattr(regularization, "basis", BASIS)
    return basis.N


def rate(remainder):
    """Observed order of a remainder as the step is halved."""
    size = np.array([abs(remainder(2.0**-j)) for j in range(7, 10)])
    return np.log2(size[:-1] / size[1:])


@pytest.mark.parametrize("name", CASES)
def test_taylor(name):
    part, generator = CASES[name], np.random.default_rng(0)
    m, dm = generator.standard_normal(size_of(part)), generator.standard_normal(size_of(part))
    value, derivative, hessian = part.value(m), part.derivative(m), part.hessian(m, "newton")
    assert rate(lambda h: part.value(m + h * dm) - value - h * derivative @ dm) == pytest.approx(2.0, abs=0.02)
    h = 1e-5
    change = (part.derivative(m + h * dm) - part.derivative(m - h * dm)) / (2 * h)
    assert np.abs(change - hessian @ dm).max() < 1e-7 * np.abs(change).max()


@pytest.mark.parametrize("name", CASES)
def test_gauss_newton_is_symmetric_and_not_negative(name):
    part = CASES[name]
    m = np.random.default_rng(1).standard_normal(size_of(part))
    matrix = part.hessian(m) @ np.eye(m.size)
    eigenvalues = np.linalg.eigvalsh(0.5 * (matrix + matrix.T))
    assert np.abs(matrix - matrix.T).max() < 1e-11 * eigenvalues[-1]
    assert eigenvalues[0] > -1e-12 * eigenvalues[-1]


def test_tikhonov_is_the_norm():
    m = np.random.default_rng(2).standard_normal(BASIS.N)
    assert Tikhonov(SPACE, 3.0, MEAN).value(m) == pytest.approx(1.5 * SPACE.norm(m - MEAN) ** 2, rel=1e-13)
    assert Tikhonov(HALF, 3.0).value(m) == pytest.approx(1.5 * HALF.norm(m) ** 2, rel=1e-12)
    slope = BASIS.doflocs.T @ [3.0, 4.0]
    assert Tikhonov(SPACE.stiffness, 0.2).value(slope) == pytest.approx(0.1 * 25.0, rel=1e-13)


@needs(FILE)
def test_regularization_of_hippylibs_minimiser():
    space, data = HilbertSpace.l2(Basis(unit_square(64), ElementTriP1())), arrays(FILE)
    m = nodal_values(space.basis, data["truth_points"], data["minimiser_values"])
    assert Tikhonov(space.stiffness, float(data["gamma"])).value(m) == pytest.approx(4.189967545e-08, rel=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_a_definite_hessian_has_its_inverse(name):
    g = np.random.default_rng(3).standard_normal(size_of(CASES[name]))
    hessian = CASES[name].hessian(g)
    assert hessian.size == CASES[name].size == g.size
    if hessian.definite:
        assert np.abs(hessian @ hessian.solve(g) - g).max() < 1e-9 * np.abs(g).max()
    else:
        assert "operator" not in name and "H^" not in name
        with pytest.raises(InputError, match="may be singular"):
            hessian.solve(g)


@pytest.mark.parametrize("basis", [BASIS, Basis(unit_square(3), ElementTriP2())])
def test_variation_of_a_plane_and_its_limits(basis):
    plane = basis.doflocs.T @ [3.0, 4.0]
    epsilon = 0.5
    by_hand = 2 * (np.hypot(5, epsilon) - epsilon)
    assert TotalVariation(basis, 2.0, epsilon).value(plane) == pytest.approx(by_hand, rel=1e-12)
    assert TotalVariation(basis, 1.0, 1e-9).value(plane) == pytest.approx(5.0, rel=1e-8)
    quadratic = Tikhonov(HilbertSpace.l2(basis).stiffness, 1e-6).value(plane)  # |grad m|^2 / (2 epsilon)
    assert TotalVariation(basis, 1.0, 1e6).value(plane) == pytest.approx(quadratic, rel=1e-9)
    assert TotalVariation(basis, 1.0, 1e-6).value(np.full(basis.N, 7.0)) == pytest.approx(0.0, abs=1e-15)


def test_lagged_diffusivity_reaches_the_minimum_of_a_denoising_problem():
    truth = (BASIS.doflocs[0] > 0.5).astype(float)
    data = truth + 0.1 * np.random.default_rng(4).standard_normal(BASIS.N)
    energy = SumOf([Tikhonov(HilbertSpace.l2(BASIS), 1.0, data), TotalVariation(BASIS, 0.02, 0.05)])
    m, values = data.copy(), [energy.value(data)]
    for _ in range(60):
        m = m - np.linalg.solve(energy.hessian(m).sparse.toarray(), energy.derivative(m))
        values.append(energy.value(m))
    assert np.all(np.diff(values) <= 1e-14) and np.linalg.norm(energy.derivative(m)) < 1e-10
    assert np.linalg.norm(m - truth) < np.linalg.norm(data - truth)


def test_blocks_act_on_their_fields():
    n = BASIS.N
    both = Blocks((CASES["h1"], None, CASES["TV"]), (n, 4, n))
    m = np.random.default_rng(5).standard_normal(2 * n + 4)
    assert both.value(m) == pytest.approx(CASES["h1"].value(m[:n]) + CASES["TV"].value(m[n + 4 :]), rel=1e-14)
    assert np.array_equal(both.derivative(m)[n : n + 4], np.zeros(4))
    mixed = Blocks((CASES["H^1/2"], CASES["TV"]), (n, n)).hessian(m[: 2 * n])
    assert np.allclose((mixed @ m[: 2 * n])[:n], CASES["H^1/2"].hessian(m[:n]) @ m[:n]) and not mixed.definite
    dm, h = np.random.default_rng(6).standard_normal(m.size), 1e-5
    change = (both.derivative(m + h * dm) - both.derivative(m - h * dm)) / (2 * h)
    assert np.abs(both.hessian(m, "newton") @ dm - change).max() < 1e-7 * np.abs(change).max()


@pytest.mark.parametrize(("call", "message"), [
    (lambda: Tikhonov(SPACE, 0.0), "weight is 0.0"), (lambda: Tikhonov(SPACE, np.nan), "weight is nan"),
    (lambda: Tikhonov("h1", 1.0), "metric is str"), (lambda: Tikhonov(SPACE, 1.0, np.zeros(3)), "mean has shape"),
    (lambda: TotalVariation(BASIS, -1.0, 0.1), "weight is -1.0"),
    (lambda: TotalVariation(BASIS, 1.0, 0.0), "epsilon is 0"),
    (lambda: TotalVariation(BASIS, 1.0, 0.1).value(np.zeros(3)), r"m has shape \(3,\)"),
    (lambda: CASES["h1"].hessian(MEAN, "exact"), "kind is 'exact'"), (lambda: SumOf([]), "parts is empty"),
    (lambda: Blocks((None,), (1, 2)), "parts has 1 entries"),
    (lambda: Blocks((None,), (4,)).value(np.zeros(3)), r"m has shape \(3,\)"),
    (lambda: Blocks((CASES["H^1/2"],), (4,)), r"parts\[0\] has 25 unknowns and field 0 has 4"),
    (lambda: SumOf([CASES["h1"], CASES["TV P2"]]), r"parts\[0\] has 25 unknowns and parts\[1\] has 49"),
])
def test_bad_arguments(call, message):
    with pytest.raises(InputError, match=message):
        call()
