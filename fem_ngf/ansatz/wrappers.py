"""Fields made from others: bounded fields, fields with given boundary values, several fields side by side.

`Transformed`, `Bounded` and `BoundaryLift` are m(x) = h(x, N(x)) with slope s = dh/dN: their linearisation is that of
N, each point scaled by its slope. `PerField` puts the linearisations of its parts side by side.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np
from scipy.special import expit

from ..errors import InputError
from .checks import jacobian_buffer, parameters, samples_of
from .protocol import Linearization

# ---- one field, point by point: methods of what has `inner` and `value_and_slope(x, values of inner)` ----------------

_inputs = property(lambda self: self.inner.inputs, doc="Dimension d of the points.")
_outputs = property(lambda self: self.inner.outputs, doc="Number c of components of the value.")
_size = property(lambda self: self.inner.size, doc="Number P of parameters.")
_hidden = property(lambda self: growing_layers(self.inner), doc="Number of layers that can be widened.")


def _initial(self, generator: np.random.Generator) -> np.ndarray:
    """Start parameters (P,) of the inner ansatz."""
    return self.inner.initial(generator)


def _value(self, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Samples (q,) or (q, c) at points x (q, d)."""
    return self.value_and_slope(x, self.inner(theta, x))[0]


def _linearize(self, theta: np.ndarray, x: np.ndarray) -> ScaledLinearization:
    """Value and Jacobian at points x (q, d)."""
    inner = self.inner.linearize(theta, x)
    return ScaledLinearization(inner, *self.value_and_slope(x, inner.value))


def _widen(self, theta: np.ndarray, layer: int, weights: np.ndarray, biases: np.ndarray):
    """The wrapper around the widened network, and its parameters (see `MLP.widen`)."""
    grown, theta = self.inner.widen(theta, layer, weights, biases)
    return dataclasses.replace(self, inner=grown), theta


def _layer_inputs(self, theta: np.ndarray, x: np.ndarray, layer: int) -> np.ndarray:
    """Inputs (q, n) of a hidden layer of the network (see `MLP.layer_inputs`)."""
    return self.inner.layer_inputs(theta, x, layer)


def _candidate_samples(self, theta, x, layer, weights, biases) -> np.ndarray:
    """Tangent functions of candidate neurons' outgoing weights (see `MLP.candidate_samples`)."""
    slope = self.value_and_slope(x, self.inner(theta, x))[1]
    return self.inner.candidate_samples(theta, x, layer, weights, biases) * slope[..., None, None]


def _outgoing(self, layer: int, neurons: np.ndarray | slice = slice(None)) -> np.ndarray:
    """Places in theta of outgoing weights (see `MLP.outgoing`)."""
    return self.inner.outgoing(layer, neurons)


