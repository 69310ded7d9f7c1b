"""Gradient networks: symmetric Jacobians, positive semi-definite if monotone, and that they can learn."""

import json

import numpy as np
import pytest
import scipy.linalg
import torch

from fem_ngf import GradNetC, GradNetM, InputError
from fem_ngf.ansatz.restore import ansatz_from_dict

RNG = np.random.default_rng
BOTH = {
    "C learnable": lambda monotone: GradNetC(monotone=monotone),
    "C deep tanh": lambda monotone: GradNetC(neurons=5, layers=4, activation="tanh", monotone=monotone),
    "C softplus 3-D": lambda monotone: GradNetC(3, activation="softplus", monotone=monotone),
    "M learnable": lambda monotone: GradNetM(monotone=monotone),
    "M sigmoid 1-D": lambda monotone: GradNetM(1, (4,), "sigmoid", monotone=monotone),
    "M softmax": lambda monotone: GradNetM(2, (5, 7), "softmax", monotone=monotone),
}
ANY_SIGN = {"C sine": lambda monotone: GradNetC(activation="sine"), "M gauss": lambda _: GradNetM(activation="gauss")}


def _setting(net, seed, points=60):
    """Parameters far from the start, and points in and around the box."""
    generator = RNG(seed)
    theta = net.initial(generator) + 0.5 * generator.standard_normal(net.size)
    return theta, generator.uniform(-0.5, 1.5, (points, net.dimension)), generator


def _square(net, theta, x):
    """Jacobians (q, d, d) with respect to the points."""
    one = torch.func.jacrev(lambda point: net.function(torch.from_numpy(theta), point[None])[0])
    return torch.func.vmap(one)(torch.from_numpy(x)).numpy()


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("make", (BOTH | ANY_SIGN).values(), ids=(BOTH | ANY_SIGN).keys())
def test_jacobian_is_symmetric(make, seed):
    net = make(False)
    theta, x, _ = _setting(net, seed)
    jacobian = _square(net, theta, x)
    assert np.abs(jacobian).max() > 1e-3
    assert np.abs(jacobian - jacobian.transpose(0, 2, 1)).max() < 1e-14 * max(1.0, np.abs(jacobian).max())


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("make", BOTH.values(), ids=BOTH.keys())
def test_monotone_jacobian_is_positive_semidefinite(make, seed):
    net = make(True)
    theta, x, _ = _setting(net, seed)
    jacobian = _square(net, theta, x)
    assert np.abs(jacobian - jacobian.transpose(0, 2, 1)).max() < 1e-14 * max(1.0, np.abs(jacobian).max())
    assert np.linalg.eigvalsh(jacobian).min() > -1e-14 * np.abs(jacobian).max()
    values = net(theta, x).reshape(len(x), -1)
    steps = (values[:, None] - values[None]) * (x[:, None] - x[None])
    assert steps.sum(-1).min() > -1e-14  # (f(x) - f(y)).(x - y) >= 0


def test_without_the_sign_constraint_the_jacobian_is_indefinite():
    for make in BOTH.values():
        smallest = []
        for seed in range(5):
            net = make(False)
            theta, x, _ = _setting(net, seed)
            smallest.append(np.linalg.eigvalsh(_square(net, theta, x)).min())
        assert min(smallest) < -1e-2


def _positive(raw):
    return np.logaddexp(raw, 0.0)


@pytest.mark.parametrize("monotone", [False, True])
def test_cascaded_formula(monotone):
    """f against the formula of the paper in numpy loops."""
    net = GradNetC(neurons=4, layers=3, components=2, monotone=monotone)
    theta, x, _ = _setting(net, 4)
    sign = _positive if monotone else (lambda raw: raw)
    sizes = [8, 12, 2, 12, 12, 6, 6, 6]
    assert net.size == sum(sizes)
    w, b, last, beta, alpha, height, slope, shift = np.split(theta, np.cumsum(sizes)[:-1])
    w, b, shift = w.reshape(4, 2), b.reshape(3, 4), shift.reshape(3, 2)
    beta, alpha = sign(beta).reshape(3, 4), sign(alpha).reshape(3, 4)
    height, slope = sign(height).reshape(3, 2), sign(slope).reshape(3, 2)
    for point, found in zip(x, net(theta, x), strict=True):
        z = beta[0] * (w @ point + b[0])
        for layer in range(3):
            sigma = sum(height[layer, k] * np.tanh(slope[layer, k] * z + shift[layer, k]) for k in range(2))
            if layer < 2:
                z = beta[layer + 1] * (w @ point + b[layer + 1]) + alpha[layer] * sigma
        assert np.allclose(found, w.T @ (alpha[2] * sigma) + last, rtol=0, atol=1e-13)


