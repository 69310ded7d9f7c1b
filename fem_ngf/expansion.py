r"""Networks that grow where the Hilbert gradient tells them to (METHOD section 4).

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

from .errors import InputError
from .inner_products import InnerProduct
from .spaces import HilbertSpace
from .tangent import tangent_vectors

TRIGGERS = ("alignment", "fit", "stagnation", "either")
SELECTIONS = ("greedy", "random")


@dataclass(frozen=True)
class Expansion:
    """When and how a network grows.

    Parameters
    ----------
    trigger
        ``"alignment"`` (squared realised alignment below `alignment`), ``"fit"`` (retraction), ``"stagnation"``, or
        ``"either"`` of them.
    alignment
        Squared realised alignment below which the projected step is too poor.
    fit
        Share of the ideal step that a retraction may miss.
    stagnation
        Relative energy decrease below which a step counts as stagnating; also the least relative decrease for
        which the missed part of a step is worth new neurons.
    neurons
        Largest number of neurons an event adds.
    worth
        An event adds a neuron only while its gain is at least this share of the event's first one.
    patience
        Least number of steps between events of a natural-gradient flow.
    max_parameters
        Budget; no event goes beyond it.
    candidates
        Size of the dictionary per site.
    depth
        Also score new residual layers.
    selection
        ``"greedy"`` (orthogonal matching pursuit on the gain), or ``"random"``: the same number of neurons from the
        same dictionary without selection, as a control.
    polish
        Quasi-Newton iterations of ascent on the gain of each chosen neuron.
    seed
        Of the dictionaries.
    """

    trigger: str = "either"
    alignment: float = 0.5
    fit: float = 0.1
    stagnation: float = 1e-4
    neurons: int = 2
    worth: float = 0.1
    patience: int = 5
    max_parameters: int = 1000
    candidates: int = 256
    depth: bool = False
    selection: str = "greedy"
    polish: int = 0
    seed: int = 0

    def __post_init__(self):
        for name, allowed in (("trigger", TRIGGERS), ("selection", SELECTIONS)):
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} is {getattr(self, name)!r}; choose one of {', '.join(allowed)}")
        for name in ("neurons", "candidates", "max_parameters"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be positive")

    def listens_to(self, trigger: str) -> bool:
        """Whether the trigger is one of those chosen."""
        return self.trigger in (trigger, "either")


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


@dataclass(frozen=True, eq=False)
class Growth:
    """A grown network: the same function, a larger tangent space.

    ``gain`` is the predicted rise of the squared alignment with the target; ``event`` says what happened.
    """

    ansatz: object
    theta: np.ndarray
    gain: float
    event: str


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


def dictionary(ansatz, theta, space: HilbertSpace, site: Site, count: int, generator) -> Dictionary:
    """Random candidate neurons of a site with their tangent functions."""
    inputs = ansatz.layer_inputs(theta, space.points, site.layer, deepen=site.deepen)
    weights, biases = draw_neurons(inputs, count, generator)
    return Dictionary(site, weights, biases, candidate_vectors(ansatz, theta, space, site, weights, biases))


def orthonormal_coefficients(gram: np.ndarray) -> np.ndarray:
    """``E`` with ``(T E)^T A (T E) = I`` on the numerical range of the Gram matrix ``G`` (P, P)."""
    scale = np.sqrt(np.maximum(np.diag(gram), np.finfo(float).tiny))
    eigenvalues, eigenvectors = np.linalg.eigh(gram / np.outer(scale, scale))
    keep = eigenvalues > len(eigenvalues) * np.finfo(float).eps * max(eigenvalues[-1], 0.0)
    return eigenvectors[:, keep] / scale[:, None] / np.sqrt(eigenvalues[keep])


def deflated(vectors: np.ndarray, orthonormal: np.ndarray, metric: InnerProduct) -> np.ndarray:
    """Vectors ``(n, ...)`` minus their projection on the A-orthonormal columns ``(n, i)``."""
    flat = vectors.reshape(len(vectors), -1)
    for _ in range(2):
        flat = flat - orthonormal @ (metric.apply(orthonormal).T @ flat)
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


def orthonormalized(block: np.ndarray, length: float, metric: InnerProduct) -> np.ndarray:
    """A-orthonormal basis ``(n, i)`` of the columns ``(n, j)``, directions below 1e-8 of `length` dropped."""
    eigenvalues, eigenvectors = np.linalg.eigh(block.T @ metric.apply(block))
    keep = eigenvalues > 1e-8 * length
    return block @ (eigenvectors[:, keep] / np.sqrt(eigenvalues[keep]))


def matching_pursuit(residual, orthonormal, dictionaries: list[Dictionary], metric: InnerProduct, count: int,
                     worth: float) -> list[tuple[int, int, float]]:
    """Orthogonal matching pursuit: ``(dictionary, neuron, gain)`` of the chosen candidates.

    Parameters
    ----------
    residual
        ``(n,)``, orthogonal to the tangent space.
    orthonormal
        A-orthonormal basis ``(n, i)`` of the tangent space.
    count, worth
        Largest number of neurons, and the least gain relative to the first.
    """
    lengths = [np.einsum("nkj,nkj->k", d.vectors, metric.apply(d.vectors.reshape(len(residual), -1)).reshape(
        d.vectors.shape)) for d in dictionaries]
    vectors = [deflated(d.vectors, orthonormal, metric) for d in dictionaries]
    chosen: list[tuple[int, int, float]] = []
    while len(chosen) < count:
        scores = [gains(v, s, residual, metric) for v, s in zip(vectors, lengths, strict=True)]
        which = int(np.argmax([score.max() for score in scores]))
        neuron = int(np.argmax(scores[which]))
        gain = float(scores[which][neuron])
        if gain <= (worth * chosen[0][2] if chosen else 0.0):
            break
        chosen.append((which, neuron, gain))
        basis = orthonormalized(vectors[which][:, neuron], lengths[which][neuron], metric)
        residual = residual - basis @ (metric.apply(basis).T @ residual)
        vectors = [deflated(v, basis, metric) for v in vectors]
    return chosen


def polished(ansatz, theta, space, site: Site, weight, bias, residual, orthonormal, metric, iterations: int):
    """Ascent on the gain over a neuron's incoming weight ``(n_in,)`` and bias; never worse than the start."""

    def loss(parameters):
        vectors = candidate_vectors(ansatz, theta, space, site, parameters[None, :-1], parameters[-1:])
        length = np.einsum("nkj,nkj->k", vectors, metric.apply(vectors[:, 0])[:, None, :])
        return -float(gains(deflated(vectors, orthonormal, metric), length, residual, metric)[0])

    start = np.append(weight, bias)
    scale = loss(start)
    if scale >= 0:
        return weight, bias
    result = minimize(lambda p: loss(p) / -scale, start, method="BFGS", options={"maxiter": iterations})
    best = result.x if np.isfinite(result.fun) and result.fun < -1.0 else start
    return best[:-1], best[-1]


