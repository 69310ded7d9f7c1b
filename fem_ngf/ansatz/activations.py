"""Activations with their slopes, as pairs of torch operations.

Each entry maps pre-activations to `(values, slopes)`; the slope reuses the
value where that is cheaper than a second evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch

from ..errors import InputError

Pair = tuple[torch.Tensor, torch.Tensor]


def _tanh(a: torch.Tensor) -> Pair:
    z = torch.tanh(a)
    return z, torch.addcmul(torch.ones((), dtype=z.dtype, device=z.device), z, z, value=-1.0)


def _sigmoid(a: torch.Tensor) -> Pair:
    z = torch.sigmoid(a)
    return z, z * (1.0 - z)


def _softplus(a: torch.Tensor) -> Pair:
    return torch.logaddexp(a, torch.zeros_like(a)), torch.sigmoid(a)


def _gelu(a: torch.Tensor) -> Pair:
    cdf = 0.5 * torch.erfc(a * -math.sqrt(0.5))
    return a * cdf, cdf + a * torch.exp(-0.5 * a * a) / math.sqrt(2.0 * math.pi)


def _silu(a: torch.Tensor) -> Pair:
    s = torch.sigmoid(a)
    return a * s, s * (1.0 + a * (1.0 - s))


def _sine(a: torch.Tensor) -> Pair:
    return torch.sin(a), torch.cos(a)


def _relu(a: torch.Tensor) -> Pair:
    return torch.relu(a), (a > 0).to(a.dtype)


def _relu2(a: torch.Tensor) -> Pair:
    r = torch.relu(a)
    return r * r, 2.0 * r


def _relu3(a: torch.Tensor) -> Pair:
    r = torch.relu(a)
    return r * r * r, 3.0 * r * r


def _gauss(a: torch.Tensor) -> Pair:
    z = torch.exp(-0.5 * a * a)
    return z, -a * z


ACTIVATIONS: Mapping[str, Callable[[torch.Tensor], Pair]] = MappingProxyType({
    "tanh": _tanh, "sigmoid": _sigmoid, "softplus": _softplus, "gelu": _gelu, "silu": _silu, "sine": _sine,
    "relu": _relu, "relu2": _relu2, "relu3": _relu3, "gauss": _gauss,
})


def value_alone(name: str) -> Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor | None]]:
    """The function a -> (sigma(a), something or None): as `value_and_slope`, without a slope that costs as much."""
    return (lambda a: (torch.sin(a), None)) if name == "sine" else value_and_slope(name)


def value_and_slope(name: str) -> Callable[[torch.Tensor], Pair]:
    """The function a -> (sigma(a), sigma'(a)) of an activation.

    Raises
    ------
    InputError
        If there is no activation of that name.
    """
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise InputError(f"activation={name!r} is unknown: choose one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]
