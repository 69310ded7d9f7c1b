"""Pointwise differentiation of densities, block by block of elements, and its assembly on elements.

A density is a torch function of fields at quadrature points. Its first derivatives with respect to the values and
gradients of a field give a covector, its second derivatives a matrix. Derivatives are taken of sums, because torch
imports sympy when it is given `grad_outputs`. Blocks are small enough for all intermediate arrays to stay in the
processor's cache; every torch operation runs on as many threads as torch is told to use (one is best for blocks of
this size: `torch.set_num_threads(1)` or OMP_NUM_THREADS=1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..errors import InputError
from .contraction import moves, pair, point_entries
from .fields import Field, Lazy, Points, as_tensor
from .laws import LawTable, LocalLaw

BLOCK_POINTS = 12288


@dataclass(frozen=True, eq=False)
class Argument:
    """One argument of a density: its tables and coefficients (components, ne, nb), or None for a test function."""

    shapes: object
    coefficients: torch.Tensor | None
    tracked: bool = False

    def field(self, block, density):
        """The field, or law, on a block; a test function is zero there and present for its derivatives only."""
        if isinstance(self.shapes, LawTable):
            return LocalLaw(self.shapes, self.coefficients, self.tracked)
        if self.coefficients is not None:
            return Field(lambda kind: self.shapes.sample(kind, self.coefficients, block), self.tracked)
        zero, tail = density.dx.new_zeros(()), (block.stop - block.start, density.dx.shape[1])
        axes = {"value": self.shapes.shape, "grad": (*self.shapes.shape, density.dimension)}
        return Field(lambda kind: zero.expand(*axes[kind], *tail), self.tracked)


@dataclass(frozen=True, eq=False)
class Density:
    """A pointwise torch function ``function(fields, w)`` on the quadrature points of one basis.

    dx are the weights (ne, nq), cells the numbers (ne,) of the mesh's cells that the elements are, or are facets of.
    """

    function: Callable
    arrays: dict
    dx: torch.Tensor
    dimension: int
    cells: np.ndarray

    @classmethod
    def on(cls, basis, function, arrays, device):
        """The density on the quadrature points of a scikit-fem basis."""
        dx = np.broadcast_to(basis.dx, (basis.nelems, basis.X.shape[-1]))
        cells = np.arange(basis.nelems) if basis.tind is None else np.asarray(basis.tind)
        return cls(function, arrays, as_tensor(dx, device), basis.mesh.dim(), cells)

    def restricted(self, chosen):
        """The density on some of its elements (int array)."""
        def part(array):
            if isinstance(array, Lazy):
                return Lazy(lambda: array.array[..., chosen, :])
            return array[..., chosen, :] if isinstance(array, torch.Tensor) and array.ndim > 1 else array

        return replace(self, dx=self.dx[chosen], cells=self.cells[chosen],
                       arrays={name: part(array) for name, array in self.arrays.items()})

    def blocks(self):
        """Slices of elements, each with about BLOCK_POINTS points."""
        elements, points = self.dx.shape
        size = max(1, BLOCK_POINTS // max(points, 1)) if self.dx.device.type == "cpu" else max(elements, 1)
        return [slice(start, min(start + size, elements)) for start in range(0, elements, size)]

    def evaluate(self, arguments, block):
        """Fields on a block and the density there, (block, nq)."""
        shape = (block.stop - block.start, self.dx.shape[1])
        fields = [argument.field(block, self) for argument in arguments]
        density = self.function(fields, Points(self.arrays, block))
        density = density.value if isinstance(density, Field) else torch.as_tensor(density, dtype=self.dx.dtype)
        if density.ndim > 2 or any(n not in (1, m) for n, m in zip(density.shape[::-1], shape[::-1], strict=False)):
            raise InputError(f"the residual returned shape {tuple(density.shape)} at {shape} points; return one number "
                             "a point (a dot, ddot or trace is missing)")
        return fields, density.expand(shape)

    def value(self, arguments):
        """The integral of the density, a float."""
        with torch.no_grad():
            return float(sum((self.evaluate(arguments, block)[1] * self.dx[block]).sum() for block in self.blocks()))

    def visited(self, arguments):
        """Calls of the laws {i: list of (arguments (q, d), weights (q,))}."""
        found = {}
        with torch.no_grad():
            for block in self.blocks():
                for i, law in enumerate(self.evaluate(arguments, block)[0]):
                    if isinstance(law, LocalLaw):
                        weights = self.dx[block].flatten().cpu().numpy()
                        found.setdefault(i, []).extend((torch.stack(y, dim=-1).flatten(0, 1).cpu().numpy(), weights)
                                                       for y in law.arguments.values())
        return found

    def first(self, arguments, rows):
        """First derivatives with respect to arguments[i], i in rows: loads on elements {i: (components, ne, nb)}."""
        loads = {i: torch.zeros(arguments[i].shapes.layout.shape, dtype=self.dx.dtype, device=self.dx.device)
                 for i in rows}
        with torch.enable_grad():
            for block in self.blocks():
                fields, density = self.evaluate(arguments, block)
                for i, kind, samples in _derivatives(density, fields, rows):
                    loads[i][:, block] += arguments[i].shapes.load(kind, _flat(samples), block)
        return loads

    def second(self, arguments, wanted, pairs):
        """Second derivatives for the pairs (i, j) in wanted: element values {(i, j): pair.entries}, zero ones left out.

        Pairs with a law have a list of entries (rows, cols, values) instead. pairs caches the contractions from one
        call to the next.
        """
        values = {}
        with torch.enable_grad():
            for block in self.blocks():
                fields, density = self.evaluate(arguments, block)
                for (i, j), tangents in _tangents(density, fields, wanted).items():
                    spaces = arguments[i].shapes, arguments[j].shapes
                    if moves(*spaces):
                        entries = point_entries(tangents, (fields[i], fields[j]), spaces, block, self.dx[block])
                        values.setdefault((i, j), []).extend(entries)
                        continue
                    if (i, j) not in pairs:
                        pairs[i, j] = pair(*spaces)
                    if (i, j) not in values:
                        make = torch.empty if block.start == 0 else torch.zeros
                        values[i, j] = make(pairs[i, j].entries, dtype=self.dx.dtype, device=self.dx.device)
                    pairs[i, j].element_values(tangents, block, values[i, j])
        return values


def _flat(samples):
    """(..., ne, nq) -> (J, ne, nq)."""
    return samples.reshape(-1, *samples.shape[-2:])


def _derivatives(density, fields, rows, create_graph=False):
    """List of (i, kind, derivative of the density with respect to that leaf), structurally zero ones left out."""
    if not density.requires_grad:
        return []
    leaves = [(i, kind, leaf) for i in rows for kind, leaf in fields[i].leaves.items()]
    if not leaves:
        return []
    found = torch.autograd.grad(density.sum(), [leaf for *_, leaf in leaves], create_graph=create_graph,
                                allow_unused=True)
    return [(i, kind, c) for (i, kind, _), c in zip(leaves, found, strict=True) if c is not None]


def _tangents(density, fields, wanted):
    """Pointwise second derivatives {(i, j): {(kind, kind): (J, J, ne, nq)}}, structurally zero ones left out."""
    tangents = {}
    for i, kind, c in _derivatives(density, fields, sorted({i for i, _ in wanted}), create_graph=True):
        partners = sorted({column for row, column in wanted if row == i})
        columns = [(j, k, leaf) for j in partners for k, leaf in fields[j].leaves.items()]
        if not (c.requires_grad and columns):
            continue
        leaves = [leaf for *_, leaf in columns]
        rows = [torch.autograd.grad(component.sum(), leaves, retain_graph=True, allow_unused=True)
                for component in _flat(c)]
        for (j, k, leaf), column in zip(columns, zip(*rows, strict=True), strict=True):
            if any(entry is not None for entry in column):
                entries = [torch.zeros_like(leaf) if entry is None else entry for entry in column]
                tangents.setdefault((i, j), {})[kind, k] = torch.stack([_flat(entry) for entry in entries])
    return tangents
