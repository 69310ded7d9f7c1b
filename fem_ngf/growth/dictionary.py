"""Where neurons can be added, and the candidates for each place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..spaces.hilbert import HilbertSpace


@dataclass(frozen=True)
class Site:
    """Where neurons can be added: hidden layer `layer`, or (`deepen`) a new residual layer after it."""

    layer: int
    deepen: bool = False


@dataclass(frozen=True, eq=False)
class Dictionary:
    """Candidate neurons of one site.

    Parameters
    ----------
    site
        Where they would be added.
    weights, biases
        ``(k, n_in)``, ``(k,)``.
    vectors
        ``(n, k, j)``: tangent functions of the ``j`` outgoing weights of each candidate.
    """

    site: Site
    weights: np.ndarray
    biases: np.ndarray
    vectors: np.ndarray


def sites(ansatz, depth: bool) -> list[Site]:
    """All places where neurons can be added to the network."""
    layers = range(len(ansatz.widths) - 2)
    return [Site(layer) for layer in layers] + ([Site(layer, True) for layer in layers] if depth else [])


def draw_neurons(z: np.ndarray, count: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Neurons ``sigma(w.z + b)``: random directions x offsets through inputs `z` (q, n) x geometric slopes."""
    directions = generator.standard_normal((count, z.shape[1]))
    spread = np.std(z @ directions.T, axis=0) + 1e-300
    slopes = 2.0 ** (np.arange(count) % 6 - 1.0)
    weights = directions * (slopes / spread)[:, None]
    through = z[generator.integers(len(z), size=count)]
    return weights, -np.sum(weights * through, axis=1)


def candidate_vectors(ansatz, theta, space: HilbertSpace, site: Site, weights, biases) -> np.ndarray:
    """Tangent functions ``(n, k, j)`` that candidate neurons would add to the space."""
    samples = ansatz.candidate_samples(theta, space.points, site.layer, weights, biases, deepen=site.deepen)
    samples = samples[..., None] if samples.ndim == 2 else samples
    return space.project(samples.reshape(len(samples), -1)).reshape(space.size, *samples.shape[1:])


def dictionary(ansatz, theta, space: HilbertSpace, site: Site, functions: int, generator) -> Dictionary:
    """Random candidate neurons of a site, with about `functions` tangent functions in all."""
    inputs = ansatz.layer_inputs(theta, space.points, site.layer, deepen=site.deepen)
    one = ansatz.candidate_samples(theta, space.points[:1], site.layer, np.zeros((1, inputs.shape[1])), np.zeros(1),
                                   deepen=site.deepen)
    weights, biases = draw_neurons(inputs, max(functions // one.size, 16), generator)
    return Dictionary(site, weights, biases, candidate_vectors(ansatz, theta, space, site, weights, biases))
