"""Measured data: users' files, and data that cover a whole mesh."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree
from skfem import BilinearForm, CellBasis

from ..errors import InputError
from ..linalg.factorize import factorize
from ..spaces.sampling import quadrature_sampling
from .observation import evaluation_matrix, locate


@dataclass(frozen=True, eq=False)
class Measurements:
    """Values measured at points.

    Parameters
    ----------
    points
        ``(n, d)``.
    values
        ``(n,)``, or ``(n, k)`` for k experiments.
    std
        Standard deviations of the shape of `values`, or None when unknown.
    """

    points: np.ndarray
    values: np.ndarray
    std: np.ndarray | None = None


def read_measurements(path, *, dimension: int | None = None) -> Measurements:
    """Read measurements from a file.

    Parameters
    ----------
    path
        ``.npz`` with arrays points (n, d), values (n,) or (n, k) and optionally
        std (number, or the shape of values); or ``.csv`` with columns
        x, y[, z], value[, std]. A first line that is not numeric is a header
        with these names, in any order; further columns are ignored.
    dimension
        Number of coordinates to expect. A ``.csv`` file of four columns without a
        header needs it: x, y, z, value and x, y, value, std look the same.

    Raises
    ------
    InputError
        The file or a part of it is missing, shapes do not fit, a value is not
        finite, a standard deviation is not positive, or a point appears twice.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"data file {str(path)!r} {'is no file' if path.exists() else 'does not exist'}")
    readers = {".npz": _read_npz, ".csv": _read_csv}
    if path.suffix.lower() not in readers:
        raise InputError(f"data file {str(path)!r} has suffix {path.suffix!r}; give .npz or .csv")
    points, values, std = readers[path.suffix.lower()](path, dimension)
    return _checked(f"data file {str(path)!r}", points, values, std, dimension)


def _read_npz(path: Path, dimension: int | None):
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            keys = sorted(file)
            known = [key for key in ("points", "values", "std") if key in keys]
            arrays = {key: file[key].astype(np.float64, casting="same_kind") for key in known}
    except Exception as error:
        raise InputError(f"data file {str(path)!r} cannot be read as .npz: {error}") from error
    if missing := [key for key in ("points", "values") if key not in arrays]:
        found = ", ".join(keys) or "nothing"
        raise InputError(f"data file {str(path)!r} lacks {' and '.join(missing)}; it has {found}")
    return arrays["points"], arrays["values"], arrays.get("std")


def _read_csv(path: Path, dimension: int | None):
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise InputError(f"data file {str(path)!r} is not text: {error}") from error
    rows = [(i, [cell.strip() for cell in line.split(",")]) for i, line in enumerate(lines, 1)
            if line and not line.startswith("#")]
    header = None
    if rows and not any(_is_number(cell) for cell in rows[0][1]):
        header = [cell.strip('"').lower() for cell in rows.pop(0)[1]]
    if not rows:
        raise InputError(f"data file {str(path)!r} has no rows of numbers")
    width = len(header) if header else len(rows[0][1])
    for i, cells in rows:
        if len(cells) != width or not all(map(_is_number, cells)):
            raise InputError(f"data file {str(path)!r}, line {i}: {','.join(cells)!r} is not {width} numbers")
    table = np.array([[float(cell) for cell in cells] for _, cells in rows])
    names = header or _default_columns(path, width, dimension)
    columns = dict(zip(names, table.T, strict=True))
    if len(columns) < len(names):
        raise InputError(f"data file {str(path)!r} repeats a column name: {', '.join(names)}")
    if missing := [name for name in ("x", "value") if name not in columns]:
        raise InputError(f"data file {str(path)!r} lacks column {' and '.join(missing)}; it has {', '.join(names)}")
    points = np.column_stack([columns[axis] for axis in "xyz" if axis in columns])
    return points, columns["value"], columns.get("std")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _default_columns(path: Path, width: int, dimension: int | None) -> list[str]:
    if dimension is None and width == 4:
        raise InputError(f"data file {str(path)!r} has four columns and no header, which can be read in two ways; "
                         "add a first line: x,y,z,value or x,y,value,std")
    dimension = dimension or {2: 1, 3: 2, 5: 3}.get(width, 0)
    if dimension == 0 or width not in (dimension + 1, dimension + 2):
        raise InputError(f"data file {str(path)!r} has {width} columns; it needs x, y[, z], value[, std]")
    return ["x", "y", "z"][:dimension] + ["value", "std"][: width - dimension]


