"""Users' files of measurements: tables of points (and times) and values, arrays, plain numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import InputError, checked_times, real_array
from .measurements import Measurements, TimeSeries


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
    if _is_csv(path):
        points, columns = _read_csv(path, dimension)
        values, std = columns["value"], columns.get("std")
    else:
        arrays = read_arrays(path, ("points", "values"), ("std",), finite=False)
        points, values, std = arrays["points"], arrays["values"], arrays.get("std")
    return Measurements(*_checked(f"data file {str(path)!r}", points, values, std, dimension))


def read_time_series(path, *, dimension: int | None = None) -> TimeSeries:
    """Read what was measured at the same points at several times.

    Parameters
    ----------
    path
        ``.npz`` with arrays points (n, d), times (T,), values (T, n) or (T, n, k) and optionally std (number, or the
        shape of values); or ``.csv`` with columns x, y[, z], t, value[, std] and a row for every point and time, in
        any order. A first line that is not numeric is a header with these names, in any order.
    dimension
        Number of coordinates to expect. A ``.csv`` file of five columns without a header needs it.

    Raises
    ------
    InputError
        As for `read_measurements`; or the times do not increase, or a point lacks its value at a time.
    """
    path = _file(path)
    what = f"data file {str(path)!r}"
    if _is_csv(path):
        points, times, values, std = _series(what, *_read_csv(path, dimension, "t"))
    else:
        arrays = read_arrays(path, ("points", "times", "values"), ("std",), finite=False)
        points, times, values, std = (arrays.get(name) for name in ("points", "times", "values", "std"))
    times = checked_times(times, f"{what}: times")
    if values.ndim not in (2, 3) or values.shape[:2] != (len(times), len(points)):
        raise InputError(f"{what}: values has shape {values.shape} for {len(times)} times and {len(points)} points; it "
                         f"needs ({len(times)}, {len(points)})")
    std = None if std is None else _broadcast(what, std, values)
    for name, array in (("values", values), ("std", std)):
        bad = np.argwhere(~np.isfinite(array)) if array is not None else []
        if len(bad):
            raise InputError(f"{what}: {name} has {len(bad)} entries that are not finite, the first at t = "
                             f"{times[bad[0][0]]:g} of the point {points[bad[0][1]].tolist()}")
    rows = values.swapaxes(0, 1).reshape(len(points), -1)
    points = _checked(what, points, rows, std if std is None else std.swapaxes(0, 1).reshape(rows.shape), dimension)[0]
    return TimeSeries(points, times, values, std)


def _series(what: str, points: np.ndarray, columns: dict[str, np.ndarray]):
    """Points, times, and the columns value and std as (times, points), of rows in any order."""
    if not np.isfinite(points).all() or not np.isfinite(columns["t"]).all():
        raise InputError(f"{what}: a point or a time is not finite")
    points, first, place = np.unique(points, axis=0, return_index=True, return_inverse=True)
    times, when = np.unique(columns["t"], return_inverse=True)
    rows, where = np.argsort(first), when * len(points) + np.argsort(np.argsort(first))[place.ravel()]
    points, counts = points[rows], np.bincount(where, minlength=len(times) * len(points))
    for wrong, problem in ((counts == 0, "lacks a value"), (counts > 1, "has several values")):
        if wrong.any():
            time, point = divmod(int(np.argmax(wrong)), len(points))
            raise InputError(f"{what}: the point {points[point].tolist()} {problem} at t = {times[time]:g} (one of "
                             f"{wrong.sum()} such pairs); every point needs one row for every time")
    shape, order = (len(times), len(points)), np.argsort(where)
    return points, times, *(columns[name][order].reshape(shape) if name in columns else None
                            for name in ("value", "std"))


def _is_csv(path: Path) -> bool:
    if path.suffix.lower() not in (".npz", ".csv"):
        raise InputError(f"data file {str(path)!r} has suffix {path.suffix!r}; give .npz or .csv")
    return path.suffix.lower() == ".csv"


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
            arrays = {key: file[key] for key in (*required, *optional) if key in keys}
            arrays = {key: _numbers(key, array) for key, array in arrays.items()}
    except Exception as error:
        raise InputError(f"data file {str(path)!r} cannot be read as .npz: {error}") from error
    if missing := [key for key in required if key not in arrays]:
        found = ", ".join(keys) or "nothing"
        raise InputError(f"data file {str(path)!r} lacks {' and '.join(missing)}; it has {found}")
    for name, array in arrays.items():
        if finite and not np.isfinite(array).all():
            raise InputError(f"data file {str(path)!r}: {name} has values that are not finite")
    return arrays


def _numbers(name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype == bool:
        raise InputError(f"{name} holds truth values; give numbers")
    return real_array(name, array)


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


def _read_csv(path: Path, dimension: int | None, *further: str):
    """Points (n, d), and the other columns by name: value, those in `further`, and std if there is one."""
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
            raise InputError(f"data file {str(path)!r}, line {i}: {','.join(cells)[:60]!r} is not {width} numbers")
    table = np.array([[float(cell) for cell in cells] for _, cells in rows])
    names = header or _default_columns(path, width, dimension, list(further))
    columns = dict(zip(names, table.T, strict=True))
    if len(columns) < len(names):
        raise InputError(f"data file {str(path)!r} repeats a column name: {', '.join(names)}")
    if missing := [name for name in ("x", *further, "value") if name not in columns]:
        raise InputError(f"data file {str(path)!r} lacks column {' and '.join(missing)}; it has {', '.join(names)}")
    points = np.column_stack([columns[axis] for axis in "xyz" if axis in columns])
    return points, columns


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _default_columns(path: Path, width: int, dimension: int | None, further: list[str]) -> list[str]:
    axes, numbers = ["x", "y", "z"], width - len(further)
    if dimension is None and numbers == 4:
        ways = [*axes, *further, "value"], [*axes[:2], *further, "value", "std"]
        raise InputError(f"data file {str(path)!r} has {'five' if further else 'four'} columns and no header, which "
                         f"can be read in two ways; add a first line: {' or '.join(map(','.join, ways))}")
    dimension = dimension or {2: 1, 3: 2, 5: 3}.get(numbers, 0)
    if dimension == 0 or numbers not in (dimension + 1, dimension + 2):
        needed = ", ".join(["x", "y[, z]", *further, "value[, std]"])
        raise InputError(f"data file {str(path)!r} has {width} columns; it needs {needed}")
    return [*axes[:dimension], *further, *["value", "std"][: numbers - dimension]]


def _checked(what: str, points, values, std, dimension: int | None):
    """Points, values and standard deviations of the values' shape."""
    if points.ndim != 2 or not 1 <= points.shape[1] <= 3 or len(points) == 0:
        raise InputError(f"{what}: points has shape {points.shape}; it needs (n, d) with d = 1, 2 or 3")
    if dimension is not None and points.shape[1] != dimension:
        raise InputError(f"{what}: points have {points.shape[1]} coordinates; the problem has {dimension}")
    if values.ndim not in (1, 2) or len(values) != len(points):
        raise InputError(f"{what}: values has shape {values.shape} for {len(points)} points; it needs one row a point")
    if std is not None:
        std = std[:, None] if std.ndim == 1 and values.ndim == 2 and len(std) == len(values) else std
        std = _broadcast(what, std, values)
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
    return points, values, std


def _broadcast(what: str, std: np.ndarray, values: np.ndarray) -> np.ndarray:
    try:
        return np.broadcast_to(std, values.shape).copy()
    except ValueError:
        raise InputError(f"{what}: std has shape {std.shape}; it needs that of values, {values.shape}") from None
