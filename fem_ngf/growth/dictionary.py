"""Candidate neurons for each hidden layer of a network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..spaces.protocol import Space


@dataclass(frozen=True, eq=False)
class Dictionary:
    """Candidate neurons of one hidden layer.

    Parameters
    ----------
    layer
        Where they would be added, from 0.
    weights, biases
        ``(k, n_in)``, ``(k,)``.
    vectors
        ``(n, k, j)``: tangent functions of the ``j`` outgoing weights of each candidate.
    """

    layer: int
    weights: np.ndarray
    biases: np.ndarray
    vectors: np.ndarray


def draw_neurons(z: np.ndarray, count: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Neurons ``sigma(w.z + b)``: random directions x offsets through inputs `z` (q, n) x geometric slopes."""
    directions = generator.standard_normal((count, z.shape[1]))
    spread = np.std(z @ directions.T, axis=0) + 1e-300
    slopes = 2.0 ** (np.arange(count) % 6 - 1.0)
    weights = directions * (slopes / spread)[:, None]
    through = z[generator.integers(len(z), size=count)]
    return weights, -np.sum(weights * through, axis=1)


def candidate_vectors(ansatz, theta, space: Space, layer: int, weights, biases) -> np.ndarray:
    """Tangent functions ``(n, k, j)`` that candidate neurons would add to the space."""
    samples = ansatz.candidate_samples(theta, space.points, layer, weights, biases)
    side_by_side = samples.reshape(*samples.shape[:-2], -1)
    return space.project(side_by_side, overwrite=True).reshape(space.size, *samples.shape[-2:])


def dictionary(ansatz, theta, space: Space, layer: int, functions: int, generator) -> Dictionary:
    """Random candidate neurons of a hidden layer, with about `functions` tangent functions in all."""
    inputs = ansatz.layer_inputs(theta, space.points, layer)
    outgoing = ansatz.outgoing(layer).shape[1]
    weights, biases = draw_neurons(inputs, max(functions // outgoing, 16), generator)
    return Dictionary(layer, weights, biases, candidate_vectors(ansatz, theta, space, layer, weights, biases))
