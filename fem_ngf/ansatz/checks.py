"""Checks of arguments and fields, and the passage from numpy to torch, shared by every ansatz."""

from __future__ import annotations

import numpy as np
import torch

from ..errors import InputError


def points(x, dimension: int) -> np.ndarray:
    """Points as float64 (q, dimension).

    Raises
    ------
    InputError
        If `x` has another shape.
    """
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 2 or x.shape[1] != dimension:
        raise InputError(f"x has shape {x.shape}: the ansatz needs points of shape (q, {dimension})")
    return x


def parameters(theta, size: int, name: str = "theta") -> np.ndarray:
    """Parameters as a flat float64 vector (size,).

    Raises
    ------
    InputError
        If `theta` has another shape.
    """
    theta = np.asarray(theta, dtype=np.float64)
    if theta.shape != (size,):
        raise InputError(f"{name} has shape {theta.shape}: the ansatz has {size} parameters, shape ({size},)")
    return theta


def samples_of(samples, q: int, outputs: int) -> np.ndarray:
    """Samples (q,) or (q, c) as float64 (q, c).

    Raises
    ------
    InputError
        If there is not one row for each of the q points.
    """
    samples = np.asarray(samples, dtype=np.float64)
    expected = (q,) if outputs == 1 else (q, outputs)
    if samples.shape not in (expected, (q, outputs)):
        raise InputError(f"samples has shape {samples.shape}: these points need {expected}")
    return samples.reshape(q, outputs)


def jacobian_buffer(out, q: int, outputs: int, size: int) -> np.ndarray:
    """`out` if it can hold a Jacobian (q, P) or (q, c, P), a new array if it is None.

    Raises
    ------
    InputError
        If `out` is no writeable float64 array of that shape.
    """
    shape = (q, size) if outputs == 1 else (q, outputs, size)
    if out is None:
        return np.empty(shape)
    if not isinstance(out, np.ndarray) or out.shape != shape or out.dtype != np.float64 or not out.flags.writeable:
        found = f"{getattr(out, 'dtype', type(out).__name__)} of shape {getattr(out, 'shape', ())}"
        raise InputError(f"out is {found}: give a writeable float64 array of shape {shape}")
    return out


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


def torch_device(name: str) -> torch.device:
    """The torch device of that name.

    Raises
    ------
    InputError
        If it is unknown, absent on this machine, or has no float64.
    """
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise InputError(f"device={name!r} is not a torch device: use 'cpu' or 'cuda'") from error
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"device={name!r} cannot compute in float64 here: use 'cpu' or 'cuda'")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device={name!r}: no CUDA device is available on this machine, use 'cpu'")
    return device


def tensor(array: np.ndarray, device: torch.device | str = "cpu") -> torch.Tensor:
    """A torch tensor of a float64 array; shares memory on the cpu unless the array is read-only or reversed."""
    if not array.flags.writeable or any(stride < 0 for stride in array.strides):
        array = array.copy()
    return torch.from_numpy(array).to(device)
