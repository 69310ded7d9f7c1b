"""Checks of arguments and fields, and the passage from numpy to torch, shared by every ansatz."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from ..errors import InputError, real_array

OVERHANG = 0.1  # of a side of its box that a network may be asked to go beyond it
FILLED = 0.01  # of the sides of its box below which all points look like one to a network


def points(x, dimension: int) -> np.ndarray:
    """Points as float64 (q, dimension).

    Raises
    ------
    InputError
        If `x` has another shape.
    """
    x = real_array("x", x)
    if x.ndim != 2 or x.shape[1] != dimension:
        turned = "; is it transposed?" if x.ndim == 2 and x.shape[0] == dimension else ""
        raise InputError(f"x has shape {x.shape}: the ansatz needs points of shape (q, {dimension}){turned}")
    return x


def parameters(theta, size: int, name: str = "theta") -> np.ndarray:
    """Parameters as a flat float64 vector (size,).

    Raises
    ------
    InputError
        If `theta` has another shape.
    """
    theta = real_array(name, theta)
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
    samples = real_array("samples", samples)
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


def boxes(ansatz) -> list:
    """The boxes of a network, and of those inside it."""
    parts = getattr(ansatz, "parts", None) or [part for part in (getattr(ansatz, "inner", None),) if part is not None]
    own = [ansatz.box] if getattr(ansatz, "box", None) is not None else []
    return own + [box for part in parts for box in boxes(part)]


def on_box(ansatz, box: tuple | None):
    """The network, and those inside it, on another box."""
    changed: dict[str, object] = {"box": box} if getattr(ansatz, "box", None) is not None else {}
    if getattr(ansatz, "inner", None) is not None:
        changed["inner"] = on_box(ansatz.inner, box)
    if getattr(ansatz, "parts", None):
        changed["parts"] = tuple(on_box(part, box) for part in ansatz.parts)
    return dataclasses.replace(ansatz, **changed) if changed else ansatz


def misplaced(box, x: np.ndarray) -> str:
    """What is wrong with a box for points x (q, d), in words: they leave it, or fill next to nothing of it."""
    lower, upper = np.array(box)
    sides, low, high = upper - lower, x.min(axis=0), x.max(axis=0)
    if np.any(low < lower - OVERHANG * sides) or np.any(high > upper + OVERHANG * sides):
        return "leave"
    return "hardly fill" if np.all(high - low < FILLED * sides) else ""


def placed(ansatz, x: np.ndarray):
    """The network with the bounding box of points x (q, d) where it has the default box, and that is not for them."""
    default = checked_box(None, x.shape[1])
    if any(box == default and misplaced(box, x) for box in boxes(ansatz)):
        return on_box(ansatz, (tuple(map(float, x.min(axis=0))), tuple(map(float, x.max(axis=0)))))
    return ansatz


def check_unknown(ansatz, space) -> None:
    """Check that an ansatz can be an unknown of a space.

    Raises
    ------
    InputError
        If it is no ansatz, has other inputs or outputs, or the points of the space are not where its box is.
    """
    missing = [name for name in ("inputs", "outputs", "size", "initial", "linearize") if not hasattr(ansatz, name)]
    if missing:
        hint = "; wrap it in a TorchModule" if isinstance(ansatz, torch.nn.Module) else ""
        raise InputError(f"the unknown is a {type(ansatz).__name__}, which has no {missing[0]}: give an MLP, a "
                         f"FiniteElement or another Ansatz{hint}")
    for name, has, needs in (("inputs", ansatz.inputs, space.dimension), ("outputs", ansatz.outputs, space.components)):
        if has != needs:
            what = "coordinates of a point" if name == "inputs" else "components of the unknown"
            raise InputError(f"the ansatz has {has} {name}; it needs {needs}, as many as {what}")
    x = space.points
    for box in boxes(ansatz):
        if wrong := misplaced(box, x):
            low, high = ([float(f"{end:.4g}") for end in ends] for ends in (x.min(axis=0), x.max(axis=0)))
            raise InputError(f"the points of the space, from {low} to {high}, {wrong} the network's box {box}; give it "
                             "the box of the mesh: MLP(..., box=bounding_box(mesh))")


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
