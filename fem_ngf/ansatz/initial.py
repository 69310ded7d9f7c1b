"""Random start of a network: neurons whose transitions lie inside the box."""

from __future__ import annotations

import numpy as np

from .activations import value_and_slope
from .checks import tensor

PROBES = 256  # random points of the box on which the layers are scaled
SMALLEST = 1e-8  # a layer of constant inputs is not scaled up beyond this


def initial_parameters(net, generator: np.random.Generator) -> np.ndarray:
    """Parameters (P,) of an `MLP` at which its value is ``net.start``.

    Every hidden neuron gets a random direction on its layer's inputs, scaled so
    that its pre-activation has standard deviation ``net.scale`` (times a factor
    between 1/2 and 2, log-uniform) over random points of the box, and a bias that
    puts its zero between the 5 % and 95 % quantiles of these: no neuron starts
    dead or saturated, at any depth and for any activation.
    """
    theta = np.zeros(net.size)
    lower, upper = (np.array(corner) for corner in net.box)
    z = net.features(generator.uniform(lower, upper, (PROBES, net.inputs))).cpu()
    sigma = value_and_slope(net.activation)
    *hidden, output = net.maps
    for affine in hidden:
        affine.matrix(theta)[:], affine.bias(theta)[:] = neurons_across(z.numpy(), affine.rows, net.scale, generator)
        z = sigma(affine.apply(tensor(theta), z))[0]
    shape = (output.rows, output.columns)
    output.matrix(theta)[:] = net.output_scale * generator.standard_normal(shape) / np.sqrt(shape[1])
    output.bias(theta)[:] = net.start
    return theta


def neurons_across(
    z: np.ndarray, count: int, steepness: float, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Weights (count, n) and biases (count,) of random neurons whose zeros divide the inputs z (q, n)."""
    directions = generator.standard_normal((count, z.shape[1]))
    spread = np.std(z @ directions.T, axis=0)
    slopes = steepness * 2.0 ** generator.uniform(-1.0, 1.0, count) / np.maximum(spread, SMALLEST)
    weights = directions * slopes[:, None]
    levels = generator.uniform(0.05, 0.95, count)
    offsets = [np.quantile(values, level) for values, level in zip((z @ weights.T).T, levels, strict=True)]
    return weights, -np.array(offsets)
