"""Forward and backward passes of a fully connected network, and its linearisation.

A network is a chain of affine maps with an activation between them; the flat parameter vector holds the maps one after
the other. The backward pass collects *sites*: for every map its inputs (q, columns) and its deltas (q, c, rows), the
derivatives of the c outputs with respect to the map's result. Its Jacobian at a point is the outer product of the two,
and every derivative with respect to the parameters follows from the sites alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from .activations import Pair
from .checks import jacobian_buffer, parameters, samples_of, tensor

Sigma = Callable[[torch.Tensor], Pair]
BLOCK = 2048  # points a block: the block of a Jacobian stays in cache


@dataclass(frozen=True)
class Affine:
    """One matrix (rows x columns), row by row, then its bias, from index `start` of the parameter vector."""

    rows: int
    columns: int
    start: int

    @property
    def bias_start(self) -> int:
        """Index of the first bias, one past the matrix."""
        return self.start + self.rows * self.columns

    @property
    def stop(self) -> int:
        """One past the last parameter of this map."""
        return self.bias_start + self.rows

    def matrix(self, theta):
        """The (rows, columns) view into `theta`, a numpy vector or a torch tensor."""
        return theta[self.start:self.bias_start].reshape(self.rows, self.columns)

    def bias(self, theta):
        """The (rows,) view into `theta`."""
        return theta[self.bias_start:self.stop]

    def apply(self, theta: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """W z + b for inputs z (q, columns) -> (q, rows)."""
        return torch.addmm(self.bias(theta), z, self.matrix(theta).T)


def affine_maps(widths: tuple[int, ...]) -> tuple[Affine, ...]:
    """The maps of a network with these widths (features, hidden layers, outputs), one after the other."""
    maps, start = [], 0
    for columns, rows in zip(widths[:-1], widths[1:], strict=True):
        maps.append(Affine(rows, columns, start))
        start = maps[-1].stop
    return tuple(maps)


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
    maps: tuple[Affine, ...], sigma: Sigma, theta: torch.Tensor, z: torch.Tensor, records: list | None = None
) -> torch.Tensor:
    """The network's value (q, c) at features z (q, n); `records` receives (inputs, slopes or None) of each map."""
    for affine in maps[:-1]:
        hidden, slope = sigma(affine.apply(theta, z))
        if records is not None:
            records.append((z, slope))
        z = hidden
    if records is not None:
        records.append((z, None))
    return maps[-1].apply(theta, z)


def backward(
    maps: tuple[Affine, ...], sigma: Sigma, theta: torch.Tensor, z: torch.Tensor
) -> tuple[torch.Tensor, list[Site]]:
    """Value (q, c) at features z (q, n), and the sites from last to first."""
    records: list = []
    value = forward(maps, sigma, theta, z, records)
    outputs, (*hidden, last) = maps[-1].rows, records
    delta = torch.eye(outputs, dtype=z.dtype, device=z.device).expand(len(z), outputs, outputs)
    sites = [Site(maps[-1], last[0], delta)]
    for affine, above, (inputs, slope) in reversed(list(zip(maps[:-1], maps[1:], hidden, strict=True))):
        matrix = above.matrix(theta)
        delta = (matrix.expand(len(z), -1, -1) if above is maps[-1] else delta @ matrix) * slope[:, None, :]
        sites.append(Site(affine, inputs, delta))
    return value, sites


def write_jacobian(sites: list[Site], out: torch.Tensor) -> None:
    """Write the outer products of deltas and inputs into `out` (q, c, P), whatever its strides."""
    for affine, inputs, deltas in sites:
        target = out[..., affine.start:affine.bias_start].unflatten(-1, (affine.rows, affine.columns))
        torch.mul(deltas[..., None], inputs[:, None, None, :], out=target)
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
        affine.bias(out).add_(weighted.sum(0))


def kernel(left: list[Site], right: list[Site]) -> torch.Tensor:
    """J_left J_right^T, (q c, p c): products of activation Grams and delta Grams summed over the maps."""
    total = 0.0
    for (_, inputs, deltas), (_, other_inputs, other_deltas) in zip(left, right, strict=True):
        activation = inputs @ other_inputs.T + 1.0
        q, c = deltas.shape[:2]
        p = len(other_inputs)
        delta = deltas.reshape(q * c, -1) @ other_deltas.reshape(p * c, -1).T
        total = total + (delta.view(q, c, p, c) * activation[:, None, :, None]).view(q * c, p * c)
    return total


@dataclass(frozen=True, eq=False)
class NetworkLinearization:
    """The `Linearization` of a network on cached activations and deltas: memory O(q x neurons), far below q x P.

    Parameters
    ----------
    parts
        For each block of points the value (q, c) and the sites.
    size, outputs
        Numbers P of parameters and c of components.
    """

    parts: tuple[tuple[torch.Tensor, list[Site]], ...]
    size: int
    outputs: int

    @property
    def value(self) -> np.ndarray:
        """Samples (q,) or (q, c)."""
        return self._joined([value for value, _ in self.parts])

    def jvp(self, dtheta: np.ndarray) -> np.ndarray:
        """J dtheta, samples (q,) or (q, c)."""
        direction = tensor(parameters(dtheta, self.size, "dtheta"), self._device)
        return self._joined([push(sites, direction) for _, sites in self.parts])

    def vjp(self, samples: np.ndarray) -> np.ndarray:
        """J^T samples (P,)."""
        counts = [len(value) for value, _ in self.parts]
        samples = tensor(samples_of(samples, sum(counts), self.outputs), self._device)
        out = torch.zeros(self.size, dtype=torch.float64, device=self._device)
        for (_, sites), part in zip(self.parts, torch.split(samples, counts), strict=True):
            pull(sites, part, out)
        return out.cpu().numpy()

    def dual_gram(self) -> np.ndarray:
        """J J^T (q, q), or (q c, q c) with the components of a point side by side; J is not formed.

        Sum over the matrices of (Gram of the inputs) * (Gram of the deltas): O(q^2 neurons) operations.
        """
        counts = [self.outputs * len(value) for value, _ in self.parts]
        stops = np.cumsum([0, *counts])
        gram = np.empty((stops[-1], stops[-1]))
        for i, (_, left) in enumerate(self.parts):
            for j, (_, right) in enumerate(self.parts[:i + 1]):
                entry = kernel(left, right).cpu().numpy()
                gram[stops[i]:stops[i + 1], stops[j]:stops[j + 1]] = entry
                gram[stops[j]:stops[j + 1], stops[i]:stops[i + 1]] = entry.T
        return gram

    def jacobian(self, out: np.ndarray | None = None) -> np.ndarray:
        """J (q, P) or (q, c, P) in full."""
        counts = [len(value) for value, _ in self.parts]
        out = jacobian_buffer(out, sum(counts), self.outputs, self.size)
        target = torch.from_numpy(out[:, None, :] if out.ndim == 2 else out)
        for (_, sites), part in zip(self.parts, torch.split(target, counts), strict=True):
            there = part if self._device == part.device else torch.empty_like(part, device=self._device)
            write_jacobian(sites, there)
            if there is not part:
                part.copy_(there)
        return out

    @property
    def _device(self) -> torch.device:
        return self.parts[0][0].device

    def _joined(self, parts: list[torch.Tensor]) -> np.ndarray:
        joined = torch.cat(parts).cpu().numpy()
        return joined[:, 0] if self.outputs == 1 else joined
