"""The verifier itself: it must measure right rates for right derivatives and reject wrong ones."""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from problems import (
    alignment_error,
    diffusion_residual,
    inverse_problem,
    parameter_space,
    plain_residual,
    reaction_residual,
)
from skfem import Basis, ElementTetP1, ElementTriP1, MeshTet

from fem_ngf import (
    MLP,
    FiniteElement,
    HilbertSpace,
    HuberNoise,
    InputError,
    MatrixObservation,
    SolveError,
    StudentNoise,
    TangentSpace,
    Transformed,
    dot,
    grad,
    point_values,
    taylor_rate,
    verify_energy,
)
from fem_ngf.verify import Check, adjoint_error, gram_error, symmetry_error

DIRECTION = np.array([0.3, -0.4, 0.5])


def exponential(m):
    return np.exp(m).sum(), np.exp(m)


def test_rate_is_two_for_the_right_derivative():
    assert abs(taylor_rate(exponential, np.zeros(3), DIRECTION) - 2.0) < 1e-3


@pytest.mark.parametrize("error", [1e-1, 1e-2, 1e-3, 1e-4])
def test_rate_is_not_two_for_a_slightly_wrong_derivative(error):
    def wrong(m):
        value, derivative = exponential(m)
        return value, derivative * (1.0 + error)

    rate = taylor_rate(wrong, np.zeros(3), DIRECTION)
    assert rate < 1.1 if error >= 1e-3 else abs(rate - 2.0) > 0.1


def test_rate_of_an_array_valued_function():
    def function(m):
        return np.sin(m), np.diag(np.cos(m))

    assert abs(taylor_rate(function, np.array([0.4, 0.9, 1.3]), DIRECTION) - 2.0) < 1e-3


def test_a_larger_cubic_remainder_does_not_hide_the_rate():
    """Remainder 1e-6 h^2 + h^3, cut off by noise while the cubic part still counts."""
    rate = taylor_rate(lambda m: ((1e-3 * m**2 + m**3).sum(), 2e-3 * m + 3 * m**2), np.zeros(1), np.ones(1), noise=1e-9)
    assert abs(rate - 2.0) < 0.02


def test_linear_functions_have_no_remainder():
    assert taylor_rate(lambda m: (m.sum(), np.ones(3)), np.ones(3), DIRECTION) == np.inf


def test_steps_that_leave_the_domain_are_left_out():
    def logarithm(m):
        if m.min() <= 0:
            raise SolveError("negative")
        return np.log(m).sum(), 1.0 / m

    assert abs(taylor_rate(logarithm, np.full(3, 0.1), DIRECTION) - 2.0) < 1e-2


def test_bad_input():
    with pytest.raises(InputError, match="direction is zero"):
        taylor_rate(exponential, np.zeros(3), np.zeros(3))

    def failing(m):
        if m.any():
            raise SolveError("no")
        return 1.0, np.ones(3)

    with pytest.raises(InputError, match="every step"):
        taylor_rate(failing, np.zeros(3), DIRECTION)
    with pytest.raises(InputError, match="cannot be evaluated at m"):
        taylor_rate(failing, np.ones(3), DIRECTION)


def test_a_check_judges():
    assert Check("rate", 2.019, 0.02, 2.0).passed
    assert not Check("rate", 2.021, 0.02, 2.0).passed
    assert not Check("error", float("nan"), 1e-10).passed
    assert str(Check("rate", 1.0, 0.02, 2.0)) == "FAILED  rate: 1.0000 (2 +- 0.02)"
    assert str(Check("error", 2e-15, 1e-10)) == "passed  error: 2.0e-15 (<= 1e-10)"


CASES = {
    "linear": {},
    "two experiments": {"experiments": 2},
    "nonlinear": {"residual": reaction_residual, "linear": False, "experiments": 2},
    "positive": {"residual": plain_residual, "truth": lambda x: 1.0 + x[0] * x[1]},
    "student": {"noise": StudentNoise},
    "huber": {"noise": HuberNoise},
    "projected": {"sampling": "quadrature", "sensors": False},
}


@pytest.mark.parametrize("name", CASES)
def test_every_energy_passes(name):
    energy, space, _ = inverse_problem(6, **CASES[name])
    ansatz = MLP((2, 5, 4, 1), start=1.0, output_scale=0.1)
    checks = verify_energy(energy, ansatz, ansatz.initial(np.random.default_rng(0)), space, np.random.default_rng(1))
    assert len(checks) == 11
    assert [str(check) for check in checks if not check.passed] == []


