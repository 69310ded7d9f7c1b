"""Fields for ParaView: ``.vtu`` files and ``.pvd`` series, exact for functions of degree at most two."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

import meshio
import numpy as np
import skfem
from skfem import refdom

from ..errors import InputError, real_array
from .files import replacing
from .nodes import NodalMesh, cell_values, degree, is_continuous, nodal_mesh

Fields = Mapping[str, tuple[skfem.AbstractBasis, np.ndarray]]

# Nodes of VTK's cells in reference coordinates, in VTK's order: corners, then midpoints of edges, faces, cell.
_TRIANGLE = [(0, 0), (1, 0), (0, 1), (0.5, 0), (0.5, 0.5), (0, 0.5)]
_QUAD = [(0, 0), (1, 0), (1, 1), (0, 1), (0.5, 0), (1, 0.5), (0.5, 1), (0, 0.5), (0.5, 0.5)]
_TETRA = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0.5, 0, 0), (0.5, 0.5, 0), (0, 0.5, 0), (0, 0, 0.5),
          (0.5, 0, 0.5), (0, 0.5, 0.5)]
_HEX = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1),
        (0.5, 0, 0), (1, 0.5, 0), (0.5, 1, 0), (0, 0.5, 0), (0.5, 0, 1), (1, 0.5, 1), (0.5, 1, 1), (0, 0.5, 1),
        (0, 0, 0.5), (1, 0, 0.5), (1, 1, 0.5), (0, 1, 0.5), (0, 0.5, 0.5), (1, 0.5, 0.5), (0.5, 0, 0.5),
        (0.5, 1, 0.5), (0.5, 0.5, 0), (0.5, 0.5, 1), (0.5, 0.5, 0.5)]
_CELLS: dict[type, tuple[tuple[str, int], tuple[str, int], list]] = {
    refdom.RefLine: (("line", 2), ("line3", 3), [(0,), (1,), (0.5,)]),
    refdom.RefTri: (("triangle", 3), ("triangle6", 6), _TRIANGLE),
    refdom.RefQuad: (("quad", 4), ("quad9", 9), _QUAD),
    refdom.RefTet: (("tetra", 4), ("tetra10", 10), _TETRA),
    refdom.RefHex: (("hexahedron", 8), ("hexahedron27", 27), _HEX),
}


def write_fields(path: str | Path, fields: Fields, *, time: float = 0.0, notes: Sequence[str] = ()) -> list[Path]:
    """Write fields so that ParaView opens them with `path`.

    Parameters
    ----------
    path
        The ``.pvd`` file; the ``.vtu`` files beside it take its stem.
    fields
        Name -> (basis, vector). Fields on the same mesh share a file, in which those of lower degree, or continuous
        ones among discontinuous ones, are represented exactly; another mesh is another part of the ``.pvd``.
    time
        Time of the fields in the series.
    notes
        Names of field data: ``"unit of m: log S/m"``, say.

    Returns
    -------
    list of Path
        The ``.vtu`` files.
    """
    path = Path(path)
    parts = write_parts(path.parent, path.stem, fields, notes)
    write_series(path, [(time, parts)])
    return parts


def checked_fields(fields: Fields) -> dict:
    """The fields as a dict.

    Raises
    ------
    InputError
        If one has a name that files cannot hold, or is no pair of a basis and its vector.
    """
    if not isinstance(fields, Mapping):
        raise InputError(f"fields is a {type(fields).__name__}; give a dict {{name: (basis, vector)}}")
    for name, field in fields.items():
        if not isinstance(name, str) or not re.fullmatch(r"[^\W][^<>&\"'\n\t/]*", name):
            raise InputError(f"a field is called {name!r}; give it a name of letters, digits, spaces and signs other "
                             "than < > & / and quotes")
        if not isinstance(field, tuple) or len(field) != 2 or not hasattr(field[0], "mesh"):
            raise InputError(f"field {name!r} is no pair (basis, vector)")
        vector = real_array(f"field {name!r}", field[1])
        if vector.shape != (field[0].N,):
            raise InputError(f"field {name!r} has shape {vector.shape}; its basis has {field[0].N} unknowns")
    return dict(fields)


def write_parts(folder: Path, stem: str, fields: Fields, notes: Sequence[str] = ()) -> list[Path]:
    """Write the ``.vtu`` files of some fields: one for each mesh, on cells of the highest degree among its fields."""
    by_mesh = grouped(checked_fields(fields))
    paths: list[Path] = []
    for names in by_mesh:
        path = folder / f"{stem}.vtu"
        if len(by_mesh) > 1:
            path = path.with_stem(f"{stem}_{re.sub(r'[^0-9a-z]+', '_', names[0].lower())}")
        while path in paths:
            path = path.with_stem(f"{path.stem}_")
        _write(path, {name: fields[name] for name in names}, notes)
        paths.append(path)
    return paths


def write_series(path: Path, series: Iterable[tuple[float, list[Path]]]) -> None:
    """Write the ``.pvd`` index of a series of ``(time, .vtu files)``."""
    rows = [f'    <DataSet timestep="{time:.12g}" part="{part}" file={quoteattr(os.path.relpath(file, path.parent))}/>'
            for time, files in series for part, file in enumerate(files)]
    text = "\n".join(['<?xml version="1.0"?>', '<VTKFile type="Collection" version="0.1" byte_order="LittleEndian">',
                      "  <Collection>", *rows, "  </Collection>", "</VTKFile>", ""])
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def grouped(fields: Fields) -> list[list[str]]:
    """Names of the fields that live on the same mesh.

    Raises
    ------
    InputError
        If one does not live on all cells of its mesh.
    """
    groups: dict[int, list[str]] = {}
    for name, (basis, _) in fields.items():
        if not isinstance(basis, skfem.CellBasis) or basis.nelems != basis.mesh.nelements:
            raise InputError(f"field {name!r} does not live on all cells of its mesh and cannot be exported")
        groups.setdefault(id(basis.mesh), []).append(name)
    return list(groups.values())


def _write(path: Path, fields: Fields, notes: Sequence[str]) -> None:
    bases = [basis for basis, _ in fields.values() if degree(basis) > 0]
    (mesh, *_) = (basis.mesh for basis, _ in fields.values())
    nodes = nodal_mesh(mesh, max(map(degree, bases), default=1), all(map(is_continuous, bases)))
    point_data, cell_data = {}, {}
    for name, (basis, vector) in fields.items():
        if degree(basis) == 0:
            cell_data[name] = [_three_components(cell_values(basis, vector))]
        else:
            point_data[name] = _three_components(nodes.values(basis, vector))
    kind, order = _vtk_order(nodes)
    points = np.pad(nodes.points, ((0, 0), (0, 3 - nodes.points.shape[1])))
    with replacing(path) as temporary:
        meshio.Mesh(points, [(kind, nodes.cells[:, order])], point_data, cell_data).write(temporary)
        if notes:
            _annotate(temporary, notes)


def _annotate(path: Path, notes: Sequence[str]) -> None:
    """Add field data whose names are the notes: ParaView lists them, and meshio, which knows no strings, reads them."""
    arrays = "".join(f'<DataArray type="UInt8" Name={quoteattr(note)} NumberOfTuples="1" format="ascii">1</DataArray>'
                     for note in notes)
    grid = b"<UnstructuredGrid>"
    text = path.read_bytes()
    path.write_bytes(text.replace(grid, grid + f"<FieldData>{arrays}</FieldData>".encode(), 1))


def _vtk_order(nodes: NodalMesh) -> tuple[str, np.ndarray]:
    """meshio's name of the cells, and the nodes of scikit-fem's cell in VTK's order."""
    linear, quadratic, wanted = _CELLS[nodes.mesh.elem.refdom]
    kind, count = linear if nodes.order == 1 else quadratic
    distances = np.abs(np.array(wanted[:count], dtype=np.float64)[:, :, None] - nodes.reference[None]).sum(axis=1)
    order = distances.argmin(axis=1)
    if not np.allclose(distances.min(axis=1), 0.0) or len(set(order)) != nodes.reference.shape[1]:
        raise InputError(f"the nodes of {kind} cells are not where VTK has them")
    return kind, order


def _three_components(values: np.ndarray) -> np.ndarray:
    """Vectors of two components get a zero third one: VTK's vectors have three."""
    return np.pad(values, ((0, 0), (0, 1))) if values.ndim == 2 and values.shape[1] == 2 else values
