"""``fem-ngf compare``: all methods on the same data, judged by what they cost to come near the best energy."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

from threadpoolctl import threadpool_limits

from ..errors import InputError, SolveError
from ..output.files import replacing
from . import history
from .directory import RunDirectory, holds_comparison
from .identification import Clock, Identification
from .results import relative_error

METHODS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("neural, Newton flow, all meshes", ()),
    ("neural, Newton flow", ("--levels", "1")),
    ("neural, Newton flow, no growth", ("--levels", "1", "--no-grow")),
    ("neural, natural gradient L2", ("--levels", "1", "--flow", "natural-gradient", "--metric", "l2")),
    ("neural, natural gradient H1", ("--levels", "1", "--flow", "natural-gradient", "--metric", "h1")),
    ("neural, gradient descent", ("--levels", "1", "--flow", "gradient-descent")),
    ("neural, Adam", ("--levels", "1", "--flow", "adam")),
    ("neural, L-BFGS", ("--levels", "1", "--flow", "lbfgs")),
    ("nodal, Newton flow, all meshes", ("--ansatz", "finite-element")),
    ("nodal, Newton flow", ("--levels", "1", "--ansatz", "finite-element")),
    ("nodal, gradient H1", ("--levels", "1", "--ansatz", "finite-element", "--flow", "natural-gradient")),
)
WITHIN = (0.1, 0.01, 0.001)
FILES = re.compile(r"compare\.(json|csv|md|png)")


def compare(prepare: Callable[[list[str]], Identification], budget: float) -> int:
    """Run every method, print the table and write it to the run directory.

    Parameters
    ----------
    prepare
        Identification with further flags; every method gets a new one, so that nothing is reused.
    budget
        Work (solves weighted by state unknowns) at which a method is cut.
    """
    first = prepare([])
    folder = first.options.out or Path("runs") / f"{first.case.name}-compare"
    with RunDirectory(folder, holds_comparison, FILES) as directory:
        directory.check()
        results, histories = _compared(prepare, first, budget)
        directory.create()
        write(folder, results, histories)
    print(f"\n{markdown(results)}\ntables and picture: {folder / 'compare.md'}, {folder / 'compare.png'}")
    return 0


def _compared(prepare, first: Identification, budget: float) -> tuple[list[dict], dict[str, list[dict]]]:
    histories, results = {}, []
    for name, flags in METHODS:
        if len(first.case.levels) == 1 and name.endswith("all meshes"):
            continue
        print(f"{name} ...", flush=True)
        try:
            with threadpool_limits(first.options.threads):
                histories[name], result = measured(prepare(list(flags)), budget)
        except (InputError, SolveError) as error:
            result = {"failed": " ".join(str(error).split())}
        results.append({"method": name, "flags": " ".join(flags), **result})
    if not histories:
        raise SolveError(f"no method has an iterate; {results[0]['method']}: {results[0]['failed']}")
    return judged(results, histories), histories


def measured(identification: Identification, budget: float) -> tuple[list[dict], dict]:
    """Rows of the history, and where the method ended, within a budget of work."""
    clock, rows = Clock(), []
    for stage in identification.stages(clock=clock):
        label = identification.levels[stage.level].label
        rows.append(history.row(stage, len(rows), label, clock))
        if stage.work >= budget:
            break
    return rows, {
        "energy": stage.iterate.value, "relative_error": relative_error(identification, stage),
        "parameters": stage.iterate.parameters, "pde_solves": stage.total_solves, "pde_work": stage.work,
        "cpu_seconds": clock.cpu, "iterations": len(rows) - 1,
        "stop_reason": stage.iterate.stop_reason or "budget exhausted",
    }


def judged(results: list[dict], histories: dict[str, list[dict]]) -> list[dict]:
    """The results with the solves, work and seconds at which each method came near the best energy of all.

    Only iterates on the finest mesh count: energies on different meshes cannot be compared.
    """
    mesh = max((rows[-1] for rows in histories.values()), key=lambda row: row["level"])["mesh"]
    best = min(row["energy"] for rows in histories.values() for row in rows if row["mesh"] == mesh)
    judged_results = []
    for result in results:
        rows = [row for row in histories.get(result["method"], []) if row["mesh"] == mesh]
        near = {}
        for share in WITHIN:
            reached = next((row for row in rows if row["energy"] <= best + share * abs(best)), None)
            for key in ("pde_solves", "pde_work", "cpu_seconds"):
                near[f"{key}_within_{share:g}"] = reached[key] if reached else None
        above = {"above_best": result["energy"] / best - 1 if best and "energy" in result else None}
        judged_results.append({**result, **above, **near})
    return judged_results


def markdown(results: list[dict]) -> str:
    """The table for a reader: solves / work to within 10, 1 and 0.1 percent of the best energy."""
    head = ["method", "parameters", "energy", "above best", *(f"to {share:.1%}" for share in WITHIN), "relative error",
            "CPU s"]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" + " ---: |" * (len(head) - 1)]
    for result in results:
        if "failed" in result:
            lines.append(f"| {result['method']} | failed: {result['failed']} |" + " |" * (len(head) - 2))
            continue
        near = [_near(result, share) for share in WITHIN]
        error = "" if result["relative_error"] is None else f"{result['relative_error']:.4g}"
        cells = [result["method"], str(result["parameters"]), f"{result['energy']:.6e}", f"{result['above_best']:.2%}",
                 *near, error, f"{result['cpu_seconds']:.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
    note = ("To p: PDE solves until the energy is within p of the best one found, in brackets their work in solves on "
            "the finest mesh; a dash: not reached.")
    return "\n".join([*lines, "", note])


def _near(result: dict, share: float) -> str:
    solves, work = (result[f"{key}_within_{share:g}"] for key in ("pde_solves", "pde_work"))
    return "-" if solves is None else f"{solves} ({work:.0f})"


def write(folder: Path, results: list[dict], histories: dict[str, list[dict]]) -> None:
    """Write ``compare.json``, ``.csv``, ``.md`` and ``.png``."""
    from ..output.plots import comparison_figure, png

    with replacing(folder / "compare.json") as temporary:
        temporary.write_text(json.dumps({"results": results, "histories": histories}, indent=1) + "\n")
    with (folder / "compare.csv").open("w", encoding="utf-8", newline="") as stream:
        columns = list(dict.fromkeys(name for result in results for name in result))
        writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(results)
    (folder / "compare.md").write_text(markdown(results) + "\n", encoding="utf-8")
    (folder / "compare.png").write_bytes(png(comparison_figure(histories)))
