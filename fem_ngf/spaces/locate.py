"""Finding points in a mesh, and the sparse matrix of a basis at them.

Unlike in scikit-fem's `probes`, points outside the mesh are not an error here, since meshes of one domain with a curved
boundary do not cover each other: they are moved to a point of the mesh next to them, by clipping their reference
coordinates in each cell and taking the cell where that moves them least.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.spatial import cKDTree
from skfem import MappingAffine

from ..bases import cell_maps

TOLERANCE = 1e-9  # how far outside its cell, in reference coordinates, a point still counts as inside
BATCH = 1_000_000  # pairs of a point and a cell treated at once


@dataclass(frozen=True, eq=False)
class Places:
    """Where points lie in a mesh.

    Parameters
    ----------
    cells
        ``(q,)``.
    reference
        Coordinates ``(d, q)`` in the reference cell.
    distance
        ``(q,)``: how far a point outside the mesh was moved, zero for the others.
    """

    cells: np.ndarray
    reference: np.ndarray
    distance: np.ndarray


def locate(mesh, x: np.ndarray) -> Places:
    """Places of points x (q, d) in a mesh.

    The cells are tried by the distance of their centres, until none farther can hold the point.
    """
    x, corners = np.asarray(x, dtype=np.float64), mesh.p[:, mesh.t]
    centres = corners.mean(axis=1)
    radius = np.sqrt(((corners - centres[:, None, :]) ** 2).sum(axis=0)).max()
    tree = cKDTree(centres.T)
    cells, reference = np.full(len(x), -1), np.zeros(x.T.shape)
    todo, tried = np.arange(len(x)), 0
    while todo.size and tried < mesh.nelements:
        count = min(max(8, 4 * tried), mesh.nelements)
        distance, near = (np.reshape(a, (todo.size, count)) for a in tree.query(x[todo], k=count))
        for rank in range(tried, count):
            still = np.flatnonzero(cells[todo] < 0)
            which, candidates = todo[still], near[still, rank]
            local, error = _pull_back(mesh, x[which], candidates)
            inside = (_excess(mesh, local) <= TOLERANCE) & (error <= TOLERANCE)
            cells[which[inside]], reference[:, which[inside]] = candidates[inside], local[:, inside]
        tried = count
        todo = todo[(cells[todo] < 0) & (distance[:, -1] <= 1.5 * radius)]
    moved = np.zeros(len(x))
    outside = np.flatnonzero(cells < 0)
    for start in range(0, len(outside), step := max(1, BATCH // mesh.nelements)):
        part = outside[start:start + step]
        cells[part], reference[:, part], moved[part] = _nearest(mesh, x[part])
    return Places(cells, reference, moved)


def interpolation(basis, x: np.ndarray, places: Places | None = None) -> sp.csr_array:
    """Matrix (q, n) or (q c, n): coefficients -> values at points x (q, d), the components of a point side by side."""
    places = places or locate(basis.mesh, x)
    cells, local = places.cells, places.reference[:, :, None]
    maps = cell_maps(basis.mapping, cells)
    fields = (basis.elem.gbasis(maps, local, k, tind=cells)[0] for k in range(basis.Nbfun))
    # (basis functions of a cell, q, c)
    values = np.stack([np.atleast_2d(np.asarray(field)[..., 0]).T for field in fields])
    rows = np.broadcast_to(np.arange(values[0].size).reshape(values.shape[1:]), values.shape)
    columns = np.broadcast_to(basis.element_dofs[:, cells, None], values.shape)
    matrix = sp.csr_array((values.ravel(), (rows.ravel(), columns.ravel())), shape=(values[0].size, basis.N))
    if values.shape[2] > 1:
        matrix.eliminate_zeros()  # a basis function of a vector element has one component
    return matrix


def _pull_back(mesh, x: np.ndarray, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reference coordinates (d, q) in given cells, and their errors (q,): far outside a curved cell Newton may fail.

    scikit-fem's own iteration clips to the cell, and so never converges outside.
    """
    mapping, target = cell_maps(mesh.mapping(), cells), x.T[:, :, None]
    if isinstance(mapping, MappingAffine):
        return mapping.invF(target, tind=cells)[:, :, 0], np.zeros(len(x))
    local = np.full(target.shape, 1.0 / (len(target) + 1))
    for _ in range(30):
        step = np.einsum("ijkl,jkl->ikl", mapping.invDF(local, cells), target - mapping.F(local, cells))
        local = np.clip(local + step, -2.0, 3.0)
        if np.abs(step).max(initial=0.0) < 1e-13:
            break
    return local[:, :, 0], np.abs(step).max(axis=(0, 2))


def _is_simplex(mesh) -> bool:
    return mesh.refdom.name in ("Triangular", "Tetrahedral")


def _excess(mesh, local: np.ndarray) -> np.ndarray:
    """How far outside its reference cell each point (d, q) lies: at most zero inside."""
    beyond = local.sum(axis=0) if _is_simplex(mesh) else local.max(axis=0)
    return np.maximum(-local.min(axis=0), beyond - 1.0)


def _nearest(mesh, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of all cells the one that is nearest to each point (q, d): cell, reference point (d, q) in it, distance."""
    q, k = len(x), mesh.nelements
    cells = np.tile(np.arange(k), q)
    inside = np.clip(_pull_back(mesh, np.repeat(x, k, axis=0), cells)[0], 0.0, 1.0)
    if _is_simplex(mesh):
        inside = inside / np.maximum(inside.sum(axis=0), 1.0)
    found = cell_maps(mesh.mapping(), cells).F(inside[:, :, None], tind=cells)[:, :, 0].reshape(-1, q, k)
    distance = np.linalg.norm(found - x.T[:, :, None], axis=0)
    best = distance.argmin(axis=1)
    chosen = np.arange(q) * k + best
    return best, inside[:, chosen], distance[np.arange(q), best]
