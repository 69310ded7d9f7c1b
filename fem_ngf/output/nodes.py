"""Finite-element functions as nodal values on linear or quadratic cells, exactly.

Files and pictures know cells with values at their nodes. Every function of
degree at most two is written without loss: it is evaluated at the nodes of
the linear or quadratic Lagrange element of its mesh, whatever its own element.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import skfem
from skfem import refdom

from ..errors import InputError

_CONSTANT = (skfem.ElementLineP0, skfem.ElementTriP0, skfem.ElementTetP0, skfem.ElementQuad0, skfem.ElementHex0)
_LINEAR = (skfem.ElementLineP1, skfem.ElementTriP1, skfem.ElementTetP1, skfem.ElementQuad1, skfem.ElementHex1)

_LAGRANGE = {
    refdom.RefLine: (skfem.ElementLineP1, skfem.ElementLineP2),
    refdom.RefTri: (skfem.ElementTriP1, skfem.ElementTriP2),
    refdom.RefTet: (skfem.ElementTetP1, skfem.ElementTetP2),
    refdom.RefQuad: (skfem.ElementQuad1, skfem.ElementQuad2),
    refdom.RefHex: (skfem.ElementHex1, skfem.ElementHex2),
}


@dataclass(frozen=True, eq=False)
class NodalMesh:
    """Cells of order 1 or 2 with numbered nodes.

    Parameters
    ----------
    mesh
        The scikit-fem mesh that the cells belong to.
    order
        1 or 2.
    reference
        Nodes ``(d, k)`` of the reference cell, in the order of the rows of `cells`.
    points
        ``(n, d)``.
    cells
        Node numbers ``(n_cells, k)``.
    """

    mesh: skfem.Mesh
    order: int
    reference: np.ndarray
    points: np.ndarray
    cells: np.ndarray

    def values(self, basis: skfem.AbstractBasis, vector: np.ndarray) -> np.ndarray:
        """Nodal values ``(n,)``, or ``(n, c)`` of a vector-valued function, of a function on the same mesh."""
        local = _at_reference_nodes(basis, vector, self.reference)
        values = np.zeros((len(self.points), *local.shape[2:]))
        values[self.cells] = local
        return values


def degree(basis: skfem.AbstractBasis) -> int:
    """0 for cellwise constants, 1 for (multi)linear elements, 2 for everything else."""
    element = basis.elem
    while isinstance(element, (skfem.ElementVector, skfem.ElementDG)):
        element = element.elem
    if isinstance(element, _CONSTANT):
        return 0
    return 1 if isinstance(element, _LINEAR) else 2


def is_continuous(basis: skfem.AbstractBasis) -> bool:
    """True for elements whose functions have one value at every node of the mesh."""
    element = basis.elem.elem if isinstance(basis.elem, skfem.ElementVector) else basis.elem
    return isinstance(element, skfem.ElementH1) and not isinstance(element, (*_CONSTANT, skfem.ElementDG))


def nodal_mesh(mesh: skfem.Mesh, order: int, continuous: bool = True) -> NodalMesh:
    """Linear (`order` 1) or quadratic (2) nodes of a mesh; every cell has its own when not `continuous`.

    Raises
    ------
    InputError
        If the cells are neither intervals, triangles, quadrilaterals, tetrahedra nor hexahedra.
    """
    reference_cell = mesh.elem.refdom
    if reference_cell not in _LAGRANGE:
        raise InputError(f"the mesh is a {type(mesh).__name__}: its cells cannot be exported")
    element = _LAGRANGE[reference_cell][order - 1]()
    reference = np.asarray(element.doflocs, dtype=float).T
    cells = skfem.Dofs(mesh, element).element_dofs.T
    if not continuous:
        cells = np.arange(cells.size).reshape(cells.shape)
    points = np.zeros((cells.max() + 1, mesh.p.shape[0]))
    points[cells] = np.moveaxis(mesh.mapping().F(reference), 0, -1)
    return NodalMesh(mesh, order, reference, points, cells)


def cell_values(basis: skfem.AbstractBasis, vector: np.ndarray) -> np.ndarray:
    """Values ``(n_cells,)`` or ``(n_cells, c)`` at the cells' centres."""
    corners = nodal_mesh(basis.mesh, 1).reference
    return _at_reference_nodes(basis, vector, corners.mean(axis=1, keepdims=True))[:, 0]


def _at_reference_nodes(basis, vector: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Values ``(n_cells, k)`` or ``(n_cells, k, c)`` at the given points of every cell."""
    vector = np.asarray(vector, dtype=float)
    if vector.shape != (basis.N,):
        raise InputError(f"the vector has shape {vector.shape}; its basis has {basis.N} unknowns")
    quadrature = (reference, np.ones(reference.shape[1]))
    nodes = skfem.Basis(basis.mesh, basis.elem, mapping=basis.mapping, quadrature=quadrature, dofs=basis.dofs)
    values = np.asarray(nodes.interpolate(vector))
    return np.moveaxis(values, 0, -1) if values.ndim == 3 else values
