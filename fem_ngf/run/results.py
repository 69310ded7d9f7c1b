"""The end of a run: its result in numbers, fields, pictures and a report."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from ..ansatz.finite_element import FiniteElement
from ..ansatz.mlp import MLP
from ..errors import InputError
from ..flows.continuation import Stage
from ..output.files import replacing
from ..weights.discrepancy import chi_squared_target, expected_misfit
from .case import Case
from .identification import Clock, Identification
from .options import OUTPUT, RunOptions

_PACKAGES = ("fem_ngf", "scikit-fem", "torch", "numpy", "scipy", "meshio")


def write_fields_of(identification: Identification, stage: Stage, folder: Path) -> list[str]:
    """Write the fields of a stage and return the names of the files."""
    from ..output.vtk import write_parts

    fields = identification.levels[stage.level].exports(stage.iterate.linearization)
    return [path.name for path in write_parts(folder, f"fields_{stage.level}", fields, _notes(identification.case))]


def _notes(case: Case) -> list[str]:
    """What files for ParaView say of themselves."""
    return [f"case: {case.name}", *(f"unit of {name}: {unit}" for name, unit in case.units.items())]


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
    settings = {**settings, "control": record.control}
    summary = summarize(identification, stage, record.rows, record.clock, settings, reason)
    write_summary(folder / "summary.json", summary)  # whatever the case's own functions do, the numbers are there
    film = _film(identification, stage)
    if film is None:
        write_series(folder / "fields.pvd", [(0.0, [folder / name for name in record.series[-1][1]])])
    else:
        write_film(folder / "fields.pvd", film, f"fields_{stage.level}", _notes(identification.case))
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
    return jsonable(dict(found))


def _film(identification: Identification, stage: Stage):
    """The film of a stage, None of a problem without time."""
    level, at = identification.levels[stage.level], stage.iterate.linearization
    if level.film is None:
        return None
    film = level.film(at)
    return replace(film, fields={**film.fields, **{name: field for name, field in level.exports(at).items()
                                                   if name not in film.fields}})


def _write_pictures(identification: Identification, record, folder: Path, summary: dict) -> None:
    """``picture.png`` and ``report.html``; matplotlib is imported here, away from the timed part."""
    from ..output.report import write_report

    case = identification.case
    pictures = _pictures(identification, record, summary, folder)
    with replacing(folder / "picture.png") as temporary:
        temporary.write_bytes(pictures[0].png)
    write_report(folder / "report.html", summary, record.rows, pictures, case.title or case.name, case.about)


def _pictures(identification: Identification, record, summary: dict, folder: Path) -> list:
    """The pictures of a report: fields, film, the case's own, data and prediction, convergence, weight."""
    from ..output.plots import convergence_figure, field_figure, film_figure, png, readings_figure, weight_figure
    from ..output.report import Picture
    from ..output.residuals import residuals_figure

    case, at = identification.case, record.reached.iterate.linearization
    title, film, found = case.title or case.name, _film(identification, record.reached), []
    fields = identification.levels[record.reached.level].exports(at)
    if still := {name: each for name, each in fields.items() if film is None or name not in film.moving}:
        found.append(Picture("Fields", png(field_figure(still, title, case.units, _sensors(at))), _CAPTION))
    if film is not None:
        found.append(Picture("Over time", png(film_figure(film, title, sensors=_sensors(at), units=case.units))))
        if film.readings is not None:
            found.append(Picture("Sensors over time", png(readings_figure(film.readings))))
    for path in sorted(set(folder.glob("*.png")) - {folder / "picture.png"}):
        found.append(Picture(path.stem.replace("_", " ").capitalize(), path.read_bytes()))
    if hasattr(at, "residual"):
        residuals = _residuals(identification.levels[record.reached.level], at)
        found.append(Picture("Data and prediction", png(residuals_figure(residuals)), _judged(residuals, summary)))
    found.append(Picture("Convergence", png(convergence_figure(record.rows)), "One colour a mesh; dashed lines are "
                         "steps at which the network grew. A solve is a linear solve with the equation's matrix."))
    if choice := summary.get("weight_choice"):
        told = (f"{choice['rule']}: {choice['value']:.6g}. {choice['reason']}; {len(choice['runs'])} runs, "
                f"{choice['pde_solves']} PDE solves.")
        found.append(Picture("Weight of the regularisation", png(weight_figure(choice)), told))
    return found


