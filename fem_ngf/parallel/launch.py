"""Whether this process is one of several, as the launcher (mpiexec, srun) says and as MPI sees it."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec

from ..errors import InputError, SolveError

SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MPI_LOCALNRANKS", "SLURM_STEP_NUM_TASKS")
RANKS = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "MPI_LOCALRANKID", "SLURM_PROCID")


def launched() -> tuple[int, int]:
    """Number of processes and number of this one, by the launcher's environment; (1, 0) without a launcher."""
    sizes, ranks = ([int(os.environ[name]) for name in names if os.environ.get(name, "").isdecimal()]
                    for names in (SIZES, RANKS))
    return max(sizes, default=1), max(ranks, default=0)


def world():
    """The communicator of all processes (mpi4py), or None where there is one process only.

    Raises
    ------
    InputError
        If a launcher started several processes that do not know of each other: each would do all the work.
    """
    size, _ = launched()
    if size == 1:
        return None
    if find_spec("mpi4py") is None:
        raise InputError(f"{size} processes were started, but mpi4py is not installed; pip install 'fem_ngf[mpi]'")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is refused below
            from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise InputError(f"{size} processes were started, but MPI cannot be loaded ({error}); pip install "
                         "'fem_ngf[mpi]' and start with its mpiexec") from None
    if size != MPI.COMM_WORLD.size:
        raise InputError(f"a launcher started {size} processes, but MPI sees {MPI.COMM_WORLD.size}: it belongs to "
                         "another MPI than mpi4py's; start with the mpiexec that lies beside this python")
    return MPI.COMM_WORLD


def meet(comm, patience: float = float("inf")) -> bool:
    """Wait, asleep and not spinning, until all processes are here; False if that takes longer than `patience` s."""
    arrived, pause, until = comm.Ibarrier(), 1e-5, time.monotonic() + patience
    while not arrived.Test():
        if time.monotonic() > until:
            return False
        time.sleep(pause)
        pause = min(2.0 * pause, 1e-3)
    return True


def attempted(comm, work: Callable[[], object]) -> tuple:
    """What a piece of work gives here, and the failure of the first process on which it fails: the same on all."""
    result, failure = None, None
    try:
        result = work()
    except (InputError, SolveError) as error:
        failure = error
    meet(comm)
    return result, next((each for each in comm.allgather(failure) if each is not None), None)
