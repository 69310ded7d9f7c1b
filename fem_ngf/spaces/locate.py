"""Finding points in a mesh, and the sparse matrix of a basis at them.

Unlike scikit-fem's `probes`, points outside the mesh are not an error, since
meshes of one domain with a curved boundary do not cover each other: they are
moved to a point of the mesh next to them, by clipping their reference
coordinates in each cell nearby and taking the cell where that moves them least.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.spatial import cKDTree
from skfem.refdom import RefHex, RefLine, RefQuad

NEAR = 12  # cells tried first, by distance of their centres
BATCH = 1_000_000  # pairs of a point and a cell treated at once


def locate(basis, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cell (q,) and reference coordinates (d, q) of points x (q, d); outside the mesh, of points next to them."""
    mesh = basis.mesh
    total = mesh.t.shape[1]
    tree = cKDTree(mesh.p[:, mesh.t].mean(axis=1).T)
    near = tree.query(x, min(NEAR, total))[1].reshape(len(x), -1)
    cells, reference, distance = _nearest(basis, x, near)
    lost = np.flatnonzero(distance > 1e-10 * np.ptp(mesh.p, axis=1).max())
    if near.shape[1] == total:
        return cells, reference
    step = max(1, BATCH // total)
    for start in range(0, len(lost), step):
        part = lost[start:start + step]
        everywhere = np.broadcast_to(np.arange(total), (len(part), total))
        cells[part], reference[:, part], _ = _nearest(basis, x[part], everywhere)
    return cells, reference


def interpolation(basis, x: np.ndarray) -> sp.csr_array:
    """Matrix (q, n) or (q c, n): coefficients -> values at points x (q, d), the components of a point side by side."""
    return _matrix(basis, *locate(basis, x), lambda field: np.asarray(field)[..., 0])


def gradient_interpolation(basis, x: np.ndarray) -> list[sp.csr_array]:
    """For each of the d directions the matrix (q, n): coefficients -> derivative at points x (q, d)."""
    place = locate(basis, x)
    return [_matrix(basis, *place, lambda field, i=i: field.grad[i, :, 0]) for i in range(x.shape[1])]


def _matrix(basis, cells, reference, pick) -> sp.csr_array:
    dofs = basis.dofs.element_dofs
    fields = (basis.elem.gbasis(basis.mapping, reference[:, :, None], k, tind=cells)[0] for k in range(len(dofs)))
    values = np.stack([np.atleast_2d(pick(field)).T for field in fields])  # (local, q, c)
    rows = np.broadcast_to(np.arange(values[0].size).reshape(values.shape[1:]), values.shape)
    columns = np.broadcast_to(dofs[:, cells, None], values.shape)
    matrix = sp.csr_array((values.ravel(), (rows.ravel(), columns.ravel())), shape=(values[0].size, basis.N))
    if values.shape[2] > 1:
        matrix.eliminate_zeros()
    return matrix


def _nearest(basis, x, candidates):
    """Best of the candidate cells (q, k) for each point: cell, reference point, distance."""
    q, k = candidates.shape
    cells = candidates.ravel()
    target = np.repeat(x, k, axis=0).T[:, :, None]
    reference = _pull_back(basis, target, cells)
    distance = np.linalg.norm(basis.mapping.F(reference, tind=cells) - target, axis=0).reshape(q, k)
    best = np.argmin(distance, axis=1)
    chosen = np.arange(q) * k + best
    return cells[chosen], reference[:, chosen, 0], distance[np.arange(q), best]


def _pull_back(basis, target, cells, iterations: int = 20) -> np.ndarray:
    """Reference points (d, q, 1) of the cells whose images come near `target`: Newton, kept near the cell."""
    mapping, is_cube = basis.mapping, basis.mesh.refdom in (RefLine, RefQuad, RefHex)
    reference = np.full(target.shape, 0.5 if is_cube else 1.0 / (len(target) + 1))
    for _ in range(iterations):
        residual = target - mapping.F(reference, tind=cells)
        step = np.einsum("ij...,j...->i...", mapping.invDF(reference, tind=cells), residual)
        moved = np.clip(reference + step, -0.5, 1.5)
        change = np.abs(moved - reference).max()
        reference = moved
        if change < 1e-14:
            break
    inside = np.clip(reference, 0.0, 1.0)
    return inside if is_cube else inside / np.maximum(inside.sum(axis=0), 1.0)
