r"""Back from a function to network parameters, without PDE solves (METHOD sections 3b and 3d).

References
----------
M. K. Transtrum, J. P. Sethna, Improvements to the Levenberg-Marquardt algorithm for nonlinear least-squares
minimization, arXiv 1201.5885 (2012).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..ansatz.finite_element import FiniteElement
from ..errors import SolveError
from ..linalg.dense import damped_inverse, levenberg_shift, marquardt_shift
from ..tangent.rows import TangentRows, tangents
from ..tangent.tangent_space import realize
from .quadratic_model import QuadraticModel, attainable
from .search import damping_after, gain_ratio

LEAST_GAIN, LARGEST_DAMPING = 1e-3, 1e12
LIMITED, BEGIN = 0.3, 1e-4
"""Share of what the tangent space promises below which Marquardt's damping holds it up; Levenberg's at first."""
DIFFERENCE, ACCELERATED, REJECTED = 0.1, 0.75, 3.0
"""Share of a step at which its acceleration is measured, the largest relative one that is trusted, and the largest with
which the step itself is: beyond it the tangent space says nothing about where the parameters go."""
TINY = float(np.finfo(float).tiny)


@dataclass(frozen=True, eq=False)
class Retraction:
    """What `retract` found.

    Parameters
    ----------
    theta
        Parameters (P,).
    m, value, derivative
        The vector (n,) that they realise, and the model's value and derivative (n,) there.
    damping
        Marquardt's, to go on with.
    iterations
        How many it took.
    """

    theta: np.ndarray
    m: np.ndarray
    value: float
    derivative: np.ndarray
    damping: float
    iterations: int = 0


def retract(model: QuadraticModel, ansatz, theta: np.ndarray, space, *, damping: float = 1e-3, iterations: int = 30,
            fit: float = 0.0, rtol: float = 3e-3, atol: float = 0.0, floor: float = 1e-12,
            vectors: np.ndarray | TangentRows | None = None) -> Retraction:
    r"""Parameters near `theta` whose function minimises a model: Levenberg and Marquardt with geodesic acceleration.

    Damping by the diagonal of the Gram matrix is first: it lets a network use parameters on which its function hardly
    depends yet. In the end they run away, and the damping that stops them stops all others; then each is held by what
    the median one weighs. Steps of large acceleration are not tried at all (Transtrum, Sethna, section 4): a network of
    sines gains by frequencies between the nodes where they are.

    Values and tangent vectors are sampled alike, as `space` says (METHOD section 3d: where they are not, the end of
    a search is bound by the difference). For finite elements it is the model's minimiser.

    Parameters
    ----------
    theta
        Start (P,).
    damping
        Marquardt's at the start, relative to the diagonal of the Gram matrix.
    iterations
        Largest number.
    fit
        Stop when the squared distance from the model's minimiser over all functions is this share of that of
        ``model.m``.
    rtol, atol
        Stop when an iteration gains less than this fraction of what all have gained, or less than this.
    floor
        Smallest damping.
    vectors
        Tangent vectors (n, P) at `theta`, where they are known.

    Raises
    ------
    SolveError
        If the tangent vectors are not finite.
    """
    if isinstance(ansatz, FiniteElement):
        reached = model.minimiser.copy()
        reached[space.fixed] = 0.0
        return Retraction(reached, reached, *model.at(reached), damping)
    m = realize(ansatz, theta, space)
    here = Retraction(theta, m, *model.at(m), damping)
    near = (1.0 - fit) * model(model.minimiser) if fit else -np.inf
    rule, ended = marquardt_shift, False
    while not ended and here.iterations < iterations and here.value > near:
        before = here.value
        if vectors is None:
            vectors = tangents(ansatz, here.theta, space)
        (here, possible), vectors = _iterated(model, ansatz, here, space, vectors, rule, iterations, floor), None
        gained = before - here.value
        if rule is marquardt_shift and gained < LIMITED * possible:
            rule, damping, here = levenberg_shift, here.damping, replace(here, damping=max(BEGIN, floor))
        else:
            ended = not gained > 0.0 or gained < max(rtol * abs(here.value), atol)
    damping = here.damping if rule is marquardt_shift else damping
    return replace(here, damping=min(max(damping, floor), 1.0))


def _iterated(model: QuadraticModel, ansatz, here: Retraction, space, vectors, rule: Callable, limit: int,
              floor: float):
    """The first trial of larger and larger damping that gains enough, and what no damping at all promises.

    Without one, what there was.
    """
    gram, slope, damping = model.curvature.gram(vectors), vectors.T @ here.derivative, here.damping
    possible = attainable(gram, slope) if rule is marquardt_shift else 0.0
    for count in range(here.iterations + 1, limit + 1):
        shift = rule(np.diag(gram), damping)
        inverse = damped_inverse(gram, shift)
        step = inverse(slope)
        acceleration = _acceleration(model, ansatz, here, space, vectors, step, inverse)
        ratio = 2.0 * _length(acceleration, shift) / max(_length(step, shift), TINY)
        if ratio <= REJECTED:
            second = 0.5 * acceleration if ratio <= ACCELERATED else 0.0
            trial = _tried(model, ansatz, here.theta - step + second, space)
            gain = gain_ratio(here.value - trial.value, float(slope @ step - 0.5 * step @ (gram @ step)))
            if gain > LEAST_GAIN:
                return replace(trial, damping=damping_after(damping, gain, floor), iterations=count), possible
        damping *= 4.0
        if damping > LARGEST_DAMPING:
            break
    return replace(here, damping=damping, iterations=count), possible


def _acceleration(model: QuadraticModel, ansatz, here: Retraction, space, vectors: np.ndarray | TangentRows,
                  step: np.ndarray, inverse: Callable) -> np.ndarray:
    """Second derivative (P,) of the geodesic along minus the step; zero where the network overflows on the way.

    The second derivative of the function is a difference quotient, at the price of one realisation.
    """
    near = _realized(ansatz, here.theta - DIFFERENCE * step, space)
    if near is None:
        return np.zeros_like(step)
    second = 2.0 / DIFFERENCE * ((near - here.m) / DIFFERENCE + vectors @ step)
    return -inverse(vectors.T @ model.curvature.apply(second))


def _length(step: np.ndarray, shift: np.ndarray) -> float:
    """Length of a step (P,) in the norm of the damping."""
    return float(np.sqrt(step @ (shift * step)))


def _tried(model: QuadraticModel, ansatz, theta: np.ndarray, space) -> Retraction:
    """What parameters realise, of infinite value where the network overflows."""
    m = _realized(ansatz, theta, space)
    if m is None:
        return Retraction(theta, None, np.inf, None, np.nan)
    return Retraction(theta, m, *model.at(m), np.nan)


def _realized(ansatz, theta: np.ndarray, space) -> np.ndarray | None:
    """Vector (n,) of parameters; None where the network overflows."""
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            m = realize(ansatz, theta, space)
    except SolveError:
        return None
    return m if np.isfinite(m).all() else None
