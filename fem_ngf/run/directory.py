"""The directory of a run: one process at a time works in it, and only what a run of ours left there is removed."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

try:
    import fcntl
except ImportError:  # no such locks on this system
    fcntl = None  # type: ignore[assignment]

from ..errors import InputError
from ..output.files import is_temporary
from .checkpoint import CHECKPOINT, load_checkpoint

FILES = re.compile(r"(summary\.json|history\.csv|checkpoint\.pt|report\.html|picture\.png|fields\.pvd|"
                   r"fields_\d+[a-z0-9_]*\.vtu)")


def holds_run(folder: Path) -> bool:
    """Whether the directory has a checkpoint of ours: the first file of a run and the last to go."""
    try:
        return bool(load_checkpoint(folder))
    except InputError:
        return False


def holds_comparison(folder: Path) -> bool:
    """Whether the directory has the numbers of a comparison."""
    try:
        return {"results", "histories"} <= json.loads((folder / "compare.json").read_bytes()).keys()
    except (OSError, ValueError, AttributeError):
        return False


class RunDirectory:
    """The right to write a run directory, from `claim` or `create` until the ``with`` block or the process ends.

    Parameters
    ----------
    path
        Of the directory.
    ours
        Whether a directory that is not empty holds what may be replaced.
    files
        Full names of what is replaced.
    """

    def __init__(self, path: Path, ours: Callable[[Path], bool] = holds_run, files: re.Pattern = FILES):
        self.path, self._ours, self._files = path, ours, files
        self._descriptor: int | None = None

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self._descriptor is not None:
            os.close(self._descriptor)

    def claim(self) -> None:
        """Keep other processes out of a directory that exists; the system lets them in when this one has ended.

        Raises
        ------
        InputError
            If another process is at work there.
        """
        if fcntl is None or self._descriptor is not None:
            return
        self._descriptor = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"another process is at work in {self.path}; wait for it, or give another directory"
                             ) from None
        except OSError:  # a file system without locks
            pass

    def check(self) -> None:
        """Refuse a directory that cannot be written or that is not ours; nothing is created.

        Raises
        ------
        InputError
            Names what is wrong.
        """
        folder = self.path
        try:
            if folder.is_dir():
                self.claim()
                if not self._replaceable():
                    raise InputError(f"out is {folder}, which is not empty and holds no earlier run; give another "
                                     "directory")
            elif folder.exists():
                raise InputError(f"out is {folder}, which is a file; give a directory")
            parent = next(path for path in (folder, *folder.absolute().parents) if path.exists())
            if not parent.is_dir():
                raise InputError(f"out is {folder}, but {parent} is a file; give another directory")
            tempfile.TemporaryFile(dir=parent).close()
        except OSError as error:
            raise InputError(f"out is {folder}, which cannot be written: {error.strerror}") from None

    def create(self) -> None:
        """Make the directory, claim it, and remove the files of an earlier run, its checkpoint last.

        Raises
        ------
        InputError
            If another process has been faster, or the system refuses.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.check()
            old = [path for path in self.path.iterdir() if self._files.fullmatch(path.name) or is_temporary(path)]
            for path in sorted(old, key=lambda path: path.name == CHECKPOINT):
                path.unlink()
        except OSError as error:
            raise InputError(f"out is {self.path}, which cannot be written: {error.strerror}") from None

    def _replaceable(self) -> bool:
        return all(is_temporary(path) for path in self.path.iterdir()) or self._ours(self.path)
