"""Global covectors and matrices from the derivatives of densities.

Patterns never change: element values go to their places by one bincount, without sorting.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import scipy.sparse as sp

from ..errors import InputError, SolveError, real_array
from .contraction import moves, pair_dofs
from .density import Argument, Density

DENSE = 4
"""Times as many places as entries up to which a matrix is summed up densely: sorting takes longer."""


@dataclass(frozen=True, eq=False)
class Integral:
    """A density of several fields integrated over the points of one basis.

    spaces are the fields' tables; starts[i] is where field i's unknowns begin in the vector that they belong to.
    """

    density: Density
    spaces: tuple
    starts: tuple
    pairs: dict = field(default_factory=dict)

    def arguments(self, vectors, tracked):
        """Arguments of the density from one vector a field (None for a test function)."""
        return [Argument(space, None if vector is None else space.coefficients(vector), i in tracked)
                for i, (space, vector) in enumerate(zip(self.spaces, vectors, strict=True))]

    def restricted(self, cells):
        """The integral over the elements that are cells of a mask (cells of the mesh,), or are facets of these."""
        chosen = np.flatnonzero(cells[self.density.cells])
        tables = {id(space): space.restricted(chosen) for space in self.spaces}  # the first serves state and test
        return replace(self, density=self.density.restricted(chosen), pairs={},
                       spaces=tuple(tables[id(space)] for space in self.spaces))


@dataclass(frozen=True)
class Block:
    """A matrix block to assemble: the numbers of its row fields and of its column fields, and its shape."""

    rows: tuple
    cols: tuple
    shape: tuple
    left_out: tuple = ()

    @property
    def pairs(self):
        """All (row field, column field) but those left out."""
        return [(i, j) for i in self.rows for j in self.cols if (i, j) not in self.left_out]


class Assembler:
    """Assembles sums of integrals over the same fields; keeps the patterns of the blocks it has met."""

    def __init__(self, integrals):
        self.integrals, self._patterns = tuple(integrals), {}

    def value(self, vectors):
        """Sum of the integrals, a float."""
        return sum(each.density.value(each.arguments(vectors, ())) for each in self.integrals)

    def visited(self, vectors):
        """Arguments (q, d) and weights (q,) of all calls of each law, in the order of the fields."""
        found = {}
        for each in self.integrals:
            for i, parts in each.density.visited(each.arguments(vectors, ())).items():
                found.setdefault(i, []).extend(parts)
        return [tuple(np.concatenate(part) for part in zip(*found[i], strict=True)) for i in sorted(found)]

    def covector(self, vectors, fields, size):
        """First derivative with respect to some fields, (size,); SolveError when it is not finite."""
        result = np.zeros(size)
        for each in self.integrals:
            loads = each.density.first(each.arguments(vectors, fields), fields)
            for i, load in loads.items():
                start, space = each.starts[i], each.spaces[i]
                result[start:start + space.size] += np.bincount(space.layout.ravel(), minlength=space.size,
                                                                weights=load.cpu().numpy().ravel())
        check_finite(result)
        return result

    def matrices(self, vectors, blocks, tracked):
        """Second derivatives {name: csr} of named blocks {name: Block}, in one pass over the points.

        Patterns are fixed, but for the unknowns of laws, which move with the state. Blocks that are structurally zero
        come as empty matrices; SolveError when an entry is not finite.
        """
        wanted = [ij for block in blocks.values() for ij in block.pairs]
        found = [each.density.second(each.arguments(vectors, tracked), wanted, each.pairs) for each in self.integrals]
        return {name: self._matrix(name, block, found) for name, block in blocks.items()}

    def _matrix(self, name, block, found):
        spaces = self.integrals[0].spaces
        moving = [ij for ij in block.pairs if moves(spaces[ij[0]], spaces[ij[1]])]
        fixed = self._fixed(name, replace(block, left_out=tuple(moving)), found)
        entries = [self._shifted(each, ij, entry) for each, values in zip(self.integrals, found, strict=True)
                   for ij in moving for entry in values.get(ij, ())]
        if not entries:
            return fixed
        rows, cols, values = (np.concatenate(part) for part in zip(*entries, strict=True))
        check_finite(values)
        if np.prod(block.shape) > DENSE * len(values):
            return fixed + sp.coo_matrix((values, (rows, cols)), shape=block.shape).tocsr()
        places = rows * np.intp(block.shape[1]) + cols
        return fixed + sp.csr_matrix(np.bincount(places, values, np.prod(block.shape)).reshape(block.shape))

    @staticmethod
    def _shifted(integral, ij, entry):
        rows, cols, values = entry
        return rows + integral.starts[ij[0]], cols + integral.starts[ij[1]], values

    def _fixed(self, name, block, found):
        """The part of a block whose pattern never changes."""
        if not any(ij in values for values in found for ij in block.pairs):
            return sp.csr_matrix(block.shape)
        parts = [self._element_values(each, values, i, j)
                 for each, values in zip(self.integrals, found, strict=True) for i, j in block.pairs]
        if name not in self._patterns:
            self._patterns[name] = self._pattern(block)
        return self._patterns[name].matrix(parts[0] if len(parts) == 1 else np.concatenate(parts))

    @staticmethod
    def _element_values(integral, values, i, j):
        if (i, j) in values:
            return values[i, j].cpu().numpy().ravel()
        rows, cols = integral.spaces[i].layout, integral.spaces[j].layout
        return np.zeros(rows.size * cols.shape[0] * cols.shape[2])

    def _pattern(self, block):
        rows, cols = [], []
        for each in self.integrals:
            for i, j in block.pairs:
                row, col = pair_dofs(each.spaces[i], each.spaces[j])
                rows.append(row + each.starts[i])
                cols.append(col + each.starts[j])
        return Pattern.of(block.shape, np.concatenate(rows), np.concatenate(cols))


def checked_vector(name, value, size):
    """The value as a contiguous float vector (size,); InputError when its shape differs."""
    value = np.ascontiguousarray(real_array(name, value))
    if value.shape != (size,):
        raise InputError(f"{name} has shape {value.shape}; it must be ({size},)")
    return value


@dataclass(frozen=True, eq=False)
class Pattern:
    """A CSR pattern and the slot in it of every element value."""

    shape: tuple[int, int]
    indptr: np.ndarray
    indices: np.ndarray
    slots: np.ndarray

    @classmethod
    def of(cls, shape, rows, cols):
        """Pattern of the entries (rows, cols), integer arrays of equal length with repetitions.

        Two linear-time counting sorts; this runs once per form.
        """
        order = _counting_sort(cols, shape[1])
        order = order[_counting_sort(rows[order], shape[0])]
        rows, cols = rows[order], cols[order]
        first = np.ones(len(rows), bool)
        first[1:] = (rows[1:] != rows[:-1]) | (cols[1:] != cols[:-1])
        slots = np.empty(len(rows), np.intp)
        slots[order] = np.cumsum(first) - 1
        indptr = np.r_[0, np.cumsum(np.bincount(rows[first], minlength=shape[0]))].astype(np.int32)
        return cls(shape, indptr, cols[first].astype(np.int32), slots)

    def matrix(self, values):
        """Sum element values into a CSR matrix.

        Raises
        ------
        SolveError
            When a value is not finite.
        """
        data = np.bincount(self.slots, weights=values, minlength=len(self.indices))
        check_finite(data)
        matrix = sp.csr_matrix((data, self.indices, self.indptr), shape=self.shape)
        matrix.has_sorted_indices = matrix.has_canonical_format = True
        return matrix


def _counting_sort(keys, bound):
    """Stable permutation that sorts integer keys below bound (scipy's csr -> csc conversion is a counting sort)."""
    ones = np.ones(len(keys), np.int8)
    return sp.csr_matrix((ones, keys, np.arange(len(keys) + 1)), shape=(len(keys), bound)).tocsc().indices


def check_finite(values):
    """Raise SolveError when assembled values are not finite."""
    if not np.isfinite(np.sum(values)) and not np.all(np.isfinite(values)):
        raise SolveError("assembly gave values that are not finite: a coefficient overflowed or is undefined")
