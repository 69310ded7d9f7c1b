"""Growing networks: the gain that is predicted is the gain that happens, and nothing else changes."""

import numpy as np
import pytest
import torch
from problems import inverse_problem
from skfem import Basis, ElementTriP1

from fem_ngf import (
    MLP,
    Bounded,
    Expansion,
    GradNetM,
    HilbertSpace,
    InputError,
    NaturalGradientFlow,
    NewtonFlow,
    PerField,
    ProductSpace,
    SobolevFlow,
    TangentSpace,
    TorchModule,
    Transformed,
    realize,
    unit_square,
)
from fem_ngf.growth.dictionary import Dictionary, candidate_vectors, dictionary
from fem_ngf.growth.grow import grow, insert, seedling
from fem_ngf.growth.selection import Neuron, matching_pursuit
from fem_ngf.linalg.dense import orthonormalize

GENERATOR = 7


@pytest.fixture
def space():
    return HilbertSpace.h1(Basis(unit_square(8), ElementTriP1()), 0.5)


@pytest.fixture
def network():
    ansatz = MLP((2, 4, 3, 1), "tanh", output_scale=1.0)
    return ansatz, ansatz.initial(np.random.default_rng(GENERATOR))


def covector_of(space):
    x = space.basis.doflocs
    return space.mass @ (np.sin(7.0 * x[0]) * x[1] + np.tanh(20.0 * (x[0] - x[1])))


@pytest.mark.parametrize("sampling", ["quadrature", "nodal"])
def test_alignment_rises_by_the_predicted_gain(space, network, sampling):
    space = space if sampling == "quadrature" else space.nodal_twin
    ansatz, theta = network
    derivative = covector_of(space)
    before = TangentSpace.at(ansatz, theta, space).alignment(derivative)
    expansion = Expansion(neurons=3, candidates=40, worth=0.0)
    growth = grow(expansion, ansatz, theta, space.riesz(derivative), space, space.inner_product, event=0)
    after = TangentSpace.at(growth.ansatz, growth.theta, space).alignment(derivative)
    assert growth.gain > 1e-3
    assert after**2 - before**2 == pytest.approx(growth.gain, abs=1e-8)


def test_growth_of_one_network_for_two_fields(space):
    fields = ProductSpace((space, HilbertSpace.l2(space.basis)))
    ansatz = MLP((2, 4, 3, 2), output_scale=1.0)
    theta, derivative = ansatz.initial(np.random.default_rng(GENERATOR)), np.tile(covector_of(space), 2)
    before = TangentSpace.at(ansatz, theta, fields).alignment(derivative)
    growth = grow(Expansion(neurons=3, candidates=40, worth=0.0), ansatz, theta, fields.riesz(derivative), fields,
                  fields.inner_product, event=0)
    after = TangentSpace.at(growth.ansatz, growth.theta, fields).alignment(derivative)
    assert growth.gain > 1e-3
    assert after**2 - before**2 == pytest.approx(growth.gain, abs=1e-8)


@pytest.mark.parametrize("networks", [(MLP((2, 4, 3, 1), output_scale=1.0), MLP((2, 3, 1), output_scale=1.0)),
                                      (MLP((2, 3, 1), output_scale=1.0), TorchModule(torch.nn.Linear(2, 1)))])
def test_growth_of_one_network_a_field(space, networks):
    """The gain is the rise of the alignment; a part that cannot grow stays, the functions all do."""
    fields = ProductSpace((space, HilbertSpace.l2(space.basis)))
    ansatz = PerField((Bounded(networks[0], -3.0, 3.0), networks[1]))
    theta, derivative = ansatz.initial(np.random.default_rng(GENERATOR)), np.tile(covector_of(space), 2)
    before = TangentSpace.at(ansatz, theta, fields).alignment(derivative)
    growth = grow(Expansion(neurons=4, candidates=40, worth=0.0), ansatz, theta, fields.riesz(derivative), fields,
                  fields.inner_product, event=0)
    after = TangentSpace.at(growth.ansatz, growth.theta, fields).alignment(derivative)
    assert growth.gain > 1e-3 and after**2 - before**2 == pytest.approx(growth.gain, abs=1e-8)
    assert np.allclose(realize(growth.ansatz, growth.theta, fields), realize(ansatz, theta, fields), atol=1e-12)
    assert growth.ansatz.parts[1] == networks[1] or isinstance(networks[1], MLP)


def test_the_start_of_networks_that_grow():
    wide = PerField((Bounded(MLP((2, 8, 6, 1)), 0.0, 1.0), MLP((2, 3, 1)), TorchModule(torch.nn.Linear(2, 1))))
    small = seedling(wide, 4)
    assert small.parts == (Bounded(MLP((2, 4, 4, 1)), 0.0, 1.0), MLP((2, 4, 1)), wide.parts[2])


@pytest.mark.parametrize("ansatz", [TorchModule(torch.nn.Linear(2, 1)), Transformed(TorchModule(torch.nn.Linear(2, 1))),
                                    GradNetM(), PerField((TorchModule(torch.nn.Linear(2, 1)),)), MLP((2, 1))])
@pytest.mark.parametrize("flow", [NewtonFlow, SobolevFlow, NaturalGradientFlow])
def test_what_cannot_grow_says_so(ansatz, flow):
    energy, space, _ = inverse_problem(4)
    with pytest.raises(InputError, match="cannot grow"):
        flow(energy, ansatz, space, expansion=Expansion())
    with pytest.raises(InputError, match="cannot grow"):
        seedling(ansatz, 4)


