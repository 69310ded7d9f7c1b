"""Flows: descent, oracles of single steps, reasons to stop, failures and resuming."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from problems import inverse_problem, plain_residual, reaction_residual
from skfem import Basis, ElementLineP1, MeshLine

from fem_ngf import (
    MLP,
    FiniteElement,
    HilbertSpace,
    InputError,
    NaturalGradientFlow,
    NewtonFlow,
    ParameterDescent,
    Regression,
    SolveError,
    TangentSpace,
    Transformed,
    realize,
)
from fem_ngf.flows.certificate import negligible
from fem_ngf.flows.iterate import BLOCKED, CONVERGED, EXHAUSTED, GRADIENT, STAGNATION, STALLED, solve_kinds
from fem_ngf.flows.search import shortened

FLOWS = {
    "newton": (NewtonFlow, {}),
    **{f"natural {m}": (NaturalGradientFlow, {"method": m})
       for m in ("euler", "heun", "levenberg-marquardt", "gradient-normalized")},
    **{f"baseline {m}": (ParameterDescent, {"method": m}) for m in ("gradient-descent", "adam", "lbfgs")},
}
every_flow = pytest.mark.parametrize("name", FLOWS)


def network(space=None):
    ansatz = MLP((2, 5, 4, 1))
    return ansatz, ansatz.initial(np.random.default_rng(0))


def finite_element(space):
    return FiniteElement(space), np.zeros(space.size)


KINDS = {"network": network, "finite-element": finite_element}


def flow_of(name, energy, ansatz, **options):
    kind, fixed = FLOWS[name]
    return kind(energy, ansatz, energy.space, **{"iterations": 8, **fixed, **options})


@every_flow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.search
def test_descent_and_accounting(name, kind):
    energy, space, _ = inverse_problem(5)
    ansatz, theta = KINDS[kind](space)
    flow = flow_of(name, energy, ansatz, learning_rate=0.05) if "adam" in name else flow_of(name, energy, ansatz)
    before = solve_kinds(energy.counts)
    iterates = []
    for iterate in flow.run(theta):
        iterates.append(iterate)
        spent = {key: number - before[key] for key, number in solve_kinds(energy.counts).items()}
        assert iterate.solves == spent
        assert np.array_equal(iterate.m, realize(ansatz, iterate.theta, space))
        assert np.isclose(iterate.value, energy.linearize(iterate.m).value, rtol=1e-13)
        before["forward"] += 1
        assert np.isclose(iterate.gradient_norm, space.dual_norm(iterate.linearization.derivative))
    for before, after in zip(iterates[:-1], iterates[1:], strict=True):
        step = space.norm(after.m - before.m) * before.gradient_norm
        assert np.isclose(after.alignment * step, before.linearization.derivative @ (before.m - after.m),
                          atol=1e-9 * step)
    values = [iterate.value for iterate in iterates]
    if "adam" not in name:
        assert np.all(np.diff(values) <= 0) and values[-1] < values[0]
    assert min(values) < 0.5 * values[0]
    steps = [iterate.step for iterate in iterates]  # the last may be told twice: once with why it is the last
    assert steps in (list(range(len(steps))), [*range(len(steps) - 1), len(steps) - 2])
    assert not any(iterate.stop_reason for iterate in iterates[:-1])
    last = iterates[-1]
    assert last.stop_reason and last.converged is (last.stop_reason in CONVERGED)
    assert {iterate.start_value for iterate in iterates} == {values[0]}


def test_start_costs_one_forward_and_one_adjoint_solve():
    energy, space, _ = inverse_problem(4, experiments=2)
    before = energy.counts.copy()
    start = NewtonFlow(energy, FiniteElement(space), space).start(np.zeros(space.size))
    assert (energy.counts - before).as_dict() == {"forward": 2, "adjoint": 2, "incremental": 0, "total": 4}
    assert start.solves == {"forward": 2, "adjoint": 2, "incremental": 0}


# ---- oracles of single steps ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["natural euler", "natural levenberg-marquardt"])
def test_the_first_step_is_the_hilbert_gradient(name):
    energy, space, _ = inverse_problem(5)
    flow = flow_of(name, energy, FiniteElement(space), damping=0.0)
    start = flow.start(np.zeros(space.size))
    gradient = space.riesz(start.linearization.derivative)
    moved = flow.step(start)
    assert np.allclose(moved.m, start.m - moved.step_size * gradient, atol=1e-12)
    assert np.isclose(moved.alignment, 1.0)


@pytest.mark.search
def test_euler_follows_the_projected_gradient():
    energy, space, _ = inverse_problem(5)
    ansatz = MLP((2, 2, 1), output_scale=0.5)
    theta = ansatz.initial(np.random.default_rng(0))
    flow = NaturalGradientFlow(energy, ansatz, space, damping=1e-9, corrections=0)
    start = flow.start(theta)
    kappa = TangentSpace.at(ansatz, theta, space).alignment(start.linearization.derivative)
    moved = flow.step(replace(start, memory=replace(start.memory, step_length=1e-9)))
    assert kappa < 0.999
    assert np.isclose(moved.alignment, kappa, rtol=1e-4)
    assert moved.fit < 1e-2
    rate = (moved.value - start.value) / moved.step_size
    assert np.isclose(rate, -((kappa * start.gradient_norm) ** 2), rtol=1e-2)


@pytest.mark.parametrize("damping", [1e-1, 1e-3, 1e-5])
@pytest.mark.search
def test_gradient_normalised_damping_is_the_published_rule(damping):
    """``lambda = |b|/gamma``; accepted if ``E - E+ >= h |b+|^2 / (8 lambda)``, then gamma doubles, else it halves."""
    energy, space, _ = inverse_problem(4)
    ansatz, theta = network()
    flow = NaturalGradientFlow(energy, ansatz, space, method="gradient-normalized", damping=damping, corrections=0)
    iterate = flow.start(theta)
    moved = flow.step(iterate)
    tangent = TangentSpace.at(ansatz, theta, space)
    b, gram = tangent.pull_back(iterate.linearization.derivative), tangent.matrix
    radius = np.linalg.norm(b) / (damping * np.diag(gram).mean())
    for _ in range(flow.trials):
        shift = np.linalg.norm(b) / radius
        expected = theta - moved.step_size * np.linalg.solve(gram + shift * np.eye(len(b)), b)
        m = realize(ansatz, expected, space)
        meant = tangent.push_forward(theta - expected)
        missed = space.norm(m - iterate.m + meant) / space.norm(meant)
        there = energy.linearize(m)
        needed = moved.step_size * np.linalg.norm(tangent.pull_back(there.derivative)) ** 2 / (8.0 * shift)
        if missed <= flow.realization and iterate.value - there.value >= needed:
            break
        radius *= 0.5
    assert np.allclose(moved.theta, expected, rtol=1e-6, atol=1e-9) and moved.value < iterate.value
    assert np.isclose(moved.memory.radius, 2.0 * radius)


@pytest.mark.search
def test_baseline_steps():
    energy, space, _ = inverse_problem(4)
    ansatz, theta = network()
    theta = theta + 0.1
    flow = ParameterDescent(energy, ansatz, space)
    start = flow.start(theta)
    slope = TangentSpace.at(ansatz, theta, space).pull_back(start.linearization.derivative)
    moved = flow.step(start)
    assert np.allclose(moved.theta, theta - moved.step_size * slope)
    adam = replace(flow, method="adam", learning_rate=1e-3)
    moving = np.abs(slope) > 1e-3
    assert np.allclose((adam.step(adam.start(theta)).theta - theta)[moving], -1e-3 * np.sign(slope)[moving], rtol=1e-4)


# ---- where the flows lead -------------------------------------------------------------------------------------------


def regression(cells=40):
    space = HilbertSpace.h1(Basis(MeshLine(np.linspace(0, 1, cells + 1)), ElementLineP1(), intorder=4), 0.1)
    return Regression.of_function(space, lambda x: np.tanh(12 * (x[:, 0] - 0.4)) + 0.3 * np.sin(9 * x[:, 0])), space


@pytest.mark.parametrize("name", ["natural levenberg-marquardt", "natural euler"])
@pytest.mark.search
def test_regression_converges(name):
    """Five starts end at 2e-6 to 2e-3; the bound holds at every end."""
    energy, space = regression()
    ansatz = MLP((1, 12, 1), "tanh")
    *_, last = flow_of(name, energy, ansatz, iterations=60).run(ansatz.initial(np.random.default_rng(0)))
    assert energy.relative_error(last.m) < 1e-2
    assert last.certificate >= space.norm(last.m - energy.target) * (1 - 1e-9)


def test_a_quadratic_energy_of_finite_elements_takes_one_step():
    """The inner product is the Hessian: the first step is the last."""
    energy, space = regression()
    flow = flow_of("natural levenberg-marquardt", energy, FiniteElement(space), damping=1e-14)
    _, first, *_ = flow.run(np.zeros(space.size))
    assert energy.relative_error(first.m) < 1e-10


def test_the_newton_flow_ends_at_a_minimum():
    energy, space, _ = inverse_problem(6)
    *_, last = NewtonFlow(energy, FiniteElement(space), space, tolerance=1e-10).run(np.zeros(space.size))
    assert last.converged
    hessian = np.column_stack([last.linearization.hessian_action(e, "newton") for e in np.eye(space.size)])
    assert np.linalg.eigvalsh(0.5 * (hessian + hessian.T)).min() > 0
    derivative = last.linearization.derivative
    assert 0.5 * derivative @ np.linalg.solve(hessian, derivative) < 1e-6 * last.value


def test_nonlinear_state():
    energy, space, truth = inverse_problem(5, residual=reaction_residual, linear=False, experiments=2)
    flow = NewtonFlow(energy, FiniteElement(space), space)
    *_, last = flow.run(np.zeros(space.size))
    assert last.converged
    assert last.value <= energy(truth)


def test_steps_are_shortened_to_the_minimiser_of_a_parabola():
    """``E(tau) = -2 tau + 5 tau^2`` has its minimum at 0.2; beyond the safeguards these decide."""
    assert np.isclose(shortened(1.0, -2.0, 3.0), 0.2)
    assert np.isclose(shortened(0.5, -2.0, 0.25), 0.2)
    assert shortened(1.0, -2.0, 1e6) == 0.1
    assert shortened(1.0, -2.0, -1.9) == 0.5
    assert shortened(0.4, -2.0, None) == 0.1


# ---- reasons to stop ------------------------------------------------------------------------------------------------


def test_stopping_rules_say_why():
    energy, space, _ = inverse_problem(5)
    flow = NaturalGradientFlow(energy, FiniteElement(space), space, tolerance=1e-1, stagnation=0.0)
    *_, last = flow.run(np.zeros(space.size))
    assert last.stop_reason.startswith(GRADIENT) and last.converged == (last.expected_decrease <= negligible(last))
    assert last.gradient_norm <= 1e-1 * last.start_gradient
    *earlier, last = replace(flow, tolerance=0.0, stagnation=0.3).run(np.zeros(space.size))
    values = [iterate.value for iterate in (*earlier, last)]
    assert last.stop_reason.startswith(STAGNATION)
    assert values[-1] >= 0.7 * values[-2] and values[-2] >= 0.7 * values[-3]
    *_, last = replace(flow, iterations=2, tolerance=0.0).run(np.zeros(space.size))
    assert last.stop_reason == EXHAUSTED and not last.converged


@every_flow
@pytest.mark.parametrize("kind", KINDS)
def test_a_start_at_the_minimum_stays_there(name, kind):
    energy, space, _ = inverse_problem(4)
    ansatz, theta = KINDS[kind](space)
    energy = replace(energy, data=energy.observation(energy.pde.solve(np.zeros(space.size)).u))
    iterates = list(flow_of(name, energy, ansatz).run(theta))
    assert len(iterates) == 1
    assert iterates[0].stop_reason == GRADIENT and iterates[0].converged
    assert iterates[0].total_solves == 2


class Shifted:
    """Another energy minus a number: negative values are as good as others."""

    def __init__(self, energy, shift):
        self._energy, self._shift = energy, shift

    def __getattr__(self, name):
        return getattr(self._energy, name)

    def linearize(self, m, start=None):
        here = self._energy.linearize(m, start)
        return replace(here, value=here.value - self._shift)


@pytest.mark.parametrize("shift", [0.0, 1e6])
def test_stagnation_of_negative_energies(shift):
    energy, space, _ = inverse_problem(5)
    flow = NaturalGradientFlow(Shifted(energy, shift), FiniteElement(space), space, tolerance=0.0, stagnation=1e-3)
    *_, last = flow.run(np.zeros(space.size))
    assert last.stop_reason.startswith(STAGNATION)
    assert last.step < flow.iterations


@pytest.mark.search
def test_an_energy_that_rises_is_never_converged():
    energy, space, _ = inverse_problem(4)
    ansatz, theta = network()
    iterates = list(ParameterDescent(energy, ansatz, space, "adam", iterations=12, learning_rate=3.0,
                                     stagnation=1e-3).run(theta))
    worse = [iterate for iterate in iterates if iterate.value > iterate.start_value]
    assert worse, "the learning rate is meant to be far too large"
    assert not any(iterate.converged for iterate in worse)
    for reason in CONVERGED:
        assert not worse[0].stopped(reason).converged
        assert iterates[0].stopped(reason).converged


# ---- failures -------------------------------------------------------------------------------------------------------


class Domain:
    """An energy that fails where the parameter is below a bound."""

    def __init__(self, energy, bound):
        self._energy, self.bound, self.refused = energy, bound, 0

    def __getattr__(self, name):
        return getattr(self._energy, name)

    def linearize(self, m, start=None):
        if m.min() < self.bound:
            self.refused += 1
            raise SolveError("outside the domain")
        return self._energy.linearize(m, start)


class Watched(Domain):
    """An energy that counts its failures."""

    def __init__(self, energy):
        super().__init__(energy, -np.inf)

    def linearize(self, m, start=None):
        try:
            return self._energy.linearize(m, start)
        except SolveError:
            self.refused += 1
            raise


@every_flow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.search
def test_leaving_the_domain_is_a_rejected_step(name, kind):
    energy, space, _ = inverse_problem(5, residual=plain_residual, truth=lambda x: 1.0 + x[0])
    energy = Domain(energy, 0.97)
    ansatz, theta = (FiniteElement(space), np.ones(space.size)) if kind == "finite-element" else (
        MLP((2, 5, 4, 1), start=1.0), network()[1])
    if kind == "network":
        theta = ansatz.initial(np.random.default_rng(0))
    options = {"learning_rate": 0.2} if "adam" in name else {}
    *_, last = flow_of(name, energy, ansatz, **options).run(theta)
    assert last.m.min() >= 0.97
    assert last.value < last.start_value or "adam" in name
    assert last.converged is (last.stop_reason in CONVERGED)


@pytest.mark.search
def test_a_positive_coefficient_that_is_left_is_a_rejected_step():
    """kappa <= 0 at a quadrature point is no number in the weak form: the solve fails, the step is shortened."""
    energy, space, _ = inverse_problem(5, residual=plain_residual, truth=lambda x: 0.2 + x[0] ** 2)
    ansatz = MLP((2, 6, 1), start=1.0)
    watched = Watched(energy)
    for problem in (energy, watched):
        *_, last = NewtonFlow(problem, ansatz, space, iterations=12).run(ansatz.initial(np.random.default_rng(0)))
        assert np.isfinite(last.value)
        assert last.value < 0.05 * last.start_value
    assert watched.refused > 0
    with pytest.raises(SolveError):
        energy(np.where(np.arange(space.size) == 20, -2.0, 1.0))


@every_flow
@pytest.mark.parametrize("sampling", ["nodal", "quadrature"])
@pytest.mark.search
def test_an_overflowing_network_is_a_rejected_step(name, sampling):
    energy, space, _ = inverse_problem(4, sampling=sampling)
    inner = MLP((2, 5, 4, 1))
    ansatz = Transformed(inner, lambda n: np.exp(900 * n) - 1.0, lambda n: 900 * np.exp(900 * n))
    options = {"learning_rate": 0.5} if "adam" in name else {}
    *_, last = flow_of(name, energy, ansatz, **options).run(inner.initial(np.random.default_rng(0)))
    assert np.isfinite(last.theta).all() and np.isfinite(last.value)
    assert last.value < last.start_value or last.stop_reason in (BLOCKED, STALLED)


class Fragile:
    """An energy whose derivative cannot be computed anywhere but at the start."""

    def __init__(self, energy):
        self._energy, self._seen = energy, 0

    def __getattr__(self, name):
        return getattr(self._energy, name)

    def linearize(self, m, start=None):
        self._seen += 1
        here = self._energy.linearize(m, start)
        return here if self._seen == 1 else replace(here, state=_NoAdjoint(here.state))


class _NoAdjoint:
    def __init__(self, state):
        self._state = state

    def __getattr__(self, name):
        return getattr(self._state, name)

    def adjoint_state(self, *arguments, **options):
        raise SolveError("the adjoint solve failed")


@every_flow
def test_a_failed_adjoint_blocks(name):
    energy, space, _ = inverse_problem(4)
    ansatz, theta = network()
    *_, last = flow_of(name, Fragile(energy), ansatz).run(theta)
    assert last.stop_reason in (BLOCKED, STALLED) and not last.converged
    assert last.step == 0 and last.value == last.start_value


@every_flow
def test_a_start_that_fails_is_bad_input(name):
    energy, space, _ = inverse_problem(4)
    ansatz = MLP((2, 5, 4, 1), start=900.0)
    with pytest.raises(InputError, match="cannot be evaluated at the start"):
        flow_of(name, energy, ansatz).start(ansatz.initial(np.random.default_rng(0)))
    with pytest.raises(InputError, match="theta has shape"):
        flow_of(name, energy, ansatz).start(np.zeros(3))


@pytest.mark.parametrize("method", ["euler", "heun", "levenberg-marquardt"])
@pytest.mark.search
def test_absurd_steps_are_rejected(method):
    """A first step a million times too long: no accepted step misses its function step by more than allowed."""
    energy, space, _ = inverse_problem(5)
    ansatz, theta = network()
    flow = NaturalGradientFlow(energy, ansatz, space, method, trials=60, iterations=5)
    start = flow.start(theta)
    fine = flow.step(start).step_size
    iterates = list(flow.run(replace(start, memory=replace(start.memory, step_length=1e6 * fine))))
    assert all(iterate.fit <= flow.realization for iterate in iterates[1:])
    assert all(iterate.value <= start.value for iterate in iterates)
    strict = replace(flow, realization=1e-14, corrections=0, trials=3)
    *_, last = strict.run(MLP((2, 5, 4, 1), output_scale=0.5).initial(np.random.default_rng(1)))
    assert last.stop_reason == BLOCKED


@pytest.mark.parametrize("name", ["natural levenberg-marquardt", "natural gradient-normalized"])
def test_rejected_steps_of_finite_elements_become_shorter(name):
    energy, space, _ = inverse_problem(5)
    flow = flow_of(name, energy, FiniteElement(space), trials=60)
    start = flow.start(np.zeros(space.size))
    good = flow.step(start).step_size
    moved = flow.step(replace(start, memory=replace(start.memory, step_length=1e4 * good)))
    assert moved.stop_reason == "" and moved.value < start.value


# ---- resuming -------------------------------------------------------------------------------------------------------


def plain(value):
    """Only what a checkpoint can hold."""
    if isinstance(value, dict):
        return all(isinstance(key, (str, int)) and plain(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(plain(item) for item in value)
    return value is None or isinstance(value, (str, bool, int, float, np.ndarray, np.floating, torch.Tensor))


@every_flow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.search
def test_resume_continues_where_it_was(name, kind):
    energy, space, _ = inverse_problem(4)
    ansatz, theta = KINDS[kind](space)
    flow, iterates, states = flow_of(name, energy, ansatz, iterations=6), [], []
    for iterate in flow.run(theta):
        iterates.append(iterate)
        states.append(deepcopy(iterate.state()))
    assert plain(states[3])
    for at in (0, 3):
        fresh, _, _ = inverse_problem(4)
        again = flow_of(name, fresh, ansatz, iterations=6)
        rest = list(again.run(again.resume(ansatz, states[at])))
        assert len(rest) == len(iterates) - at
        assert np.abs(rest[-1].theta - iterates[-1].theta).max() <= 1e-12
        assert rest[-1].solves == iterates[-1].solves
        assert rest[0].value == iterates[at].value
        assert rest[-1].stop_reason == iterates[-1].stop_reason


@pytest.mark.parametrize("name", ["newton", "natural euler"])
@pytest.mark.search
def test_resume_with_a_nonlinear_state(name):
    options = {"residual": reaction_residual, "linear": False}
    energy, _, _ = inverse_problem(4, **options)
    ansatz, theta = network()
    flow = flow_of(name, energy, ansatz, iterations=5)
    iterates = list(flow.run(theta))
    fresh, _, _ = inverse_problem(4, **options)
    again = flow_of(name, fresh, ansatz, iterations=5)
    *_, last = again.run(again.resume(ansatz, deepcopy(iterates[2].state())))
    assert np.abs(last.theta - iterates[-1].theta).max() <= 1e-12
    assert last.solves == iterates[-1].solves


@every_flow
@pytest.mark.search
def test_iterates_are_values(name):
    """A step does not change the iterate that it starts from: taken twice, it gives the same twice."""
    energy, space, _ = inverse_problem(4)
    ansatz, theta = network()
    flow = flow_of(name, energy, ansatz, iterations=6)
    iterates = list(flow.run(theta))
    for at in (0, 2):
        again = flow.step(iterates[at])
        assert np.array_equal(again.theta, iterates[at + 1].theta)
        assert np.array_equal(flow.step(iterates[at]).theta, again.theta)


@pytest.mark.parametrize("make", [
    lambda e, a: NaturalGradientFlow(e, a, e.space, method="rk4"),
    lambda e, a: ParameterDescent(e, a, e.space, method="sgd"),
])
def test_bad_input(make):
    with pytest.raises(InputError, match="choose one of"):
        make(inverse_problem(3)[0], network()[0])
