"""``report.html``: one file with the problem, the result, its pictures and tables, to be sent to a colleague."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

from .files import replacing
from .prose import as_html

# Columns of the table of iterations: name in the history, heading, digits, what it means.
COLUMNS = (
    ("step", "step", 0, ""), ("energy", "energy", 7, ""), ("misfit", "misfit", 4, ""),
    ("regularization", "regular.", 4, "The weighted regularisation."),
    ("gradient_norm", "gradient", 3, "Norm of the gradient in the function space of the search."),
    ("alignment", "align.", 3, "Cosine of the angle between the step that the function made and the negative gradient: "
     "1 is steepest descent; Newton steps have less."),
    ("kappa", "kappa", 3, "Largest such cosine that this network can reach; 1 for nodal values."),
    ("certificate", "certif.", 3, "Bound on the distance to the minimiser, where the energy is convex."),
    ("fit", "fit", 2, "Squared distance between the step that was meant and the one that the network made, relative to "
     "the step; 0 is exact."),
    ("step_size", "length", 3, "Length of the step, in units of the proposed one."),
    ("parameters", "param.", 0, "Parameters of the unknown."),
    ("pde_solves", "solves", 0, "Linear solves with the equation's matrix so far, one for each right-hand side."),
    ("evolutions", "evol.", 0, "Runs through all steps in time, one for each right-hand side."),
    ("pde_work", "work", 5, "Solves weighed by unknowns, in those of the finest mesh."),
    ("cpu_seconds", "CPU s", 3, ""),
)
# What the result says: name in the summary, heading, what it means.
FACTS = (
    ("energy", "energy", "Misfit + regularisation; it is minimised."),
    ("misfit", "misfit", ""),
    ("expected_misfit", "misfit of noise alone", "On average, at the truth; N/2 for N data with normal noise. A misfit "
     "far above it means that the model does not explain the data, one far below that it explains their noise."),
    ("regularization", "regularisation", "At its weight."),
    ("expected_decrease", "still to be gained", "By how much the best step of this unknown would be expected to lower "
     "the energy, at the end."),
    ("relative_error", "relative error", "||m - truth|| / ||truth|| in L2, over the whole domain."),
    ("parameters", "parameters", ""),
    ("network", "unknown", ""),
    ("growth", "growth", ""),
    ("unknowns", "nodal values of m", "Unknowns of the finite-element space in which the search is measured."),
    ("state_unknowns", "unknowns of the state", ""),
    ("gradient_norm", "gradient norm", "In the function space of the search."),
    ("pde_work", "work", "All PDE solves, in solves on the finest mesh."),
    ("cpu_seconds", "CPU seconds", "Of the search; setting up and pictures are not counted."),
    ("control", "nodal values for comparison", "The same energy and start value, with nodal values for the unknown."),
)


@dataclass(frozen=True)
class Picture:
    """A picture of a report.

    Parameters
    ----------
    headline
        Above it.
    png
        The file.
    caption
        Beneath it.
    """

    headline: str
    png: bytes
    caption: str = ""

    @property
    def source(self) -> str:
        """The file as the address of an image."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode()


def write_report(path: Path, summary: Mapping, rows: Sequence[Mapping], pictures: Sequence[Picture], title: str = "",
                 about: str = "") -> None:
    """Write the report.

    Parameters
    ----------
    path
        The HTML file; it refers to no other file.
    summary, rows
        Contents of ``summary.json`` and ``history.csv``.
    pictures
        In their order.
    title
        Headline; default the case's name.
    about
        The problem, as reStructuredText.
    """
    environment = jinja2.Environment(loader=jinja2.PackageLoader("fem_ngf.output", "."), autoescape=True,
                                     undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["number"] = number
    facts = [(heading, _fact(summary, name), meaning) for name, heading, meaning in FACTS
             if summary.get(name) not in (None, "")]
    columns = [column for column in COLUMNS if any(row.get(column[0], "") != "" for row in rows)]
    rows = [{name: "" for name, *_ in columns} | dict(row) for row in rows]
    page = environment.get_template("report.html.j2").render(
        summary=summary, rows=rows, columns=columns, facts=facts, title=title or summary["case"], pictures=pictures,
        about=as_html(about) if about else "")
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="backslashreplace")


def _fact(summary: Mapping, name: str) -> str:
    if name != "control":
        return number(summary[name])
    control = summary["control"]
    return (f"energy {number(control['energy'])} after {control['pde_solves']} PDE solves and "
            f"{number(control['cpu_seconds'], 3)} CPU seconds; the network ends {control['relative_gap']:+.2%} from it")


def number(value, digits: int = 6) -> str:
    """A number in few digits, anything else as it is."""
    return f"{value:.{digits or 6}g}" if isinstance(value, float) else str(value)
