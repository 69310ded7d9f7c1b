"""Random starts of gradient networks."""

from __future__ import annotations

import numpy as np
import torch


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
