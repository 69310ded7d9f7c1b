"""Checks and normal forms of the fields of an `MLP`."""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from .activations import value_and_slope
from .checks import torch_device


def normalized_fields(net) -> dict:
    """The fields of a network as plain tuples and numbers, with defaults filled in.

    Raises
    ------
    InputError
        Naming the first field that cannot be used.
    """
    widths = _widths(net.widths)
    value_and_slope(net.activation)
    torch_device(net.device)
    for name in ("frequency_scale", "scale"):
        if not _finite(getattr(net, name)) or getattr(net, name) <= 0:
            raise InputError(f"{name}={getattr(net, name)!r} must be a positive number")
    if not _finite(net.output_scale) or net.output_scale < 0:
        raise InputError(f"output_scale={net.output_scale!r} must be a number that is not negative")
    return {
        "widths": widths, "box": checked_box(net.box, widths[0]), "start": _start(net.start, widths[-1]),
        "frequencies": _frequencies(net, widths[0]),
    }


def _finite(value) -> bool:
    return isinstance(value, int | float | np.number) and bool(np.isfinite(value))


def _widths(widths) -> tuple[int, ...]:
    try:
        result = tuple(int(width) for width in widths)
    except (TypeError, ValueError) as error:
        raise InputError(f"widths={widths!r} must be integers such as (2, 8, 8, 1)") from error
    if len(result) < 2 or min(result) < 1 or any(a != b for a, b in zip(result, widths, strict=True)):
        raise InputError(f"widths={widths!r} must be at least two positive integers: inputs, hidden layers, outputs")
    return result


def checked_box(box, dimension: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Lower and upper corner of a box as tuples; the unit cube for None.

    Raises
    ------
    InputError
        If there are not two corners of `dimension` finite numbers in order.
    """
    if box is None:
        return (0.0,) * dimension, (1.0,) * dimension
    try:
        lower, upper = (tuple(float(entry) for entry in np.atleast_1d(corner)) for corner in box)
    except (TypeError, ValueError) as error:
        raise InputError(f"box={box!r} must be (lower corner, upper corner)") from error
    if len(lower) != dimension or len(upper) != dimension:
        raise InputError(f"box={box!r} must have corners of {dimension} numbers, as many as the network's inputs")
    if not np.all(np.isfinite(lower + upper)) or not all(a < b for a, b in zip(lower, upper, strict=True)):
        raise InputError(f"box={box!r} must have finite corners, each lower entry below the upper one")
    return lower, upper


def _start(start, outputs: int):
    values = np.atleast_1d(np.asarray(start, dtype=np.float64))
    if values.shape not in ((1,), (outputs,)) or not np.all(np.isfinite(values)):
        raise InputError(f"start={start!r} must be one finite number or {outputs}, one for each output")
    return float(values[0]) if np.ndim(start) == 0 or outputs == 1 else tuple(float(value) for value in values)


def _frequencies(net, dimension: int) -> tuple[tuple[float, ...], ...]:
    given = net.frequencies
    if isinstance(given, int | np.integer):
        if given < 0:
            raise InputError(f"frequencies={given} must be a number of Fourier features, zero or more")
        generator = np.random.default_rng(net.frequency_seed)
        given = net.frequency_scale * generator.standard_normal((int(given), dimension))
    table = np.asarray(given, dtype=np.float64)
    if table.size and (table.ndim != 2 or table.shape[1] != dimension or not np.all(np.isfinite(table))):
        raise InputError(f"frequencies of shape {table.shape} must be vectors of {dimension} numbers")
    return tuple(tuple(float(entry) for entry in row) for row in table)
