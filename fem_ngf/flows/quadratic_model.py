r"""The quadratic model of an energy, and its minimiser in the network: no PDE is solved here.

.. math:: q(v) = g\cdot(v - m) + \tfrac12 (v - m)\cdot H_\mu (v - m)

with the derivative ``g`` at ``m`` and a `Curvature` :math:`H_\mu`. Its minimiser over all functions is the Newton step
:math:`m - H_\mu^{-1} g`, and :math:`q` is, up to a constant, half the squared distance from there: to minimise it over
the network is to retract the step in the metric of the curvature. At ``m`` the gradient on the parameters is
:math:`T^T g`, whatever the curvature is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..ansatz.finite_element import FiniteElement
from ..errors import SolveError
from ..linalg.bounded import bounded_minimiser
from ..linalg.dense import damped_solve, marquardt_shift
from ..tangent.tangent_space import realize, tangent_vectors
from .curvature import Curvature
from .search import damping_after, gain_ratio

LEAST_GAIN, LARGEST_DAMPING = 1e-3, 1e12
CUTOFF = 1e-8
"""Damping that makes the inverse of a Gram matrix a pseudo-inverse, relative to its diagonal."""


@dataclass(frozen=True, eq=False)
class QuadraticModel:
    """``q`` around one vector.

    Parameters
    ----------
    m
        Where it touches the energy (n,).
    derivative
        Covector ``g`` (n,).
    curvature
        ``H_mu``.
    bounds
        Lower and upper ones of vectors (n,), or None.
    """

    m: np.ndarray
    derivative: np.ndarray
    curvature: Curvature
    bounds: tuple[np.ndarray, np.ndarray] | None = None

    @classmethod
    def of(cls, iterate) -> QuadraticModel:
        """The model at an iterate of an inverse problem whose memory holds a `Curvature`'s factor, without damping."""
        curvature = Curvature.of(iterate.linearization, iterate.memory.factor)
        linearization = iterate.linearization
        return cls(iterate.m, linearization.derivative, curvature, linearization.energy.limits)

    def __call__(self, vector: np.ndarray) -> float:
        """``q`` at a vector (n,), the predicted change of the energy."""
        return self.at(vector)[0]

    def at(self, vector: np.ndarray) -> tuple[float, np.ndarray]:
        """Value and derivative (n,); infinite and nan where the vector is."""
        moved = vector - self.m
        with np.errstate(over="ignore", invalid="ignore"):
            image = self.curvature.apply(moved)
            value = float(self.derivative @ moved + 0.5 * moved @ image)
        return (value if np.isfinite(value) else np.inf), self.derivative + image

    @cached_property
    def minimiser(self) -> np.ndarray:
        """The Newton step's end (n,); between bounds the least value there."""
        if self.bounds is not None:
            return bounded_minimiser(self.curvature, self.derivative, self.m, self.bounds)
        return self.m - self.curvature.solve(self.derivative)

    def expected_decrease(self, tangents: np.ndarray | None) -> float:
        """What the model loses by the best step along tangent vectors ``T`` (n, P); None: along all functions.

        Between bounds no network gains more than the best of all functions there.
        """
        if tangents is None and self.bounds is None:  # a negative number is as large as the rounding in it
            return 0.5 * abs(float(self.derivative @ (self.m - self.minimiser)))
        if tangents is None:
            return -self(self.minimiser)
        decrease = attainable(self.curvature.gram(tangents), tangents.T @ self.derivative)
        return decrease if self.bounds is None else min(decrease, self.expected_decrease(None))


def attainable(gram: np.ndarray, slope: np.ndarray) -> float:
    r""":math:`\tfrac12 b\cdot G^+ b`, what ``b.x + x.Gx/2`` loses at its minimum: ``G`` (P, P) and ``b`` (P,)."""
    return 0.5 * float(slope @ damped_solve(gram, slope, marquardt_shift(np.diag(gram), CUTOFF)))


@dataclass(frozen=True, eq=False)
class Realisation:
    """Parameters ``(P,)``, the vector (n,) that they realise, the damping to go on with, and the iterations taken."""

    theta: np.ndarray
    m: np.ndarray
    damping: float
    iterations: int


def minimised(model: QuadraticModel, ansatz, theta: np.ndarray, space, *, damping: float = 1e-3, iterations: int = 60,
              paying: float = 3e-3, least: float = 0.0, floor: float = 1e-12) -> Realisation:
    r"""The network that minimises a model, from `theta` on: Levenberg-Marquardt with exact tangent vectors.

    Values and tangent vectors are sampled alike, as `space` says (METHOD section 3d: where they are not, the end of
    the search is bound by the difference).

    Parameters
    ----------
    theta
        Realises ``model.m``.
    damping
        Start value, relative to the diagonal of the Gram matrix.
    iterations
        Largest number.
    paying
        Stop when one gains less than this fraction of what all have gained.
    least
        Stop when one gains less than this.
    floor
        Smallest damping.

    Raises
    ------
    SolveError
        If the tangent vectors are not finite.
    """
    if isinstance(ansatz, FiniteElement):
        reached = model.minimiser.copy()
        reached[space.fixed] = 0.0
        return Realisation(reached, reached, damping, 0)
    m = realize(ansatz, theta, space)
    (value, derivative), count, accepted = model.at(m), 0, True
    while accepted and count < iterations:
        tangents = tangent_vectors(ansatz, theta, space)
        gram, slope, accepted = model.curvature.gram(tangents), tangents.T @ derivative, False
        while not accepted and count < iterations and damping < LARGEST_DAMPING:
            count += 1
            step = damped_solve(gram, slope, marquardt_shift(np.diag(gram), damping))
            trial = theta - step
            reached, (trial_value, trial_derivative) = _tried(model, ansatz, trial, space)
            gain = gain_ratio(value - trial_value, float(slope @ step - 0.5 * step @ (gram @ step)))
            accepted = gain > LEAST_GAIN
            damping = damping_after(damping, gain, floor) if accepted else 4.0 * damping
        if accepted:
            accepted = value - trial_value >= max(paying * abs(trial_value), least)
            theta, m, value, derivative = trial, reached, trial_value, trial_derivative
    return Realisation(theta, m, min(max(damping, floor), 1.0), count)


def _tried(model: QuadraticModel, ansatz, theta: np.ndarray, space):
    """Vector, and the model's value and derivative there: infinite where the network overflows."""
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            m = realize(ansatz, theta, space)
    except SolveError:
        return None, (np.inf, None)
    return m, model.at(m)
