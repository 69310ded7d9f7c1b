"""What could still be gained where a run ends, against dense algebra; and the words that depend on it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from problems import inverse_problem
from skfem import Basis, ElementLineP1, MeshLine

from fem_ngf import (
    MLP,
    Anchored,
    Continuation,
    FiniteElement,
    GaussianNoise,
    GradNetM,
    HilbertSpace,
    NewtonFlow,
    ParameterDescent,
    Regression,
    SobolevFlow,
    TorchModule,
)
from fem_ngf.ansatz.wrappers import is_structured
from fem_ngf.flows.certificate import certified, expected_decrease, negligible
from fem_ngf.flows.iterate import EXHAUSTED, FLAT, STAGNATION, TOO_SMALL, start
from fem_ngf.tangent.tangent_space import tangent_vectors

RNG = np.random.default_rng


def iterate_of(ansatz, theta, energy, space):
    return start(NewtonFlow(energy, ansatz, space), theta)


@pytest.mark.parametrize("kind", ["nodal", "network"])
def test_the_expected_decrease_of_an_inverse_problem(kind):
    """Curvature that conjugate gradients have not seen is missing: an upper bound, by less than a half."""
    energy, space, truth = inverse_problem(6)
    network = MLP((2, 4, 1))
    ansatz, theta = (FiniteElement(space), 0.9 * truth) if kind == "nodal" else (network, network.initial(RNG(0)))
    iterate = iterate_of(ansatz, theta, energy, space)
    before = energy.counts.incremental
    found = expected_decrease(iterate)
    assert energy.counts.incremental > before
    here = iterate.linearization
    hessian = here.preconditioner.apply(np.eye(space.size)) + here.misfit_action(np.eye(space.size))
    basis = np.eye(space.size) if kind == "nodal" else np.linalg.qr(tangent_vectors(ansatz, theta, space))[0]
    slope = basis.T @ here.derivative
    exact = 0.5 * slope @ np.linalg.solve(basis.T @ hessian @ basis, slope)
    assert exact * (1 - 1e-3) <= found <= 1.5 * exact


def test_a_quadratic_energy_knows_how_far_it_is_from_its_minimum():
    space = HilbertSpace.h1(Basis(MeshLine(np.linspace(0, 1, 21)), ElementLineP1(), intorder=4), 0.1)
    energy = Regression.of_function(space, lambda x: np.sin(5 * x[:, 0]))
    iterate = start(ParameterDescent(energy, FiniteElement(space), space), np.zeros(space.size))
    assert expected_decrease(iterate) == pytest.approx(iterate.value - energy(energy.target), rel=1e-9)
    network = MLP((1, 5, 1))
    small = start(ParameterDescent(energy, network, space), network.initial(RNG(0)))
    assert 0.0 < expected_decrease(small) <= small.value - energy(energy.target) + 1e-12


def test_a_rule_that_is_met_far_from_the_minimum_is_not_convergence():
    energy, space, _ = inverse_problem(5)
    network = MLP((2, 5, 1))
    flow = ParameterDescent(energy, network, space, "adam", learning_rate=1e-7, stagnation=1e-3, iterations=50)
    *_, alone = flow.run(network.initial(RNG(0)))
    *_, stage = Continuation((flow,)).run(network.initial(RNG(0)))
    last = stage.iterate
    assert (alone.stop_reason, alone.expected_decrease) == (last.stop_reason, last.expected_decrease)
    assert last.stop_reason.startswith(STAGNATION) and "could still be gained" in last.stop_reason
    assert last.status == "stalled" and last.expected_decrease > negligible(last)
    assert stage.solves[0] == last.solves and last.solves["incremental"] > 0
    *_, at_minimum = NewtonFlow(energy, FiniteElement(space), space, tolerance=1e-8).run(np.zeros(space.size))
    assert certified(at_minimum.stopped(STAGNATION)).converged


@pytest.mark.parametrize("flow", [NewtonFlow, SobolevFlow])
def test_the_end_of_the_iterations_says_what_could_be_gained_there(flow):
    energy, space, _ = inverse_problem(6)
    network = MLP((2, 5, 1))
    *_, last = flow(energy, network, space, iterations=2).run(network.initial(RNG(0)))
    assert last.stop_reason == EXHAUSTED
    assert 0.5 * expected_decrease(last) <= last.expected_decrease <= 2.0 * expected_decrease(last)


def test_what_cannot_grow_and_is_too_small_has_not_converged():
    """Gradients are meant to be gradients: what other functions could gain is no loss then."""
    energy, space, _ = inverse_problem(8, fraction=2e-3, weight=3e-4)
    module = TorchModule(torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.Tanh(), torch.nn.Linear(1, 1)))
    *_, last = NewtonFlow(energy, module, space).run(module.initial(RNG(0)))
    assert last.status == "stalled" and last.stop_reason == TOO_SMALL
    assert is_structured(Anchored(GradNetM(1, (4,)))) and not is_structured(Anchored(module))


def test_a_network_that_is_too_small_is_told():
    energy, space, _ = inverse_problem(8, fraction=2e-3, weight=3e-4)
    network = MLP((2, 1, 1))
    *_, last = NewtonFlow(energy, network, space).run(network.initial(RNG(0)))
    *_, nodal = NewtonFlow(energy, FiniteElement(space), space).run(np.zeros(space.size))
    assert last.value > 1.5 * nodal.value and last.stop_reason == TOO_SMALL and not last.converged


@pytest.mark.parametrize("begin", [60.0, 300.0])
def test_a_flat_start_is_not_converged(begin):
    """exp(m) is so large that no datum feels m: the expected decrease is nothing, the misfit is all."""
    energy, space, _ = inverse_problem(4)
    network = MLP((2, 4, 1), start=begin)
    for ansatz, theta in ((network, network.initial(RNG(0))), (FiniteElement(space), np.full(space.size, begin))):
        *_, last = NewtonFlow(energy, ansatz, space).run(theta)
        assert last.stop_reason == FLAT and last.status == "stalled" and last.expected_decrease < 1e-6


def test_half_a_unit_counts_for_likelihoods_only():
    energy, space, _ = inverse_problem(4)
    assert GaussianNoise.from_std(np.ones(3)).is_likelihood and GaussianNoise.from_std(2.0).is_likelihood
    assert not GaussianNoise.from_matrix(space.mass).is_likelihood
    iterate = iterate_of(FiniteElement(space), np.zeros(space.size), energy, space)
    assert iterate.value > 50.0 and negligible(iterate) == max(0.5, 1e-3 * iterate.value)
    few = replace(iterate, linearization=replace(iterate.linearization, value=10.0))
    assert negligible(few) == pytest.approx(0.1)
