"""Checkpoints: everything a run needs to go on, in a file that contains no code."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import torch

from ..errors import InputError

NAME = "checkpoint.pt"
FORMAT = 1


def save(folder: Path, content: dict) -> None:
    """Write a checkpoint under a temporary name and rename it.

    Parameters
    ----------
    folder
        The run directory.
    content
        Nested dicts, lists and tuples of numbers, strings, None, numpy arrays and tensors.
    """
    temporary = folder / f".{NAME}.tmp"
    torch.save({"format": FORMAT, **_encoded(content)}, temporary)
    temporary.replace(folder / NAME)


def load(folder: str | Path) -> dict:
    """Read the checkpoint of a run directory.

    Raises
    ------
    InputError
        If there is none, or it cannot be read.
    """
    path = Path(folder) / NAME
    if not path.is_file():
        raise InputError(f"{folder} holds no {NAME}; give the directory of an earlier run")
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
        found = content.pop("format", None)
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, AttributeError, pickle.UnpicklingError):
        raise InputError(f"{path} is no readable checkpoint; it is damaged or of another program") from None
    if found != FORMAT:
        raise InputError(f"{path} has format {found}; this version reads format {FORMAT}")
    return _decoded(content)


def _encoded(value):
    """The same content without numpy: arrays become marked tensors, numpy's numbers Python's."""
    if isinstance(value, np.ndarray):
        return {"numpy": torch.from_numpy(np.array(value))}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {key: _encoded(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_encoded(part) for part in value)
    return value


def _decoded(value):
    if isinstance(value, dict):
        if value.keys() == {"numpy"}:
            return value["numpy"].numpy()
        return {key: _decoded(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_decoded(part) for part in value)
    return value
