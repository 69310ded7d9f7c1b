"""Fields with a value that is known at one point: laws at rest, fluxes without a gradient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from .checks import samples_of
from .protocol import Linearization


@dataclass(frozen=True)
class Anchored:
    """m(x) = N(x) - N(point) + value: a law whose value at one point is known.

    Parameters
    ----------
    inner : Ansatz
        The ansatz N; a gradient or monotone network stays one.
    point : tuple of float
        Where the value is known; default the origin.
    value : float
        It, of all components.

    Raises
    ------
    InputError
        If the point has another number of coordinates than the ansatz has inputs.
    """

    inner: object
    point: tuple[float, ...] | None = None
    value: float = 0.0

    def __post_init__(self):
        point = (0.0,) * self.inner.inputs if self.point is None else tuple(map(float, self.point))
        if len(point) != self.inner.inputs:
            raise InputError(f"point has {len(point)} coordinates; the ansatz has {self.inner.inputs} inputs")
        object.__setattr__(self, "point", point)

    inputs = property(lambda self: self.inner.inputs, doc="Dimension d of the points.")
    outputs = property(lambda self: self.inner.outputs, doc="Number c of components of the value.")
    size = property(lambda self: self.inner.size, doc="Number P of parameters.")

    def initial(self, generator: np.random.Generator) -> np.ndarray:
        """Start parameters (P,) of the inner ansatz."""
        return self.inner.initial(generator)

    def __call__(self, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Samples (q,) or (q, c) at points x (q, d)."""
        values = self.inner(theta, self._with_point(x))
        return values[:-1] - values[-1] + self.value

    def linearize(self, theta: np.ndarray, x: np.ndarray) -> AnchoredLinearization:
        """Value and Jacobian at points x (q, d)."""
        return AnchoredLinearization(self.inner.linearize(theta, self._with_point(x)), self.value)

    def as_dict(self) -> dict:
        """The inner ansatz, the point and the value."""
        return {"kind": "Anchored", "inner": self.inner.as_dict(), "point": list(self.point), "value": self.value}

    def _with_point(self, x: np.ndarray) -> np.ndarray:
        return np.vstack([np.asarray(x, dtype=np.float64), np.asarray(self.point)])


@dataclass(frozen=True, eq=False)
class AnchoredLinearization:
    """The `Linearization` of an `Anchored`; `inner` is that of the network at the points and, last, at the anchor."""

    inner: Linearization
    offset: float

    @property
    def value(self) -> np.ndarray:
        """Samples (q,) or (q, c)."""
        return self.inner.value[:-1] - self.inner.value[-1] + self.offset

    def jvp(self, dtheta: np.ndarray) -> np.ndarray:
        """Samples (q,) or (q, c)."""
        found = self.inner.jvp(dtheta)
        return found[:-1] - found[-1]

    def vjp(self, samples: np.ndarray) -> np.ndarray:
        """Parameters (P,)."""
        shape = self.inner.value[:-1].shape
        samples = samples_of(samples, shape[0], int(np.prod(shape[1:]))).reshape(shape)
        return self.inner.vjp(np.concatenate([samples, -samples.sum(axis=0, keepdims=True)]))

    def jacobian(self, out: np.ndarray | None = None) -> np.ndarray:
        """In full, (q, P) or (q, c, P)."""
        full = self.inner.jacobian()
        return np.subtract(full[:-1], full[-1], out=out)

    def dual_gram(self) -> np.ndarray:
        """J J^T (q, q) or (q c, q c); J is formed."""
        rows = self.jacobian()
        rows = rows.reshape(-1, rows.shape[-1])
        return rows @ rows.T
