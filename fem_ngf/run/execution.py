"""One run: step, record, save; stop cleanly, and leave a directory that can be read and resumed."""

from __future__ import annotations

import contextlib
import math
import shlex
import signal
import threading
from dataclasses import replace
from pathlib import Path

from threadpoolctl import threadpool_limits

from ..errors import InputError, SolveError
from ..flows.continuation import Stage
from ..flows.iterate import EXHAUSTED
from ..pde.protocol import SolveCounts
from . import history
from .checkpoint import Saver, check_memory
from .directory import RunDirectory
from .history import Progress
from .identification import Clock, Identification
from .loading import described
from .record import Origin, Record
from .results import summarize, write_fields_of, write_results, write_summary


def run(identification: Identification, origin: Origin, directory: RunDirectory, record: Record | None = None) -> int:
    """Run an identification, or go on with a record of it, in a run directory.

    Parameters
    ----------
    identification
        What to run.
    origin
        Kept in the checkpoint.
    directory
        Where to write; it is created when the first energy has been evaluated.
    record
        Of the earlier part of a resumed run.

    Returns
    -------
    int
        Exit code: 0, or 128 + signal when the run was interrupted.
    """
    folder, record = directory.path, Record() if record is None else record
    progress = Progress(identification.options.quiet, identification.evolves)
    saver = Saver(folder, lambda: {"origin": vars(origin), **record.state()})
    control = identification.control() if identification.options.control else None
    with Signals() as signals, threadpool_limits(identification.options.threads):
        try:
            _advance(identification, directory, record, progress, saver, signals)
            if control is not None:
                record.control = compared(control, record.reached)
            with signals.held():
                saver.save()
                result = write_results(identification, record, folder, _settings(origin))
        except InputError as error:
            if record.stage is None:
                raise
            raise SolveError(str(error)) from error  # the run has begun: what it was given has been used
        except Interrupted as stop:
            return _interrupted(stop, identification, origin, folder, record, progress, saver)
    progress.result(*_closing(result, folder))
    return 0


def compared(control: Identification, stage: Stage) -> dict:
    """Where nodal values end on the same meshes, what that took, and how far above it a stage is: numbers."""
    clock = Clock()
    *_, last = control.stages(clock=clock)
    energy = last.iterate.value
    return {"energy": energy, "pde_solves": last.total_solves, "pde_work": last.work, "cpu_seconds": clock.cpu,
            "relative_gap": (stage.iterate.value - energy) / abs(energy) if energy else math.inf}


def resumed(identification: Identification, content: dict, folder: Path) -> Record:
    """The record in a checkpoint, with its iterate rebuilt.

    Raises
    ------
    InputError
        If the case or its data are no longer those of the checkpoint, or that cannot be used.
    """
    try:
        return _resumed(identification, content, folder)
    except SolveError as error:
        raise InputError(f"the energy at the checkpoint of {folder} cannot be evaluated ({error}): the case file or "
                         "its data have changed, or the checkpoint was edited") from None
    except (AttributeError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"the checkpoint of {folder} does not fit the case: {described(error)}") from error


def _resumed(identification: Identification, content: dict, folder: Path) -> Record:
    if len(content["stage"]["solves"]) != len(identification.levels):
        raise InputError(f"{folder} was run on {len(content['stage']['solves'])} meshes; the case file now gives "
                         f"{len(identification.levels)}")
    if not 0 <= content["stage"]["level"] < len(identification.levels) or not content["rows"]:
        raise InputError(f"the checkpoint of {folder} has no rows, or a level that the case has not")
    flow = identification.continuation.flows[content["stage"]["level"]]
    check_memory(content["stage"]["iterate"]["memory"], vars(flow.memory()))
    stage = identification.resume(content["stage"])
    energy, before = stage.iterate.value, content["rows"][-1]["energy"]
    if not abs(energy - before) <= 1e-9 * abs(before):
        raise InputError(f"the energy at the checkpoint of {folder} is {energy:.12e}, but it was {before:.12e}: the "
                         "case file or its data have changed")
    clock = Clock(content["cpu"], content["wall"], SolveCounts(**content["evolutions"]))
    return Record(stage, list(content["rows"]), list(content["series"]), clock, content["control"])


def unblocked(identification: Identification, record: Record) -> Record:
    """The record with the stop reason taken away when more iterations than before are allowed."""
    iterate = record.reached.iterate
    flow = identification.continuation.flows[record.reached.level]
    if iterate.stop_reason != EXHAUSTED or iterate.step >= flow.iterations:
        return record
    stage = replace(record.reached, iterate=iterate.stopped(""))
    return Record(stage, record.rows, record.series[:-1], record.clock, record.control)


def report(identification: Identification, origin: Origin, folder: Path, record: Record) -> int:
    """Write fields, pictures, report and summary of a checkpoint."""
    stage = record.reached
    finished = stage.iterate.stop_reason and stage.level == len(identification.levels) - 1
    if not stage.iterate.stop_reason or float(stage.level) not in dict(record.series):
        record.series.append((float(stage.level), write_fields_of(identification, stage, folder)))
    reason = None if finished else "not finished"
    with threadpool_limits(identification.options.threads):
        result = write_results(identification, record, folder, _settings(origin), reason)
    Progress().result(*_closing(result, folder))
    return 0


