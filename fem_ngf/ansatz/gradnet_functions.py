"""The two formulas of gradient networks in torch, and the tables of their parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch

from .activations import ACTIVATIONS

NON_DECREASING = ("tanh", "sigmoid", "softplus", "relu")
FIXED: Mapping[str, Callable] = MappingProxyType({
    name: ACTIVATIONS[name] for name in (*NON_DECREASING, "sine", "gauss", "gelu", "silu")
})


@dataclass(frozen=True)
class Table:
    """The named pieces of a parameter vector: (name, shape, positive)."""

    entries: tuple[tuple[str, tuple[int, ...], bool], ...]

    @property
    def size(self) -> int:
        """Number P of parameters."""
        return sum(torch.Size(shape).numel() for _, shape, _ in self.entries)

    def unpack(self, theta: torch.Tensor) -> dict[str, torch.Tensor]:
        """The pieces of theta (P,); positive ones through softplus."""
        pieces = torch.split(theta, [torch.Size(shape).numel() for _, shape, _ in self.entries])
        return {
            name: _softplus(piece).view(shape) if positive else piece.view(shape)
            for (name, shape, positive), piece in zip(self.entries, pieces, strict=True)
        }

    def pack(self, pieces: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The inverse of `unpack`."""
        return torch.cat([
            (_inverse_softplus(pieces[name]) if positive else pieces[name]).reshape(-1)
            for name, _, positive in self.entries
        ])


def cascaded_table(net) -> Table:
    """Parameters of a `GradNetC`."""
    n, layers, d, positive = net.neurons, net.layers, net.dimension, net.monotone
    entries = [("W", (n, d), False), ("b", (layers, n), False), ("last", (d,), False),
               ("beta", (layers, n), positive), ("alpha", (layers, n), positive)]
    return Table((*entries, *_learnable(net, layers)))


def modular_table(net) -> Table:
    """Parameters of a `GradNetM`; the matrices W_i stand one below the other."""
    total, modules, d, positive = sum(net.neurons), len(net.neurons), net.dimension, net.monotone
    scales = (modules,) if net.activation == "softmax" else (total,)
    entries = [("W", (total, d), False), ("b", (total,), False), ("last", (d,), False),
               ("beta", scales, positive), ("alpha", scales, positive)]
    return Table((*entries, *_learnable(net, modules)))


def cascaded(p: Mapping[str, torch.Tensor], x: torch.Tensor, activation: str) -> torch.Tensor:
    """f (q, d) of a cascaded network with pieces p at points x (q, d)."""
    projected = x @ p["W"].T
    hidden = torch.zeros_like(projected)
    for layer in range(len(p["beta"])):
        z = p["beta"][layer] * (projected + p["b"][layer]) + hidden
        hidden = p["alpha"][layer] * _activate(p, z, activation, layer)
    return hidden @ p["W"] + p["last"]


def modular(p: Mapping[str, torch.Tensor], x: torch.Tensor, activation: str, neurons: tuple[int, ...]) -> torch.Tensor:
    """f (q, d) of a modular network with pieces p at points x (q, d); neurons of each module."""
    alpha, beta = p["alpha"], p["beta"]
    if activation == "softmax":
        alpha, beta = (torch.cat([v[i].expand(n) for i, n in enumerate(neurons)]) for v in (alpha, beta))
    z = beta * (x @ p["W"].T + p["b"])
    parts = [_activate(p, part, activation, i) for i, part in enumerate(torch.split(z, neurons, dim=-1))]
    return (alpha * torch.cat(parts, dim=-1)) @ p["W"] + p["last"]


def _activate(p: Mapping[str, torch.Tensor], z: torch.Tensor, activation: str, index: int) -> torch.Tensor:
    """sigma_index(z), z (q, n): a softmax over the neurons, or elementwise."""
    if activation == "softmax":
        return torch.softmax(z, dim=-1)
    if activation != "learnable":
        return FIXED[activation](z)[0]
    terms = torch.tanh(z[..., None] * p["slope"][index] + p["shift"][index])
    return terms @ p["height"][index]


def _learnable(net, count: int) -> list:
    """Heights, slopes and shifts of the tanh terms of `count` learnable activations."""
    if net.activation != "learnable":
        return []
    shape = (count, net.components)
    return [("height", shape, net.monotone), ("slope", shape, net.monotone), ("shift", shape, False)]


def _softplus(raw: torch.Tensor) -> torch.Tensor:
    return torch.logaddexp(raw, torch.zeros_like(raw))


def _inverse_softplus(value: torch.Tensor) -> torch.Tensor:
    return value + torch.log(-torch.expm1(-value))
