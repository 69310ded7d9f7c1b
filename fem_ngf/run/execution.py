"""One run: step, record, save; stop cleanly, and leave a directory that can be read and resumed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from threadpoolctl import threadpool_limits

from ..errors import InputError
from ..flows.continuation import Stage
from ..flows.iterate import EXHAUSTED
from . import checkpoint, directory, history
from . import summary as summaries
from .identification import Clock, Identification
from .interruption import Interrupted, Signals
from .progress import Progress
from .results import write_fields_of, write_results

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

    def state(self) -> dict:
        """What a checkpoint holds of it."""
        return {"stage": self.stage.state(), "rows": self.rows, "series": self.series, "cpu": self.clock.cpu,
                "wall": self.clock.wall}


def run(identification: Identification, origin: Origin, folder: Path, record: Record | None = None) -> int:
    """Run an identification, or go on with a record of it, in a run directory.

    Parameters
    ----------
    identification
        What to run.
    origin
        Kept in the checkpoint.
    folder
        The run directory; it is created when the first energy has been evaluated.
    record
        Of the earlier part of a resumed run.

    Returns
    -------
    int
        Exit code: 0, or 128 + signal when the run was interrupted.
    """
    record = Record() if record is None else record
    progress = Progress(identification.options.quiet)
    saver = _Saver(folder, lambda: {"origin": vars(origin), **record.state()})
    with Signals() as signals, threadpool_limits(identification.options.threads):
        try:
            _advance(identification, folder, record, progress, saver, signals)
            with signals.held():
                saver.save()
                result = write_results(identification, record, folder, _settings(origin))
        except Interrupted as stop:
            return _interrupted(stop, identification, origin, folder, record, progress, saver)
    progress.result(*_closing(result, folder))
    return 0


def resumed(identification: Identification, content: dict, folder: Path) -> Record:
    """The record in a checkpoint, with its iterate rebuilt.

    Raises
    ------
    InputError
        If the case or its data are no longer those of the checkpoint.
    """
    if len(content["stage"]["solves"]) != len(identification.levels):
        raise InputError(f"{folder} was run on {len(content['stage']['solves'])} meshes; the case file now gives "
                         f"{len(identification.levels)}")
    stage = identification.resume(content["stage"])
    energy, before = stage.iterate.value, content["rows"][-1]["energy"]
    if abs(energy - before) > 1e-9 * abs(before):
        raise InputError(f"the energy at the checkpoint of {folder} is {energy:.12e}, but it was {before:.12e}: the "
                         "case file or its data have changed")
    return Record(stage, list(content["rows"]), list(content["series"]), Clock(content["cpu"], content["wall"]))


def unblocked(identification: Identification, record: Record) -> Record:
    """The record with the stop reason taken away when more iterations than before are allowed."""
    iterate = record.stage.iterate
    flow = identification.continuation.flows[record.stage.level]
    if iterate.stop_reason != EXHAUSTED or iterate.step >= flow.iterations:
        return record
    stage = replace(record.stage, iterate=iterate.stopped(""))
    return Record(stage, record.rows, record.series[:-1], record.clock)


def report(identification: Identification, origin: Origin, folder: Path, record: Record) -> int:
    """Write fields, pictures, report and summary of a checkpoint."""
    stage = record.stage
    finished = stage.iterate.stop_reason and stage.level == len(identification.levels) - 1
    if not stage.iterate.stop_reason:
        record.series.append((float(stage.level), write_fields_of(identification, stage, folder)))
    reason = None if finished else "not finished"
    with threadpool_limits(identification.options.threads):
        result = write_results(identification, record, folder, _settings(origin), reason)
    Progress().result(*_closing(result, folder))
    return 0


def _advance(identification, folder: Path, record: Record, progress: Progress, saver: _Saver, signals: Signals) -> None:
    """All iterations; each is recorded as a whole before a signal is heeded."""
    known = record.stage
    if known is not None:
        history.write(folder / "history.csv", record.rows)
        if known.iterate.stop_reason and float(known.level) not in dict(record.series):  # what a rule ended with
            record.series.append((float(known.level), write_fields_of(identification, known, folder)))
    progress.header(*_opening(identification, folder, known))
    for stage in identification.stages(known, record.clock):
        if stage is known:
            continue
        with signals.held():
            if record.stage is None:
                directory.create(folder)
            record.stage = stage
            label, kappa = identification.levels[stage.level].label, identification.options.kappa
            record.rows.append(history.row(stage, len(record.rows), label, record.clock.cpu,
                                           kappa or bool(stage.iterate.stop_reason)))
            if stage.iterate.stop_reason:
                record.series.append((float(stage.level), write_fields_of(identification, stage, folder)))
            saver.save_if_cheap()
            history.append(folder / "history.csv", record.rows)
            progress.line(record.rows[-1])


class _Saver:
    """Writes checkpoints: the first at once, then as often as they take only a small share of the time."""

    def __init__(self, folder: Path, content: Callable[[], dict]):
        self._folder, self._content = folder, content
        self._last, self._cost = float("-inf"), 0.0

    def save_if_cheap(self) -> None:
        if time.perf_counter() - self._last >= min(self._cost / CHECKPOINT_SHARE, 1.0):
            self.save()

    def save(self) -> None:
        start = time.perf_counter()
        checkpoint.save(self._folder, self._content())
        self._last = time.perf_counter()
        self._cost = self._last - start


def _interrupted(stop, identification, origin, folder, record, progress, saver) -> int:
    if record.stage is None:
        progress.result(f"interrupted by {stop} before the first iterate; nothing was written")
        return stop.code
    with contextlib.suppress(Interrupted), Signals() as signals, signals.held():
        saver.save()
        history.write(folder / "history.csv", record.rows)
        reason = f"interrupted by {stop}"
        result = summaries.summarize(identification, record.stage, record.rows, record.clock, _settings(origin), reason)
        summaries.write(folder / "summary.json", result)
        progress.result(f"{reason} after step {record.rows[-1]['step']}; go on with: fem-ngf resume {folder}")
    return stop.code


def _settings(origin: Origin) -> dict:
    return {"arguments": origin.arguments, "setup_cpu_seconds": origin.setup_cpu_seconds,
            "weight_choice": origin.weight_choice,
            "command": " ".join(["fem-ngf run", origin.path, *origin.flags])}


def _opening(identification: Identification, folder: Path, known: Stage | None) -> list[str]:
    options, levels = identification.options, identification.levels
    title = identification.case.title or identification.case.name
    meshes = ", ".join(level.label for level in levels)
    return [title, f"unknown {options.ansatz} with {identification.ansatz.size} parameters, flow {options.flow}, "
                   f"metric {options.metric}, meshes: {meshes}",
            f"{'going on in' if known else 'results go to'} {folder}"]


def _closing(result: dict, folder: Path) -> list[str]:
    kind = "converged" if result["converged"] else "stopped"
    error = "" if result["relative_error"] is None else f", relative error {result['relative_error']:.4g}"
    return [f"{kind}: {result['stop_reason']}",
            f"energy {result['energy']:.9e}{error}, {result['pde_solves']['total']} PDE solves "
            f"(work {result['pde_work']:.1f}), {result['cpu_seconds']:.2f} CPU seconds",
            *(f"{what:<10}{folder / name}" for what, name in
              (("picture:", "picture.png"), ("report:", "report.html"), ("ParaView:", "fields.pvd"))
              if (folder / name).exists())]
