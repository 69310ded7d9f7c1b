"""The Jacobian at a set of points as an operator (memory far below q x P)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from .checks import jacobian_buffer, parameters, samples_of, tensor
from .propagate import Site, blocks, kernel, pull, push, write_jacobian


@dataclass(frozen=True, eq=False)
class Linearized:
    """A network's Jacobian J on cached activations and deltas, in blocks of points.

    Parameters
    ----------
    parts
        For each block of points the value (q, c) and the sites (see `propagate`).
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


@dataclass(frozen=True, eq=False)
class Recomputed:
    """The same operator for any ansatz, from its own jvp, vjp and Jacobian; nothing is cached."""

    ansatz: object
    theta: np.ndarray
    x: np.ndarray

    @property
    def value(self) -> np.ndarray:
        """Samples (q,) or (q, c)."""
        return self.ansatz(self.theta, self.x)

    def jvp(self, dtheta: np.ndarray) -> np.ndarray:
        """J dtheta, samples (q,) or (q, c)."""
        return self.ansatz.jvp(self.theta, self.x, dtheta)

    def vjp(self, samples: np.ndarray) -> np.ndarray:
        """J^T samples (P,)."""
        return self.ansatz.vjp(self.theta, self.x, samples)

    def jacobian(self, out: np.ndarray | None = None) -> np.ndarray:
        """J (q, P) or (q, c, P) in full."""
        return self.ansatz.jacobian(self.theta, self.x, out)

    def dual_gram(self) -> np.ndarray:
        """J J^T (q, q) or (q c, q c), from J in blocks of points."""
        parts = [self.ansatz.jacobian(self.theta, self.x[block]) for block in blocks(len(self.x), 4096)]
        rows = np.concatenate([part.reshape(-1, part.shape[-1]) for part in parts])
        return rows @ rows.T
