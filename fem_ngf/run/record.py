"""What a run has left behind so far, and where it came from."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..flows.continuation import Stage
from .identification import Clock


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
        The case function's arguments, as `results.jsonable` makes them.
    setup_cpu_seconds
        Process CPU seconds to build the case and its spaces.
    weight_choice
        How a rule chose the weight, see `weighting.choose`; empty if none did.
    defaults
        What the arguments are by default.
    """

    path: str
    folder: str
    flags: tuple[str, ...] = ()
    arguments: dict = field(default_factory=dict)
    setup_cpu_seconds: float = 0.0
    weight_choice: dict = field(default_factory=dict)
    defaults: dict = field(default_factory=dict)


@dataclass
class Record:
    """What a run has left behind so far; `control` holds the numbers of nodal values, see `execution.compared`."""

    stage: Stage | None = None
    rows: list[dict] = field(default_factory=list)
    series: list[tuple[float, list[str]]] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)
    control: dict = field(default_factory=dict)

    @property
    def reached(self) -> Stage:
        """The last stage of a run that has one."""
        assert self.stage is not None, "the run has no iterate yet"
        return self.stage

    def state(self) -> dict:
        """What a checkpoint holds of it."""
        return {"stage": self.reached.state(), "rows": self.rows, "series": self.series, "control": self.control,
                **self.clock.as_dict()}