def _checked(what: str, points, values, std, dimension: int | None) -> Measurements:
    if points.ndim != 2 or not 1 <= points.shape[1] <= 3 or len(points) == 0:
        raise InputError(f"{what}: points has shape {points.shape}; it needs (n, d) with d = 1, 2 or 3")
    if dimension is not None and points.shape[1] != dimension:
        raise InputError(f"{what}: points have {points.shape[1]} coordinates; the problem has {dimension}")
    if values.ndim not in (1, 2) or len(values) != len(points):
        raise InputError(f"{what}: values has shape {values.shape} for {len(points)} points; it needs one row a point")
    if std is not None:
        std = std[:, None] if std.ndim == 1 and values.ndim == 2 and len(std) == len(values) else std
        try:
            std = np.broadcast_to(std, values.shape).copy()
        except ValueError:
            raise InputError(f"{what}: std has shape {std.shape}; it needs that of values, {values.shape}") from None
    for name, array in (("points", points), ("values", values), ("std", std)):
        bad = np.flatnonzero(~np.isfinite(array).reshape(len(points), -1).all(axis=1)) if array is not None else []
        if len(bad):
            raise InputError(f"{what}: {name} has {len(bad)} rows that are not finite, the first is row {bad[0]}")
    if std is not None and (std <= 0).any():
        raise InputError(f"{what}: std has {np.sum(std <= 0)} values that are not positive; leave std out if unknown")
    unique, counts = np.unique(points, axis=0, return_counts=True)
    if len(unique) < len(points):
        raise InputError(f"{what}: {len(points) - len(unique)} points are duplicates, e.g. "
                         f"{unique[counts > 1][0].tolist()}; average repeated measurements into one row")
    return Measurements(points, values, std)


def nodal_values(basis, points: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Vector ``(n,)`` or ``(n, k)`` of data given at the nodes of `basis`, in any order.

    Raises
    ------
    InputError
        `points` are not exactly the nodes of the basis.
    """
    nodes, points, values = np.asarray(basis.doflocs).T, np.asarray(points, dtype=np.float64), np.asarray(values)
    if points.shape != nodes.shape:
        raise InputError(f"points has shape {points.shape}; the basis has nodes of shape {nodes.shape}; give data at "
                         "every node (another mesh or element?), or use point observations")
    if len(values) != len(points):
        raise InputError(f"values has {len(values)} rows for {len(points)} points")
    distance, index = cKDTree(points).query(nodes)
    spacing = cKDTree(nodes).query(nodes, k=2)[0][:, 1].min() if len(nodes) > 1 else 1.0
    if (far := np.flatnonzero(distance > 1e-3 * spacing)).size:
        raise InputError(f"points: {far.size} of {len(nodes)} nodes of the basis have no data, e.g. the one at "
                         f"{nodes[far[0]].tolist()}; is the mesh another one?")
    if np.unique(index).size < len(nodes):
        raise InputError("points: some nodes of the basis share a point; nodal data need a scalar Lagrange element")
    return values[index].astype(np.float64)


@dataclass(frozen=True, eq=False)
class Projection:
    r"""L2 projection :math:`\Pi d` of a function d on a coarser space.

    For u in the coarse space
    :math:`\frac12\|u - d\|^2 = \frac12\|u - \Pi d\|^2 + \frac12(\|d\|^2 - \|\Pi d\|^2)`.

    Parameters
    ----------
    vector
        Coefficients ``(n_coarse,)`` or ``(n_coarse, k)`` of the projection.
    constant
        The last term, summed over the k functions.
    """

    vector: np.ndarray
    constant: float


def project_field(fine_basis, vector: np.ndarray, coarse_basis) -> Projection:
    """L2 projection of a finite-element function on the space of another mesh.

    The product of both spaces' functions is integrated on the fine mesh: exact
    where that mesh is a refinement of the coarse one, a quadrature otherwise.
    Parts of the fine mesh outside the coarse one (curved boundaries) use the
    nearest coarse cell.

    Parameters
    ----------
    fine_basis, coarse_basis
        scikit-fem bases of scalar elements on cells.
    vector
        ``(n_fine,)`` or ``(n_fine, k)``.
    """
    vector = np.asarray(vector, dtype=np.float64)
    if len(vector) != fine_basis.N:
        raise InputError(f"vector has {len(vector)} rows; the fine basis has {fine_basis.N} unknowns")
    order = fine_basis.elem.maxdeg + max(fine_basis.elem.maxdeg, coarse_basis.elem.maxdeg)
    fine = quadrature_sampling(CellBasis(fine_basis.mesh, fine_basis.elem, intorder=order))
    cells = locate(coarse_basis.mesh, fine.points, outside="nearest")
    coarse = evaluation_matrix(coarse_basis, fine.points, cells)
    samples = fine.matrix @ vector
    weighted = (samples.T * fine.weights).T
    moments = coarse.T @ weighted
    mass = _product.assemble(CellBasis(coarse_basis.mesh, coarse_basis.elem, intorder=2 * coarse_basis.elem.maxdeg))
    projected = factorize(mass.tocsr(), symmetric=True, definite=True).solve(moments)
    return Projection(projected, 0.5 * float(np.sum(samples * weighted) - np.sum(projected * moments)))


@BilinearForm
def _product(u, v, w):
    return u * v
