"""Forward and backward passes of a network on one block of points.

The backward pass collects *sites*: for every affine map its inputs
(q, columns) and its deltas (q, c, rows), the derivatives of the c outputs with
respect to the map's result. Every derivative with respect to the parameters
follows from the sites alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch

from .activations import Pair
from .layout import Affine, Layout

Sigma = Callable[[torch.Tensor], Pair]
BLOCK = 1024  # points a block: the block of a Jacobian stays in cache


class Site(NamedTuple):
    """One affine map with its inputs (q, columns) and deltas (q, c, rows)."""

    affine: Affine
    inputs: torch.Tensor
    deltas: torch.Tensor


def blocks(points: int, size: int = BLOCK) -> Iterator[slice]:
    """Consecutive slices of at most `size` that cover `points` points."""
    for start in range(0, max(points, 1), size):
        yield slice(start, min(start + size, points))


def forward(
    plan: Layout, sigma: Sigma, theta: torch.Tensor, z: torch.Tensor, records: list | None = None
) -> torch.Tensor:
    """The network's value (q, c) at features z (q, n); `records` receives (z, hidden values, slopes) of each layer."""
    for layer in plan.layers:
        hidden, slope = sigma(layer.inner.apply(theta, z))
        if records is not None:
            records.append((z, hidden, slope))
        z = hidden if layer.back is None else z + layer.back.apply(theta, hidden)
    if records is not None:
        records.append((z, None, None))
    return plan.output.apply(theta, z)


def backward(
    plan: Layout, sigma: Sigma, theta: torch.Tensor, z: torch.Tensor
) -> tuple[torch.Tensor, list[Site], torch.Tensor]:
    """Value (q, c), sites, and derivative (q, c, n) with respect to the features z (q, n)."""
    records: list = []
    value = forward(plan, sigma, theta, z, records)
    outputs = plan.output.rows
    unit = torch.eye(outputs, dtype=z.dtype, device=z.device).expand(len(z), outputs, outputs)
    sites = [Site(plan.output, records[-1][0], unit)]
    delta = plan.output.matrix(theta).expand(len(z), outputs, plan.output.columns)
    for layer, (inputs, hidden, slope) in zip(reversed(plan.layers), reversed(records[:-1]), strict=True):
        stream = delta
        if layer.back is not None:
            sites.append(Site(layer.back, hidden, stream))
            delta = stream @ layer.back.matrix(theta)
        delta = delta * slope[:, None, :]
        sites.append(Site(layer.inner, inputs, delta))
        delta = delta @ layer.inner.matrix(theta)
        if layer.back is not None:
            delta = delta + stream
    return value, sites, delta


def write_jacobian(sites: list[Site], out: torch.Tensor) -> None:
    """Write the outer products of deltas and inputs into `out` (q, c, P), whatever its strides."""
    for affine, inputs, deltas in sites:
        target = out[..., affine.start:affine.bias_start].unflatten(-1, (affine.rows, affine.columns))
        torch.mul(deltas[..., None], inputs[:, None, None, :], out=target)
        if affine.biased:
            out[..., affine.bias_start:affine.stop] = deltas


def push(sites: list[Site], dtheta: torch.Tensor) -> torch.Tensor:
    """J dtheta (q, c), two small products a map."""
    total = 0.0
    for affine, inputs, deltas in sites:
        total = total + torch.einsum("qcr,qr->qc", deltas, affine.apply(dtheta, inputs))
    return total


def pull(sites: list[Site], samples: torch.Tensor, out: torch.Tensor) -> None:
    """Add J^T samples to `out` (P,); samples (q, c)."""
    for affine, inputs, deltas in sites:
        weighted = torch.einsum("qcr,qc->qr", deltas, samples)
        affine.matrix(out).addmm_(weighted.T, inputs)
        if affine.biased:
            affine.bias(out).add_(weighted.sum(0))


def kernel(left: list[Site], right: list[Site]) -> torch.Tensor:
    """J_left J_right^T, (q c, p c): products of activation Grams and delta Grams summed over the maps."""
    total = 0.0
    for (affine, inputs, deltas), (_, other_inputs, other_deltas) in zip(left, right, strict=True):
        activation = inputs @ other_inputs.T + (1.0 if affine.biased else 0.0)
        q, c = deltas.shape[:2]
        p = len(other_inputs)
        delta = deltas.reshape(q * c, -1) @ other_deltas.reshape(p * c, -1).T
        total = total + (delta.view(q, c, p, c) * activation[:, None, :, None]).view(q * c, p * c)
    return total