def test_finite_elements_pass():
    energy, space, m = inverse_problem(6)
    checks = verify_energy(energy, FiniteElement(space), m, space, np.random.default_rng(1))
    assert [str(check) for check in checks if not check.passed] == []


@dataclass(frozen=True, eq=False)
class Spoilt:
    """An energy whose linearisation has one wrong method."""

    energy: object
    name: str
    change: object

    def linearize(self, m, start=None):
        here = self.energy.linearize(m)
        return SpoiltLinearization(here, self.name, self.change)


class SpoiltLinearization:
    def __init__(self, here, name, change):
        self._here, self._name, self._change = here, name, change

    def __getattr__(self, name):
        attribute = getattr(self._here, name)
        return self._change(attribute) if name == self._name else attribute


SPOILT = {
    "Taylor rate of the energy": ("derivative", lambda g: 1.001 * g),
    "Taylor rate in the parameters": ("derivative", lambda g: 1.001 * g),
    "Taylor rate of the derivative": ("hessian_action", lambda f: lambda v, kind="newton": 1.001 * f(v, kind)),
    "Taylor rate of the regularisation's derivative": (
        "regularization_hessian", lambda f: lambda kind: 3.0 * f(kind) if kind == "newton" else f(kind)),
    "Gauss-Newton Hessian of the quadratic regularisation": (
        "regularization_hessian", lambda f: lambda kind: 3.0 * f(kind) if kind == "gauss-newton" else f(kind)),
    "symmetry of the gauss-newton Hessian": (
        "hessian_action", lambda f: lambda v, kind: f(v, kind) + 1e-5 * np.roll(f(v, kind), 1)),
}


@pytest.mark.parametrize("name", SPOILT)
def test_mistakes_are_found(name):
    energy, space, _ = inverse_problem(4)
    ansatz = MLP((2, 5, 4, 1), start=1.0, output_scale=0.1)
    theta = ansatz.initial(np.random.default_rng(0))
    checks = verify_energy(Spoilt(energy, *SPOILT[name]), ansatz, theta, space, np.random.default_rng(1))
    assert name in [check.name for check in checks if not check.passed]


KINKS = {
    "abs": lambda u, v, m, w: (0.5 + torch.abs(m)) * dot(grad(u), grad(v)) - v,
    "clamp": lambda u, v, m, w: torch.exp(torch.clamp(m.value, -0.03, 0.03)) * dot(grad(u), grad(v)) - v,
}


@pytest.mark.parametrize("name", KINKS)
def test_a_kink_is_found(name):
    energy, space, _ = inverse_problem(4, residual=KINKS[name], truth=lambda x: 0.5 * np.sin(4 * x[0]))
    ansatz = MLP((2, 5, 4, 1), "tanh", output_scale=0.2)
    checks = verify_energy(energy, ansatz, ansatz.initial(np.random.default_rng(0)), space, np.random.default_rng(1))
    assert [check.passed for check in checks if check.name.startswith("smoothness")] == [False]


@pytest.mark.parametrize("name", ["robin", "huber"])
@pytest.mark.parametrize("seed", range(2))
def test_no_false_alarm(name, seed):
    """A Robin problem whose cubic remainder is large, and a misfit whose curvature jumps."""
    robin = {"residual": lambda u, v, m, w: torch.exp(m) * (dot(grad(u), grad(v)) + (u - 1.0) * v)}
    energy, space, _ = inverse_problem(4, **({"noise": HuberNoise} if name == "huber" else robin))
    ansatz = MLP((2, 6, 6, 1), output_scale=0.3)
    theta = ansatz.initial(np.random.default_rng(seed))
    checks = verify_energy(energy, ansatz, theta, space, np.random.default_rng(10 + seed))
    assert [str(check) for check in checks if not check.passed] == []


def test_data_that_see_nothing_are_found():
    """Every derivative is right, and zero; sensors where the state is given are refused."""
    energy, space, m = inverse_problem(6)
    state, edge = energy.pde.form.state, np.array([[0.0, 0.3], [0.5, 0.0], [1.0, 0.7]])
    with pytest.raises(InputError, match="sees only values of the state that dirichlet gives"):
        replace(energy, observation=point_values(state, edge), data=np.ones(3))
    blind = replace(energy, observation=MatrixObservation(sp.csr_array((3, state.N))), data=np.ones(3))
    checks = verify_energy(blind, FiniteElement(space), m, space, np.random.default_rng(1))
    assert "directions of two that the data do not see" in [check.name for check in checks if not check.passed]


