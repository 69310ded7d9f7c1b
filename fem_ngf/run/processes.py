"""A run on several processes: all do the same, the first writes, and all of them end together.

Every process goes through the same code, because any of it may ask an energy for something that all must compute
together. The others' output goes nowhere: their console is closed, their run directory a temporary one.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..parallel.launch import attempted, launched, meet, world

PATIENCE = 10.0
"""Seconds that a process which has failed waits for the others to fail too, before it ends them."""


@dataclass(frozen=True)
class Processes:
    """The processes of this run, of which this is one.

    Parameters
    ----------
    comm
        The communicator (mpi4py), or None where there is one process.
    """

    comm: Any = None

    @classmethod
    def started(cls) -> Processes:
        """As they were launched.

        Raises
        ------
        InputError
            If they do not know of each other.
        """
        return cls(world())

    @property
    def first(self) -> bool:
        """Whether this one writes."""
        return self.comm is None or self.comm.rank == 0

    def agreed(self, work: Callable[[], Any]) -> Any:
        """What a piece of work gives here; what fails for its input on one process fails on all."""
        if self.comm is None:
            return work()
        result, failure = attempted(self.comm, work)
        if failure is not None:
            raise failure
        return result

    @contextlib.contextmanager
    def folder(self, path: Path):
        """Where this process writes: the path on the first, elsewhere a directory that is removed in the end."""
        if self.first:
            yield path
            return
        with tempfile.TemporaryDirectory(prefix="fem_ngf_", ignore_cleanup_errors=True) as scratch:
            yield Path(scratch)

    def shared(self, case):
        """The case with the experiments of its energies distributed."""
        if self.comm is None:
            return case
        from ..parallel.experiments import share_experiments

        levels = [replace(level, energy=share_experiments(level.energy, self.comm)) for level in case.levels]
        return replace(case, levels=tuple(levels))

    def alone(self, command: str) -> None:
        """InputError if there are several."""
        if self.comm is not None:
            raise InputError(f"fem-ngf {command} runs on one process, not on {self.comm.size}; start it without a "
                             "launcher")

    def ended(self, code: int) -> int:
        """The exit code, once all processes have failed; those that have not by then are ended."""
        if self.comm is not None and code != 0 and not meet(self.comm, PATIENCE):
            self.comm.Abort(code)
        return code


@contextlib.contextmanager
def one_console():
    """Only the first of the launched processes writes to the console."""
    if launched()[1] == 0:
        yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield
