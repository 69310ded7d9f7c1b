"""Whether this process is one of several, as the launcher (mpiexec, srun) says and as MPI sees it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    from .team import Team

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
"""Parameters of glibc's mallopt."""
LARGE = 2**22
"""Bytes from which on a piece of memory is asked of the system for itself."""
SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MPI_LOCALNRANKS", "SLURM_STEP_NUM_TASKS")
RANKS = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "MPI_LOCALRANKID", "SLURM_PROCID")


def launched() -> tuple[int, int]:
    """Number of processes and number of this one, by the launcher's environment; (1, 0) without a launcher."""
    sizes, ranks = ([int(os.environ[name]) for name in names if os.environ.get(name, "").isdecimal()]
                    for names in (SIZES, RANKS))
    return max(sizes, default=1), max(ranks, default=0)


def world() -> Team | None:
    """All processes (mpi4py), or None where there is one process only.

    Where PETSc is installed and has the launcher's MPI it goes first: mpi4py then takes that.

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
            if _petsc_fits():
                start_petsc()
                from mpi4py import MPI
            else:
                MPI = _started_mpi()
    except (ImportError, RuntimeError) as error:
        raise InputError(f"{size} processes were started, but MPI cannot be loaded ({error}); pip install "
                         "'fem_ngf[mpi]' and start with its mpiexec") from None
    seen = MPI.COMM_WORLD.size if MPI.Is_initialized() else 1
    if size != seen:
        raise InputError(f"a launcher started {size} processes, but MPI sees {seen}: it belongs to another MPI than "
                         "mpi4py's; start with the mpiexec that lies beside this python")
    return _team(MPI.COMM_WORLD)


def _started_mpi():
    """mpi4py's MPI, started unless it is MPICH under the launcher of Open MPI: it would end the process then."""
    import mpi4py

    mpi4py.rc.initialize, mpi4py.rc.finalize = False, True
    from mpi4py import MPI

    mpich = any(name in MPI.Get_library_version() for name in ("MPICH", "Intel", "MVAPICH"))
    if not (MPI.Is_initialized() or mpich and "OMPI_COMM_WORLD_SIZE" in os.environ):
        MPI.Init_thread()
    return MPI


def single() -> Team:
    """This process alone, for PETSc."""
    start_petsc()
    from mpi4py import MPI

    return _team(MPI.COMM_SELF)


def _team(comm) -> Team:
    from .team import Team  # here, so that wrong flags are told without numpy

    return Team(comm)


def start_petsc() -> None:
    """Load PETSc, and the MPI that it has.

    Raises
    ------
    InputError
        Where petsc4py is not installed, or has another MPI than the launcher: two in one process would crash it.
    """
    if find_spec("petsc4py") is None or find_spec("mpi4py") is None:
        raise InputError("backend 'petsc' needs the packages petsc4py and mpi4py; make petsc installs them, with "
                         "Debian's PETSc")
    if not _petsc_fits():
        raise InputError("petsc4py belongs to another MPI than the launcher; start with the mpiexec of the MPI that "
                         "PETSc was built with (Debian: /usr/bin/mpiexec)")
    try:
        import petsc4py

        petsc4py.init(["fem-ngf", "-no_signal_handler"])  # signals are the run's
        import petsc4py.PETSc
        _give_memory_back()
    except (ImportError, RuntimeError) as error:
        raise InputError(f"PETSc cannot be loaded ({error}); make petsc installs one that fits") from None


def _give_memory_back() -> None:
    """Tell the C library to return freed memory to the system: SuperLU_DIST, which PETSc loads, tells it never to."""
    with contextlib.suppress(OSError, AttributeError):  # it is not glibc
        adjust = ctypes.CDLL(None).mallopt
        for parameter, value in ((M_MMAP_MAX, 65536), (M_MMAP_THRESHOLD, LARGE), (M_TRIM_THRESHOLD, 2 * LARGE)):
            adjust(parameter, value)


def _petsc_fits() -> bool:
    """Whether petsc4py is installed, and links the kind of MPI that launched, or is loaded already."""
    found = find_spec("petsc4py")
    if found is None or found.origin is None:
        return False
    libraries = Path(found.origin).parent.glob("lib/**/PETSc*.so")
    open_mpi = any(b"libmpi.so.40" in each.read_bytes() for each in libraries)
    loaded = sys.modules.get("mpi4py.MPI")
    if loaded is not None:
        return open_mpi == ("Open MPI" in loaded.Get_library_version())
    return ("PMI_SIZE" if open_mpi else "OMPI_COMM_WORLD_SIZE") not in os.environ
