"""Back from a function to network parameters, without PDE solves (METHOD section 3b)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..ansatz.finite_element import FiniteElement
from ..errors import SolveError
from ..linalg.dense import damped_solve, marquardt_shift
from ..linalg.operators import SymmetricOperator
from ..tangent.tangent_space import realize, tangent_vectors
from .search import damping_after, gain_ratio


@dataclass(frozen=True, eq=False)
class Retraction:
    """Result of `retract`: parameters, the vector they realise, and the fit.

    ``fit`` is ``||m - target||^2 / ||start - target||^2`` in the metric of the retraction.
    """

    theta: np.ndarray
    m: np.ndarray
    fit: float
    damping: float
    iterations: int


def retract(ansatz, theta, m, target, space, metric: SymmetricOperator, *, damping: float = 1e-3, iterations: int = 30,
            tolerance: float = 1e-3, paying: float = 1e-2, floor: float = 1e-12) -> Retraction:
    r"""Parameters near `theta` whose function is closest to `target`: Levenberg-Marquardt in the metric.

    Minimises :math:`\tfrac12 \|\Pi N_\theta - target\|_{H'}^2`.

    Parameters
    ----------
    theta, m
        Start ``(P,)`` and the vector it realises ``(n,)``.
    target
        Vector ``(n,)``.
    metric
        Inner product ``H'``.
    damping
        Start value, relative to the mean diagonal of the Gram matrix.
    tolerance
        Stop when the fit is below it.
    floor
        Smallest damping.
    paying
        Stop when an accepted iteration lowers the misfit by less than this fraction.

    Raises
    ------
    SolveError
        If the tangent vectors are not finite.
    """
    if isinstance(ansatz, FiniteElement):
        moved = target.copy()
        moved[space.fixed] = 0.0
        return Retraction(moved, moved, 0.0, damping, 0)
    steering = space.nodal_twin  # cheap tangent vectors steer, the projected function itself is judged
    error = m - target
    image = metric.apply(error)
    value = initial = float(error @ image)
    count = 0
    while count < iterations and value > tolerance * initial:
        vectors = tangent_vectors(ansatz, theta, steering)
        gram, slope = metric.gram(vectors), vectors.T @ image
        accepted = False
        while count < iterations and damping < 1e12:
            count += 1
            step = damped_solve(gram, slope, marquardt_shift(np.diag(gram), damping))
            trial = theta - step
            trial_m, trial_image, trial_value = _judged(ansatz, trial, target, space, metric)
            predicted = float(2 * slope @ step - step @ (gram @ step))
            gain = gain_ratio(value - trial_value, predicted)
            if gain > 1e-3:
                accepted = True
                damping = damping_after(damping, gain, floor)
                break
            damping *= 4.0
        if not accepted:
            break
        decrease = value - trial_value
        theta, m, image, value = trial, trial_m, trial_image, trial_value
        if decrease < paying * value:
            break
    return Retraction(theta, m, value / initial if initial > 0 else 0.0, min(damping, 1.0), count)


def _judged(ansatz, theta, target, space, metric):
    """Realised vector, image of its error in the metric, squared distance: infinite where the network overflows."""
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            m = realize(ansatz, theta, space)
            image = metric.apply(m - target)
            value = float((m - target) @ image)
    except SolveError:
        return None, None, np.inf
    return m, image, value if np.isfinite(value) else np.inf
