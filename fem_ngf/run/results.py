"""The files at the end of a run: fields, pictures, report, summary."""

from __future__ import annotations

from pathlib import Path

from ..flows.continuation import Stage
from . import summary as summaries
from .identification import Identification


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
        See `summary.summarize`.
    reason
        Why the run ended, if the flow did not end it.

    Returns
    -------
    dict
        The summary.
    """
    from ..output.vtk import write_series

    stage = record.stage
    summary = summaries.summarize(identification, stage, record.rows, record.clock, settings, reason)
    if identification.case.outcome is not None:
        summary |= identification.case.outcome(stage.iterate.linearization, folder)
    write_series(folder / "fields.pvd", [(time, [folder / name for name in names]) for time, names in record.series])
    if not identification.options.bare:
        _write_pictures(identification, record, folder, summary)
    summaries.write(folder / "summary.json", summary)
    return summary


def _write_pictures(identification: Identification, record, folder: Path, summary: dict) -> None:
    """``picture.png`` and ``report.html``; matplotlib is imported here, away from the timed part."""
    from ..output.plots import convergence_figure, field_figure, png, weight_figure
    from ..output.report import write_report

    case, stage = identification.case, record.stage
    title = case.title or case.name
    picture = png(field_figure(identification.levels[stage.level].exports(stage.iterate.linearization), title))
    (folder / "picture.png").write_bytes(picture)
    choice = summary.get("weight_choice")
    write_report(folder / "report.html", summary, record.rows, picture, png(convergence_figure(record.rows)), title,
                 png(weight_figure(choice)) if choice else None)
