"""Shape functions as tables: from coefficients to samples, and from samples to loads and element matrices.

Two kinds of table with one interface. `ReferenceShapes` serves elements that are mapped from a reference element
without any change of values (all of scikit-fem's H1 elements, and vectors of them) on cells: one table for all
elements, and derivatives pulled back to the reference element. `PhysicalShapes` serves everything else - facets,
global elements - from scikit-fem's own values at the quadrature points.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from skfem import ElementVector, FacetBasis
from skfem.element import ElementComposite, ElementH1
from skfem.mapping import MappingAffine

from ..bases import cell_maps
from ..errors import InputError
from .fields import as_tensor
from .laws import Law, LawTable


@dataclass(frozen=True, eq=False)
class Geometry:
    """Maps of the elements: inverse Jacobians (d, d, ne, 1 or nq), determinants (ne, 1 or nq), weights (nq,)."""

    inverse: torch.Tensor
    determinant: torch.Tensor
    weights: torch.Tensor

    @classmethod
    def of(cls, basis, device):
        """The geometry of a cell basis; affine maps are stored once per element."""
        maps = cell_maps(basis.mapping, basis.tind)
        points = basis.X[:, :1] if isinstance(maps, MappingAffine) else basis.X
        inverse, determinant = maps.invDF(points, tind=basis.tind), np.abs(maps.detDF(points, tind=basis.tind))
        return cls(*(as_tensor(array, device) for array in (inverse, determinant, basis.W)))

    def restricted(self, chosen):
        """Of some elements (int array)."""
        return replace(self, inverse=self.inverse[:, :, chosen], determinant=self.determinant[chosen])

    @cached_property
    def scaled(self):
        """Inverse Jacobians times determinants."""
        return self.inverse * self.determinant

    @cached_property
    def metric(self):
        """``J^-1 J^-T |det J|``, (d, d, ne, 1 or nq)."""
        return torch.einsum("kien,lien->klen", self.inverse, self.scaled)


def _coefficients(self, vector):
    """Coefficients on elements (components, ne, nb) of a vector (n,)."""
    return as_tensor(np.take(vector, self.layout), self.device)


@dataclass(frozen=True, eq=False)
class ReferenceShapes:
    """A space whose shape functions are those of one reference element; table (1 + d, nb, nq)."""

    size: int
    shape: tuple
    layout: np.ndarray            # dofs, (components, ne, nb)
    table: torch.Tensor
    geometry: Geometry

    coefficients = _coefficients

    @property
    def device(self):
        """Where the tables are."""
        return self.table.device

    def restricted(self, chosen):
        """The tables on some elements (int array)."""
        return replace(self, layout=np.ascontiguousarray(self.layout[:, chosen]),
                       geometry=self.geometry.restricted(chosen))

    def point_table(self, kind, block):
        """Shape functions at the points (nb, J, ne, nq) in physical space, those of one component."""
        if kind == "value":
            return self.table[0][:, None, None].expand(-1, -1, block.stop - block.start, -1)
        inverse = self.geometry.inverse[:, :, block]
        return torch.einsum("kieq,kbq->bieq", inverse.expand(*inverse.shape[:3], self.table.shape[2]), self.table[1:])

    def sample(self, kind, coefficients, block):
        """Values or gradients at the points of a block from coefficients (components, ne, nb)."""
        local = coefficients[:, block]
        if kind == "value":
            return torch.matmul(local, self.table[0]).reshape(*self.shape, local.shape[1], -1)
        derivatives = torch.matmul(local[:, None], self.table[1:])
        inverse = self.geometry.inverse[:, :, block]
        result = sum(inverse[k] * derivatives[:, k, None] for k in range(inverse.shape[0]))
        return result.reshape(*self.shape, *result.shape[1:])

    def load(self, kind, samples, block):
        """Integrals of samples (components * 1 or d, ne, nq) times each shape function: (components, ne, nb)."""
        components = self.layout.shape[0]
        weighted = samples * self.geometry.weights
        if kind == "value":
            return torch.matmul(weighted * self.geometry.determinant[block], self.table[0].T)
        scaled = self.geometry.scaled[:, :, block]
        weighted = weighted.reshape(components, -1, *weighted.shape[1:])
        return sum(torch.matmul((scaled[k] * weighted).sum(1), self.table[1 + k].T) for k in range(scaled.shape[0]))


@dataclass(frozen=True, eq=False)
class PhysicalShapes:
    """A space given by its shape functions at all quadrature points; tables[kind] is (ne, J, nq, nb)."""

    size: int
    shape: tuple
    layout: np.ndarray            # dofs, (1, ne, nb)
    tables: dict
    dx: torch.Tensor

    coefficients = _coefficients

    @property
    def device(self):
        """Where the tables are."""
        return self.dx.device

    def restricted(self, chosen):
        """As `ReferenceShapes.restricted`."""
        return replace(self, layout=np.ascontiguousarray(self.layout[:, chosen]), dx=self.dx[chosen],
                       tables={kind: (table[chosen], shape) for kind, (table, shape) in self.tables.items()})

    def point_table(self, kind, block):
        """As `ReferenceShapes.point_table`, all components together."""
        return self.table(kind)[block].permute(3, 1, 0, 2)

    def table(self, kind):
        """The table of values or gradients; InputError when the element has none."""
        if kind not in self.tables:
            raise InputError(f"the residual uses the {kind} of a field whose element does not have one")
        return self.tables[kind][0]

    def sample(self, kind, coefficients, block):
        """As `ReferenceShapes.sample`."""
        samples = torch.einsum("ejqb,eb->jeq", self.table(kind)[block], coefficients[0, block])
        return samples.reshape(*self.tables[kind][1], *samples.shape[1:])

    def load(self, kind, samples, block):
        """As `ReferenceShapes.load`."""
        return torch.einsum("ejqb,jeq->eb", self.table(kind)[block], samples * self.dx[block])[None]


def reference_element(basis):
    """Return (scalar element, components) when one table serves all elements of the basis, else None."""
    element, components = basis.elem, 0
    if type(element) is ElementVector:
        element, components = element.elem, element.dim
    plain = isinstance(element, ElementH1) and type(element).gbasis is ElementH1.gbasis
    return (element, components) if plain and not isinstance(basis, FacetBasis) and basis.X.ndim == 2 else None


def shapes(basis, device="cpu", reference=True, geometry=None):
    """Tables of a scikit-fem basis.

    Parameters
    ----------
    basis : skfem basis
    device : str
    reference : bool
        False forces tables in physical space.
    geometry : Geometry, optional
        That of another basis with the same points.

    Raises
    ------
    InputError
        For composite elements: pass several fields instead.
    """
    if isinstance(basis.elem, ElementComposite):
        raise InputError("the element is an ElementComposite; use ElementVector, or a tuple of parameter fields")
    dofs = np.asarray(basis.element_dofs)
    if reference and (plain := reference_element(basis)) is not None:
        element, components = plain
        tables = [element.lbasis(basis.X, i) for i in range(dofs.shape[0] // max(components, 1))]
        d, points = basis.X.shape
        table = np.stack([np.vstack([np.broadcast_to(phi, (1, points)), np.broadcast_to(dphi, (d, points))])
                          for phi, dphi in tables], axis=1)
        layout = dofs.reshape(-1, max(components, 1), dofs.shape[1]).transpose(1, 2, 0)
        geometry = Geometry.of(basis, device) if geometry is None else geometry
        return ReferenceShapes(int(basis.N), (components,) if components else (), np.ascontiguousarray(layout),
                               as_tensor(table, device), geometry)
    return _physical(basis, dofs, device)


def _physical(basis, dofs, device):
    tables = {}
    for kind in ("value", "grad"):
        fields = [functions[0] for functions in basis.basis]
        parts = [np.asarray(field) if kind == "value" else field.grad for field in fields]
        if any(part is None for part in parts):
            continue
        shape = parts[0].shape[:-2]
        stacked = np.stack([part.reshape(-1, *part.shape[-2:]) for part in parts], axis=-1).transpose(1, 0, 2, 3)
        tables[kind] = (as_tensor(stacked, device), shape)
    return PhysicalShapes(int(basis.N), tables["value"][1], np.ascontiguousarray(dofs.T[None]), tables,
                          as_tensor(basis.dx, device))


def tables_of(bases, device="cpu"):
    """Tables of bases that share their points, all on the reference element or else all in physical space; of laws."""
    reference = all(isinstance(basis, Law) or reference_element(basis) is not None for basis in bases)
    geometry = Geometry.of(bases[0], device) if reference and not isinstance(bases[0], Law) else None
    return [LawTable.of(basis, device) if isinstance(basis, Law) else shapes(basis, device, reference, geometry)
            for basis in bases]
