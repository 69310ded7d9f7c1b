"""Fixed sparsity patterns: element values go to their places by one bincount, without sorting."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from ..errors import SolveError


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
