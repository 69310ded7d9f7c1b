"""scikit-fem's bases on large meshes: what they need not keep.

A scikit-fem basis tabulates its shape functions at all quadrature points, and its mapping keeps two Jacobian matrices a
cell. Weak forms have tables of their own and matrices are assembled some cells at a time, so that on a large mesh
both are hardly ever asked for, but take most of the memory that does not shrink with the number of processes.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import cached_property

import numpy as np
from skfem import CellBasis, MappingAffine
from skfem.assembly.basis.abstract_basis import AbstractBasis
from skfem.element import DiscreteField


def cell_maps(mapping, cells):
    """The maps of some cells (int array; None: all), to be asked for these only; affine ones are made for them alone.
    """
    return MappingAffine(mapping.mesh, tind=cells) if type(mapping) is MappingAffine else mapping


class LeanBasis(CellBasis):
    """A scikit-fem basis on cells whose tables of shape functions are made when they are asked for.

    Gradients that are constant on each cell (P1) are kept once a cell. Arguments as of scikit-fem's `Basis`.
    """

    def __init__(self, mesh, elem, mapping=None, intorder=None, elements=None, quadrature=None, dofs=None,
                 disable_doflocs=False):
        mapping = mesh.mapping() if mapping is None else mapping
        AbstractBasis.__init__(self, mesh, elem, cell_maps(mapping, None), intorder, quadrature, mesh.refdom, dofs,
                               disable_doflocs)
        self.mapping = cell_maps(mapping, None)  # its own: that of the mesh may keep maps of all facets
        self.tind = None if elements is None else mesh.normalize_elements(elements)
        self.nelems = mesh.nelements if self.tind is None else len(self.tind)

    @cached_property
    def basis(self):
        """One tuple of scikit-fem's fields a shape function."""
        maps = cell_maps(self.mapping, self.tind)
        return [tuple(map(_thrifty, self.elem.gbasis(maps, self.X, j, tind=self.tind))) for j in range(self.Nbfun)]

    @property
    def dx(self):
        """Weights (cells, points) of the quadrature."""
        return self._determinants * self.W

    @property
    def _determinants(self):
        return np.abs(cell_maps(self.mapping, self.tind).detDF(self.X, tind=self.tind))

    def global_coordinates(self):
        """Quadrature points (d, cells, points)."""
        return DiscreteField(cell_maps(self.mapping, self.tind).F(self.X, tind=self.tind))

    def mesh_parameters(self):
        """Sizes (cells, points) of the cells."""
        return DiscreteField(self._determinants ** (1.0 / self.mesh.dim()))


def _thrifty(field):
    """A field with a gradient that is constant on every cell kept once a cell."""
    grad = field.grad
    if grad is not None and grad.shape[-1] > 1 and np.array_equal(grad, np.broadcast_to(grad[..., :1], grad.shape)):
        field.grad = np.broadcast_to(grad[..., :1].copy(), grad.shape)
    return field


@contextmanager
def forgetful(mesh):
    """What scikit-fem keeps on a mesh meanwhile, facets and edges and maps of its cells, is forgotten in the end."""
    held = set(vars(mesh))
    yield
    for name in set(vars(mesh)) - held:
        delattr(mesh, name)


def first_function(basis):
    """Fields of the first shape function of a basis, of a basis on cells on its first cell only."""
    if not isinstance(basis, CellBasis):
        return basis.basis[0]
    cell = np.zeros(1, dtype=np.int64) if basis.tind is None else np.asarray(basis.tind)[:1]
    return basis.elem.gbasis(cell_maps(basis.mapping, cell), basis.X, 0, tind=cell)
