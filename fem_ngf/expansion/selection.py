r"""Which candidates serve the direction best: orthogonal matching pursuit on the gain (METHOD section 4).

The part ``r`` of a direction that the tangent space misses scores candidate
neurons: a block :math:`\Phi` of new tangent functions raises the squared
alignment by :math:`\rho^T S^{-1} \rho / \|grad\|^2`, with :math:`\rho = \Phi^T A r`
and ``S`` the Gram matrix of what :math:`\Phi` adds to the tangent space.
Chosen neurons enter with zero outgoing weights: the function and its energy
stay as they are, and the tangent space grows by exactly the chosen functions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from ..inner_products import InnerProduct
from .dictionary import Dictionary, Site, candidate_vectors


@dataclass(frozen=True, eq=False)
class Neuron:
    """A chosen neuron ``sigma(weight.z + bias)`` of a site, and the gain it was chosen for."""

    site: Site
    weight: np.ndarray
    bias: float
    gain: float


def deflated(vectors: np.ndarray, orthonormal: np.ndarray, metric: InnerProduct) -> np.ndarray:
    """Vectors ``(n, ...)`` minus their projection on the A-orthonormal columns ``(n, i)``."""
    flat, images = vectors.reshape(len(vectors), -1), metric.apply(orthonormal)
    for _ in range(2):
        flat = flat - orthonormal @ (images.T @ flat)
    return flat.reshape(vectors.shape)


def gains(vectors: np.ndarray, lengths: np.ndarray, residual: np.ndarray, metric: InnerProduct) -> np.ndarray:
    r"""Gains ``(k,)``, :math:`\rho^T S^{-1}\rho`, of deflated candidates ``(n, k, j)`` for a residual ``(n,)``.

    `lengths` ``(k,)`` are squared norms before deflation; what is left below 1e-8 of them counts as nothing.
    """
    n, k, j = vectors.shape
    images = metric.apply(vectors.reshape(n, -1)).reshape(n, k, j)
    rho = np.einsum("nkj,n->kj", images, residual)
    if j == 1:
        rest = np.einsum("nkj,nkj->k", vectors, images)
        return np.where(rest > 1e-8 * lengths, rho[:, 0] ** 2 / np.maximum(rest, np.finfo(float).tiny), 0.0)
    schur = np.einsum("nki,nkj->kij", vectors, images, optimize=True)
    eigenvalues, eigenvectors = np.linalg.eigh(schur)
    weights = np.einsum("kij,ki->kj", eigenvectors, rho) ** 2
    kept = eigenvalues > 1e-8 * lengths[:, None]
    return np.sum(np.where(kept, weights / np.where(kept, eigenvalues, 1.0), 0.0), axis=1)


def squared_lengths(vectors: np.ndarray, metric: InnerProduct) -> np.ndarray:
    """Squared norms ``(k,)`` of candidate blocks ``(n, k, j)``, summed over a block."""
    return np.einsum("nkj,nkj->k", vectors, metric.apply(vectors.reshape(len(vectors), -1)).reshape(vectors.shape))


def orthonormalized(block: np.ndarray, length: float, metric: InnerProduct) -> np.ndarray:
    """A-orthonormal basis ``(n, i)`` of the columns ``(n, j)``, directions below 1e-8 of `length` dropped."""
    eigenvalues, eigenvectors = np.linalg.eigh(block.T @ metric.apply(block))
    keep = eigenvalues > 1e-8 * length
    return block @ (eigenvectors[:, keep] / np.sqrt(eigenvalues[keep]))


def matching_pursuit(residual, orthonormal, dictionaries: list[Dictionary], metric: InnerProduct, count: int,
                     worth: float, refine=None) -> list[Neuron]:
    """Orthogonal matching pursuit: the chosen neurons, best first.

    Parameters
    ----------
    residual
        ``(n,)``, orthogonal to the tangent space.
    orthonormal
        A-orthonormal basis ``(n, i)`` of the tangent space.
    count, worth
        Largest number of neurons, and the least gain relative to the first.
    refine
        ``(neuron, residual, orthonormal) -> (neuron, vectors (n, j))``: improves a choice before the next one.
    """
    lengths = [squared_lengths(d.vectors, metric) for d in dictionaries]
    vectors = [deflated(d.vectors, orthonormal, metric) for d in dictionaries]
    chosen: list[Neuron] = []
    while len(chosen) < count:
        scores = [gains(v, s, residual, metric) for v, s in zip(vectors, lengths, strict=True)]
        which = int(np.argmax([score.max() for score in scores]))
        k = int(np.argmax(scores[which]))
        place, gain, block = dictionaries[which], float(scores[which][k]), vectors[which][:, k]
        if gain <= (worth * chosen[0].gain if chosen else 0.0):
            break
        neuron = Neuron(place.site, place.weights[k], place.biases[k], gain)
        if refine is not None:
            neuron, block = refine(neuron, residual, orthonormal)
        chosen.append(neuron)
        basis = orthonormalized(block, lengths[which][k], metric)
        residual = deflated(residual, basis, metric)
        orthonormal = np.column_stack([orthonormal, basis])
        vectors = [deflated(v, basis, metric) for v in vectors]
    return chosen


def polisher(ansatz, theta, space, metric, iterations: int):
    """Refinement for `matching_pursuit`: ascent on the gain over a neuron's incoming weights and bias."""

    def refine(neuron: Neuron, residual, orthonormal):
        def candidate(parameters):
            return candidate_vectors(ansatz, theta, space, neuron.site, parameters[None, :-1], parameters[-1:])

        def loss(parameters):
            vectors = candidate(parameters)
            left = deflated(vectors, orthonormal, metric)
            return -float(gains(left, squared_lengths(vectors, metric), residual, metric)[0])

        start = np.append(neuron.weight, neuron.bias)
        result = minimize(lambda p: loss(p) / neuron.gain, start, method="BFGS", options={"maxiter": iterations})
        best = result.x if np.isfinite(result.fun) and result.fun < -1.0 else start
        refined = Neuron(neuron.site, best[:-1], float(best[-1]), -loss(best))
        return refined, deflated(candidate(best), orthonormal, metric)[:, 0]

    return refine
