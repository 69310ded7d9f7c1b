"""What a run leaves behind: its directory, its record in memory, and checkpoints that contain no code."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from ..errors import InputError
from ..flows.continuation import Stage
from .identification import Clock

CHECKPOINT = "checkpoint.pt"
FORMAT = 1
FILES = ("summary.json", "history.csv", "checkpoint.pt", "report.html", "picture.png", "fields.pvd")
CHECKPOINT_SHARE = 0.05  # of the wall time, at most


@dataclass(frozen=True)
class Origin:
    """Where a run came from, so that it can be built again.

    Parameters
    ----------
    path
        Case file.
    folder
        Working directory, to which the paths among the flags refer.
    flags
        Command-line flags.
    arguments
        The case function's arguments, as text or numbers.
    setup_cpu_seconds
        Process CPU seconds to build the case and its spaces.
    weight_choice
        How a rule chose the weight, see `weighting.choose`; empty if none did.
    """

    path: str
    folder: str
    flags: tuple[str, ...] = ()
    arguments: dict = field(default_factory=dict)
    setup_cpu_seconds: float = 0.0
    weight_choice: dict = field(default_factory=dict)


@dataclass
class Record:
    """What a run has left behind so far."""

    stage: Stage | None = None
    rows: list[dict] = field(default_factory=list)
    series: list[tuple[float, list[str]]] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)

    @property
    def reached(self) -> Stage:
        """The last stage of a run that has one."""
        assert self.stage is not None, "the run has no iterate yet"
        return self.stage

    def state(self) -> dict:
        """What a checkpoint holds of it."""
        return {"stage": self.reached.state(), "rows": self.rows, "series": self.series, "cpu": self.clock.cpu,
                "wall": self.clock.wall}


# ---- the directory ---------------------------------------------------------------------------------------------------


def check_folder(folder: Path, names: tuple[str, ...] = FILES) -> None:
    """Refuse a directory that cannot be written, or that holds something else than an earlier run.

    Nothing is created.

    Raises
    ------
    InputError
        Names what is wrong.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"out is {folder}, which is a file; give a directory")
    held = [path.name for path in folder.iterdir() if not _is_temporary(path)] if folder.is_dir() else []
    if held and not set(held) & set(names):
        raise InputError(f"out is {folder}, which is not empty and holds no earlier run; give another directory")
    parent = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not parent.is_dir():
        raise InputError(f"out is {folder}, but {parent} is a file; give another directory")
    try:
        tempfile.TemporaryFile(dir=parent).close()
    except OSError as error:
        raise InputError(f"out is {folder}, but {parent} cannot be written: {error.strerror}") from None


def create_folder(folder: Path, names: tuple[str, ...] = FILES) -> None:
    """Make the directory and remove the files of an earlier run.

    Raises
    ------
    InputError
        If the system refuses.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        left = [path for path in folder.iterdir() if _is_temporary(path)]
        for path in (*(folder / name for name in names), *folder.glob("fields_*.vtu"), *left):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"out is {folder}, which cannot be written: {error.strerror}") from None


def _is_temporary(path: Path) -> bool:
    """What a kill may leave behind: files are written under ``.NAME.tmp`` (``.NAME.tmp.vtu``) and renamed."""
    return path.name.startswith(".") and (path.suffix == ".tmp" or path.name.endswith(".tmp.vtu"))


# ---- checkpoints --------------------------------------------------------------------------------------------------


class Saver:
    """Writes checkpoints: the first at once, then as often as they take only a small share of the time."""

    def __init__(self, folder: Path, content: Callable[[], dict]):
        self._folder, self._content = folder, content
        self._last, self._cost = float("-inf"), 0.0

    def save_if_cheap(self) -> None:
        if time.perf_counter() - self._last >= min(self._cost / CHECKPOINT_SHARE, 1.0):
            self.save()

    def save(self) -> None:
        start = time.perf_counter()
        save_checkpoint(self._folder, self._content())
        self._last = time.perf_counter()
        self._cost = self._last - start


def save_checkpoint(folder: Path, content: dict) -> None:
    """Write a checkpoint under a temporary name and rename it.

    Parameters
    ----------
    folder
        The run directory.
    content
        Nested dicts, lists and tuples of numbers, strings, None, numpy arrays and tensors.
    """
    temporary = folder / f".{CHECKPOINT}.tmp"
    torch.save({"format": FORMAT, **_encoded(content)}, temporary)
    temporary.replace(folder / CHECKPOINT)


def load_checkpoint(folder: str | Path) -> dict:
    """Read the checkpoint of a run directory.

    Raises
    ------
    InputError
        If there is none, or it cannot be read.
    """
    path = Path(folder) / CHECKPOINT
    if not path.is_file():
        raise InputError(f"{folder} holds no {CHECKPOINT}; give the directory of an earlier run")
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
        found = content.pop("format", None)
    except Exception:  # the unpickler fails in any way on bytes that are no pickle
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
