"""Growing a network without changing its function (METHOD section 4).

Hidden layers are counted from 0. All functions take the network first and are
methods of `MLP`; a parameter direction is carried along by growing it with
zero weights and biases.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from ..errors import InputError
from .activations import value_and_slope
from .checks import parameters, points, tensor
from .propagate import backward, blocks, forward


def widen(net, theta: np.ndarray, layer: int, weights: np.ndarray, biases: np.ndarray):
    """Insert k neurons in hidden layer `layer` with zero outgoing weights.

    Parameters
    ----------
    theta : (P,)
    layer : int
        Hidden layer, from 0.
    weights, biases : (k, n), (k,)
        Incoming weights on the layer's inputs (see `layer_inputs`).

    Returns
    -------
    MLP, (P',)
        The wider network and its parameters; the function is the same.

    Raises
    ------
    InputError
        If there is no such layer or the shapes do not fit.
    """
    theta = parameters(theta, net.size)
    weights, biases = _candidates(net, layer, weights, biases)
    widths = list(net.widths)
    widths[layer + 1] += len(biases)
    grown = dataclasses.replace(net, widths=tuple(widths))
    result = np.zeros(grown.size)
    for old, new in zip(net.maps, grown.maps, strict=True):
        new.matrix(result)[:old.rows, :old.columns] = old.matrix(theta)
        new.bias(result)[:old.rows] = old.bias(theta)
    grown.maps[layer].matrix(result)[-len(biases):] = weights
    grown.maps[layer].bias(result)[-len(biases):] = biases
    return grown, result


def layer_inputs(net, theta: np.ndarray, x: np.ndarray, layer: int) -> np.ndarray:
    """Inputs (q, n) of the neurons of hidden layer `layer` at points x (q, d)."""
    weights, x = tensor(parameters(theta, net.size), net.device), points(x, net.inputs)
    _check_layer(net, layer)
    sigma, result = value_and_slope(net.activation), []
    for block in blocks(len(x)):
        records: list = []
        forward(net.maps, sigma, weights, net.features(x[block]), records)
        result.append(records[layer][0].cpu().numpy())
    return np.concatenate(result)


def candidate_samples(
    net, theta: np.ndarray, x: np.ndarray, layer: int, weights: np.ndarray, biases: np.ndarray
) -> np.ndarray:
    """Tangent functions of the outgoing weights of candidate neurons, at points x (q, d).

    Parameters
    ----------
    theta, x, layer, weights, biases
        As in `widen`: k candidates.

    Returns
    -------
    (q, k, m) or (q, c, k, m)
        Derivative of the value with respect to each of the m outgoing weights, in the order of `outgoing`. In the last
        hidden layer of a network with one output that is sigma(w.z + b) itself.
    """
    weights, biases = _candidates(net, layer, weights, biases)
    z = tensor(layer_inputs(net, theta, x, layer), net.device)
    sigma = value_and_slope(net.activation)
    phi = sigma(torch.addmm(tensor(biases, net.device), z, tensor(weights, net.device).T))[0]
    following = net.maps[layer + 1]
    if net.outputs == 1 and following is net.maps[-1]:
        return phi[:, :, None].cpu().numpy()
    theta, parts = tensor(parameters(theta, net.size), net.device), []
    for block in blocks(len(x)):
        sites = backward(net.maps, sigma, theta, net.features(points(x, net.inputs)[block]))[1]
        deltas = next(site.deltas for site in sites if site.affine is following)
        parts.append((phi[block, None, :, None] * deltas[:, :, None, :]).cpu().numpy())
    result = np.concatenate(parts)
    return result[:, 0] if net.outputs == 1 else result


def outgoing(net, layer: int, neurons: np.ndarray | slice = slice(None)) -> np.ndarray:
    """Places in theta (k, m) of the outgoing weights of neurons of hidden layer `layer`."""
    _check_layer(net, layer)
    return net.maps[layer + 1].matrix(np.arange(net.size))[:, neurons].T


def _check_layer(net, layer: int) -> None:
    hidden = len(net.maps) - 1
    if not 0 <= layer < hidden:
        raise InputError(f"layer={layer} does not exist: the network has hidden layers 0 to {hidden - 1}")


def _candidates(net, layer: int, weights, biases) -> tuple[np.ndarray, np.ndarray]:
    _check_layer(net, layer)
    columns = net.maps[layer].columns
    weights, biases = np.asarray(weights, dtype=np.float64), np.asarray(biases, dtype=np.float64)
    if weights.ndim != 2 or weights.shape[1] != columns or biases.shape != weights.shape[:1] or not len(biases):
        raise InputError(
            f"weights {weights.shape} and biases {biases.shape} do not fit: layer {layer} needs (k, {columns}) and (k,)"
        )
    return weights, biases