def test_few_remainders_above_rounding_are_told():
    """Only the first remainders stand clear of the noise: no rate is made of them."""
    rate = taylor_rate(lambda m: (1e-9 * (m**2).sum() + m.sum(), 2e-9 * m + 1.0), np.zeros(2), np.ones(2))
    assert rate == np.inf
    assert "no remainder stands clear of rounding" in str(Check("rate", rate, 0.02, 2.0, exact=True))


def test_a_wrong_adjoint_is_found():
    energy, _, m = inverse_problem(6)
    state, generator = energy.linearize(m).state, np.random.default_rng(0)
    dm, covector = generator.standard_normal(m.shape), generator.standard_normal(state.u.shape)
    assert adjoint_error(state, dm, covector) < 1e-12

    class Wrong:
        tangent = staticmethod(state.tangent)

        @staticmethod
        def adjoint(covector, kind):
            return 1.0001 * state.adjoint(covector, kind)

    assert adjoint_error(Wrong, dm, covector) > 1e-5


def test_gauss_newton_is_not_the_newton_hessian():
    """The two Hessians differ away from a fit, so that the checks above tell them apart."""
    energy, _, m = inverse_problem(6)
    here, v = energy.linearize(0.5 * m), np.sin(np.arange(len(m)))
    gauss, full = here.hessian_action(v), here.hessian_action(v, "newton")
    assert np.linalg.norm(gauss - full) > 1e-3 * np.linalg.norm(full)
    assert symmetry_error(here, v, v**2) < 1e-12


SPACES = {
    "nodal": lambda: parameter_space(4),
    "projected": lambda: parameter_space(4, "quadrature"),
    "half": lambda: HilbertSpace.sobolev(Basis(parameter_space(4).basis.mesh, ElementTriP1()), 0.5),
    "fixed": lambda: HilbertSpace.h1(parameter_space(4).basis, fixed=[0, 3, 5]),
}


@pytest.mark.parametrize("name", SPACES)
def test_gram_and_alignment(name):
    space = SPACES[name]()
    ansatz = Transformed(MLP((2, 3, 1), output_scale=0.5), "softplus")
    theta = ansatz.initial(np.random.default_rng(3))
    derivative = np.random.default_rng(4).standard_normal(space.size)
    assert gram_error(ansatz, theta, space) < 1e-12
    assert alignment_error(ansatz, theta, space, derivative) < 1e-6
    assert 0.1 < TangentSpace.at(ansatz, theta, space).alignment(derivative) < 0.99


def test_gram_in_three_dimensions():
    space = HilbertSpace.h1(Basis(MeshTet().refined(1), ElementTetP1()))
    ansatz = MLP((3, 3, 1), output_scale=0.5)
    assert gram_error(ansatz, ansatz.initial(np.random.default_rng(0)), space, columns=5) < 1e-12


def test_a_wrong_jacobian_is_found():
    space = parameter_space(4)

    @dataclass(frozen=True)
    class Wrong(MLP):
        def linearize(self, theta, x):
            linear = super().linearize(theta, x)

            def jacobian(out=None):
                out = linear.jacobian(out)
                out[:, 0] *= 1.0001
                return out

            return SimpleNamespace(value=linear.value, jvp=linear.jvp, vjp=linear.vjp, jacobian=jacobian)

    ansatz = Wrong((2, 3, 1), output_scale=0.5)
    assert gram_error(ansatz, ansatz.initial(np.random.default_rng(0)), space) > 1e-6


def test_problems_are_what_they_say():
    """The shared model problems are nonlinear, or ill-defined for negative parameters, as claimed."""
    assert inverse_problem(4, residual=reaction_residual, linear=False)[0].pde.linear is False
    with pytest.raises(InputError, match="not linear"):
        inverse_problem(4, residual=reaction_residual)
    energy, _, m = inverse_problem(4, residual=diffusion_residual)
    with pytest.raises(SolveError):
        energy.linearize(np.full(m.shape, 1e4))
    assert replace(energy, data=energy.data + 1.0)(m) > energy(m)
