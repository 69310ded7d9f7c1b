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

from ..linalg.dense import deflate, orthonormalize
from ..linalg.operators import SymmetricOperator
from .dictionary import Dictionary

DEPENDENT = 1e-4
"""Part of its length below which what a function adds to others counts as nothing."""


@dataclass(frozen=True, eq=False)
class Neuron:
    """A chosen neuron ``sigma(weight.z + bias)`` of a hidden layer, and the gain it was chosen for."""

    layer: int
    weight: np.ndarray
    bias: float
    gain: float


def gains(rho: np.ndarray, schur: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    r"""Gains ``(k,)``, :math:`\rho^T S^{-1}\rho`, of candidates with ``rho`` (k, j) and ``S`` (k, j, j).

    `lengths` ``(k,)`` are squared norms before deflation; of what is left below `DEPENDENT` nothing counts.
    """
    if rho.shape[1] == 1:
        rest = schur[:, 0, 0]
        new = rest > DEPENDENT**2 * lengths
        return np.divide(rho[:, 0] ** 2, rest, out=np.zeros(len(rest)), where=new)
    eigenvalues, eigenvectors = np.linalg.eigh(schur)
    weights = np.einsum("kij,ki->kj", eigenvectors, rho) ** 2
    kept = eigenvalues > DEPENDENT**2 * lengths[:, None]
    return np.sum(np.where(kept, weights / np.where(kept, eigenvalues, 1.0), 0.0), axis=1)


def block_grams(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Products ``(k, j, j)`` of the blocks of two arrays ``(n, k, j)``."""
    return np.einsum("nki,nkj->kij", left, right, optimize=left.shape[2] > 1)  # plain sums win for single columns


def exact_gain(block: np.ndarray, length: float, residual: np.ndarray, metric: SymmetricOperator) -> float:
    """Gain of one candidate's deflated functions ``(n, j)``."""
    image = metric.apply(block)
    return float(gains((image.T @ residual)[None], (block.T @ image)[None], np.array([length]))[0])


@dataclass(frozen=True, eq=False)
class Scores:
    """What the candidates of a dictionary would gain, kept up to date in coefficients.

    No candidate is deflated: with ``Phi`` their functions and ``Q`` the A-orthonormal basis of the tangent space,
    ``S = Phi^T A Phi - C^T C`` for ``C = Q^T A Phi``, and each new basis function costs one product with ``A Phi``.
    The subtraction loses digits where little is left, so that a choice is to be checked by `exact_gain`.
    """

    images: np.ndarray  # A Phi (n, k j)
    lengths: np.ndarray  # (k,): squared norms before deflation
    schur: np.ndarray  # (k, j, j)
    rho: np.ndarray  # (k, j)

    @classmethod
    def of(cls, drawn: Dictionary, residual: np.ndarray, orthonormal: np.ndarray, metric: SymmetricOperator) -> Scores:
        """Scores for a residual ``(n,)`` that is orthogonal to the A-orthonormal columns ``(n, i)``."""
        n, k, j = drawn.vectors.shape
        images = metric.apply(drawn.vectors.reshape(n, -1))
        gram = block_grams(drawn.vectors, images.reshape(n, k, j))
        scores = cls(images, np.einsum("kjj->k", gram), gram, (residual @ images).reshape(k, j))
        return scores.extended(orthonormal, np.zeros(orthonormal.shape[1]))

    def extended(self, basis: np.ndarray, reached: np.ndarray) -> Scores:
        """With A-orthonormal columns ``(n, i)`` more in the space, which take `reached` ``(i,)`` off the residual."""
        k, j = self.rho.shape
        c = (basis.T @ self.images).reshape(-1, k, j)
        rho = self.rho - np.tensordot(reached, c, axes=1)
        return Scores(self.images, self.lengths, self.schur - block_grams(c, c), rho)

    @property
    def gains(self) -> np.ndarray:
        """Gain of each candidate ``(k,)``."""
        return gains(self.rho, self.schur, self.lengths)


def matching_pursuit(residual, orthonormal, dictionaries: list[Dictionary], metric: SymmetricOperator, count: int,
                     worth: float) -> list[Neuron]:
    """Orthogonal matching pursuit: the chosen neurons, best first.

    Parameters
    ----------
    residual
        ``(n,)``, orthogonal to the tangent space.
    orthonormal
        A-orthonormal basis ``(n, i)`` of the tangent space.
    count, worth
        Largest number of neurons, and the least gain relative to the first.
    """
    scores = [Scores.of(drawn, residual, orthonormal, metric) for drawn in dictionaries]
    images, chosen = metric.apply(orthonormal), []
    while len(chosen) < count:
        neuron, block = _best(dictionaries, scores, residual, orthonormal, images, metric)
        if neuron.gain <= (worth * chosen[0].gain if chosen else 0.0):
            break
        chosen.append(neuron)
        basis = orthonormalize(block, metric, tolerance=DEPENDENT)
        image = metric.apply(basis)
        reached = image.T @ residual
        residual = residual - basis @ reached
        orthonormal, images = np.column_stack([orthonormal, basis]), np.column_stack([images, image])
        scores = [score.extended(basis, reached) for score in scores]
    return chosen


def _best(dictionaries, scores, residual, orthonormal, images, metric) -> tuple[Neuron, np.ndarray]:
    """The candidate of largest gain, and its deflated functions.

    A score that rounding has raised is corrected by the deflated functions, and the choice made again.
    """
    found = [score.gains for score in scores]
    while True:
        which = int(np.argmax([gain.max() for gain in found]))
        k = int(np.argmax(found[which]))
        place, length = dictionaries[which], float(scores[which].lengths[k])
        block = deflate(place.vectors[:, k], orthonormal, images)
        gain = exact_gain(block, length, residual, metric)
        if gain >= 0.999 * found[which][k]:
            return Neuron(place.layer, place.weights[k], place.biases[k], gain), block
        found[which][k] = gain