def grow(expansion: Expansion, ansatz, theta, target, space: HilbertSpace, metric: InnerProduct,
         event: int) -> Growth | None:
    """Network grown towards a target direction, or None if the budget or the dictionary has nothing to offer.

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
    vectors = tangent_vectors(ansatz, theta, space)
    orthonormal = vectors @ orthonormal_coefficients(metric.gram(vectors))
    residual = deflated(target[:, None], orthonormal, metric)[:, 0]
    places = sites(ansatz, expansion.depth)
    drawn = [dictionary(ansatz, theta, space, place, expansion.candidates, generator) for place in places]
    chosen = matching_pursuit(residual, orthonormal, drawn, metric, expansion.neurons, expansion.worth)
    if expansion.selection == "random":
        chosen = [(int(generator.integers(len(drawn))), int(k), float("nan"))
                  for k in generator.choice(expansion.candidates, size=len(chosen), replace=False)]
    neurons = [(drawn[which].site, drawn[which].weights[k], drawn[which].biases[k]) for which, k, _ in chosen]
    if expansion.polish:
        neurons = [(site, *polished(ansatz, theta, space, site, w, b, residual, orthonormal, metric, expansion.polish))
                   for site, w, b in neurons]
    while neurons:
        grown, grown_theta = insert(ansatz, theta, neurons)
        if grown.size <= expansion.max_parameters:
            gain = block_gain(ansatz, theta, space, neurons, residual, orthonormal, metric)
            gain /= max(float(target @ metric.apply(target)), np.finfo(float).tiny)
            places = ", ".join(f"{'new layer after' if s.deepen else 'layer'} {s.layer}" for s, _, _ in neurons)
            text = f"grew {ansatz.size} -> {grown.size} parameters ({places}), predicted gain {gain:.3g}"
            return Growth(grown, grown_theta, gain, text)
        neurons = neurons[:-1]
    return None


def block_gain(ansatz, theta, space, neurons, residual, orthonormal, metric) -> float:
    """Gain of several neurons together."""
    blocks = [candidate_vectors(ansatz, theta, space, site, w[None], np.array([b]))[:, 0] for site, w, b in neurons]
    vectors = deflated(np.column_stack(blocks), orthonormal, metric)
    basis = orthonormalized(vectors, float(np.max(np.sum(vectors * metric.apply(vectors), axis=0))), metric)
    return float(np.sum((metric.apply(basis).T @ residual) ** 2))


def insert(ansatz, theta, neurons):
    """Network with the neurons inserted at zero outgoing weights; later layers first, so that places stay valid."""
    grouped: dict[Site, list] = {}
    for site, weight, bias in neurons:
        grouped.setdefault(site, []).append((weight, bias))
    for site in sorted(grouped, key=lambda s: (s.layer, s.deepen), reverse=True):
        weights = np.array([w for w, _ in grouped[site]])
        biases = np.array([b for _, b in grouped[site]])
        add = ansatz.deepen if site.deepen else ansatz.widen
        ansatz, theta = add(theta, site.layer, weights, biases)
    return ansatz, theta

