"""The end of a run: its result in numbers, fields, pictures and a report."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..flows.continuation import Stage
from ..output.files import replacing
from .case import Case
from .identification import Clock, Identification

_PACKAGES = ("fem_ngf", "scikit-fem", "torch", "numpy", "scipy", "meshio")


def write_fields_of(identification: Identification, stage: Stage, folder: Path) -> list[str]:
    """Write the fields of a stage and return the names of the files."""
    from ..output.vtk import write_parts

    fields = identification.levels[stage.level].exports(stage.iterate.linearization)
    return [path.name for path in write_parts(folder, f"fields_{stage.level}", fields)]


def write_results(identification: Identification, record, folder: Path, settings: dict,
                  reason: str | None = None) -> dict:
    """Write ``fields.pvd``, ``picture.png``, ``report.html`` and ``summary.json``.

    Parameters
    ----------
    identification, record
        What ran and what it left.
    folder
        The run directory.
    settings
        See `summarize`.
    reason
        Why the run ended, if the flow did not end it.

    Returns
    -------
    dict
        The summary.
    """
    from ..output.film import write_film
    from ..output.vtk import write_series

    stage = record.reached
    summary = summarize(identification, stage, record.rows, record.clock, settings, reason)
    write_summary(folder / "summary.json", summary)  # whatever the case's own functions do, the numbers are there
    film = _film(identification, stage)
    if film is None:
        series = [(time, [folder / name for name in names]) for time, names in record.series]
        write_series(folder / "fields.pvd", series)
    else:
        write_film(folder / "fields.pvd", film, f"fields_{stage.level}")
    if identification.case.outcome is not None:
        summary |= _conclusions(identification.case, stage, folder, summary)
    if not identification.options.bare:
        _write_pictures(identification, record, folder, summary)
    write_summary(folder / "summary.json", summary)
    return summary


def _conclusions(case: Case, stage: Stage, folder: Path, summary: dict) -> dict:
    """What the case's `outcome` returns.

    Raises
    ------
    InputError
        If it is no mapping, or would overwrite an entry of the summary.
    """
    assert case.outcome is not None, "asked for where there is one"
    found = case.outcome(stage.iterate.linearization, folder)
    if not isinstance(found, Mapping):
        raise InputError(f"outcome() of case {case.name} returned a {type(found).__name__}; return a dict, or {{}}")
    if taken := sorted(set(map(str, found)) & set(summary)):
        raise InputError(f"outcome() of case {case.name} returned {taken[0]!r}, which summary.json already has; choose "
                         "another name")
    return _jsonable(dict(found))


def _film(identification: Identification, stage: Stage):
    """The film of a stage, None of a problem without time."""
    film = identification.levels[stage.level].film
    return None if film is None else film(stage.iterate.linearization)


def _write_pictures(identification: Identification, record, folder: Path, summary: dict) -> None:
    """``picture.png`` and ``report.html``; matplotlib is imported here, away from the timed part."""
    from ..output.plots import convergence_figure, field_figure, film_figure, png, readings_figure, weight_figure
    from ..output.report import write_report

    case, stage = identification.case, record.reached
    title, film = case.title or case.name, _film(identification, stage)
    pictures = {}
    if fields := identification.levels[stage.level].exports(stage.iterate.linearization):
        pictures["Fields"] = png(field_figure(fields, title))
    if film is not None:
        pictures["Over time"] = png(film_figure(film, title))
        if film.readings is not None:
            pictures["Data and prediction"] = png(readings_figure(film.readings))
    pictures["Convergence"] = png(convergence_figure(record.rows))
    with replacing(folder / "picture.png") as temporary:
        temporary.write_bytes(next(iter(pictures.values())))
    choice = summary.get("weight_choice")
    write_report(folder / "report.html", summary, record.rows, pictures, title,
                 png(weight_figure(choice)) if choice else None)


# ---- in numbers -----------------------------------------------------------------------------------------------------


def summarize(identification: Identification, stage: Stage, rows: list[dict], clock: Clock, settings: dict,
              stop_reason: str | None = None) -> dict:
    """Everything that a reader or a script wants to know about a run.

    Parameters
    ----------
    identification, stage
        What ran, and where it ended.
    rows
        The history.
    clock
        Time of the identification; ``setup_cpu_seconds`` and ``settings`` come from `settings`.
    settings
        ``{"arguments": .., "setup_cpu_seconds": .., "command": ..}``.
    stop_reason
        Why it stopped, if not for a reason of the flow's own.
    """
    iterate, options = stage.iterate, identification.options
    alignments = [row["alignment"] for row in rows if row["alignment"] != ""]
    result = {
        "case": identification.case.name,
        "energy": iterate.value,
        **{name: iterate.terms.get(name) for name in ("misfit", "regularization")},
        "terms": dict(iterate.terms),
        "relative_error": relative_error(identification, stage),
        "parameters": iterate.parameters,
        "unknowns": len(iterate.m),
        "state_unknowns": identification.levels[stage.level].energy.work_per_solve,
        "iterations": rows[-1]["step"],
        "pde_solves": _solves(stage.solves),
        "pde_solves_per_level": [
            {"mesh": level.label, "state_unknowns": level.energy.work_per_solve, **_solves([kinds])}
            for level, kinds in zip(identification.levels, stage.solves, strict=True)],
        "evolutions": clock.evolutions.as_dict() if clock.evolutions.total else None,
        "pde_work": stage.work,
        "gradient_norm": iterate.gradient_norm,
        "alignment": alignments[-1] if alignments else None,
        "stop_reason": stop_reason or iterate.stop_reason,
        "status": "" if stop_reason else iterate.status,
        "expected_decrease": iterate.expected_decrease,
        "converged": stop_reason is None and stage.level == len(identification.levels) - 1 and iterate.converged,
        "cpu_seconds": clock.cpu,
        "wall_seconds": clock.wall,
        "setup_cpu_seconds": settings["setup_cpu_seconds"],
        "seed": options.seed,
        "settings": {**settings["arguments"], **options.as_dict(), "command": settings["command"]},
        "versions": versions(),
    }
    if settings.get("weight_choice"):
        result["weight_choice"] = settings["weight_choice"]
    return _jsonable(result)


def relative_error(identification: Identification, stage: Stage) -> float | None:
    """``||m - truth|| / ||truth||`` in L2, None without a truth."""
    truth, m = identification.levels[stage.level].truth, stage.iterate.m
    if truth is None:
        return None
    mass = identification.continuation.flows[stage.level].space.mass
    error = m - truth
    return float(np.sqrt((error @ (mass @ error)) / (truth @ (mass @ truth))))


def versions() -> dict[str, str]:
    """Python's and the packages' versions."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def write_summary(path: Path, summary: dict) -> None:
    """Write a summary."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(summary, indent=2, allow_nan=False) + "\n")


def _solves(levels) -> dict[str, int]:
    kinds = {kind: sum(level.get(kind, 0) for level in levels) for kind in ("forward", "adjoint", "incremental")}
    return {**kinds, "total": sum(kinds.values())}


def _jsonable(value):
    """The same without numpy, paths and numbers that JSON does not know."""
    if isinstance(value, dict):
        return {str(key): _jsonable(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(part) for part in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
