"""Where the weights of a network lie in its flat parameter vector.

A network is a chain of hidden layers followed by one affine output. A hidden
layer is either *dense*, ``z -> sigma(W z + b)``, or *residual*,
``z -> z + V sigma(W z + b)``. Each matrix is one `Affine` map; its Jacobian at
a point is the outer product of a delta and the map's input.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Affine:
    """One matrix (rows x columns), row by row, then its bias if it has one."""

    rows: int
    columns: int
    start: int
    biased: bool = True

    @property
    def bias_start(self) -> int:
        """Index of the first bias, one past the matrix."""
        return self.start + self.rows * self.columns

    @property
    def stop(self) -> int:
        """One past the last parameter of this map."""
        return self.bias_start + (self.rows if self.biased else 0)

    def matrix(self, theta):
        """The (rows, columns) view into `theta`, a numpy vector or a torch tensor."""
        return theta[self.start:self.bias_start].reshape(self.rows, self.columns)

    def bias(self, theta):
        """The (rows,) view into `theta`; empty when the map has no bias."""
        return theta[self.bias_start:self.stop]

    def apply(self, theta: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """W z + b for inputs z (q, columns) -> (q, rows)."""
        if self.biased:
            return torch.addmm(self.bias(theta), z, self.matrix(theta).T)
        return z @ self.matrix(theta).T


@dataclass(frozen=True)
class Layer:
    """A hidden layer: its inner map and, if residual, the map V back to the stream."""

    inner: Affine
    back: Affine | None = None


@dataclass(frozen=True)
class Layout:
    """All maps of a network in the order of its parameter vector."""

    layers: tuple[Layer, ...]
    output: Affine

    @property
    def size(self) -> int:
        """The number P of parameters."""
        return self.output.stop


def layout(features: int, widths: tuple[int, ...], residual: tuple[bool, ...], outputs: int) -> Layout:
    """Place the maps of a network one after the other.

    Parameters
    ----------
    features : int
        Number of inputs of the first hidden layer.
    widths : tuple of int
        Neurons of each hidden layer; for a residual layer, of its inner part.
    residual : tuple of bool
        Which hidden layers are residual; as long as `widths`.
    outputs : int
        Number of components of the network's value.
    """
    layers, stream, start = [], features, 0
    for width, is_residual in zip(widths, residual, strict=True):
        inner = Affine(width, stream, start)
        back = Affine(stream, width, inner.stop, biased=False) if is_residual else None
        layers.append(Layer(inner, back))
        start = inner.stop if back is None else back.stop
        stream = stream if is_residual else width
    return Layout(tuple(layers), Affine(outputs, stream, start))
