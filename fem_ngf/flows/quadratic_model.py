r"""The quadratic model of an energy: no PDE is solved here.

.. math:: q(v) = g\cdot(v - m) + \tfrac12 (v - m)\cdot H_\mu (v - m)

with the derivative ``g`` at ``m`` and a `Curvature` :math:`H_\mu`. Its minimiser over all functions is the Newton step
:math:`m - H_\mu^{-1} g`, and :math:`q` is, up to a constant, half the squared distance from there: to minimise it over
the network (`retract`) is to regress on the step's end in the metric of the curvature. At ``m`` the gradient on the
parameters is :math:`T^T g`, whatever the curvature is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..linalg.bounded import bounded_minimiser
from ..linalg.dense import damped_solve, marquardt_shift
from ..linalg.operators import SymmetricOperator
from ..tangent.rows import TangentRows
from .curvature import Curvature

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
        ``H_mu``, or another inner product.
    bounds
        Lower and upper ones of vectors (n,), or None.
    """

    m: np.ndarray
    derivative: np.ndarray
    curvature: SymmetricOperator
    bounds: tuple[np.ndarray, np.ndarray] | None = None

    @classmethod
    def of(cls, iterate) -> QuadraticModel:
        """The model at an iterate of an inverse problem whose memory holds a `Curvature`'s factor, without damping."""
        curvature = Curvature.of(iterate.linearization, iterate.memory.factor)
        linearization = iterate.linearization
        return cls(iterate.m, linearization.derivative, curvature, linearization.energy.limits)

    @classmethod
    def towards(cls, target: np.ndarray, m: np.ndarray, metric: SymmetricOperator) -> QuadraticModel:
        """Half the squared distance from a target (n,) in a metric, less what it is at m."""
        return cls(m, metric.apply(m - target), metric)

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

    def expected_decrease(self, tangents: np.ndarray | TangentRows | None) -> float:
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
