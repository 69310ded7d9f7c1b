"""What all fields h(x, N(x)) share: derivatives of an inner ansatz N, scaled by a slope at each point.

The functions are methods of the wrappers in `transforms`; they use
``inner`` and ``value_and_slope(theta, x)`` of the wrapper.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from .checks import samples_of

inputs = property(lambda self: self.inner.inputs, doc="Dimension d of the points.")
outputs = property(lambda self: self.inner.outputs, doc="Number c of components of the value.")
size = property(lambda self: self.inner.size, doc="Number P of parameters.")


def initial(self, generator: np.random.Generator) -> np.ndarray:
    """Start parameters (P,) of the inner ansatz."""
    return self.inner.initial(generator)


def value(self, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Samples (q,) or (q, c) at points x (q, d)."""
    return self.value_and_slope(theta, x)[0]


def jacobian(self, theta: np.ndarray, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """dm/dtheta (q, P) or (q, c, P), written into `out` if given."""
    out = self.inner.jacobian(theta, x, out)
    out *= self.value_and_slope(theta, x)[1][..., None]
    return out


def jvp(self, theta: np.ndarray, x: np.ndarray, dtheta: np.ndarray) -> np.ndarray:
    """J dtheta, samples (q,) or (q, c)."""
    return self.value_and_slope(theta, x)[1] * self.inner.jvp(theta, x, dtheta)


def vjp(self, theta: np.ndarray, x: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """J^T samples (P,)."""
    slope = self.value_and_slope(theta, x)[1]
    return self.inner.vjp(theta, x, slope * samples_of(samples, len(x), self.outputs).reshape(slope.shape))


def linearize(self, theta: np.ndarray, x: np.ndarray) -> ScaledLinearization:
    """J as an operator on the cached linearisation of the inner ansatz."""
    here, slope = self.value_and_slope(theta, x)
    return ScaledLinearization(self.inner.linearize(theta, x), here, slope)


def widen(self, theta: np.ndarray, layer: int, weights: np.ndarray, biases: np.ndarray):
    """The wrapper around the widened network, and its parameters (see `MLP.widen`)."""
    grown, theta = self.inner.widen(theta, layer, weights, biases)
    return dataclasses.replace(self, inner=grown), theta


def layer_inputs(self, theta: np.ndarray, x: np.ndarray, layer: int) -> np.ndarray:
    """Inputs (q, n) of a hidden layer of the network (see `MLP.layer_inputs`)."""
    return self.inner.layer_inputs(theta, x, layer)


def candidate_samples(self, theta, x, layer, weights, biases) -> np.ndarray:
    """Tangent functions of candidate neurons' outgoing weights (see `MLP.candidate_samples`)."""
    slope = self.value_and_slope(theta, x)[1]
    samples = self.inner.candidate_samples(theta, x, layer, weights, biases)
    return samples * slope.reshape(slope.shape + (1,) * (samples.ndim - slope.ndim))


def outgoing(self, layer: int, neurons: np.ndarray | slice = slice(None)) -> np.ndarray:
    """Places in theta of outgoing weights (see `MLP.outgoing`)."""
    return self.inner.outgoing(layer, neurons)


@dataclass(frozen=True, eq=False)
class ScaledLinearization:
    """diag(slope) J of an inner linearisation J.

    Parameters
    ----------
    inner
        The linearisation of the inner ansatz.
    value, slope
        The field and its slope, (q,) or (q, c).
    """

    inner: object
    value: np.ndarray
    slope: np.ndarray

    def jvp(self, dtheta: np.ndarray) -> np.ndarray:
        """Samples (q,) or (q, c)."""
        return self.slope * self.inner.jvp(dtheta)

    def vjp(self, samples: np.ndarray) -> np.ndarray:
        """Parameters (P,)."""
        samples = samples_of(samples, len(self.slope), int(np.prod(self.slope.shape[1:])))
        return self.inner.vjp(self.slope * samples.reshape(self.slope.shape))

    def jacobian(self, out: np.ndarray | None = None) -> np.ndarray:
        """In full, (q, P) or (q, c, P)."""
        out = self.inner.jacobian(out)
        out *= self.slope[..., None]
        return out

    def dual_gram(self) -> np.ndarray:
        """J J^T (q, q) or (q c, q c)."""
        slope = self.slope.ravel()
        return slope[:, None] * self.inner.dual_gram() * slope
