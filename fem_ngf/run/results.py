"""The files at the end of a run: fields, pictures, report, summary."""

from __future__ import annotations

from pathlib import Path

from ..flows import Stage
from . import summary as summaries
from .identification import Identification


def write_fields_of(identification: Identification, stage: Stage, folder: Path) -> list[str]:
    """Write the fields of a stage and return the names of the files."""
    from ..output.vtk import write_parts

    fields = identification.levels[stage.level].exports(stage.iterate.linearization)
    return [path.name for path in write_parts(folder, f"fields_{stage.level}", fields)]


def write_results(identification: Identification, record, folder: Path, settings: dict, reason: str | None = None) -> dict:
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
    from ..output.plots import convergence_figure, field_figure, save
    from ..output.report import write_report
    from ..output.vtk import write_series

    stage, case = record.stage, identification.case
    summary = summaries.summarize(identification, stage, record.rows, record.clock, settings, reason)
    write_series(folder / "fields.pvd", [(time, [folder / name for name in names]) for time, names in record.series])
    fields = identification.levels[stage.level].exports(stage.iterate.linearization)
    title = case.title or case.name
    picture = field_figure(fields, title)
    save(picture, folder / "picture.png")
    write_report(folder / "report.html", summary, record.rows, picture, convergence_figure(record.rows), title)
    summaries.write(folder / "summary.json", summary)
    return summary
