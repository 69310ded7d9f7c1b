"""Meshes with named boundaries: model domains, and files that meshio reads.

Names of the sides are scikit-fem's: left/right in x, bottom/top in y,
front/back in z. Curved or re-entrant parts have names of their own.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path

import meshio
import numpy as np
from scipy.spatial import Delaunay, cKDTree
from skfem import MeshHex, MeshLine, MeshQuad, MeshQuad2, MeshTet, MeshTet2, MeshTri, MeshTri2
from skfem.io.meshio import from_meshio

from .errors import InputError, check_memory, check_positive, is_number

LINEAR = {  # meshio's quadratic cells: (the linear cell, its number of corners)
    "line3": ("line", 2), "triangle6": ("triangle", 3), "quad8": ("quad", 4), "quad9": ("quad", 4),
    "tetra10": ("tetra", 4), "hexahedron20": ("hexahedron", 8), "hexahedron27": ("hexahedron", 8),
}
CURVED = {  # scikit-fem's mesh, and the corners whose mean is the straight place of each further node
    "triangle6": (MeshTri2, [(0, 1), (1, 2), (2, 0)]),
    "tetra10": (MeshTet2, [(0, 1), (1, 2), (2, 0), (0, 3), (1, 3), (2, 3)]),
    "quad9": (MeshQuad2, [(0, 1), (1, 2), (2, 3), (3, 0), (0, 1, 2, 3)]),
}
CELL_BYTES = 4000
DIMENSION = {"vertex": 0, "line": 1, "triangle": 2, "quad": 2, "tetra": 3, "hexahedron": 3}


def interval(n: int, lower: float = 0.0, upper: float = 1.0) -> MeshLine:
    """`n` equal cells of ``[lower, upper]``; boundaries left and right."""
    _check_grid((n,), (lower,), (upper,))
    ends = {"left": lambda x: x[0] < 0.5 * (lower + upper), "right": lambda x: x[0] > 0.5 * (lower + upper)}
    return MeshLine(np.linspace(lower, upper, n + 1)).with_boundaries(ends)


def rectangle(cells: tuple[int, int], lower=(0.0, 0.0), upper=(1.0, 1.0), kind: str = "triangle"):
    """Uniform grid of a rectangle.

    Parameters
    ----------
    cells
        Number of cells in x and y.
    lower, upper
        Opposite corners.
    kind
        ``"quad"``, or ``"triangle"``: each cell is cut by the diagonal from its
        lower left to its upper right corner (FEniCS calls it "right").
    """
    _check_grid(cells, lower, upper)
    if kind not in ("triangle", "quad"):
        raise InputError(f"kind is {kind!r}; choose 'triangle' or 'quad'")
    grid = [np.linspace(a, b, n + 1) for a, b, n in zip(lower, upper, cells, strict=True)]
    return (MeshTri if kind == "triangle" else MeshQuad).init_tensor(*grid).with_defaults()


def unit_square(n: int, kind: str = "triangle"):
    """Unit square, `n` x `n` cells; see :func:`rectangle`."""
    return rectangle((n, n), kind=kind)


def unit_cube(n: int, kind: str = "tetrahedron"):
    """Unit cube, `n` cells a side, of kind ``"tetrahedron"`` (six a cell) or ``"hexahedron"``."""
    _check_grid((n, n, n), (0.0,) * 3, (1.0,) * 3)
    if kind not in ("tetrahedron", "hexahedron"):
        raise InputError(f"kind is {kind!r}; choose 'tetrahedron' or 'hexahedron'")
    grid = np.linspace(0.0, 1.0, n + 1)
    return (MeshTet if kind == "tetrahedron" else MeshHex).init_tensor(grid, grid, grid).with_defaults()


def disk(radius: float = 1.0, size: float = 0.1, centre=(0.0, 0.0)) -> MeshTri:
    """Disk of triangles with edges of about `size`, on concentric rings of 6, 12, 18, ... nodes; boundary "circle"."""
    check_positive(radius=radius, size=size)
    if size > radius:
        raise InputError(f"disk has radius {radius} and size {size}; it needs 0 < size <= radius")
    rings = int(np.ceil(radius / size))
    check_cells(6 * rings**2)
    radii = np.concatenate([[0.0], *(np.full(6 * k, k / rings) for k in range(1, rings + 1))])
    angles = np.concatenate([[0.0], *(2 * np.pi * np.arange(6 * k) / (6 * k) for k in range(1, rings + 1))])
    points = radii * np.array([np.cos(angles), np.sin(angles)])
    mesh = MeshTri(points * radius + np.reshape(centre, (2, 1)), np.ascontiguousarray(Delaunay(points.T).simplices.T))
    return mesh.with_boundaries({"circle": mesh.boundary_facets()})


def l_shape(n: int) -> MeshTri:
    """``(-1, 1)^2`` without ``[0, 1)^2``, `n` cells a unit: the corner at the origin is re-entrant.

    Boundaries left, bottom, right, top and, for the two edges that meet at the
    re-entrant corner, "reentrant".
    """
    return without(rectangle((2 * n, 2 * n), (-1.0, -1.0), (1.0, 1.0)), [((0.0, 1.0), (0.0, 1.0))], "reentrant")


def without(mesh, boxes, name: str = "holes"):
    """A mesh without the cells whose midpoints are in one of the boxes, whose rims are a boundary of its own.

    Parameters
    ----------
    mesh
        Of a box; its sides keep scikit-fem's names.
    boxes
        Each ``((x0, x1), (y0, y1))``, with as many intervals as the mesh has dimensions.
    name
        Of the boundary that consists of their rims.
    """
    inside = [np.all([(a < x) & (x < b) for (a, b), x in zip(box, mesh.p[:, mesh.t].mean(axis=1), strict=True)], axis=0)
              for box in boxes]
    mesh = replace(mesh, _boundaries=None).remove_elements(np.flatnonzero(np.any(inside, axis=0))).with_defaults()
    outer = np.concatenate(list(mesh.boundaries.values()))
    return mesh.with_boundaries({name: np.setdiff1d(mesh.boundary_facets(), outer)})


def _check_grid(cells, lower, upper) -> None:
    if not isinstance(cells, tuple | list) or not all(isinstance(n, (int, np.integer)) and n >= 1 for n in cells):
        raise InputError(f"number of cells is {cells!r}; give whole numbers of at least 1")
    if any(np.shape(corner) != (len(cells),) or not all(map(is_number, corner)) for corner in (lower, upper)):
        raise InputError(f"corners {lower!r} and {upper!r} must have {len(cells)} numbers each, as cells {cells} has")
    check_cells(math.prod(map(int, cells)) * (1, 2, 6)[len(cells) - 1])
    if not all(np.isfinite([a, b]).all() and a < b for a, b in zip(lower, upper, strict=True)):
        raise InputError(f"corners {tuple(lower)} and {tuple(upper)} span no box; each lower must be below its upper")


def check_cells(number: int) -> None:
    """InputError if so many cells, with a quadratic state and its factorised matrix, do not fit this machine."""
    check_memory(f"a mesh of {min(number, 1e300):.3g} cells", number, CELL_BYTES)


def boundary(mesh, name: str | Iterable[str]) -> np.ndarray:
    """Facets of a named boundary, or of several; an unknown name is an `InputError` that lists the known ones."""
    if isinstance(name, str) or not isinstance(name, Iterable):
        return _named(mesh.boundaries, "boundary", name)
    return np.unique(np.concatenate([boundary(mesh, each) for each in name]))


def subdomain(mesh, name: str) -> np.ndarray:
    """Cells of a named subdomain; an unknown name is an `InputError` that lists the known ones."""
    return _named(mesh.subdomains, "subdomain", name)


def _named(names: dict | None, what: str, name: str) -> np.ndarray:
    names = names or {}
    if not isinstance(name, str) or name not in names:
        known = ", ".join(sorted(names)) or f"none, the mesh has no named {what}"
        raise InputError(f"unknown {what} {name!r}; known: {known}")
    return names[name]


def read_mesh(path):
    """Read a mesh in any format of meshio (gmsh, vtu, xdmf, med, abaqus, ...).

    Named boundaries and subdomains are kept; tags that are only numbers become
    names such as ``"3"``. Quadratic triangles, quadrilaterals (nine nodes) and
    tetrahedra keep their curved sides and their names; where all sides are
    straight, and for other quadratic cells, the mesh is linear.

    Raises
    ------
    InputError
        No such file, unreadable, no cells, mixed cells, cells without volume or twice there, or a surface in space.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"mesh file {str(path)!r} does not exist")
    said = io.StringIO()
    try:
        with redirect_stdout(said), redirect_stderr(said):
            raw = meshio.read(path)
    except (SystemExit, Exception) as error:  # meshio prints and ends the process when a known suffix does not parse
        reason = said.getvalue() if isinstance(error, SystemExit) else str(error)
        raise InputError(f"mesh file {str(path)!r} cannot be read: {' '.join(reason.split())}") from error
    kind = _cell_type(raw, path)
    mesh = _import(_linearised(raw), LINEAR.get(kind, (kind,))[0], path)
    if kind not in CURVED:
        return mesh
    return _curved(mesh, *CURVED[kind], raw.points[:, : mesh.dim()], raw.cells_dict[kind])


