"""Derivatives through torch.func, as methods of the ansatz values that are written in torch.

They need ``function(theta (P,), x (q, d)) -> (q, c)`` of torch tensors, in which
points do not influence each other, and ``size``, ``inputs``, ``outputs`` and
``device``.
"""

from __future__ import annotations

import numpy as np
import torch

from .checks import jacobian_buffer, parameters, points, samples_of, tensor
from .linearized import Recomputed
from .propagate import blocks

BLOCK = 4096


def value(self, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Samples (q,) or (q, c) at points x (q, d)."""
    weights, x, out = _arguments(self, theta, x)
    for block in blocks(len(x), BLOCK):
        out[block] = self.function(weights, tensor(x[block], self.device)).detach().cpu().numpy()
    return out[:, 0] if self.outputs == 1 else out


def jacobian(self, theta: np.ndarray, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """dN/dtheta (q, P) or (q, c, P), written into `out` if given: reverse mode at each point, vectorised."""
    weights, x, _ = _arguments(self, theta, x)
    out = jacobian_buffer(out, len(x), self.outputs, self.size)
    target = out[:, None, :] if out.ndim == 2 else out
    one = torch.func.jacrev(lambda weights, point: self.function(weights, point[None])[0])
    pointwise = torch.func.vmap(one, (None, 0))
    for block in blocks(len(x), BLOCK):
        target[block] = pointwise(weights, tensor(x[block], self.device)).detach().cpu().numpy()
    return out


def jvp(self, theta: np.ndarray, x: np.ndarray, dtheta: np.ndarray) -> np.ndarray:
    """J dtheta, samples (q,) or (q, c): the transpose of the reverse pass, which is linear in its cotangent."""
    weights, x, out = _arguments(self, theta, x)
    direction = tensor(parameters(dtheta, self.size, "dtheta"), self.device)
    for block in blocks(len(x), BLOCK):
        here = tensor(x[block], self.device)
        value, pull = torch.func.vjp(lambda weights, here=here: self.function(weights, here), weights)
        push = torch.func.vjp(lambda samples, pull=pull: pull(samples)[0], torch.zeros_like(value))[1]
        out[block] = push(direction)[0].detach().cpu().numpy()
    return out[:, 0] if self.outputs == 1 else out


def vjp(self, theta: np.ndarray, x: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """J^T samples (P,) of samples (q,) or (q, c), by reverse mode."""
    weights, x, _ = _arguments(self, theta, x)
    samples, out = samples_of(samples, len(x), self.outputs), torch.zeros_like(weights)
    for block in blocks(len(x), BLOCK):
        here = tensor(x[block], self.device)
        pull = torch.func.vjp(lambda weights, here=here: self.function(weights, here), weights)[1]
        out = out + pull(tensor(samples[block], self.device))[0]
    return out.detach().cpu().numpy()


def gradient(self, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Derivative (q, d) or (q, c, d) with respect to the points."""
    weights, x, _ = _arguments(self, theta, x)
    out = np.empty((len(x), self.outputs, self.inputs))
    pointwise = torch.func.vmap(torch.func.jacrev(lambda point: self.function(weights, point[None])[0]))
    for block in blocks(len(x), BLOCK):
        out[block] = pointwise(tensor(x[block], self.device)).detach().cpu().numpy()
    return out[:, 0] if self.outputs == 1 else out


def linearize(self, theta: np.ndarray, x: np.ndarray) -> Recomputed:
    """J as an operator; nothing is cached."""
    return Recomputed(self, parameters(theta, self.size), points(x, self.inputs))


def _arguments(self, theta, x) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Weights on the device, checked points, and room for samples (q, c)."""
    x = points(x, self.inputs)
    return tensor(parameters(theta, self.size), self.device), x, np.empty((len(x), self.outputs))
