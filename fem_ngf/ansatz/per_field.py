"""One ansatz a field, for the unknown of a `ProductSpace`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from .checks import jacobian_buffer, parameters, points, samples_of
from .linearized import Recomputed


@dataclass(frozen=True)
class PerField:
    """Several scalar ansatz values side by side: the parameters are concatenated, the Jacobian is block-diagonal.

    Parameters
    ----------
    parts : tuple of Ansatz
        One a field, each with one component and d inputs. Points are (q, d + 1): the last coordinate says which
        field, 0 to ``len(parts) - 1`` (see `product_space.ProductSpace`).

    Raises
    ------
    InputError
        If there are no parts, or one has several components or another number of inputs.
    """

    parts: tuple

    def __post_init__(self):
        object.__setattr__(self, "parts", tuple(self.parts))
        if not self.parts:
            raise InputError("parts is empty; give one ansatz a field")
        for i, part in enumerate(self.parts):
            if part.outputs != 1 or part.inputs != self.parts[0].inputs:
                raise InputError(f"parts[{i}] has {part.inputs} inputs and {part.outputs} outputs; every part needs "
                                 f"{self.parts[0].inputs} and 1")

    inputs = property(lambda self: self.parts[0].inputs + 1, doc="Dimension of the points, d + 1.")
    outputs = property(lambda self: 1, doc="One: a point belongs to one field.")
    size = property(lambda self: sum(part.size for part in self.parts), doc="Number of parameters of all parts.")

    def initial(self, generator: np.random.Generator) -> np.ndarray:
        """Start parameters of the parts, drawn one after the other."""
        return np.concatenate([part.initial(generator) for part in self.parts])

    def split(self, theta: np.ndarray) -> list[np.ndarray]:
        """Parameters of each part."""
        return np.split(parameters(theta, self.size), self._stops[:-1])

    def __call__(self, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Samples (q,) at points x (q, d + 1)."""
        samples = np.zeros(len(x))
        for part, own, rows, here in self._by_field(theta, x):
            samples[rows] = part(own, here)
        return samples

    def jacobian(self, theta: np.ndarray, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """(q, P); zero where a parameter belongs to another field."""
        out = jacobian_buffer(out, len(x), 1, self.size)
        out[:] = 0.0
        for (part, own, rows, here), stop in zip(self._by_field(theta, x), self._stops, strict=True):
            if len(rows):
                out[rows, stop - part.size:stop] = part.jacobian(own, here)
        return out

    def jvp(self, theta: np.ndarray, x: np.ndarray, dtheta: np.ndarray) -> np.ndarray:
        """Samples (q,) of the direction dtheta (P,)."""
        samples = np.zeros(len(x))
        for (part, own, rows, here), direction in zip(self._by_field(theta, x), self.split(dtheta), strict=True):
            samples[rows] = part.jvp(own, here, direction)
        return samples

    def vjp(self, theta: np.ndarray, x: np.ndarray, samples: np.ndarray) -> np.ndarray:
        """J^T samples (P,)."""
        samples = samples_of(samples, len(x), 1)[:, 0]
        fields = self._by_field(theta, x)
        return np.concatenate([part.vjp(own, here, samples[rows]) for part, own, rows, here in fields])

    def gradient(self, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Derivative (q, d + 1) with respect to the point; zero in the last coordinate."""
        result = np.zeros((len(x), self.inputs))
        for part, own, rows, here in self._by_field(theta, x):
            result[rows, :-1] = part.gradient(own, here)
        return result

    def linearize(self, theta: np.ndarray, x: np.ndarray) -> Recomputed:
        """J as an operator."""
        return Recomputed(self, parameters(theta, self.size), points(x, self.inputs))

    def as_dict(self) -> dict:
        """The parts, for checkpoints."""
        return {"kind": "PerField", "parts": [part.as_dict() for part in self.parts]}

    @property
    def _stops(self) -> np.ndarray:
        return np.cumsum([part.size for part in self.parts])

    def _by_field(self, theta: np.ndarray, x: np.ndarray) -> list[tuple]:
        """For each part itself, its parameters, the numbers of its points, and the points (k, d)."""
        x = points(x, self.inputs)
        if not np.isin(x[:, -1], np.arange(len(self.parts))).all():
            raise InputError(f"x: the last coordinate is the number of the field, 0 to {len(self.parts) - 1}; it is "
                             f"between {x[:, -1].min():g} and {x[:, -1].max():g} here")
        rows = [np.flatnonzero(x[:, -1] == i) for i in range(len(self.parts))]
        return [(part, own, chosen, np.ascontiguousarray(x[chosen, :-1]))
                for part, own, chosen in zip(self.parts, self.split(theta), rows, strict=True)]
