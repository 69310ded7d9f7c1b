"""Growth inside the flows: every trigger fires where it should, nothing but the tangent space changes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from problems import inverse_problem, parameter_space
from skfem import Basis, ElementTriP1

from fem_ngf import (
    MLP,
    Expansion,
    Functional,
    HilbertDescent,
    NaturalGradientFlow,
    Regression,
    RitzEnergy,
    TangentSpace,
    dot,
    grad,
    realize,
    unit_square,
)
from fem_ngf.flows.growing import grown, squared_alignment
from fem_ngf.flows.iterate import STAGNATION
from fem_ngf.growth.grow import grow
from fem_ngf.tangent.tangent_space import tangent_vectors

NEVER = {"alignment": -1.0, "fit": np.inf, "stagnation": -np.inf}
ALWAYS = {"alignment": 1.1, "fit": 0.0, "stagnation": 1.0}
FLOWS = {"gauss-newton": (HilbertDescent, {"direction": "gauss-newton"}),
         "gradient": (HilbertDescent, {"direction": "gradient"}),
         "natural": (NaturalGradientFlow, {"method": "levenberg-marquardt"})}


@pytest.fixture
def problem():
    return inverse_problem(5)


def network():
    ansatz = MLP((2, 2, 2, 1))
    return ansatz, ansatz.initial(np.random.default_rng(3))


def iterates_of(name, problem, **expansion):
    kind, options = FLOWS[name]
    energy, space, _ = problem
    ansatz, theta = network()
    settings = {"max_parameters": 45, "candidates": 32, "patience": 1, **expansion}
    return list(kind(energy, ansatz, space, iterations=6, expansion=Expansion(**settings), **options).run(theta))


def growths(iterates):
    return [event for iterate in iterates for event in iterate.events if event.startswith("grew")]


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize("trigger", NEVER)
@pytest.mark.search
def test_every_trigger_fires_where_its_threshold_says(name, trigger, problem):
    """Alone at its limit it makes the network grow; at the other limit, with the others wide open, it does not."""
    thresholds = NEVER | {trigger: ALWAYS[trigger]}
    if name != "natural" and trigger != "stagnation":
        thresholds["stagnation"] = 0.0  # also the least gain that is worth new neurons in a retraction
    iterates = iterates_of(name, problem, trigger=trigger, **thresholds)
    assert growths(iterates) and iterates[-1].parameters > iterates[0].parameters
    silent = ALWAYS | {trigger: NEVER[trigger]}
    iterates = iterates_of(name, problem, trigger=trigger, **silent)
    assert not growths(iterates) and iterates[-1].parameters == iterates[0].parameters


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.search
def test_events_are_told_once_and_the_energy_never_rises(name, problem):
    iterates = iterates_of(name, problem, **ALWAYS)
    events = growths(iterates)
    assert len(set(events)) == len(events) == iterates[-1].memory.growths > 1
    assert np.all(np.diff([iterate.value for iterate in iterates]) <= 0.0)
    assert iterates[-1].parameters <= 45
    sizes = [int(event.split()[1]) for event in events] + [iterates[-1].parameters]
    assert sizes == sorted(sizes) and sizes[0] == iterates[0].parameters


@pytest.mark.search
def test_a_network_that_follows_its_steps_grows_when_the_energy_stagnates(problem):
    """The retractions fit, so that nothing but the missing progress can be the reason."""
    iterates = iterates_of("gradient", problem, trigger="either", fit=0.9, alignment=0.0, stagnation=0.9)
    first = next(k for k, iterate in enumerate(iterates) if growths([iterate]))
    before, after = iterates[first - 1], iterates[first]
    assert before.fit < 0.9 and before.memory.stagnant
    assert after.parameters > before.parameters and "fit" not in after.events[0]


@pytest.mark.search
def test_a_blocked_flow_grows_before_it_gives_up(problem, monkeypatch):
    energy, space, _ = problem
    ansatz, theta = network()
    flow = HilbertDescent(energy, ansatz, space, expansion=Expansion(max_parameters=45, candidates=32))
    search = HilbertDescent._search
    monkeypatch.setattr(HilbertDescent, "_search", lambda self, iterate, move:
                        search(self, iterate, move) if iterate.parameters > len(theta) else None)
    moved = flow.step(flow.start(theta))
    assert not moved.stop_reason and growths([moved]) and moved.value < moved.start_value
    moved = replace(flow, expansion=None).step(flow.start(theta))
    assert moved.parameters == len(theta) and not growths([moved])


@pytest.mark.search
def test_a_stagnating_projected_flow_goes_on_in_a_larger_network(problem):
    energy, space, _ = problem
    ansatz, theta = network()
    flow = NaturalGradientFlow(energy, ansatz, space, stagnation=0.9, iterations=30)
    small = list(flow.run(theta))[-1]
    assert small.stop_reason == STAGNATION
    expansion = Expansion(max_parameters=30, candidates=32)
    large = list(replace(flow, expansion=expansion).run(theta))
    assert large[-1].step > small.step and growths(large) and large[-1].value < small.value
    alone = list(replace(flow, expansion=replace(expansion, trigger="alignment", alignment=0.0)).run(theta))[-1]
    assert alone.stop_reason == STAGNATION and alone.step == small.step


def test_nothing_grows_after_the_end(problem):
    energy, space, _ = problem
    ansatz, theta = network()
    flow = NaturalGradientFlow(energy, ansatz, space, iterations=1, expansion=Expansion(**ALWAYS, patience=0))
    assert list(flow.run(theta))[-1].parameters == ansatz.size


def energies():
    space = parameter_space(6, "quadrature")
    basis = Basis(unit_square(6), ElementTriP1(), intorder=4)
    functional = Functional(lambda u, w: 0.5 * dot(grad(u), grad(u)) + 0.25 * u**4 - torch.exp(4.0 * w.x[0]) * u, basis)
    problem = inverse_problem(5, sampling="quadrature")
    regression = Regression(space, np.sin(5.0 * space.basis.doflocs[0]))
    return {"inverse problem": problem[:2], "regression": (regression, space),
            "ritz": (RitzEnergy(functional, basis, np.array([], dtype=int), np.zeros(basis.N)),
                     parameter_space(6, "quadrature"))}


@pytest.mark.parametrize("name", ["inverse problem", "regression", "ritz"])
@pytest.mark.search
def test_insertion_keeps_the_energy_and_raises_the_alignment_by_the_gain(name):
    energy, space = energies()[name]
    ansatz, theta = network()
    before = energy.linearize(realize(ansatz, theta, space))
    growth = grow(Expansion(neurons=3, candidates=32, worth=0.0), ansatz, theta,
                  space.riesz(before.derivative), space, space.inner_product, 0)
    after = energy.linearize(realize(growth.ansatz, growth.theta, space))
    assert abs(after.value - before.value) <= 1e-13 * abs(before.value)
    kappa = [TangentSpace.at(net, at, space).alignment(before.derivative)
             for net, at in ((ansatz, theta), (growth.ansatz, growth.theta))]
    assert growth.gain > 1e-6
    assert kappa[1] ** 2 - kappa[0] ** 2 == pytest.approx(growth.gain, abs=1e-8)


def test_grown_iterates_keep_everything_but_the_network(problem):
    energy, space, _ = problem
    ansatz, theta = network()
    iterate = NaturalGradientFlow(energy, ansatz, space).start(theta)
    larger = grown(Expansion(candidates=32), iterate, space.riesz(iterate.linearization.derivative), space,
                   space.inner_product)
    assert larger.linearization is iterate.linearization and larger.solves == iterate.solves
    assert larger.parameters > iterate.parameters and larger.kappa > iterate.kappa
    assert grown(Expansion(candidates=32), iterate, tangent_vectors(ansatz, theta, space)[:, 1], space,
                 space.inner_product) is None
    assert grown(Expansion(max_parameters=1), iterate, iterate.m, space, space.inner_product) is None


def test_squared_alignment_of_steps(problem):
    space = problem[1]
    a, b = np.random.default_rng(0).standard_normal((2, space.size))
    expected = space.inner(a, b) ** 2 / (space.inner(a, a) * space.inner(b, b))
    assert squared_alignment(a, np.sign(space.inner(a, b)) * b, space.inner_product) == pytest.approx(expected)
    assert squared_alignment(a, -a, space.inner_product) == 0.0 == squared_alignment(0.0 * a, a, space.inner_product)