def test_insertion_keeps_the_function(space, network):
    ansatz, theta = network
    growth = grow(Expansion(neurons=4), ansatz, theta, space.riesz(covector_of(space)), space,
                  space.inner_product, event=1)
    before, after = realize(ansatz, theta, space), realize(growth.ansatz, growth.theta, space)
    assert growth.ansatz.size > ansatz.size
    assert np.abs(after - before).max() <= 1e-13 * np.abs(before).max()


def test_tangent_space_grows_by_exactly_the_selected_functions(space, network):
    ansatz, theta = network
    weights, biases = np.array([[1.0, -2.0, 0.5, 0.3]]), np.array([0.1])
    new = candidate_vectors(ansatz, theta, space, 1, weights, biases)[:, 0]
    grown, grown_theta = insert(ansatz, theta, [Neuron(1, weights[0], biases[0], np.nan)])
    old = TangentSpace.at(ansatz, theta, space).vectors
    vectors = TangentSpace.at(grown, grown_theta, space).vectors
    expected = np.linalg.matrix_rank(np.column_stack([old, new]), tol=1e-10)
    assert np.linalg.matrix_rank(vectors, tol=1e-10) == expected
    coefficients = np.linalg.lstsq(vectors, new, rcond=None)[0]
    assert np.abs(vectors @ coefficients - new).max() < 1e-9 * np.abs(new).max()


def test_first_choice_is_the_best_candidate_by_brute_force(space, network):
    ansatz, theta = network
    derivative = covector_of(space)
    gradient = space.riesz(derivative)
    drawn = dictionary(ansatz, theta, space, 1, 30, np.random.default_rng(0))
    old = TangentSpace.at(ansatz, theta, space).vectors
    root = np.linalg.cholesky(space.matrix.toarray()).T

    def distance(columns):
        return np.linalg.norm(root @ gradient - root @ columns @ np.linalg.lstsq(root @ columns, root @ gradient,
                                                                                 rcond=1e-12)[0])

    best = min(range(30), key=lambda k: distance(np.column_stack([old, drawn.vectors[:, k]])))
    orthonormal = TangentSpace.at(ansatz, theta, space).orthonormal
    residual = gradient - orthonormal @ (orthonormal.T @ derivative)
    chosen = matching_pursuit(residual, orthonormal, [drawn], space.inner_product, 1, 0.0)
    np.testing.assert_array_equal(chosen[0].weight, drawn.weights[best])


def test_every_choice_of_the_pursuit_is_the_best_by_brute_force(space, network):
    """The gain of a candidate is what the projection onto it, and all before it, takes off the direction."""
    ansatz, theta = network
    drawn = dictionary(ansatz, theta, space, 1, 40, np.random.default_rng(1))
    target, metric = space.riesz(covector_of(space)), space.inner_product
    basis = TangentSpace.at(ansatz, theta, space).orthonormal

    def missed(columns):
        return space.norm(target - columns @ (columns.T @ space.apply(target))) ** 2

    def with_candidate(k):
        return np.column_stack([basis, orthonormalize(drawn.vectors[:, k], metric, basis)])

    residual = target - basis @ (basis.T @ space.apply(target))
    chosen = matching_pursuit(residual, basis, [drawn], metric, 6, 0.0)
    for neuron in chosen:
        gains = [missed(basis) - missed(with_candidate(k)) for k in range(40)]
        best = int(np.argmax(gains))
        np.testing.assert_array_equal(neuron.weight, drawn.weights[best])
        assert neuron.gain == pytest.approx(gains[best], rel=1e-6)
        basis = with_candidate(best)
    assert len(chosen) == 6
    worthy = matching_pursuit(residual, TangentSpace.at(ansatz, theta, space).orthonormal, [drawn], metric, 6, 0.3)
    assert len(worthy) == next(i for i, n in enumerate(chosen) if n.gain <= 0.3 * chosen[0].gain)


def test_pursuit_does_not_choose_a_function_twice(space, network):
    ansatz, theta = network
    drawn = dictionary(ansatz, theta, space, 1, 16, np.random.default_rng(0))
    twice = Dictionary(drawn.layer, np.repeat(drawn.weights, 2, 0), np.repeat(drawn.biases, 2),
                       np.repeat(drawn.vectors, 2, 1))
    chosen = matching_pursuit(space.riesz(covector_of(space)), np.zeros((space.size, 0)), [twice], space.inner_product,
                              40, 0.0)
    assert len({neuron.bias for neuron in chosen}) == len(chosen) == 16


def test_greedy_beats_random(space, network):
    ansatz, theta = network
    gradient = space.riesz(covector_of(space))

    def gain(**changes):
        return np.mean([grow(Expansion(candidates=30, worth=0.0, **changes), ansatz, theta, gradient, space,
                             space.inner_product, event).gain for event in range(3)])

    assert gain(selection="random") < gain()


def test_budget_is_kept(space, network):
    ansatz, theta = network
    gradient = space.riesz(covector_of(space))
    full = Expansion(max_parameters=ansatz.size)
    assert grow(full, ansatz, theta, gradient, space, None, 0) is None  # nothing is measured where no neuron fits
    growth = grow(Expansion(neurons=10, worth=0.0, max_parameters=50), ansatz, theta, gradient, space,
                  space.inner_product, 0)
    assert ansatz.size < growth.ansatz.size <= 50


@pytest.mark.parametrize("changes, word", [({"trigger": "mood"}, "trigger"), ({"selection": "best"}, "selection"),
                                           ({"neurons": 0}, "neurons"), ({"max_parameters": -1}, "max_parameters")])
def test_bad_settings_are_named(changes, word):
    with pytest.raises(InputError, match=word):
        Expansion(**changes)