def test_modular_formula():
    net = GradNetM(neurons=(3, 4), activation="softmax", monotone=True)
    theta, x, _ = _setting(net, 5)
    w, b, last, beta, alpha = np.split(theta, np.cumsum([14, 7, 2, 2]))
    w, beta, alpha = w.reshape(7, 2), _positive(beta), _positive(alpha)
    for point, found in zip(x, net(theta, x), strict=True):
        expected = last.copy()
        for i, part in enumerate((slice(0, 3), slice(3, 7))):
            weights = np.exp(beta[i] * (w[part] @ point + b[part]))
            expected += alpha[i] * w[part].T @ (weights / weights.sum())
        assert np.allclose(found, expected, rtol=0, atol=1e-14)


def _fit_in_decibel(net, field, steps):
    """Mean square error in dB on a fine grid after a Levenberg-Marquardt fit on a coarse one."""
    def grid(n):
        return np.stack(np.meshgrid(*2 * [np.linspace(0, 1, n)]), -1).reshape(-1, 2)
    theta, x, damping = net.initial(RNG(0)), grid(20), 1e-2
    residual = (net(theta, x) - field(x)).ravel()
    for _ in range(steps):
        jacobian = net.linearize(theta, x).jacobian().reshape(-1, net.size)
        gram, slope = jacobian.T @ jacobian, jacobian.T @ residual
        for _ in range(20):
            moved = theta - scipy.linalg.solve(gram + damping * np.eye(net.size), slope, assume_a="pos")
            trial = (net(moved, x) - field(x)).ravel()
            if trial @ trial < residual @ residual:
                theta, residual, damping = moved, trial, max(damping / 3, 1e-11)
                break
            damping *= 4
    return 10 * np.log10(np.mean((net(theta, grid(100)) - field(grid(100))) ** 2))


def _convex(x):
    """Gradient of x1^4 + x1^2/2 + x1 x2/2 + 3 x2^2/2 - x2^3/3."""
    a, b = x.T
    return np.stack([4 * a**3 + a + b / 2, a / 2 + 3 * b - b**2], 1)


@pytest.mark.parametrize(("net", "published"), [(GradNetC(monotone=True), -49.05), (GradNetM(monotone=True), -48.65)])
def test_monotone_networks_learn_the_convex_field(net, published):
    assert net.size <= 110
    assert _fit_in_decibel(net, _convex, 80) < published - 5.0


def test_round_trip_through_a_checkpoint():
    for make in (BOTH | ANY_SIGN).values():
        net = make(False)
        assert ansatz_from_dict(json.loads(json.dumps(net.as_dict()))) == net


def test_initial_leaves_the_global_random_state_alone():
    state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    assert np.array_equal(GradNetC().initial(RNG(1)), GradNetC().initial(RNG(1)))
    assert torch.equal(state[0], torch.get_rng_state()) and np.array_equal(state[1], np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize(("culprit", "make"), [
    ("neurons", lambda: GradNetC(neurons=0)),
    ("layers", lambda: GradNetC(layers=1.5)),
    ("neurons", lambda: GradNetM(neurons=())),
    ("neurons", lambda: GradNetM(neurons=5)),
    ("dimension", lambda: GradNetM(dimension=-1)),
    ("components", lambda: GradNetM(components=0)),
    ("activation", lambda: GradNetC(activation="softmax")),  # not elementwise: the cascade would not be symmetric
    ("activation", lambda: GradNetC(activation="sine", monotone=True)),
    ("box", lambda: GradNetC(box=((0.0, 0.0), (1.0, -1.0)))),
    ("scale", lambda: GradNetC(scale=-1.0)),
    ("device", lambda: GradNetC(device="abacus")),
    ("x has shape", lambda: GradNetC()(np.zeros(GradNetC().size), np.zeros((4, 3)))),
    ("theta has shape", lambda: GradNetM()(np.zeros(3), np.zeros((4, 2)))),
])
def test_bad_fields_name_the_culprit(culprit, make):
    with pytest.raises(InputError, match=culprit):
        make()
