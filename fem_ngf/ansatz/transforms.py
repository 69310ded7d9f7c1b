"""Fields made from an ansatz point by point: positive fields, fields with given boundary values.

Both wrappers are m(x) = h(x, N(x)) with slope s = dh/dN; every derivative with
respect to the parameters is that of N, scaled by s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from scipy.special import expit

from ..errors import InputError
from . import scaled


def _softplus(value: np.ndarray) -> np.ndarray:
    return np.logaddexp(value, 0.0)


def _logistic_slope(value: np.ndarray) -> np.ndarray:
    return expit(value) * expit(-value)


FORWARD: Mapping[str, tuple[Callable, Callable]] = MappingProxyType({
    "exp": (np.exp, np.exp), "softplus": (_softplus, expit), "sigmoid": (expit, _logistic_slope),
})


@dataclass(frozen=True)
class Transformed:
    """m = forward(N(x)), for example a positive field.

    Parameters
    ----------
    inner : Ansatz
        The ansatz N; its own start value is mapped through `forward`.
    forward : str or callable
        "exp", "softplus" (positive fields), "sigmoid" (fields between 0 and 1), or an elementwise numpy function.
    derivative : callable, optional
        The elementwise derivative; needed for, and only for, a `forward` that is a function.

    Raises
    ------
    InputError
        For an unknown name, or a function without its derivative.
    """

    inner: object
    forward: str | Callable = "exp"
    derivative: Callable | None = None

    def __post_init__(self):
        if isinstance(self.forward, str) and self.forward not in FORWARD:
            raise InputError(f"forward={self.forward!r} is unknown: use a function or {', '.join(FORWARD)}")
        if isinstance(self.forward, str) != (self.derivative is None):
            raise InputError("derivative must be given exactly when forward is a function")

    def value_and_slope(self, theta: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """forward(N) and forward'(N) at points x, both (q,) or (q, c)."""
        forward, slope = FORWARD[self.forward] if self.derivative is None else (self.forward, self.derivative)
        inner = self.inner(theta, x)
        return forward(inner), slope(inner)

    def gradient(self, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
        """dm/dx (q, d) or (q, c, d)."""
        return self.value_and_slope(theta, x)[1][..., None] * self.inner.gradient(theta, x)

    inputs, outputs, size = scaled.inputs, scaled.outputs, scaled.size
    initial, __call__, jacobian = scaled.initial, scaled.value, scaled.jacobian
    jvp, vjp, linearize = scaled.jvp, scaled.vjp, scaled.linearize
    widen, candidate_samples = scaled.widen, scaled.candidate_samples
    layer_inputs, outgoing = scaled.layer_inputs, scaled.outgoing

    def as_dict(self) -> dict:
        """The inner ansatz and the name of `forward`; functions must be given again to `ansatz_from_dict`."""
        name = self.forward if self.derivative is None else None
        return {"kind": "Transformed", "inner": self.inner.as_dict(), "forward": name}


@dataclass(frozen=True)
class BoundaryLift:
    """m(x) = offset(x) + factor(x) N(x); where the factor is zero, the field has the offset's values.

    Parameters
    ----------
    inner : Ansatz
        The ansatz N.
    factor, offset : callable
        Points (q, d) -> (q,). No offset means zero.
    factor_gradient, offset_gradient : callable, optional
        Points (q, d) -> (q, d); needed by `gradient` only.
    """

    inner: object
    factor: Callable
    offset: Callable | None = None
    factor_gradient: Callable | None = None
    offset_gradient: Callable | None = None

    def value_and_slope(self, theta: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The field and the factor at points x, both (q,) or (q, c)."""
        inner = self.inner(theta, x)
        factor = _rows(self.factor(x), inner)
        return factor * inner + (0.0 if self.offset is None else _rows(self.offset(x), inner)), factor

    def gradient(self, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
        """dm/dx (q, d) or (q, c, d), by the product rule.

        Raises
        ------
        InputError
            If the gradient of the factor or of the offset was not given.
        """
        if self.factor_gradient is None or (self.offset is not None and self.offset_gradient is None):
            raise InputError("gradient needs factor_gradient, and offset_gradient if there is an offset")
        inner = self.inner(theta, x)
        result = _rows(self.factor(x), inner)[..., None] * self.inner.gradient(theta, x)
        result += inner[..., None] * _between(self.factor_gradient(x), inner)
        return result if self.offset is None else result + _between(self.offset_gradient(x), inner)

    inputs, outputs, size = scaled.inputs, scaled.outputs, scaled.size
    initial, __call__, jacobian = scaled.initial, scaled.value, scaled.jacobian
    jvp, vjp, linearize = scaled.jvp, scaled.vjp, scaled.linearize
    widen, candidate_samples = scaled.widen, scaled.candidate_samples
    layer_inputs, outgoing = scaled.layer_inputs, scaled.outgoing

    def as_dict(self) -> dict:
        """The inner ansatz; the functions must be given again to `ansatz_from_dict`."""
        return {"kind": "BoundaryLift", "inner": self.inner.as_dict()}


def _rows(values, like: np.ndarray) -> np.ndarray:
    """Values (q,) shaped for samples (q,) or (q, c) and broadcast to them."""
    values = np.asarray(values, dtype=np.float64)
    if values.shape != like.shape[:1]:
        raise InputError(f"factor and offset must map {len(like)} points to shape ({len(like)},), not {values.shape}")
    return np.broadcast_to(values.reshape(-1, *[1] * (like.ndim - 1)), like.shape)


def _between(gradient, like: np.ndarray) -> np.ndarray:
    """A gradient (q, d) shaped for samples (q,) or (q, c)."""
    gradient = np.asarray(gradient, dtype=np.float64)
    return gradient if like.ndim == 1 else gradient[:, None, :]
