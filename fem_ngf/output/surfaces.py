"""Triangles that a picture can colour: of plane cells, and of the middle plane of a solid."""

from __future__ import annotations

import itertools

import numpy as np
from skfem import refdom

from .nodes import NodalMesh

# Triangles of the reference cells' nodes, found by their reference coordinates (quadratic cells: four or eight).
_PLANE = {
    (refdom.RefTri, 1): [((0, 0), (1, 0), (0, 1))],
    (refdom.RefTri, 2): [((0, 0), (0.5, 0), (0, 0.5)), ((0.5, 0), (1, 0), (0.5, 0.5)), ((0, 0.5), (0.5, 0.5), (0, 1)),
                         ((0.5, 0), (0.5, 0.5), (0, 0.5))],
    (refdom.RefQuad, 1): [((0, 0), (1, 0), (1, 1)), ((0, 0), (1, 1), (0, 1))],
    (refdom.RefQuad, 2): [tri for x, y in itertools.product((0, 0.5), repeat=2) for tri in (
        ((x, y), (x + 0.5, y), (x + 0.5, y + 0.5)), ((x, y), (x + 0.5, y + 0.5), (x, y + 0.5)))],
}
_CUBE = ((0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 1), (1, 1, 1))
_KUHN = [tuple(_CUBE[i] for i in (0, a, a + b, 7)) for a, b in itertools.permutations((1, 2, 4), 2)]


def triangles(nodes: NodalMesh) -> np.ndarray:
    """Triangles ``(k, 3)`` of the nodes of a plane mesh."""
    local = _local(nodes, _PLANE[nodes.mesh.elem.refdom, nodes.order])
    return nodes.cells[:, local].reshape(-1, 3)


def midplane(nodes: NodalMesh, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut of a solid a little above half its height, from the values at its cells' corners.

    Returns
    -------
    points, cells, values
        ``(k, 2)``, triangles ``(t, 3)``, ``(k,)``.
    """
    corners = [((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))] if nodes.mesh.elem.refdom is refdom.RefTet else _KUHN
    tets = nodes.cells[:, _local(nodes, corners)].reshape(-1, 4)
    height = nodes.points[:, 2]
    level = 0.5 * (height.min() + height.max()) + 0.013 * np.ptp(height)  # beside the nodes of a regular mesh
    above = height[tets] > level
    cut = tets[above.any(axis=1) & ~above.all(axis=1)]
    points, found, triangles_of = [], [], []
    for tet in cut:
        ring = _crossings(tet, height > level)
        share = np.array([(level - height[a]) / (height[b] - height[a]) for a, b in ring])[:, None]
        a, b = np.array(ring).T
        first = len(found)
        points.extend((nodes.points[a] + share * (nodes.points[b] - nodes.points[a]))[:, :2])
        found.extend(values[a] + share[:, 0] * (values[b] - values[a]))
        triangles_of.extend([(first, first + i, first + i + 1) for i in range(1, len(ring) - 1)])
    return np.array(points), np.array(triangles_of), np.array(found)


def _crossings(tet: np.ndarray, above: np.ndarray) -> list[tuple[int, int]]:
    """Cut edges of a tetrahedron, in order around the cut."""
    low, high = [n for n in tet if not above[n]], [n for n in tet if above[n]]
    if len(low) == len(high):
        return [(low[0], high[0]), (low[0], high[1]), (low[1], high[1]), (low[1], high[0])]
    return [(a, b) for a in low for b in high]


def _local(nodes: NodalMesh, shapes) -> np.ndarray:
    """Local node numbers of points of the reference cell."""
    wanted = np.array(shapes, dtype=float)
    distances = np.abs(wanted[..., :, None] - nodes.reference).sum(axis=-2)
    return distances.argmin(axis=-1)
