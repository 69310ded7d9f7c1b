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
    NaturalGradientFlow,
    Regression,
    RitzEnergy,
    TangentSpace,
    dot,
    grad,
    realize,
    unit_square,
)
from fem_ngf.flows.growing import grown
from fem_ngf.flows.iterate import STAGNATION
from fem_ngf.growth.grow import grow
from fem_ngf.tangent.tangent_space import tangent_vectors

NEVER = {"alignment": -1.0, "stagnation": -np.inf}
ALWAYS = {"alignment": 1.1, "stagnation": 1.0}


@pytest.fixture
def problem():
    return inverse_problem(5)


def network():
    ansatz = MLP((2, 2, 2, 1))
    return ansatz, ansatz.initial(np.random.default_rng(3))


def iterates_of(problem, **expansion):
    energy, space, _ = problem
    ansatz, theta = network()
    settings = {"neurons": 2, "max_parameters": 45, "candidates": 32, "patience": 1, **expansion}
    return list(NaturalGradientFlow(energy, ansatz, space, method="levenberg-marquardt", iterations=6,
                                    expansion=Expansion(**settings)).run(theta))


def growths(iterates):
    return [event for iterate in iterates for event in iterate.events if event.startswith("grew")]


@pytest.mark.parametrize("trigger", NEVER)
@pytest.mark.search
def test_every_trigger_fires_where_its_threshold_says(trigger, problem):
    """Alone at its limit it makes the network grow; at the other limit, with the others wide open, it does not."""
    thresholds = NEVER | {trigger: ALWAYS[trigger]}
    iterates = iterates_of(problem, trigger=trigger, **thresholds)
    assert growths(iterates) and iterates[-1].parameters > iterates[0].parameters
    silent = ALWAYS | {trigger: NEVER[trigger]}
    iterates = iterates_of(problem, trigger=trigger, **silent)
    assert not growths(iterates) and iterates[-1].parameters == iterates[0].parameters


@pytest.mark.search
def test_events_are_told_once_and_the_energy_never_rises(problem):
    iterates = iterates_of(problem, **ALWAYS)
    events = growths(iterates)
    assert len(set(events)) == len(events) == iterates[-1].memory.growths > 1
    assert np.all(np.diff([iterate.value for iterate in iterates]) <= 0.0)
    assert iterates[-1].parameters <= 45
    sizes = [int(event.split()[1]) for event in events] + [iterates[-1].parameters]
    assert sizes == sorted(sizes) and sizes[0] == iterates[0].parameters


@pytest.mark.search
def test_a_stagnating_projected_flow_goes_on_in_a_larger_network(problem):
    energy, space, _ = problem
    ansatz, theta = network()
    flow = NaturalGradientFlow(energy, ansatz, space, stagnation=0.9, iterations=30)
    small = list(flow.run(theta))[-1]
    assert small.stop_reason.startswith(STAGNATION)
    expansion = Expansion(max_parameters=30, candidates=32)
    large = list(replace(flow, expansion=expansion).run(theta))
    assert large[-1].step > small.step and growths(large) and large[-1].value < small.value
    alone = list(replace(flow, expansion=replace(expansion, trigger="alignment", alignment=0.0)).run(theta))[-1]
    assert alone.stop_reason.startswith(STAGNATION) and np.allclose(alone.theta, small.theta, rtol=1e-6)


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
