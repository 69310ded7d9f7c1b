"""Processes that do one piece of work together: sums that are the same bits on all, failures that all raise."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError, SolveError


@dataclass(frozen=True, eq=False)
class Team:
    """The processes of a communicator, of which this is one. Every operation is collective: all call it in one order.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
    """

    comm: Any

    @property
    def rank(self) -> int:
        """Number of this process."""
        return self.comm.rank

    @property
    def size(self) -> int:
        """Number of processes."""
        return self.comm.size

    def meet(self, patience: float = float("inf")) -> bool:
        """Wait, asleep and not spinning, until all are here; False if that takes longer than `patience` seconds."""
        arrived, pause, until = self.comm.Ibarrier(), 1e-5, time.monotonic() + patience
        while not arrived.Test():
            if time.monotonic() > until:
                return False
            time.sleep(pause)
            pause = min(2.0 * pause, 1e-3)
        return True

    def agreed(self, work: Callable[[], Any]) -> Any:
        """What a piece of work gives here; what fails on one process is an error on all, the first of them."""
        result, failure = None, None
        try:
            result = work()
        except (InputError, SolveError) as error:
            failure = error
        self.meet()
        failures = [each for each in self.comm.allgather(failure) if each is not None]
        if failures:
            raise failures[0]
        return result

    def summed(self, array: np.ndarray) -> np.ndarray:
        """The sum over the processes, the same bits on all."""
        total = np.empty_like(array, order="C")
        self.meet()
        self.comm.Reduce(np.ascontiguousarray(array), total, root=0)
        self.comm.Bcast(total, root=0)
        return total

    def same(self, m: np.ndarray) -> np.ndarray:
        """The first process's array, bit for bit.

        Raises
        ------
        InputError
            If another process has another one.
        """
        given = np.array(m, dtype=float)
        self.meet()
        self.comm.Bcast(given, root=0)
        apart = self.comm.allreduce(int(not np.array_equal(given, m)))
        if apart:
            raise InputError(f"{apart} processes search elsewhere than the first: their processors, or their numerical "
                             "libraries, round differently; start the run on nodes of one kind")
        return given

    def joined(self, rows: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """The rows (n_r, ...) of all processes one after the other, `counts` (processes,) of them."""
        every = np.empty((int(counts.sum()), *rows.shape[1:]))
        self.meet()
        self.comm.Allgatherv(np.ascontiguousarray(rows), (every, counts * (every[:1].size if len(every) else 0)))
        return every

    def shares(self, count: int) -> list[slice]:
        """Consecutive parts of `count` things, one a process, as even as can be."""
        bounds = np.linspace(0, count, self.size + 1).round().astype(int)
        return [slice(int(start), int(stop)) for start, stop in zip(bounds[:-1], bounds[1:], strict=True)]

    def own(self, parts: list) -> list:
        """This process's share of a list."""
        return parts[self.shares(len(parts))[self.rank]]