def _cell_type(raw: meshio.Mesh, path: Path) -> str:
    """The one type of the cells of the highest dimension."""
    kinds = {block.type for block in raw.cells if len(block.data)}
    dimension = {kind: DIMENSION.get(LINEAR.get(kind, (kind,))[0], -1) for kind in kinds}
    top = max(dimension.values(), default=0)
    if unsupported := sorted(kind for kind, d in dimension.items() if d < 0):
        raise InputError(f"mesh file {str(path)!r} has cells of unsupported type: {', '.join(unsupported)}")
    if top < 1:
        raise InputError(f"mesh file {str(path)!r} has no cells (only points); export its lines, triangles, ...")
    cells = sorted(kind for kind, d in dimension.items() if d == top)
    if len(cells) > 1:
        raise InputError(f"mesh file {str(path)!r} mixes cells of types {', '.join(cells)}; give a mesh of one type")
    if any(each.data.size and not 0 <= each.data.min() <= each.data.max() < len(raw.points) for each in raw.cells):
        raise InputError(f"mesh file {str(path)!r} has cells whose points it does not have")
    if not np.isfinite(raw.points).all():
        raise InputError(f"mesh file {str(path)!r} has coordinates that are not finite")
    if np.ptp(raw.points[:, top:], axis=0).max(initial=0.0) > 1e-10 * np.ptp(raw.points):
        raise InputError(f"mesh file {str(path)!r} holds {top}-D cells not flat in its first {top} coordinates")
    return cells[0]