def _advance(identification, directory: RunDirectory, record: Record, progress: Progress, saver: Saver,
             signals: Signals) -> None:
    """All iterations; each is recorded as a whole before a signal is heeded."""
    folder, known = directory.path, record.stage
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
                directory.create()
            record.stage = stage
            label, kappa = identification.levels[stage.level].label, identification.options.kappa
            record.rows.append(history.row(stage, len(record.rows), label, record.clock,
                                           kappa or bool(stage.iterate.stop_reason)))
            saver.save_if_cheap()
            history.append(folder / "history.csv", record.rows)
            progress.line(record.rows[-1], _seconds_left(identification, record))
            if stage.iterate.stop_reason:
                record.series.append((float(stage.level), write_fields_of(identification, stage, folder)))


def _seconds_left(identification: Identification, record: Record) -> float:
    """CPU seconds of all the iterations that the mesh in use still allows, at the pace so far there."""
    stage = record.reached
    seconds = [row["cpu_seconds"] for row in record.rows if row["level"] == stage.level]
    if stage.iterate.stop_reason or len(seconds) < 2:
        return 0.0
    steps = identification.continuation.flows[stage.level].iterations - stage.iterate.step
    return steps * (seconds[-1] - seconds[0]) / (len(seconds) - 1)


def _interrupted(stop, identification, origin, folder, record, progress, saver) -> int:
    if record.stage is None:
        progress.result(f"interrupted by {stop} before the first iterate; nothing was written")
        return stop.code
    with contextlib.suppress(Interrupted), Signals() as signals, signals.held():
        saver.save()
        history.write(folder / "history.csv", record.rows)
        reason = f"interrupted by {stop}"
        result = summarize(identification, record.stage, record.rows, record.clock, _settings(origin), reason)
        write_summary(folder / "summary.json", result)
        progress.result(f"{reason} after step {record.rows[-1]['step']}; go on with: fem-ngf resume {folder}")
    return stop.code


def _settings(origin: Origin) -> dict:
    return {"arguments": origin.arguments, "setup_cpu_seconds": origin.setup_cpu_seconds,
            "weight_choice": origin.weight_choice, "defaults": origin.defaults,
            "command": shlex.join(["fem-ngf", "run", origin.path, *origin.flags])}


def _opening(identification: Identification, folder: Path, known: Stage | None) -> list[str]:
    options, levels = identification.options, identification.levels
    title = identification.case.title or identification.case.name
    meshes = ", ".join(level.label for level in levels)
    return [title, f"unknown {options.ansatz} with {identification.ansatz.size} parameters, flow {options.flow}, "
                   f"metric {options.metric}, meshes: {meshes}",
            f"{'going on in' if known else 'results go to'} {folder}"]


def _closing(result: dict, folder: Path) -> list[str]:
    kind = result["status"] or "stopped"
    error = "" if result["relative_error"] is None else f", relative error {result['relative_error']:.4g}"
    evolutions = "" if result["evolutions"] is None else f" in {result['evolutions']['total']} evolutions"
    return [f"{kind}: {result['stop_reason']}",
            f"energy {result['energy']:.9e}{error}, {result['pde_solves']['total']} PDE solves{evolutions} "
            f"(work {result['pde_work']:.1f}), {result['cpu_seconds']:.2f} CPU seconds",
            *([_beside(result["control"])] if "control" in result else []),
            *(f"{what:<10}{folder / name}" for what, name in
              (("picture:", "picture.png"), ("report:", "report.html"), ("ParaView:", "fields.pvd"))
              if (folder / name).exists())]


def _beside(control: dict) -> str:
    gap = "" if control["relative_gap"] is None else f"; the network is {control['relative_gap']:+.2%} from it"
    return (f"nodal values: energy {control['energy']:.9e}, {control['pde_solves']} PDE solves "
            f"(work {control['pde_work']:.1f}), {control['cpu_seconds']:.2f} CPU seconds{gap}")


# ---- signals --------------------------------------------------------------------------------------------------------


_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """The run was asked to stop; `code` is the exit code of the process (128 + signal)."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


class Signals:
    """Turns Ctrl-C and SIGTERM into `Interrupted`; what happens inside `held` is finished before."""

    def __init__(self):
        self._pending = 0
        self._held = False

    def __enter__(self):
        allowed = threading.current_thread() is threading.main_thread()
        self._before = {number: signal.signal(number, self._arrived) for number in _SIGNALS if allowed}
        return self

    def __exit__(self, *error):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def held(self):
        """A stretch of work that a signal does not cut."""
        self._pending, self._held = 0, True
        try:
            yield
        finally:
            self._held = False
        if self._pending:
            raise Interrupted(self._pending)

    def _arrived(self, number, frame):
        self._pending = number
        if not self._held:
            raise Interrupted(number)
