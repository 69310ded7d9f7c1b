"""Users' files of measurements: tables of points and values, arrays, plain numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import InputError
from .measurements import Measurements


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
    path = _file(path)
    readers = {".npz": _read_npz, ".csv": _read_csv}
    if path.suffix.lower() not in readers:
        raise InputError(f"data file {str(path)!r} has suffix {path.suffix!r}; give .npz or .csv")
    points, values, std = readers[path.suffix.lower()](path, dimension)
    return _checked(f"data file {str(path)!r}", points, values, std, dimension)


def _file(path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise InputError(f"data file {str(path)!r} {'is no file' if path.exists() else 'does not exist'}")
    return path


def read_arrays(path, required=(), optional=(), *, finite: bool = True) -> dict[str, np.ndarray]:
    """Arrays of real numbers in an ``.npz`` file, as floats, by name in the order asked for.

    Raises
    ------
    InputError
        The file cannot be read, lacks an array of `required`, or holds values that are not finite (unless `finite` is
        False).
    """
    path = _file(path)
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            keys = sorted(file)
            arrays = {key: file[key].astype(np.float64, casting="same_kind")
                      for key in (*required, *optional) if key in keys}
    except Exception as error:
        raise InputError(f"data file {str(path)!r} cannot be read as .npz: {error}") from error
    if missing := [key for key in required if key not in arrays]:
        found = ", ".join(keys) or "nothing"
        raise InputError(f"data file {str(path)!r} lacks {' and '.join(missing)}; it has {found}")
    for name, array in arrays.items():
        if finite and not np.isfinite(array).all():
            raise InputError(f"data file {str(path)!r}: {name} has values that are not finite")
    return arrays


def _read_npz(path: Path, dimension: int | None):
    arrays = read_arrays(path, ("points", "values"), ("std",), finite=False)
    return arrays["points"], arrays["values"], arrays.get("std")


def read_numbers(path, count: int, *, positive: bool = False) -> np.ndarray:
    """The numbers ``(count,)`` of a text file, however they are spread over lines.

    Raises
    ------
    InputError
        The file cannot be read, or holds other than `count` finite (positive) numbers.
    """
    try:
        numbers = np.array(Path(path).read_text().split(), dtype=np.float64)
    except (OSError, ValueError) as error:
        raise InputError(f"file {str(path)!r} cannot be read as numbers: {error}") from error
    if numbers.size != count:
        raise InputError(f"file {str(path)!r} holds {numbers.size} numbers; {count} are needed")
    if not np.isfinite(numbers).all() or (positive and (numbers <= 0).any()):
        raise InputError(f"file {str(path)!r} holds numbers that are not finite{' and positive' if positive else ''}")
    return numbers


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
