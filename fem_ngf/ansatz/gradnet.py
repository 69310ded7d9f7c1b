"""Gradient networks: vector fields with a symmetric Jacobian by construction.

Chaudhari, Pranav and Moura, "Gradient Networks", arXiv 2404.07361 (METHOD section 5).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch

from ..errors import InputError
from . import torch_module as functional
from .checks import checked_box, torch_device
from .gradnet_functions import (
    FIXED,
    NON_DECREASING,
    cascaded,
    cascaded_table,
    initial_cascaded,
    initial_modular,
    modular,
    modular_table,
)


def _checked(net, counts: tuple[str, ...], softmax: bool):
    """The box of a gradient network in normal form, after checking its other fields.

    Raises
    ------
    InputError
        Naming the first field that cannot be used.
    """
    for name in ("dimension", "components", *counts):
        value = getattr(net, name)
        entries = value if isinstance(value, tuple) else (value,)
        if not entries or not all(isinstance(entry, int | np.integer) and entry >= 1 for entry in entries):
            raise InputError(f"{name}={value!r} must be positive integers")
    known = ("learnable", *FIXED, *(("softmax",) if softmax else ()))
    if net.activation not in known:
        raise InputError(f"activation={net.activation!r} is unknown here: choose one of {', '.join(known)}")
    if net.monotone and net.activation not in ("learnable", "softmax", *NON_DECREASING):
        raise InputError(f"activation={net.activation!r} is not monotone: choose another, or monotone=False")
    if not np.isfinite(net.scale) or net.scale <= 0:
        raise InputError(f"scale={net.scale!r} must be a positive number")
    torch_device(net.device)
    return checked_box(net.box, net.dimension)


def _listed_fields(self) -> dict:
    """Numbers, strings and lists from which `ansatz_from_dict` rebuilds the network (its device apart)."""
    fields = {**asdict(self), "box": [list(corner) for corner in self.box]}
    del fields["device"]
    if isinstance(self.neurons, tuple):
        fields["neurons"] = list(self.neurons)
    return {"kind": type(self).__name__, **fields}


_dimension = property(lambda self: self.dimension, doc="Dimension d of the points and of the values.")
_size = property(lambda self: self.table.size, doc="Number P of parameters.")


@dataclass(frozen=True)
class GradNetC:
    r"""Cascaded gradient network: one matrix W, L layers.

    .. math::
        z_0 = \beta_0 (W x + b_0), \quad z_l = \beta_l (W x + b_l) + \alpha_{l-1} \sigma_{l-1}(z_{l-1}), \quad
        f = W^T \alpha_{L-1} \sigma_{L-1}(z_{L-1}) + b_L

    Parameters
    ----------
    dimension : int
        d; the network maps (q, d) to (q, d).
    neurons, layers : int
        Rows n of W and number L of layers.
    activation : str
        "learnable" (a sum of `components` shifted and scaled tanh for each layer, with learnt coefficients), or a
        fixed elementwise function: tanh, sigmoid, softplus, and if not monotone sine, gauss, gelu.
    components : int
        Terms of a learnable activation.
    monotone : bool
        mGradNet: alpha, beta and the activation's coefficients positive (through softplus) and the activation
        non-decreasing, so that the Jacobian is positive semi-definite: the gradient of a convex potential.
    box : pair of tuples of float
        Where the neurons lie at `initial`. Default: the unit cube.
    scale : float
        Steepness of the neurons at `initial`.
    device : str
        "cpu" or "cuda".

    Raises
    ------
    InputError
        If a field cannot be used.
    """

    structured: ClassVar[bool] = True
    dimension: int = 2
    neurons: int = 9
    layers: int = 2
    activation: str = "learnable"
    components: int = 4
    monotone: bool = False
    box: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    scale: float = 1.0
    device: str = "cpu"

    def __post_init__(self):
        object.__setattr__(self, "box", _checked(self, ("neurons", "layers"), softmax=False))

    inputs = outputs = _dimension
    size = _size
    __call__, linearize = functional.value, functional.linearize
    initial, as_dict, table = initial_cascaded, _listed_fields, cached_property(cascaded_table)

    def function(self, theta: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """f (q, d) at x (q, d), torch in and out."""
        return cascaded(self.table.unpack(theta), x, self.activation)


@dataclass(frozen=True)
class GradNetM:
    r"""Modular gradient network: a sum of single layers, each with its own activation.

    .. math:: f = b + \sum_i W_i^T \alpha_i \sigma_i(\beta_i (W_i x + b_i))

    Parameters
    ----------
    neurons : tuple of int
        Rows of each matrix W_i.
    activation : str
        As in `GradNetC`, or "softmax" (then alpha_i and beta_i are numbers, not vectors).
    dimension, components, monotone, box, scale, device
        As in `GradNetC`.

    Raises
    ------
    InputError
        If a field cannot be used.
    """

    structured: ClassVar[bool] = True
    dimension: int = 2
    neurons: tuple[int, ...] = (8, 8)
    activation: str = "learnable"
    components: int = 2
    monotone: bool = False
    box: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    scale: float = 1.0
    device: str = "cpu"

    def __post_init__(self):
        if not isinstance(self.neurons, tuple | list):
            raise InputError(f"neurons={self.neurons!r} must be a tuple, such as (8, 8): one entry for each module")
        object.__setattr__(self, "neurons", tuple(self.neurons))
        object.__setattr__(self, "box", _checked(self, ("neurons",), softmax=True))

    inputs = outputs = _dimension
    size = _size
    __call__, linearize = functional.value, functional.linearize
    initial, as_dict, table = initial_modular, _listed_fields, cached_property(modular_table)

    def function(self, theta: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """f (q, d) at x (q, d), torch in and out."""
        return modular(self.table.unpack(theta), x, self.activation, self.neurons)
