"""Element matrices from pointwise tangents: one matrix product against a table of products of shape functions.

The pointwise tangent D between two kinds of samples (values, gradients) is pulled back to the reference element,
where the products of shape functions are the same for all elements; the sum over quadrature points and components is
then a single product (elements, components * points) @ (components * points, nb * nb).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from .laws import LawTable
from .shapes import ReferenceShapes


@dataclass(frozen=True, eq=False)
class ReferencePair:
    """Test and trial space whose products of shape functions are tabulated on the reference element."""

    rows: ReferenceShapes
    cols: ReferenceShapes
    cache: dict = field(default_factory=dict)

    @property
    def entries(self):
        """Shape of the element values: (row components, column components, ne, nb * nb)."""
        elements, nb = self.rows.layout.shape[1:]
        return (self.rows.layout.shape[0], self.cols.layout.shape[0], elements, nb * self.cols.layout.shape[2])

    def table(self, tags):
        """Rows of the table for the given component pairs, (len(tags) * nq, nb * nb); made once."""
        if tags not in self.cache:
            weights = self.rows.geometry.weights
            both = torch.einsum("aiq,bjq,q->abqij", self.rows.table, self.cols.table, weights)
            both = both.reshape(*both.shape[:3], -1)
            self.cache[tags] = torch.cat([sum(both[a, b] for a, b in tag) for tag in tags])
        return self.cache[tags]

    def element_values(self, tangents, block, out):
        """Fill out[:, :, block] from tangents[kind, kind], each (row samples, column samples, ne, nq)."""
        p_count, q_count = self.entries[:2]
        for p in range(p_count):
            for q in range(q_count):
                parts, tags = [], ()
                for (kind_row, kind_col), tangent in tangents.items():
                    split = tangent.reshape(p_count, -1, q_count, tangent.shape[1] // q_count, *tangent.shape[2:])
                    new, new_tags = self._pull_back(kind_row, kind_col, split[p, :, q], block)
                    parts, tags = parts + new, tags + new_tags
                if parts:
                    flat = torch.stack(parts, dim=1).reshape(len(parts[0]), -1)
                    torch.matmul(flat, self.table(tags), out=out[p, q, block])
                else:
                    out[p, q, block] = 0.0

    def _pull_back(self, kind_row, kind_col, tangent, block):
        """Pull one component's tangent (a, b, ne, nq) back to the reference element, times the determinant."""
        geometry = self.rows.geometry
        if kind_row == kind_col == "grad":
            return self._pull_back_gradients(tangent, block)
        if not tangent.any():
            return [], ()
        if kind_row == kind_col:
            return [tangent[0, 0] * geometry.determinant[block]], (((0, 0),),)
        scaled = geometry.scaled[:, :, block]
        vector = tangent[:, 0] if kind_row == "grad" else tangent[0]
        parts = [sum(scaled[k, i] * vector[i] for i in range(len(vector))) for k in range(len(vector))]
        tags = [(k + 1, 0) if kind_row == "grad" else (0, k + 1) for k in range(len(vector))]
        return parts, tuple((tag,) for tag in tags)

    def _pull_back_gradients(self, tangent, block):
        d, geometry = tangent.shape[0], self.rows.geometry
        if not any(tangent[i, j].any() for i in range(d) for j in range(d) if i != j):
            if all(torch.equal(tangent[i, i], tangent[0, 0]) for i in range(1, d)):
                return self._pull_back_isotropic(tangent[0, 0], geometry.metric[:, :, block])
        scaled, inverse = geometry.scaled[:, :, block], geometry.inverse[:, :, block]
        half = [[sum(scaled[k, i] * tangent[i, j] for i in range(d)) for j in range(d)] for k in range(d)]
        parts = [sum(inverse[m, j] * half[k][j] for j in range(d)) for k in range(d) for m in range(d)]
        return parts, tuple(((k + 1, m + 1),) for k in range(d) for m in range(d))

    @staticmethod
    def _pull_back_isotropic(scalar, metric):
        """A tangent that is a multiple of the identity needs the symmetric half of the metric only."""
        if not scalar.any():
            return [], ()
        pairs = [(k, m) for k in range(len(metric)) for m in range(k, len(metric))]
        tags = tuple(((k + 1, m + 1), (m + 1, k + 1)) if m > k else ((k + 1, k + 1),) for k, m in pairs)
        return [metric[k, m] * scalar for k, m in pairs], tags


