"""Finite-element functions at quadrature points: the matrix ``B`` of METHOD section 1."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp


@dataclass(frozen=True, eq=False)
class Sampling:
    """Quadrature of a basis.

    Parameters
    ----------
    points
        ``(q, d)``, ordered element by element.
    weights
        ``(q,)``, Jacobian determinant included.
    matrix
        ``(q, n)``: takes the coefficients of a function to its values at the points.
    """

    points: np.ndarray
    weights: np.ndarray
    matrix: sp.csr_array

    @cached_property
    def _blocks(self) -> dict:
        return {}

    def moment_blocks(self, size: int) -> list[MomentBlock]:
        """The rows of ``B^T W`` that blocks of at most `size` points contribute to, computed once per size."""
        if size not in self._blocks:
            starts = range(0, len(self.weights), size)
            self._blocks[size] = [self._block(start, min(start + size, len(self.weights))) for start in starts]
        return self._blocks[size]

    def _block(self, start: int, stop: int) -> MomentBlock:
        rows = self.matrix[start:stop]
        dofs, local = np.unique(rows.indices, return_inverse=True)
        data = rows.data * np.repeat(self.weights[start:stop], np.diff(rows.indptr))
        weighted = sp.csr_array((data, local, rows.indptr), shape=(stop - start, dofs.size))
        return MomentBlock(slice(start, stop), dofs, sp.csr_array(weighted.T))


@dataclass(frozen=True, eq=False)
class MomentBlock:
    """``moments[dofs] += matrix @ samples[points]`` for one block of quadrature points."""

    points: slice
    dofs: np.ndarray
    matrix: sp.csr_array


def quadrature_sampling(basis) -> Sampling:
    """Sampling of a scalar scikit-fem basis (cells or facets)."""
    shapes = [np.asarray(field[0]) for field in basis.basis]
    elements, per_element = basis.dx.shape
    shapes = [np.broadcast_to(shape, (elements, per_element)) for shape in shapes]
    local = len(shapes)
    data = np.stack(shapes, axis=-1).reshape(elements * per_element, local)
    dofs = np.repeat(basis.element_dofs[:local].T, per_element, axis=0)
    indptr = np.arange(elements * per_element + 1) * local
    matrix = sp.csr_array((data.ravel(), dofs.ravel(), indptr), shape=(elements * per_element, basis.N))
    matrix.sort_indices()
    points = np.asarray(basis.global_coordinates())
    points = points.reshape(points.shape[0], -1).T
    return Sampling(np.ascontiguousarray(points), basis.dx.ravel(), matrix)


def active_dofs(basis) -> np.ndarray:
    """Unknowns with a shape function that does not vanish on the cells or facets of the basis."""
    shapes = [np.abs(np.asarray(field[0])).reshape(-1, *basis.dx.shape) for field in basis.basis]
    touched = [shape.max(axis=(0, 2)) > 1e-14 for shape in shapes]
    used = [dofs[touch] for dofs, touch in zip(basis.element_dofs, touched, strict=True)]
    return np.unique(np.concatenate(used))
