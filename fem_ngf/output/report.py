"""``report.html``: one file with the result, its pictures, tables and settings."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path

import jinja2

from .files import replacing

_COLUMNS = ("step", "mesh", "energy", "misfit", "regularization", "gradient_norm", "alignment", "kappa",
            "certificate", "fit", "step_size", "parameters", "pde_solves", "evolutions", "pde_work",
            "cpu_seconds", "event")
_FACTS = ("energy", "misfit", "regularization", "relative_error", "parameters", "unknowns", "state_unknowns",
          "iterations", "pde_work", "gradient_norm", "alignment", "cpu_seconds", "setup_cpu_seconds", "seed")


def write_report(path: Path, summary: dict, rows: list[dict], pictures: Mapping[str, bytes], title: str = "",
                 weight: bytes | None = None) -> None:
    """Write the report.

    Parameters
    ----------
    path
        The HTML file; it refers to no other file.
    summary, rows
        Contents of ``summary.json`` and ``history.csv``.
    pictures
        Headline -> PNG file.
    title
        Headline; default the case's name.
    weight
        PNG file: how a rule chose the weight of the regularisation.
    """
    environment = jinja2.Environment(loader=jinja2.PackageLoader("fem_ngf.output", "."), autoescape=True,
                                     undefined=jinja2.StrictUndefined)
    environment.filters["number"] = _number
    facts = [(name.replace("_", " "), _number(summary[name])) for name in _FACTS if summary.get(name) is not None]
    page = environment.get_template("report.html.j2").render(
        summary=summary, rows=rows, columns=_known(rows), facts=facts, title=title,
        weight_png=base64.b64encode(weight).decode() if weight else "",
        pictures={headline: base64.b64encode(picture).decode() for headline, picture in pictures.items()})
    with replacing(path) as temporary:
        temporary.write_text(page)


def _known(rows: list[dict]) -> list[str]:
    """The columns that every row has: only equations in time have evolutions."""
    return [name for name in _COLUMNS if all(name in row for row in rows)]


def _number(value) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
