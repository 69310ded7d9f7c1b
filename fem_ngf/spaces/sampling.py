"""Finite-element functions at quadrature points: the matrix ``B`` of METHOD section 1."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from skfem import CellBasis, ElementVector

from ..errors import InputError
from ..meshes import boundary


@dataclass(frozen=True, eq=False)
class Sampling:
    """Quadrature of a basis.

    Parameters
    ----------
    points
        ``(q, d)``, ordered element by element.
    weights
        ``(q,)`` or ``(q c,)``, one for each row of the matrix, Jacobian determinant included.
    matrix
        ``(q, n)`` or ``(q c, n)``: takes the coefficients of a function to its values at the points, the components of
        a point side by side.
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
            starts = range(0, len(self.points), size)
            self._blocks[size] = [self._block(start, min(start + size, len(self.points))) for start in starts]
        return self._blocks[size]

    def _block(self, start: int, stop: int) -> MomentBlock:
        components = len(self.weights) // len(self.points)
        chosen = slice(start * components, stop * components)
        rows = self.matrix[chosen]
        dofs, local = np.unique(rows.indices, return_inverse=True)
        data = rows.data * np.repeat(self.weights[chosen], np.diff(rows.indptr))
        weighted = sp.csr_array((data, local, rows.indptr), shape=(rows.shape[0], dofs.size))
        return MomentBlock(slice(start, stop), dofs, sp.csr_array(weighted.T))


@dataclass(frozen=True, eq=False)
class MomentBlock:
    """``moments[dofs] += matrix @ rows`` for the samples of one block of quadrature points, as rows."""

    points: slice
    dofs: np.ndarray
    matrix: sp.csr_array


def quadrature_sampling(basis) -> Sampling:
    """Sampling of a scikit-fem basis of scalar or vector functions (cells or facets)."""
    elements, per_element = basis.dx.shape
    shapes = [np.asarray(field[0]) for field in basis.basis]
    components = shapes[0].shape[0] if shapes[0].ndim == 3 else 1
    shapes = [np.broadcast_to(shape, (components, elements, per_element)) for shape in shapes]
    local, rows = len(shapes), elements * per_element * components
    data = np.stack(shapes, axis=-1).transpose(1, 2, 0, 3).reshape(rows, local)
    dofs = np.repeat(basis.element_dofs[:local].T, per_element * components, axis=0)
    matrix = sp.csr_array((data.ravel(), dofs.ravel(), np.arange(rows + 1) * local), shape=(rows, basis.N))
    if components > 1:
        matrix.eliminate_zeros()  # a basis function of a vector element has one component
    matrix.sort_indices()
    points = np.asarray(basis.global_coordinates())
    points = points.reshape(points.shape[0], -1).T
    return Sampling(np.ascontiguousarray(points), np.repeat(basis.dx.ravel(), components), matrix)


def chosen_unknowns(name: str, given, basis, size: int) -> np.ndarray:
    """Sorted numbers of some of the `size` unknowns of a basis.

    Parameters
    ----------
    name
        Of the argument, for the message.
    given
        Numbers, a mask ``(size,)``, a boundary's name or a list of names, what ``basis.get_dofs()`` returns, or None.
    basis
        Whose mesh has the boundaries; None where there is none.

    Raises
    ------
    InputError
        If the numbers are no unknowns, or the mesh has no such boundary.
    """
    given = [given] if isinstance(given, str) else () if given is None else given
    names = list(given) if isinstance(given, list | tuple | set | frozenset) else []
    if not isinstance(given, np.ndarray) and hasattr(given, "all"):
        given = given.all()
    if names and all(isinstance(each, str) for each in names):
        if basis is None:
            raise InputError(f"{name} is {names}, but there is no mesh with boundaries; give numbers of unknowns")
        return np.unique(basis.get_dofs(boundary(basis.mesh, names)).all())
    array = np.atleast_1d(given)
    if array.size == 0:
        return np.zeros(0, dtype=np.int64)
    if array.dtype == bool:
        if array.shape != (size,):
            raise InputError(f"{name} is a mask of shape {array.shape}; there are {size} unknowns: ({size},)")
        return np.flatnonzero(array)
    if array.dtype.kind not in "iu" or array.min() < 0 or array.max() >= size:
        held = f"{array.min()}..{array.max()} of type {array.dtype}" if array.dtype.kind in "iuf" else array.dtype
        raise InputError(f"{name} holds {held}; give numbers of unknowns from 0 to {size - 1}, a mask, or names of "
                         "boundaries such as 'left'")
    return np.unique(array)


def is_lagrange(basis) -> bool:
    """Whether the unknowns of a basis are point values at nodes (hierarchical elements have none)."""
    element = basis.elem.elem if isinstance(basis.elem, ElementVector) else basis.elem
    return set(element.dofnames) == {"u"} and bool(np.isfinite(basis.doflocs).all())


def active_dofs(basis) -> np.ndarray:
    """Unknowns with a shape function that does not vanish on the cells or facets of the basis."""
    if isinstance(basis, CellBasis):
        return np.unique(basis.element_dofs)
    shapes = [np.abs(np.asarray(field[0])).reshape(-1, *basis.dx.shape) for field in basis.basis]
    touched = [shape.max(axis=(0, 2)) > 1e-14 for shape in shapes]
    used = [dofs[touch] for dofs, touch in zip(basis.element_dofs, touched, strict=True)]
    return np.unique(np.concatenate(used))
