"""Growing: choose neurons, insert them at zero outgoing weights, say what happened."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..ansatz.wrappers import growing_layers
from ..errors import InputError
from ..linalg.dense import deflate, orthonormalize
from ..linalg.operators import SymmetricOperator
from ..spaces.hilbert import HilbertSpace
from ..tangent.tangent_space import tangent_vectors
from .dictionary import candidate_vectors, dictionary
from .expansion import Expansion
from .selection import DEPENDENT, Neuron, matching_pursuit


@dataclass(frozen=True, eq=False)
class Growth:
    """A grown network: the same function, a larger tangent space.

    ``gain`` is the predicted rise of the squared alignment with the target; ``event`` says what happened.
    """

    ansatz: object
    theta: np.ndarray
    gain: float
    event: str


def check_growing(ansatz) -> None:
    """An InputError where an ansatz has no layers to widen."""
    if not growing_layers(ansatz):
        inner = getattr(ansatz, "inner", ansatz)
        raise InputError(f"an ansatz of type {type(inner).__name__} cannot grow; take an MLP, bare, wrapped or one a "
                         "field, or leave growth out")


def seedling(ansatz, width: int):
    """The network with `width` neurons in each hidden layer, such as the start of one that grows.

    Raises
    ------
    InputError
        If it cannot grow.
    """
    check_growing(ansatz)
    if hasattr(ansatz, "inner"):
        return replace(ansatz, inner=seedling(ansatz.inner, width))
    if hasattr(ansatz, "parts"):
        return replace(ansatz, parts=tuple(seedling(part, width) if growing_layers(part) else part
                                           for part in ansatz.parts))
    hidden = (width,) * (len(ansatz.widths) - 2)
    return replace(ansatz, widths=(ansatz.widths[0], *hidden, ansatz.widths[-1]))


def grow(expansion: Expansion, ansatz, theta, target, space: HilbertSpace, metric: SymmetricOperator,
         event: int) -> Growth | None:
    """Network grown towards a target direction, or None if the budget or the dictionary has nothing to offer.

    Nor is there anything to gain where the tangent space contains the target to seven digits.

    Parameters
    ----------
    target
        Vector ``(n,)`` that the tangent space should contain: the gradient, or what a retraction missed.
    metric
        Inner product in which it is measured.
    event
        Number of the event; with ``expansion.seed`` it seeds the dictionary.
    """
    if _least_size(ansatz, theta, space) > expansion.max_parameters:
        return None
    generator = np.random.default_rng([expansion.seed, event])
    orthonormal = orthonormalize(tangent_vectors(ansatz, theta, space), metric)
    residual = deflate(target, orthonormal, metric.apply(orthonormal))
    length = float(target @ metric.apply(target))
    if float(residual @ metric.apply(residual)) <= 1e-14 * length:
        return None
    drawn = [dictionary(ansatz, theta, space, layer, expansion.candidates, generator)
             for layer in range(ansatz.hidden_layers)]
    neurons = matching_pursuit(residual, orthonormal, drawn, metric, expansion.neurons, expansion.worth)
    if expansion.selection == "random":
        picks = [(place, generator.integers(len(place.biases)))
                 for place in (drawn[generator.integers(len(drawn))] for _ in neurons)]
        neurons = [Neuron(place.layer, place.weights[k], place.biases[k], float("nan")) for place, k in picks]
    while neurons:
        grown, grown_theta = insert(ansatz, theta, neurons)
        if grown.size <= expansion.max_parameters:
            gain = block_gain(ansatz, theta, space, neurons, residual, orthonormal, metric) / length
            places = ", ".join(f"layer {neuron.layer}" for neuron in neurons)
            text = f"grew {ansatz.size} -> {grown.size} parameters ({places}), predicted gain {gain:.3g}"
            return Growth(grown, grown_theta, gain, text)
        neurons = neurons[:-1]
    return None


def _least_size(ansatz, theta, space) -> int:
    """Parameters with one more neuron, in the layer where it takes the fewest."""
    widths = [ansatz.layer_inputs(theta, space.points[:1], layer).shape[1] for layer in range(ansatz.hidden_layers)]
    return min(insert(ansatz, theta, [Neuron(layer, np.zeros(width), 0.0, float("nan"))])[0].size
               for layer, width in enumerate(widths))


def block_gain(ansatz, theta, space, neurons, residual, orthonormal, metric) -> float:
    """Gain of several neurons together."""
    blocks = [candidate_vectors(ansatz, theta, space, neuron.layer, neuron.weight[None], np.array([neuron.bias]))[:, 0]
              for neuron in neurons]
    basis = orthonormalize(np.column_stack(blocks), metric, orthonormal, DEPENDENT)
    return float(np.sum((metric.apply(basis).T @ residual) ** 2))


def insert(ansatz, theta, neurons: list[Neuron]):
    """Network with the neurons inserted at zero outgoing weights; later layers first, so that inputs stay as chosen."""
    for layer in sorted({neuron.layer for neuron in neurons}, reverse=True):
        here = [neuron for neuron in neurons if neuron.layer == layer]
        weights, biases = np.array([n.weight for n in here]), np.array([n.bias for n in here])
        ansatz, theta = ansatz.widen(theta, layer, weights, biases)
    return ansatz, theta