def _linearised(raw: meshio.Mesh) -> meshio.Mesh:
    """The same mesh with the corners of its cells only and without unused points."""
    cells = [(LINEAR[b.type][0], b.data[:, : LINEAR[b.type][1]]) if b.type in LINEAR else (b.type, b.data)
             for b in raw.cells]
    corners = np.concatenate([data.ravel() for kind, data in cells if kind != "vertex"])
    used, flat = np.unique(corners, return_inverse=True)
    renumbered, start, kept = [], 0, []
    for index, (kind, data) in enumerate(cells):
        if kind == "vertex":
            continue
        renumbered.append((kind, flat[start : start + data.size].reshape(data.shape)))
        start, kept = start + data.size, [*kept, index]
    return meshio.Mesh(raw.points[used], renumbered, field_data=raw.field_data,
                       cell_data={key: [value[i] for i in kept] for key, value in raw.cell_data.items()},
                       cell_sets={key: [np.asarray(() if value[i] is None else value[i], dtype=int) for i in kept]
                                  for key, value in raw.cell_sets.items() if not key.startswith("gmsh:")})


def _sets_from_tags(raw: meshio.Mesh) -> dict:
    """Cell sets for files that tag cells by numbers only, or with names in a table (gmsh 2.2)."""
    names = {tuple(map(int, value)): key for key, value in raw.field_data.items() if np.size(value) == 2}
    known = [key for key in ("gmsh:physical", "medit:ref", "cell_tags") if key in raw.cell_data]
    sets: dict[str, list] = {}
    for index, tags in enumerate(raw.cell_data[known[0]] if known else ()):
        for value in np.setdiff1d(tags, [0]).astype(int):
            name = names.get((value, DIMENSION[raw.cells[index].type]), str(value))
            blocks = sets.setdefault(name, [np.array([], dtype=int) for _ in raw.cells])
            blocks[index] = np.flatnonzero(np.asarray(tags) == value)
    return sets


def _import(raw: meshio.Mesh, kind: str, path: Path):
    raw.cell_sets = raw.cell_sets or _sets_from_tags(raw)
    try:
        mesh = from_meshio(raw, force_meshio_type=kind)
    except Exception as error:
        raise InputError(f"mesh file {str(path)!r} cannot be used: {error}") from error
    _check_cells(mesh, path)
    keep = {name: cells for name, cells in (mesh.subdomains or {}).items() if len(cells)}
    sides = {name: facets for name, facets in (mesh.boundaries or {}).items() if len(facets)}
    return replace(mesh, _subdomains=keep or None, _boundaries=sides or None)


def _check_cells(mesh, path: Path) -> None:
    """InputError if a linear mesh has a cell without volume, or one that is there twice and would count twice."""
    size = np.ptp(mesh.p[:, mesh.t], axis=1).max(axis=0)
    inside = np.full((mesh.dim(), 1), 1.0 / (mesh.dim() + 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = mesh.mapping().DF(inside)[..., 0]
    volumes = np.abs(np.linalg.det(np.moveaxis(slopes, -1, 0)))
    if flat := np.count_nonzero(~(volumes > 1e-13 * size ** mesh.dim())):
        raise InputError(f"mesh file {str(path)!r} has {flat} cells without volume; remove them")
    corners = np.sort(mesh.t, axis=0)
    corners = corners[:, np.lexsort(corners)]
    if twice := np.count_nonzero((corners[:, 1:] == corners[:, :-1]).all(axis=0)):
        raise InputError(f"mesh file {str(path)!r} has {twice} cells that are there more than once; remove them")


def _curved(mesh, quadratic, edges, points: np.ndarray, cells: np.ndarray):
    """Quadratic mesh with the nodes of the file, matched by where straight sides would have them."""
    straight = np.stack([points[cells[:, edge]].mean(axis=1) for edge in edges], axis=1)
    nodes = points[cells[:, -len(edges):]]
    if np.abs(nodes - straight).max() <= 1e-10 * np.ptp(points):
        return mesh
    curved = quadratic.from_mesh(mesh)
    _, match = cKDTree(curved.doflocs.T).query(straight.reshape(-1, points.shape[1]))
    doflocs = curved.doflocs.copy()
    doflocs[:, match] = nodes.reshape(-1, points.shape[1]).T
    return replace(curved, doflocs=doflocs, _boundaries=mesh.boundaries, _subdomains=mesh.subdomains)
