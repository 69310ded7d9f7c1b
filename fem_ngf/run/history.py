"""One row per iteration: ``history.csv``, and the live table."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path

import numpy as np

from ..flows.continuation import Stage
from ..output.files import replacing

COLUMNS = ("step", "level", "mesh", "energy", "misfit", "regularization", "gradient_norm", "alignment", "kappa",
           "certificate", "fit", "step_size", "damping", "parameters", "pde_solves", "level_solves", "forward",
           "adjoint", "incremental", "pde_work", "cpu_seconds", "event")


def row(stage: Stage, step: int, mesh: str, spent, kappa: bool = False) -> dict:
    """The row of a stage.

    Parameters
    ----------
    stage
        Where the run is.
    step
        Number of the row; it runs on over the levels.
    mesh
        Label of the level.
    spent
        `Clock` of the identification so far: process CPU seconds, evolutions.
    kappa
        Compute the undamped alignment, which costs a decomposition of the tangent vectors.

    Notes
    -----
    ``pde_solves``, its three kinds and ``pde_work`` are cumulative over the whole run; ``level_solves`` counts the
    solves on the row's own mesh. Time and deviation of a Sobolev flow (what its steps have lost from the exact flow, in
    H), evolutions, of equations in time, and terms of the energy beyond misfit and regularisation follow the fixed
    columns.
    """
    iterate = stage.iterate
    solves = {kind: sum(level.get(kind, 0) for level in stage.solves) for kind in ("forward", "adjoint", "incremental")}
    found = {
        "step": step, "level": stage.level, "mesh": mesh, "energy": iterate.value,
        "misfit": iterate.terms.get("misfit", ""), "regularization": iterate.terms.get("regularization", ""),
        "gradient_norm": iterate.gradient_norm, "alignment": iterate.alignment,
        "kappa": iterate.kappa if kappa else "", "certificate": iterate.certificate, "fit": iterate.fit,
        "step_size": iterate.step_size, "damping": getattr(iterate.memory, "damping", ""),
        "parameters": iterate.parameters,
        "pde_solves": stage.total_solves, "level_solves": sum(stage.solves[stage.level].values()), **solves,
        "pde_work": stage.work, "cpu_seconds": spent.cpu,
        "event": "; ".join(filter(None, [*iterate.events, iterate.stop_reason])),
    }
    if np.isfinite(iterate.time):
        found |= {"time": iterate.time, "deviation": iterate.deviation}
    if spent.evolutions.total:
        found["evolutions"] = spent.evolutions.total
    found |= {name: value for name, value in iterate.terms.items() if name not in found}
    return {name: _plain(value) for name, value in found.items()}


def _plain(value):
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, np.floating | float):
        return "" if np.isnan(value) else float(value)
    return value


def write(path: Path, rows: list[dict]) -> None:
    """Write all rows: a kill at any time leaves a valid file."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, _columns(rows), restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def append(path: Path, rows: list[dict]) -> None:
    """Add the last of `rows` to the file, in one write; write the file anew when it has other columns."""
    if len(rows) == 1 or _columns(rows) != _columns(rows[:-1]) or not path.exists():
        write(path, rows)
        return
    line = io.StringIO()
    csv.DictWriter(line, _columns(rows), restval="", lineterminator="\n").writerow(rows[-1])
    with path.open("a", encoding="utf-8", newline="") as stream:
        stream.write(line.getvalue())


def _columns(rows: list[dict]) -> list[str]:
    return list(dict.fromkeys([*COLUMNS, *(name for row in rows for name in row)]))


# ---- the live table --------------------------------------------------------------------------------------------------

BOLD, MAGENTA, PLAIN = "\033[1m", "\033[35m", "\033[0m"

SHOWN = (
    ("step", "step", "5d"), ("mesh", "mesh", "12s"), ("energy", "energy", "13.6e"), ("misfit", "misfit", "10.3e"),
    ("regularization", "regular.", "10.3e"), ("gradient_norm", "|grad|_H", "10.3e"), ("alignment", "align", "6.3f"),
    ("fit", "fit", "8.1e"), ("step_size", "tau", "8.1e"), ("parameters", "param.", "6d"),
    ("pde_solves", "solves", "6d"), ("evolutions", "evol.", "5d"), ("pde_work", "work", "7.1f"),
    ("cpu_seconds", "CPU s", "7.1f"), ("left", "at most", "7s"),
)


class Progress:
    """Prints rows of the history to the standard output as they come.

    Parameters
    ----------
    quiet
        Print nothing but the result.
    evolves
        There is a column for evolutions.
    """

    def __init__(self, quiet: bool = False, evolves: bool = False):
        self._quiet, self._shown = quiet, [each for each in SHOWN if evolves or each[0] != "evolutions"]

    def header(self, title: str, *lines: str) -> None:
        """What is solved and the names of the columns."""
        if self._quiet:
            return
        self._print(title, BOLD)
        for line in lines:
            self._print(line)
        self._print(" ".join(_padded(name, form) for _, name, form in self._shown), BOLD)

    def line(self, row: dict, left: float = 0.0) -> None:
        """One iteration; `left` are the seconds that the mesh can take yet."""
        if self._quiet:
            return
        row = row | {"left": f"+{_duration(left)}" if left else ""}
        self._print(" ".join(_cell(row[key], form) for key, _, form in self._shown).rstrip())
        if row["event"]:
            self._print(f"      {row['event']}", MAGENTA)

    def result(self, *lines: str) -> None:
        """How the run ended and where its files are."""
        for line in lines:
            self._print(line)

    def _print(self, text: str, style: str = "") -> None:
        print(f"{style}{text}{PLAIN}" if style and sys.stdout.isatty() else text, flush=True)


def _duration(seconds: float) -> str:
    """Seconds in words: 8 s, 12 min, 3 h."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _cell(value, form: str) -> str:
    return " " * _width(form) if value == "" else format(value, form)[: max(_width(form), 12)]


def _padded(name: str, form: str) -> str:
    return name.ljust(_width(form)) if form.endswith("s") else name.rjust(_width(form))


def _width(form: str) -> int:
    return int(form.split(".")[0].strip("sdef"))
