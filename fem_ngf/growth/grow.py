"""Growing: choose neurons, insert them at zero outgoing weights, say what happened."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError
from ..linalg.operators import InnerProduct, orthonormal_columns
from ..spaces.hilbert import HilbertSpace
from ..tangent.tangent_space import tangent_vectors
from .dictionary import Site, candidate_vectors, dictionary, sites
from .expansion import Expansion
from .selection import Neuron, deflated, matching_pursuit, orthonormalized, polisher


@dataclass(frozen=True, eq=False)
class Growth:
    """A grown network: the same function, a larger tangent space.

    ``gain`` is the predicted rise of the squared alignment with the target; ``event`` says what happened.
    """

    ansatz: object
    theta: np.ndarray
    gain: float
    event: str


def seedling(ansatz, width: int):
    """The network with at most `width` neurons in each hidden layer: the start of one that grows.

    Raises
    ------
    InputError
        If the ansatz is not an MLP, bare or wrapped.
    """
    if hasattr(ansatz, "inner"):
        return replace(ansatz, inner=seedling(ansatz.inner, width))
    if not hasattr(ansatz, "widen"):
        raise InputError(f"an ansatz of type {type(ansatz).__name__} cannot grow; take an MLP")
    hidden = tuple(min(neurons, width) for neurons in ansatz.widths[1:-1])
    return replace(ansatz, widths=(ansatz.widths[0], *hidden, ansatz.widths[-1]))


def grow(expansion: Expansion, ansatz, theta, target, space: HilbertSpace, metric: InnerProduct,
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
    generator = np.random.default_rng([expansion.seed, event])
    orthonormal = orthonormal_columns(tangent_vectors(ansatz, theta, space), metric)
    residual = deflated(target[:, None], orthonormal, metric)[:, 0]
    length = float(target @ metric.apply(target))
    if float(residual @ metric.apply(residual)) <= 1e-14 * length:
        return None
    places = sites(ansatz, expansion.depth)
    drawn = [dictionary(ansatz, theta, space, place, expansion.candidates, generator) for place in places]
    refine = polisher(ansatz, theta, space, metric, expansion.polish) if expansion.polish else None
    neurons = matching_pursuit(residual, orthonormal, drawn, metric, expansion.neurons, expansion.worth, refine)
    if expansion.selection == "random":
        picks = [(place, generator.integers(len(place.biases)))
                 for place in (drawn[generator.integers(len(drawn))] for _ in neurons)]
        neurons = [Neuron(place.site, place.weights[k], place.biases[k], float("nan")) for place, k in picks]
    while neurons:
        grown, grown_theta = insert(ansatz, theta, neurons)
        if grown.size <= expansion.max_parameters:
            gain = block_gain(ansatz, theta, space, neurons, residual, orthonormal, metric) / length
            places = ", ".join(f"{'new layer after' if n.site.deepen else 'layer'} {n.site.layer}" for n in neurons)
            text = f"grew {ansatz.size} -> {grown.size} parameters ({places}), predicted gain {gain:.3g}"
            return Growth(grown, grown_theta, gain, text)
        neurons = neurons[:-1]
    return None


def block_gain(ansatz, theta, space, neurons, residual, orthonormal, metric) -> float:
    """Gain of several neurons together."""
    blocks = [candidate_vectors(ansatz, theta, space, neuron.site, neuron.weight[None], np.array([neuron.bias]))[:, 0]
              for neuron in neurons]
    vectors = deflated(np.column_stack(blocks), orthonormal, metric)
    basis = orthonormalized(vectors, float(np.max(np.sum(vectors * metric.apply(vectors), axis=0))), metric)
    return float(np.sum((metric.apply(basis).T @ residual) ** 2))


def insert(ansatz, theta, neurons: list[Neuron]):
    """Network with the neurons inserted at zero outgoing weights; later layers first, so that places stay valid."""
    grouped: dict[Site, list] = {}
    for neuron in neurons:
        grouped.setdefault(neuron.site, []).append((neuron.weight, neuron.bias))
    for site in sorted(grouped, key=lambda s: (s.layer, s.deepen), reverse=True):
        weights = np.array([w for w, _ in grouped[site]])
        biases = np.array([b for _, b in grouped[site]])
        add = ansatz.deepen if site.deepen else ansatz.widen
        ansatz, theta = add(theta, site.layer, weights, biases)
    return ansatz, theta