@dataclass(frozen=True, eq=False)
class PhysicalPair:
    """Test and trial space given by their shape functions at all quadrature points."""

    rows: object
    cols: object

    @property
    def entries(self):
        """As `ReferencePair.entries`, with one component."""
        _, elements, nb = self.rows.layout.shape
        return (1, 1, elements, nb * self.cols.layout.shape[2])

    def element_values(self, tangents, block, out):
        """As `ReferencePair.element_values`."""
        out[0, 0, block] = 0.0
        for (kind_row, kind_col), tangent in tangents.items():
            if tangent.any():
                right = torch.einsum("abeq,ebqj->eaqj", tangent * self.rows.dx[block], self.cols.table(kind_col)[block])
                left = self.rows.table(kind_row)[block]
                values = torch.matmul(left.flatten(1, 2).transpose(1, 2), right.flatten(1, 2))
                out[0, 0, block] += values.flatten(1)


def moves(rows, cols):
    """Whether the pattern of two spaces moves with the state: one of them is a law."""
    return isinstance(rows, LawTable) or isinstance(cols, LawTable)


def point_entries(tangents, fields, spaces, block, dx):
    """Entries (rows, cols, values), flat arrays with repetitions, of a pair of which one space at least is a law.

    Parameters
    ----------
    tangents : dict
        {(kind, kind): (row samples, column samples, ne, nq)}; of a law the kind is the number of its call.
    fields, spaces : pair of Field or LocalLaw, pair of tables
    block : slice
    dx : tensor (ne, nq)
    """
    found = []
    for kinds, tangent in tangents.items():
        if tangent.any():
            (rows, left), (cols, right) = (_at_points(*side, block) for side in zip(fields, spaces, kinds, strict=True))
            weighted = (tangent * dx).unflatten(1, (len(cols), -1)).unflatten(0, (len(rows), -1))
            half = sum(weighted[..., j, None, :, :] * right[:, j] for j in range(right.shape[1]))
            values = sum(half[:, i, :, None] * left[:, i, None] for i in range(left.shape[1]))
            rows, cols = rows[:, None, :, None], cols[None, :, None]
            found.append(tuple(np.broadcast_to(each, values.shape).ravel() for each in (rows, cols, values.cpu())))
    return found


def _at_points(field, space, kind, block):
    """Unknowns (components, nb, ne, nq or 1) at the points; the shape functions (nb, J, ne, nq) of one component."""
    if isinstance(space, LawTable):
        cells = field.cells[kind]
        return space.dofs.T[:, cells.cpu().numpy()][None], space.polynomials.flatten(2).permute(1, 2, 0)[..., cells]
    return space.layout[:, block].transpose(0, 2, 1)[..., None], space.point_table(kind, block)


def pair(rows, cols):
    """The contraction that fits two spaces' tables (both of one kind)."""
    return (ReferencePair if isinstance(rows, ReferenceShapes) else PhysicalPair)(rows, cols)


def pair_dofs(rows, cols):
    """Row and column indices of a pair's element values, two flat integer arrays."""
    row, col = rows.layout, cols.layout
    shape = (len(row), len(col), row.shape[1], row.shape[2], col.shape[2])
    return (np.broadcast_to(row[:, None, :, :, None], shape).ravel(),
            np.broadcast_to(col[None, :, :, None, :], shape).ravel())
