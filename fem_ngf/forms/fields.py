"""What a weak form's residual sees: fields with values and gradients, and the points they are taken at.

Fields evaluate lazily: a residual that never asks for ``grad(m)`` never pays for it, and whatever was not asked for
is known to have a zero derivative.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from ..errors import InputError

OF_NUMPY = ("a residual calls a function of numpy or of skfem.helpers, which has no derivative here; take torch's "
            "functions and fem_ngf's dot, grad, ...")


class Field:
    """A finite-element function at the quadrature points of a block of elements.

    It stands for its values in every torch operation and in arithmetic; its gradient is ``helpers.grad(u)``.
    Shapes are component-first: values (..., elements, points), gradient (..., d, elements, points).

    Parameters
    ----------
    sample : callable kind -> tensor
        Evaluates "value" or "grad".
    tracked : bool
        Whether derivatives with respect to the field are wanted.
    """

    def __init__(self, sample: Callable[[str], torch.Tensor], tracked: bool = False):
        self._sample, self._tracked, self.leaves = sample, tracked, {}

    def _evaluate(self, kind):
        if kind not in self.leaves:
            values = self._sample(kind)
            self.leaves[kind] = values.requires_grad_() if self._tracked else values
        return self.leaves[kind]

    @property
    def value(self):
        """Values, (..., elements, points)."""
        return self._evaluate("value")

    @property
    def grad(self):
        """Gradient, (..., d, elements, points)."""
        return self._evaluate("grad")

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return func(*_unwrap(args), **_unwrap(kwargs or {}))

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.value, name)

    def __getitem__(self, index):
        return self.value[index]

    def __call__(self, *arguments):
        raise InputError("a residual called a field like a law; give Law(basis on a mesh of its arguments) as the "
                         "parameter")

    def __array__(self, *args, **kwargs):
        raise InputError(OF_NUMPY)


def as_tensor(array, device="cpu"):
    """A float64 copy of an array as a torch tensor."""
    return torch.from_numpy(np.array(array, dtype=float, order="C")).to(device)


def _unwrap(items):
    if isinstance(items, Field):
        return items.value
    if isinstance(items, (tuple, list)):
        return type(items)(_unwrap(item) for item in items)
    if isinstance(items, dict):
        return {key: _unwrap(item) for key, item in items.items()}
    return items


def _binary(function, swapped=False):
    def method(self, other):
        other = other.value if isinstance(other, Field) else other
        return function(other, self.value) if swapped else function(self.value, other)

    return method


for _name in ("add", "sub", "mul", "truediv", "pow", "lt", "le", "gt", "ge"):
    setattr(Field, f"__{_name}__", _binary(getattr(operator, _name)))
for _name in ("add", "sub", "mul", "truediv", "pow"):
    setattr(Field, f"__r{_name}__", _binary(getattr(operator, _name), swapped=True))
Field.__neg__ = lambda self: -self.value
Field.__abs__ = lambda self: abs(self.value)


@dataclass(frozen=True, eq=False)
class Lazy:
    """A tensor that is made when it is first asked for."""

    make: Callable[[], torch.Tensor]

    @cached_property
    def array(self) -> torch.Tensor:
        """It, from then on."""
        return self.make()


@dataclass(frozen=True, eq=False)
class Points:
    """The quadrature points of a block of elements, given to residuals as ``w``.

    ``w.x`` (d, elements, points), ``w.h`` (elements, points), ``w.n`` (d, elements, points; facets only), in
    evolutions the time ``w.t`` (a tensor of one number), and the form's data by name.
    """

    arrays: dict
    block: slice

    def __getattr__(self, name):
        if name.startswith("__") or name not in self.arrays:
            known = ", ".join(f"w.{key}" for key in self.arrays)
            raise AttributeError(f"w.{name} is unknown here; this form has {known}")
        found = self.arrays[name]
        found = found.array if isinstance(found, Lazy) else found
        return found[..., self.block, :] if isinstance(found, torch.Tensor) and found.ndim > 1 else found
