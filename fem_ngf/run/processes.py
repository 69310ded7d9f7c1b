"""A run on several processes: all do the same, the first writes, and all of them end together.

Every process goes through the same code, because any of it may ask an energy for something that all must compute
together. The others' output goes nowhere: their run directory is a temporary one (`console` for the rest).
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..parallel.launch import world

if TYPE_CHECKING:
    from ..parallel.team import Team
    from .identification import Identification

PATIENCE = 10.0
"""Seconds that a process which has failed waits for the others to fail too, before it ends them."""


@dataclass(frozen=True)
class Processes:
    """The processes of this run, of which this is one.

    Parameters
    ----------
    team
        All of them, or None where there is one process.
    """

    team: Team | None = None

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
        return self.team is None or self.team.rank == 0

    def agreed(self, work: Callable[[], Any]) -> Any:
        """What a piece of work gives here; what fails for its input on one process fails on all."""
        return work() if self.team is None else self.team.agreed(work)

    @contextlib.contextmanager
    def folder(self, path: Path):
        """Where this process writes: the path on the first, elsewhere a directory that is removed in the end."""
        if self.first:
            yield path
            return
        with tempfile.TemporaryDirectory(prefix="fem_ngf_", ignore_cleanup_errors=True) as scratch:
            yield Path(scratch)

    def shared(self, case, backend: str = "auto"):
        """The case with the meshes of its equations distributed (backend "petsc"), or else their experiments.

        Raises
        ------
        InputError
            If they cannot be.
        """
        if self.team is None and backend != "petsc":
            return case
        from ..parallel.experiments import share_experiments
        from ..parallel.launch import single, start_petsc
        from ..parallel.mesh import share_mesh

        if backend == "petsc":
            start_petsc()
        team, share = self.team or single(), share_mesh if backend == "petsc" else share_experiments
        return replace(case, levels=tuple(replace(level, energy=share(level.energy, team)) for level in case.levels))

    def spread(self, identification: Identification) -> Identification:
        """The identification with the tangent vectors of its searches distributed, where they are sampled at nodes."""
        if self.team is None:
            return identification
        flows = tuple(replace(flow, space=replace(flow.space, team=self.team)) if hasattr(flow.space, "team") else flow
                      for flow in identification.continuation.flows)
        return replace(identification, continuation=replace(identification.continuation, flows=flows))

    def alone(self, command: str) -> None:
        """InputError if there are several."""
        if self.team is not None:
            raise InputError(f"fem-ngf {command} runs on one process, not on {self.team.size}; start it without a "
                             "launcher")

    def ended(self, code: int) -> int:
        """The exit code, once all processes have failed; those that have not by then are ended."""
        if self.team is not None and code != 0 and not self.team.meet(PATIENCE):
            self.team.comm.Abort(code)
        return code