def _judged(residuals, summary: dict) -> str:
    """The misfit beside what the noise alone would leave, in words."""
    count, expected = len(residuals.data), summary["expected_misfit"]
    misfit = f"{count} data, misfit {summary['misfit']:.4g}"
    if expected is None:
        return f"{misfit}."
    halved = " = N/2" if expected == 0.5 * count else ""
    return f"{misfit}; noise alone would leave {expected:.4g}{halved} on average."


_CAPTION = """Dots are sensors, where the data are values at points. m and truth share their colours; error is
m - truth. Vectors are shown by their length, solids by their middle plane."""


def _sensors(at) -> np.ndarray | None:
    """Points (n, d) at which the data of a linearisation were measured; None of a whole field, or without points."""
    energy = getattr(at, "energy", None)
    if energy is None or not getattr(getattr(energy, "noise", None), "is_likelihood", False):
        return None
    if getattr(getattr(getattr(energy, "pde", None), "form", None), "law_boxes", ()):
        return None  # m is drawn over the arguments of a law
    return getattr(energy.observation, "points", None)


def _residuals(level, at):
    """Data, prediction and standard deviations of a linearisation."""
    from ..output.residuals import Residuals

    return Residuals.of(at.energy.data, at.residual, _standard_deviations(level))


def _standard_deviations(level) -> np.ndarray | None:
    """Of the data of an inverse problem, as far as anything knows them."""
    noise = level.energy.noise
    if level.noise_std is not None or hasattr(noise, "std"):
        return level.noise_std if level.noise_std is not None else np.asarray(noise.std)
    precision = getattr(noise, "precision", None)
    if precision is None or not getattr(noise, "is_likelihood", False):
        return None
    diagonal = precision.diagonal() if sp.issparse(precision) else precision
    with np.errstate(divide="ignore"):
        return np.asarray(diagonal, dtype=np.float64) ** -0.5


def expected_of_noise(level) -> float | None:
    """The misfit that noise alone would leave on average, None where that is not known."""
    energy = level.energy
    if not hasattr(energy, "noise"):
        return None
    try:
        return (chi_squared_target(energy) if level.noise_std is None else
                expected_misfit(energy.noise, level.noise_std))
    except InputError:
        return None


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
        "expected_misfit": expected_of_noise(identification.levels[stage.level]),
        "terms": dict(iterate.terms),
        "relative_error": relative_error(identification, stage),
        "parameters": iterate.parameters,
        "network": described(iterate.ansatz),
        "growth": _growth(rows),
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
        "changed": changed(identification, settings),
        "settings": {**settings["arguments"], **options.as_dict(), "command": settings["command"]},
        "versions": versions(),
    }
    if settings.get("weight_choice"):
        result["weight_choice"] = settings["weight_choice"]
    if settings.get("control"):
        result["control"] = settings["control"]
    return jsonable(result)


def described(ansatz) -> str:
    """An unknown in a few words: ``"MLP 2-8-8-1, tanh"``."""
    kind = type(ansatz).__name__
    if hasattr(ansatz, "inner"):
        return described(ansatz.inner)
    if hasattr(ansatz, "parts"):
        return "; ".join(described(part) for part in ansatz.parts)
    if isinstance(ansatz, FiniteElement):
        return "nodal values"
    return f"{kind} {'-'.join(map(str, ansatz.widths))}, {ansatz.activation}" if isinstance(ansatz, MLP) else kind


def _growth(rows: list[dict]) -> str:
    """How the unknown grew, in words; empty if it did not."""
    first, last = rows[0]["parameters"], rows[-1]["parameters"]
    times = sum("grew" in row["event"] for row in rows)
    return f"{times} times, from {first} to {last} parameters" if times else ""


def changed(identification: Identification, settings: dict) -> list[dict]:
    """The settings that differ from their defaults: name, value, default, and whether the case or the user set it."""
    arguments, defaults = settings["arguments"], settings.get("defaults", {})
    found = [{"name": name, "value": value, "default": defaults.get(name), "by": "user"}
             for name, value in arguments.items() if value != defaults.get(name)]
    general, preferred = RunOptions().as_dict(), identification.case.defaults
    for name, value in identification.options.as_dict().items():
        usual = preferred.get(name, general[name])
        if value != general[name] and name not in (*arguments, *OUTPUT):
            found.append({"name": name, "value": value, "default": general[name],
                          "by": "case" if value == usual else "user"})
    return found


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


def jsonable(value):
    """The same without numpy, paths and numbers that JSON does not know."""
    if isinstance(value, dict):
        return {str(key): jsonable(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(part) for part in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
