"""``summary.json``: the result of a run in numbers."""

from __future__ import annotations

import json
import math
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from ..flows.continuation import Stage
from .identification import Clock, Identification

_PACKAGES = ("fem_ngf", "scikit-fem", "torch", "numpy", "scipy", "meshio")


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
        "pde_work": stage.work,
        "gradient_norm": iterate.gradient_norm,
        "alignment": alignments[-1] if alignments else None,
        "stop_reason": stop_reason or iterate.stop_reason,
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


def write(path: Path, summary: dict) -> None:
    """Write a summary under a temporary name and rename it."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(summary, indent=2, allow_nan=False) + "\n")
    temporary.replace(path)


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
