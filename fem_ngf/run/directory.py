"""The run directory: what it holds, and when it may be used."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ..errors import InputError

NAMES = ("summary.json", "history.csv", "checkpoint.pt", "report.html", "picture.png", "fields.pvd")


def check(folder: Path, names: tuple[str, ...] = NAMES) -> None:
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


def create(folder: Path, names: tuple[str, ...] = NAMES) -> None:
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
