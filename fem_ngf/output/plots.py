"""Pictures of fields and of convergence (matplotlib's object interface; nothing global)."""

from __future__ import annotations

import io
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.mathtext import MathTextParser
from matplotlib.text import Text
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter
from skfem import ElementVector

from ..errors import real_array, same_size
from .film import Film, Readings
from .nodes import cell_values, degree, is_continuous, nodal_mesh
from .surfaces import midplane, triangles

COLUMNS, STRIPS = 3, 4


def field_figure(fields: Mapping, title: str = "", units: Mapping[str, str] = MappingProxyType({}),
                 sensors: np.ndarray | None = None) -> Figure:
    """One panel per field; ``m`` and ``truth`` share their colours.

    Parameters
    ----------
    fields
        Name -> (basis, vector). Of a vector-valued field the length is shown; of a solid its middle plane.
    title
        Above the panels.
    units
        Name of a field -> its unit; ``"x"`` is that of the coordinates. What has none is shown without.
    sensors
        Points ``(n, d)``, drawn on ``m`` where it lives on the domain of the sensors.
    """
    columns = 2 if len(fields) in (2, 4) else min(COLUMNS, len(fields))
    rows = -(-len(fields) // columns)
    figure = figure_of(4.2 * columns, (0.65 + 2.75 * _tallest(fields)) * rows + 0.3)
    limits = _shared_limits(fields)
    for number, (name, (basis, vector)) in enumerate(fields.items()):
        axes = figure.add_subplot(rows, columns, number + 1)
        picture = _DRAW[basis.mesh.p.shape[0]](axes, basis, vector, limits.get(name, (None, None)))
        if picture is not None:
            figure.colorbar(picture, ax=axes, shrink=0.85)
        axes.set_title(_with_unit(name, units), y=1.0)  # a given place need not be searched
        axes.locator_params(nbins=5)
        if "x" in units:
            axes.set_xlabel(f"[{units['x']}]", loc="right", labelpad=-2, fontsize="small")
        if name == "m":
            _mark(axes, basis, sensors)
    return _headed(figure, title)


def _tallest(fields: Mapping) -> float:
    """Height over width of the tallest domain among the planes, between 0.3 and 1; 1 where there are others."""
    sizes = [np.ptp(basis.mesh.p, axis=1) for basis, _ in fields.values()]
    return float(np.clip(max((size[1] / size[0] if len(size) == 2 else 1.0 for size in sizes), default=1.0), 0.3, 1.0))


def _mark(axes, basis, sensors: np.ndarray | None) -> None:
    """Draw the sensors, where a field lives on their plane."""
    if sensors is not None and basis.mesh.p.shape[0] == sensors.shape[1] == 2:
        axes.plot(*np.unique(sensors, axis=0).T, "o", ms=2.2, mfc="w", mec="k", mew=0.4)


def _with_unit(name: str, units: Mapping[str, str]) -> str:
    unit = units.get({"truth": "m", "error": "m"}.get(name, name), "")
    return f"{name} [{unit}]" if unit else name


def film_figure(film: Film, title: str = "", frames: int = 5, sensors: np.ndarray | None = None,
                units: Mapping[str, str] = MappingProxyType({})) -> Figure:
    """A strip of pictures for each field that changes, at times evenly spread; colours stay through a strip.

    Parameters
    ----------
    film
        On a plane domain or a solid, whose middle plane is shown.
    frames
        Largest number of pictures in a strip. There are `STRIPS` of them at most: the first fields have one.
    sensors
        Points ``(n, d)``, drawn in the first picture of each strip but truth and error.
    units
        As in `field_figure`; ``"t"`` is that of the time.
    """
    chosen = np.unique(np.linspace(0, len(film.times) - 1, frames + 1)[1:].round().astype(int))
    shown, number = dict(list(film.moving.items())[:STRIPS]), len(film.moving)
    limits = _shared_limits(shown)
    figure = figure_of(2.6 * len(chosen), 2.3 * len(shown) + 0.4)
    grid = figure.subplots(len(shown), len(chosen), squeeze=False)
    for strip, (name, (basis, vectors)) in zip(grid, shown.items(), strict=True):
        both = limits.get(name, (vectors[chosen].min(), vectors[chosen].max()))
        for axes, i in zip(strip, chosen, strict=True):
            picture = _DRAW[basis.mesh.p.shape[0]](axes, basis, vectors[i], both)
            when = f"t = {film.times[i]:.3g} {units.get('t', '')}".rstrip()
            axes.set_title(f"{_with_unit(name, units)}, {when}", y=1.0, fontsize="small")
            axes.locator_params(nbins=3)
        if name not in ("truth", "error"):
            _mark(strip[0], basis, sensors)
        if picture is not None:
            figure.colorbar(picture, ax=strip, shrink=0.85, fraction=0.03, pad=0.02).ax.tick_params(labelsize="small")
    return _headed(figure, title + (f" ({STRIPS} of {number} fields)" if number > STRIPS else ""))


def readings_figure(readings: Readings, sensors: int = 6) -> Figure:
    """Data with their standard deviations, and the prediction, at the sensors that the largest misfit is at."""
    misfit = np.sum(((readings.predicted - readings.values) / readings.std) ** 2, axis=0)
    figure = figure_of(12.6, 2.8 * -(-min(sensors, len(misfit)) // COLUMNS) + 0.6)
    for number, j in enumerate(np.argsort(misfit)[::-1][:sensors]):
        axes = figure.add_subplot(-(-min(sensors, len(misfit)) // COLUMNS), COLUMNS, number + 1)
        axes.errorbar(readings.times, readings.values[:, j], readings.std[:, j], fmt=".", color="0.5", label="data")
        axes.plot(readings.times, readings.predicted[:, j], "-", color="C0", label="prediction")
        (sensor, experiment), mean = divmod(j, readings.experiments), misfit[j] / len(readings.times)
        where = f"sensor {sensor}" + (f", experiment {experiment + 1}" if readings.experiments > 1 else "")
        axes.set_title(f"{where}: {mean:.2g} squared deviations a datum", y=1.0, fontsize="small")
        axes.set_xlabel("t", labelpad=0, fontsize="small")
        axes.grid(alpha=0.3)
    figure.axes[0].legend(fontsize="small")
    return _headed(figure, "over time, at the sensors of the largest misfit")


def draw(space, vector: np.ndarray, title: str = "") -> Figure:
    """A picture of one function: of an iterate's ``m``, say, in its space.

    Parameters
    ----------
    space
        `HilbertSpace`, or a scikit-fem basis.
    vector
        ``(n,)``.
    title
        Above it.

    Returns
    -------
    matplotlib.figure.Figure
        A notebook shows it; ``figure.savefig("m.png")`` writes it.
    """
    basis = space if hasattr(space, "elem") else space.basis
    vector = real_array("vector", vector)
    same_size("vector", vector.size, "space", basis.N)
    return field_figure({title or "m": (basis, vector)})


# x, columns, label of x, scale
CONVERGENCE = (("pde_work", ("energy",), "work (solves on the finest mesh)", "log"),
               ("pde_solves", ("gradient_norm", "certificate"), "PDE solves", "log"),
               ("pde_solves", ("alignment",), "PDE solves", "linear"),
               ("cpu_seconds", ("energy",), "CPU seconds", "log"),
               ("step", ("fit",), "step", "log"),
               ("step", ("parameters",), "step", "linear"))
KAPPA = ("step", ("kappa",), "step", "linear")


def convergence_figure(rows: list[dict]) -> Figure:
    """Energy, gradient norm (dotted: the certificate) and alignment; fit and size of the unknown over the steps.

    One colour per mesh; growth is marked where the size is shown. Kappa is shown where the rows have it at every step,
    and no panel of what they do not have.
    """
    panels = list(CONVERGENCE)
    if all(row.get("kappa", "") != "" for row in rows):
        panels[3] = KAPPA
    panels = [panel for panel in panels if any(row.get(panel[1][0], "") != "" for row in rows)]
    height = -(-len(panels) // COLUMNS)
    figure = figure_of(12.6, 3.1 * height, titled=False)
    for number, (x, columns, label, scale) in enumerate(panels):
        axes = figure.add_subplot(height, COLUMNS, number + 1)
        for k, level in enumerate(dict.fromkeys(row["level"] for row in rows)):
            for y, style in zip(columns, ("o-", ":"), strict=False):
                here = [row for row in rows if row["level"] == level and row.get(y, "") != ""]
                if here:
                    axes.plot([row[x] for row in here], [row[y] for row in here], style, ms=3, color=f"C{k}",
                              label=here[0]["mesh"])
        axes.set_xlabel(label)
        axes.set_title(columns[0].replace("_", " "), y=1.0)
        _ticks(axes, scale, [row[y] for y in columns for row in rows if row.get(y, "") != ""])
    for row in rows:
        if "grew" in row.get("event", ""):
            figure.axes[-1].axvline(row["step"], color="0.6", lw=0.8, ls="--", zorder=0)
    figure.axes[0].legend(fontsize="small")
    return figure


def comparison_figure(histories: Mapping[str, list[dict]]) -> Figure:
    """Energy on the finest mesh against work and CPU seconds, one line per method."""
    figure = figure_of(13, 5)
    mesh = max((rows[-1] for rows in histories.values()), key=lambda row: row["level"])["mesh"] if histories else ""
    panels = (("pde_work", "work (solves on the finest mesh)"), ("cpu_seconds", "CPU seconds"))
    for number, (x, label) in enumerate(panels):
        axes = figure.add_subplot(1, 2, number + 1)
        for method, rows in histories.items():
            here = [row for row in rows if row["mesh"] == mesh]
            axes.plot([row[x] for row in here], [row["energy"] for row in here], ".-", label=method)
        axes.set(xlabel=label, ylabel="energy", xscale="log", yscale="log")
        axes.grid(alpha=0.3)
    figure.axes[1].legend(fontsize="small")
    return figure


def weight_figure(choice: Mapping) -> Figure:
    """What a rule looked at when it chose the weight: the runs as an L-curve, and the rule's curve over the weight.

    Parameters
    ----------
    choice
        Entry ``weight_choice`` of a summary: ``rule, value, runs, curve``.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    runs = sorted(choice["runs"], key=lambda run: run["weight"])
    left.loglog([run["misfit"] for run in runs], [run["roughness"] for run in runs], "o-")
    chosen = min(runs, key=lambda run: abs(np.log(run["weight"] / choice["value"])))
    left.loglog(chosen["misfit"], chosen["roughness"], "r*", markersize=14, label=f"weight {choice['value']:.3g}")
    left.set(xlabel="misfit", ylabel="regularisation at weight one", title="runs")
    left.legend()
    curve = dict(choice["curve"])
    weights = np.array(curve.pop("weight"))
    order = np.argsort(weights)
    name, values = list(curve.items())[-1]
    right.semilogx(weights[order], np.array(values)[order], "o-")
    right.axvline(choice["value"], color="r", linewidth=1)
    right.set(xlabel="weight", ylabel=name, title=choice["rule"])
    return figure


def png(figure: Figure) -> bytes:
    """The figure as a PNG file. A text between dollar signs that is no formula is shown as it stands."""
    for text in figure.findobj(Text):
        try:
            if isinstance(text, Text) and "$" in text.get_text():
                MathTextParser("path").parse(text.get_text())
        except ValueError:
            text.set(parse_math=False)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=100, pil_kwargs={"compress_level": 1})  # a third larger, five times faster
    return stream.getvalue()


def figure_of(width: float, height: float, titled: bool = True) -> Figure:
    """An empty figure with room for the labels of its panels, in inches.

    The margins are fixed: a layout engine draws everything twice and costs more than the picture.
    """
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    figure.subplots_adjust(left=0.65 / width, right=1 - 0.3 / width, bottom=0.5 / height,
                           top=1 - (0.6 if titled else 0.3) / height, wspace=0.25, hspace=0.35)
    return figure


def _headed(figure: Figure, title: str) -> Figure:
    """The figure with a title in the margin above its panels, however tall it is."""
    figure.suptitle(title, y=1 - 0.1 / figure.get_figheight(), va="top")
    return figure


def _ticks(axes, scale: str, values: list[float]) -> None:
    """A grid of few ticks in plain figures; a logarithmic axis where the values allow one."""
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.grid(alpha=0.3)
    if scale == "linear" or min(values, default=0.0) <= 0:
        return
    span = max(values) / min(values)
    axes.set_yscale("log")
    if span > 5:
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if span > 100 else (1.0, 2.0, 5.0), numticks=8))
    else:
        axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:.3g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def _shared_limits(fields: Mapping) -> dict[str, tuple[float, float]]:
    """One range for ``m`` and ``truth``, and one that is symmetric about zero for ``error``; not of vectors."""
    limits = {}
    scalar = {name for name, (basis, _) in fields.items() if not isinstance(basis.elem, ElementVector)}
    if {"truth", "m"} <= scalar:
        both = np.concatenate([fields["m"][1].ravel(), fields["truth"][1].ravel()])
        limits = {"m": (both.min(), both.max()), "truth": (both.min(), both.max())}
    elif {"truth", "m"} <= set(fields) and fields["m"][1].ndim == 1:
        longest = max(_nodes(*fields[name])[1].max() for name in ("m", "truth"))
        limits = {"m": (0.0, longest), "truth": (0.0, longest)}
    if "error" in scalar:
        largest = np.abs(fields["error"][1]).max() or 1.0
        limits["error"] = (-largest, largest)
    return limits


def _nodes(basis, vector):
    """Nodes, their values (length of vectors), cells; cellwise constants on broken cells."""
    order = max(degree(basis), 1)
    nodes = nodal_mesh(basis.mesh, order, is_continuous(basis))
    if degree(basis) == 0:
        values = np.repeat(cell_values(basis, vector), nodes.cells.shape[1], axis=0)
    else:
        values = nodes.values(basis, vector)
    return nodes, np.linalg.norm(values, axis=1) if values.ndim == 2 else values


def _line(axes, basis, vector, limits) -> None:
    nodes, values = _nodes(basis, vector)
    x = nodes.points[nodes.cells][:, :, 0]
    order = np.argsort(x, axis=1)
    x, y = np.take_along_axis(x, order, 1), np.take_along_axis(values[nodes.cells], order, 1)
    cells = np.argsort(x[:, 0])
    axes.plot(x[cells].ravel(), y[cells].ravel())
    axes.set_ylim(*limits)
    axes.grid(alpha=0.3)


def _plane(axes, basis, vector, limits):
    nodes, values = _nodes(basis, vector)
    return _coloured(axes, nodes.points, triangles(nodes), values, limits)


def _solid(axes, basis, vector, limits):
    nodes, values = _nodes(basis, vector)
    return _coloured(axes, *midplane(nodes, values), limits)


def _coloured(axes, points, cells, values, limits):
    """What a bar of colours belongs to."""
    colours = "RdBu_r" if limits[0] is not None and limits[0] == -limits[1] else "viridis"
    picture = axes.tripcolor(points[:, 0], points[:, 1], cells, values, shading="gouraud", cmap=colours,
                             vmin=limits[0], vmax=limits[1])
    axes.set_aspect("equal")
    axes.tick_params(labelsize="small")
    return picture


_DRAW = {1: _line, 2: _plane, 3: _solid}  # by the dimension of the mesh