@dataclass(frozen=True, eq=False)
class ScaledLinearization:
    """The `Linearization` diag(slope) J of an inner linearisation J.

    Parameters
    ----------
    inner
        The linearisation of the inner ansatz.
    value, slope
        The field and its slope, (q,) or (q, c).
    """

    inner: Linearization
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

    def value_and_slope(self, x: np.ndarray, inner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """forward(N) and forward'(N) for values N of the inner ansatz, all (q,) or (q, c)."""
        forward, slope = FORWARD[self.forward] if self.derivative is None else (self.forward, self.derivative)
        return forward(inner), slope(inner)

    inputs, outputs, size, initial, __call__, linearize = _inputs, _outputs, _size, _initial, _value, _linearize
    hidden_layers, widen, layer_inputs = _hidden, _widen, _layer_inputs
    candidate_samples, outgoing = _candidate_samples, _outgoing

    def as_dict(self) -> dict:
        """The inner ansatz and the name of `forward`; functions must be given again to `ansatz_from_dict`."""
        name = self.forward if self.derivative is None else None
        return {"kind": "Transformed", "inner": self.inner.as_dict(), "forward": name}


@dataclass(frozen=True)
class Bounded:
    r"""m between two numbers: :math:`m = c + t\,/\sqrt{1 + (t/r)^2}` with :math:`t = N - c`.

    c is their mean, r half of their distance. Far from the bounds m is close to N. Beyond them the slope falls like the
    cube of the distance, not exponentially as that of a logistic function does: a field comes back from a bound.

    Parameters
    ----------
    inner : Ansatz
        The ansatz N.
    lower, upper : float
        The bounds; for a single one see `Transformed`.

    Raises
    ------
    InputError
        If they are not two finite numbers in order.
    """

    inner: object
    lower: float = 0.0
    upper: float = 1.0

    def __post_init__(self):
        if not (np.ndim(self.lower) == np.ndim(self.upper) == 0 and -np.inf < self.lower < self.upper < np.inf):
            raise InputError(f"lower={self.lower!r} and upper={self.upper!r} must be two finite numbers, the lower one "
                             "first; fields with other bounds take a network each, see PerField")

    def value_and_slope(self, x: np.ndarray, inner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The field and its slope for values N of the inner ansatz, all (q,) or (q, c)."""
        centre, radius = 0.5 * (self.lower + self.upper), 0.5 * (self.upper - self.lower)
        t = (inner - centre) / radius
        shrunk = np.hypot(1.0, t)
        return np.clip(centre + radius * (t / shrunk), self.lower, self.upper), shrunk**-3.0

    inputs, outputs, size, initial, __call__, linearize = _inputs, _outputs, _size, _initial, _value, _linearize
    hidden_layers, widen, layer_inputs = _hidden, _widen, _layer_inputs
    candidate_samples, outgoing = _candidate_samples, _outgoing

    def as_dict(self) -> dict:
        """The inner ansatz and the bounds."""
        return {"kind": "Bounded", "inner": self.inner.as_dict(), "lower": self.lower, "upper": self.upper}


@dataclass(frozen=True)
class BoundaryLift:
    """m(x) = offset(x) + factor(x) N(x); where the factor is zero, the field has the offset's values.

    Parameters
    ----------
    inner : Ansatz
        The ansatz N.
    factor, offset : callable
        Points (q, d) -> (q,). No offset means zero.
    """

    inner: object
    factor: Callable
    offset: Callable | None = None

    def value_and_slope(self, x: np.ndarray, inner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The field and the factor at points x, for values N of the inner ansatz, all (q,) or (q, c)."""
        factor = _rows(self.factor(x), inner)
        return factor * inner + (0.0 if self.offset is None else _rows(self.offset(x), inner)), factor

    inputs, outputs, size, initial, __call__, linearize = _inputs, _outputs, _size, _initial, _value, _linearize
    hidden_layers, widen, layer_inputs = _hidden, _widen, _layer_inputs
    candidate_samples, outgoing = _candidate_samples, _outgoing

    def as_dict(self) -> dict:
        """The inner ansatz; the functions must be given again to `ansatz_from_dict`."""
        return {"kind": "BoundaryLift", "inner": self.inner.as_dict()}


def within(ansatz, bounds):
    """The ansatz itself where it is `Bounded` (in every field), else `Bounded` by two numbers.

    Raises
    ------
    InputError
        If the bounds are no two finite numbers.
    """
    fields = getattr(ansatz, "parts", (ansatz,))
    return ansatz if all(isinstance(field, Bounded) for field in fields) else Bounded(ansatz, *bounds)


def growing_layers(ansatz) -> int:
    """Number of hidden layers in which an ansatz can grow; 0 where it cannot."""
    return getattr(ansatz, "hidden_layers", 0)


def is_structured(ansatz) -> bool:
    """Whether its functions are gradients, or monotone, by construction, so that what others could gain is no loss."""
    parts = getattr(ansatz, "parts", None) or [getattr(ansatz, "inner", None)]
    return getattr(ansatz, "structured", False) or any(map(is_structured, filter(None, parts)))


def _rows(values, like: np.ndarray) -> np.ndarray:
    """Values (q,) shaped for samples (q,) or (q, c) and broadcast to them."""
    values = np.asarray(values, dtype=np.float64)
    if values.shape != like.shape[:1]:
        raise InputError(f"factor and offset must map {len(like)} points to shape ({len(like)},), not {values.shape}")
    return np.broadcast_to(values.reshape(-1, *[1] * (like.ndim - 1)), like.shape)


# ---- several fields side by side ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PerField:
    """Several ansatz values side by side: their components and their parameters are concatenated.

    Parameters
    ----------
    parts : tuple of Ansatz
        One a field of a `ProductSpace`, all with the same inputs.

    Raises
    ------
    InputError
        If there are no parts, or one has another number of inputs.

    Notes
    -----
    The Jacobian (q, c, P) is zero where a component belongs to one part and a parameter to another.
    """

    parts: tuple

    def __post_init__(self):
        object.__setattr__(self, "parts", tuple(self.parts))
        if not self.parts:
            raise InputError("parts is empty; give one ansatz a field")
        for i, part in enumerate(self.parts):
            if part.inputs != self.inputs:
                raise InputError(f"parts[{i}] has {part.inputs} inputs; every part needs {self.inputs}")

    inputs = property(lambda self: self.parts[0].inputs, doc="Dimension d of the points.")
    outputs = property(lambda self: sum(part.outputs for part in self.parts), doc="Number of components of all parts.")
    size = property(lambda self: sum(part.size for part in self.parts), doc="Number of parameters of all parts.")

    def initial(self, generator: np.random.Generator) -> np.ndarray:
        """Start parameters of the parts, drawn one after the other."""
        return np.concatenate([part.initial(generator) for part in self.parts])

    def split(self, theta: np.ndarray) -> list[np.ndarray]:
        """Parameters of each part."""
        return np.split(parameters(theta, self.size), np.cumsum([part.size for part in self.parts])[:-1])

    def __call__(self, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Samples (q,) or (q, c) at points x (q, d)."""
        return _side_by_side([part(own, x) for part, own in zip(self.parts, self.split(theta), strict=True)])

    def linearize(self, theta: np.ndarray, x: np.ndarray) -> BlockLinearization:
        """Value and Jacobian at points x (q, d)."""
        pairs = zip(self.parts, self.split(theta), strict=True)
        return BlockLinearization(tuple(part.linearize(own, x) for part, own in pairs),
                                  tuple(part.outputs for part in self.parts), tuple(part.size for part in self.parts))

    # ---- growth: the layers of all parts, one part after the other ----------------------------------------------

    @property
    def hidden_layers(self) -> int:
        """Number of layers that can be widened, of all parts."""
        return sum(map(growing_layers, self.parts))

    def widen(self, theta: np.ndarray, layer: int, weights: np.ndarray, biases: np.ndarray):
        """The fields with one part widened, and their parameters (see `MLP.widen`)."""
        number, own = self._part(layer)
        thetas, parts = self.split(theta), list(self.parts)
        parts[number], thetas[number] = parts[number].widen(thetas[number], own, weights, biases)
        return PerField(tuple(parts)), np.concatenate(thetas)

    def layer_inputs(self, theta: np.ndarray, x: np.ndarray, layer: int) -> np.ndarray:
        """Inputs (q, n) of a hidden layer of a part (see `MLP.layer_inputs`)."""
        number, own = self._part(layer)
        return self.parts[number].layer_inputs(self.split(theta)[number], x, own)

    def candidate_samples(self, theta, x, layer, weights, biases) -> np.ndarray:
        """Tangent functions of candidate neurons, zero in the other fields (see `MLP.candidate_samples`)."""
        number, own = self._part(layer)
        found = self.parts[number].candidate_samples(self.split(theta)[number], x, own, weights, biases)
        if self.outputs == 1:
            return found
        samples = np.zeros((len(found), self.outputs, *found.shape[-2:]))
        place = _slices(tuple(part.outputs for part in self.parts))[number]
        samples[:, place] = found.reshape(len(found), -1, *found.shape[-2:])
        return samples

    def outgoing(self, layer: int, neurons: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Places in theta of outgoing weights (see `MLP.outgoing`)."""
        number, own = self._part(layer)
        return sum(part.size for part in self.parts[:number]) + self.parts[number].outgoing(own, neurons)

    def _part(self, layer: int) -> tuple[int, int]:
        """Number of the part that has a layer, and the layer's number there."""
        places = [(number, own) for number, part in enumerate(self.parts) for own in range(growing_layers(part))]
        if not 0 <= layer < len(places):
            raise InputError(f"layer={layer} does not exist: the networks have hidden layers 0 to {len(places) - 1}")
        return places[layer]

    def as_dict(self) -> dict:
        """The parts, for checkpoints."""
        return {"kind": "PerField", "parts": [part.as_dict() for part in self.parts]}


@dataclass(frozen=True, eq=False)
class BlockLinearization:
    """The `Linearization` of a `PerField`: one block for each part, zero elsewhere.

    Parameters
    ----------
    parts
        Linearisations at the same q points.
    outputs, sizes
        Components and parameters of each part.
    """

    parts: tuple[Linearization, ...]
    outputs: tuple[int, ...]
    sizes: tuple[int, ...]

    @cached_property
    def value(self) -> np.ndarray:
        """Samples (q,) or (q, c)."""
        return _side_by_side([part.value for part in self.parts])

    def jvp(self, dtheta: np.ndarray) -> np.ndarray:
        """J dtheta, samples (q,) or (q, c)."""
        directions = np.split(parameters(dtheta, sum(self.sizes), "dtheta"), np.cumsum(self.sizes)[:-1])
        return _side_by_side([part.jvp(own) for part, own in zip(self.parts, directions, strict=True)])

    def vjp(self, samples: np.ndarray) -> np.ndarray:
        """J^T samples (P,)."""
        samples = samples_of(samples, len(self.value), sum(self.outputs))
        return np.concatenate([part.vjp(samples[:, own])
                               for part, own in zip(self.parts, _slices(self.outputs), strict=True)])

    def jacobian(self, out: np.ndarray | None = None) -> np.ndarray:
        """J (q, P) or (q, c, P) in full."""
        out = jacobian_buffer(out, len(self.value), sum(self.outputs), sum(self.sizes))
        whole = out[:, None, :] if out.ndim == 2 else out
        whole[:] = 0.0
        for part, own, place in zip(self.parts, _slices(self.outputs), _slices(self.sizes), strict=True):
            block = whole[:, own, place]
            part.jacobian(out=block[:, 0] if block.shape[1] == 1 else block)
        return out

    def dual_gram(self) -> np.ndarray:
        """J J^T (q c, q c) with the components of a point side by side; parts do not couple."""
        q, c = len(self.value), sum(self.outputs)
        gram = np.zeros((q, c, q, c))
        for part, own in zip(self.parts, _slices(self.outputs), strict=True):
            block = gram[:, own, :, own]
            block[:] = part.dual_gram().reshape(block.shape)
        return gram.reshape(q * c, q * c)


def _slices(sizes: tuple[int, ...]) -> list[slice]:
    """Consecutive slices of these lengths."""
    stops = np.cumsum(sizes)
    return [slice(stop - size, stop) for stop, size in zip(stops, sizes, strict=True)]


def _side_by_side(samples: list[np.ndarray]) -> np.ndarray:
    """Samples (q,) or (q, c_i) as (q, c); a single array as it is."""
    return samples[0] if len(samples) == 1 else np.column_stack(samples)
