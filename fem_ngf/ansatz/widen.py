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
from .layout import Affine
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
    weights, biases = _candidates(net, layer, weights, biases, deepen=False)
    widths = list(net.widths)
    widths[layer + 1] += len(biases)
    grown = dataclasses.replace(net, widths=tuple(widths))
    result = np.zeros(grown.size)
    for old, new in zip(_maps(net), _maps(grown), strict=True):
        new.matrix(result)[:old.rows, :old.columns] = old.matrix(theta)
        new.bias(result)[:old.rows if old.biased else 0] = old.bias(theta)
    inner = grown.layout.layers[layer].inner
    inner.matrix(result)[-len(biases):] = weights
    inner.bias(result)[-len(biases):] = biases
    return grown, result


def deepen(net, theta: np.ndarray, layer: int, weights: np.ndarray, biases: np.ndarray):
    """Insert a residual layer ``z + V sigma(W z + b)``, V = 0, after hidden layer `layer`.

    Parameters, results and errors as in `widen`; the inputs of the new neurons
    are ``layer_inputs(theta, x, layer, deepen=True)``. The new layer is ``layer + 1``.
    """
    theta = parameters(theta, net.size)
    weights, biases = _candidates(net, layer, weights, biases, deepen=True)
    widths = (*net.widths[:layer + 2], len(biases), *net.widths[layer + 2:])
    residual = (*net.residual[:layer + 1], True, *net.residual[layer + 1:])
    grown = dataclasses.replace(net, widths=widths, residual=residual)
    new = grown.layout.layers[layer + 1]
    place = new.inner.start
    middle = np.concatenate((weights.ravel(), biases, np.zeros(new.back.stop - new.back.start)))
    return grown, np.concatenate((theta[:place], middle, theta[place:]))


def layer_inputs(net, theta: np.ndarray, x: np.ndarray, layer: int, deepen: bool = False) -> np.ndarray:
    """Inputs (q, n) of the neurons of hidden layer `layer`, or of a residual layer inserted after it."""
    weights, x = tensor(parameters(theta, net.size), net.device), points(x, net.inputs)
    _check_layer(net, layer)
    sigma, result = value_and_slope(net.activation), []
    for block in blocks(len(x)):
        records: list = []
        forward(net.layout, sigma, weights, net.features(x[block]), records)
        result.append(records[layer + 1 if deepen else layer][0].cpu().numpy())
    return np.concatenate(result)


def candidate_samples(
    net, theta: np.ndarray, x: np.ndarray, layer: int, weights: np.ndarray, biases: np.ndarray, deepen: bool = False
) -> np.ndarray:
    """Tangent functions of the outgoing weights of candidate neurons, at points x (q, d).

    Parameters
    ----------
    theta, x, layer, weights, biases
        As in `widen` (or, with ``deepen=True``, as in `deepen`): k candidates.

    Returns
    -------
    (q, k), (q, k, m) or (q, c, k, m)
        Derivative of the value with respect to each of the m outgoing weights, in the order of `outgoing`. With one
        output (c = 1), (q, k) = sigma(w.z + b) itself where the output is the only consumer, else (q, k, m).
    """
    weights, biases = _candidates(net, layer, weights, biases, deepen)
    z = tensor(layer_inputs(net, theta, x, layer, deepen), net.device)
    sigma = value_and_slope(net.activation)
    phi = sigma(torch.addmm(tensor(biases, net.device), z, tensor(weights, net.device).T))[0]
    consumers = _consumers(net, layer)
    if not deepen and net.outputs == 1 and consumers == [net.layout.output]:
        return phi.cpu().numpy()
    theta, parts = tensor(parameters(theta, net.size), net.device), []
    for block in blocks(len(x)):
        deltas = _deltas(net, theta, net.features(points(x, net.inputs)[block]), layer, deepen)
        parts.append((phi[block, None, :, None] * deltas[:, :, None, :]).cpu().numpy())
    result = np.concatenate(parts)
    return result[:, 0] if net.outputs == 1 else result


def outgoing(net, layer: int, neurons: np.ndarray | slice = slice(None)) -> np.ndarray:
    """Places in theta (k, m) of the outgoing weights of neurons of hidden layer `layer`."""
    _check_layer(net, layer)
    index = np.arange(net.size)
    return np.concatenate([consumer.matrix(index)[:, neurons] for consumer in _consumers(net, layer)]).T


def _maps(net) -> list[Affine]:
    inner_maps = [a for layer in net.layout.layers for a in (layer.inner, layer.back) if a is not None]
    return [*inner_maps, net.layout.output]


def _consumers(net, layer: int) -> list[Affine]:
    """Maps that read the neurons of a hidden layer: its V, or all maps on the stream up to the next dense layer."""
    layers = net.layout.layers
    if layers[layer].back is not None:
        return [layers[layer].back]
    result = []
    for later in layers[layer + 1:]:
        result.append(later.inner)
        if later.back is None:
            return result
    return [*result, net.layout.output]


def _deltas(net, theta: torch.Tensor, z: torch.Tensor, layer: int, deepen: bool) -> torch.Tensor:
    """Deltas (q, c, m) at the results of the consumers, or at the stream where a residual layer would be inserted."""
    sites = {site.affine: site.deltas for site in backward(net.layout, value_and_slope(net.activation), theta, z)[1]}
    if not deepen:
        return torch.cat([sites[consumer] for consumer in _consumers(net, layer)], dim=-1)
    if layer + 1 < len(net.layout.layers) and net.layout.layers[layer + 1].back is not None:
        following = net.layout.layers[layer + 1]
        return sites[following.back] + sites[following.inner] @ following.inner.matrix(theta)
    following = net.layout.layers[layer + 1].inner if layer + 1 < len(net.layout.layers) else net.layout.output
    return sites[following] @ following.matrix(theta)


def _check_layer(net, layer: int) -> None:
    hidden = len(net.layout.layers)
    if not 0 <= layer < hidden:
        raise InputError(f"layer={layer} does not exist: the network has hidden layers 0 to {hidden - 1}")


def _candidates(net, layer: int, weights, biases, deepen: bool) -> tuple[np.ndarray, np.ndarray]:
    _check_layer(net, layer)
    inner = net.layout.layers[layer].inner
    columns = inner.columns if not deepen else _stream_after(net, layer)
    weights, biases = np.asarray(weights, dtype=np.float64), np.asarray(biases, dtype=np.float64)
    if weights.ndim != 2 or weights.shape[1] != columns or biases.shape != weights.shape[:1] or not len(biases):
        raise InputError(
            f"weights {weights.shape} and biases {biases.shape} do not fit: layer {layer} needs (k, {columns}) and (k,)"
        )
    return weights, biases


def _stream_after(net, layer: int) -> int:
    following = net.layout.layers[layer + 1:]
    return following[0].inner.columns if following else net.layout.output.columns
