"""The two formulas of gradient networks in torch, the tables of their parameters, and random starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
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


def initial_cascaded(net, generator: np.random.Generator) -> np.ndarray:
    """Parameters (P,) of a `GradNetC`: in every layer, neuron i passes through a random point of the box."""
    pieces = {"W": _directions(net, net.neurons, generator), "last": np.zeros(net.dimension)}
    through = _box_points(net, net.layers * net.neurons, generator).reshape(net.layers, net.neurons, -1)
    pieces["b"] = -np.einsum("nd,lnd->ln", pieces["W"], through)
    pieces["beta"] = _spread((net.layers, net.neurons), generator)
    pieces["alpha"] = _spread((net.layers, net.neurons), generator) / net.neurons
    return _packed(net, pieces, net.layers, generator)


def initial_modular(net, generator: np.random.Generator) -> np.ndarray:
    """Parameters (P,) of a `GradNetM`: every neuron passes through a random point of the box."""
    total = sum(net.neurons)
    pieces = {"W": _directions(net, total, generator), "last": np.zeros(net.dimension)}
    pieces["b"] = -np.sum(pieces["W"] * _box_points(net, total, generator), axis=1)
    scales = len(net.neurons) if net.activation == "softmax" else total
    pieces["beta"] = _spread(scales, generator)
    pieces["alpha"] = _spread(scales, generator) / total
    return _packed(net, pieces, len(net.neurons), generator)


def _packed(net, pieces: dict, activations: int, generator: np.random.Generator) -> np.ndarray:
    """The pieces with those of the learnable activations, as a vector; random signs of alpha unless monotone."""
    if not net.monotone:
        pieces["alpha"] = pieces["alpha"] * generator.choice([-1.0, 1.0], pieces["alpha"].shape)
    if net.activation == "learnable":
        shape = (activations, net.components)
        pieces["height"] = np.full(shape, 1.0 / net.components)
        pieces["slope"] = _spread(shape, generator)
        pieces["shift"] = generator.uniform(-1.0, 1.0, shape)
    return net.table.pack({name: torch.from_numpy(np.asarray(value)) for name, value in pieces.items()}).numpy()


def _directions(net, count: int, generator: np.random.Generator) -> np.ndarray:
    """Random directions (count, d), scaled to pre-activations of size `net.scale` over the box."""
    w = generator.standard_normal((count, net.dimension))
    half = 0.5 * (np.array(net.box[1]) - np.array(net.box[0]))
    return net.scale * w / np.linalg.norm(w * half, axis=1, keepdims=True)


def _box_points(net, count: int, generator: np.random.Generator) -> np.ndarray:
    return generator.uniform(*map(np.array, net.box), (count, net.dimension))


def _spread(shape, generator: np.random.Generator) -> np.ndarray:
    """Positive numbers between 1/2 and 2, log-uniform."""
    return 2.0 ** generator.uniform(-1.0, 1.0, shape)
