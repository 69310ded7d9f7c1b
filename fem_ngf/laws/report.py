"""An identified law in a report: where the data say something about it and how sure, and where it is continued only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ..forms.laws import Law
from ..forms.visits import share_beyond, states_of, warn_beyond
from ..output.plots import figure_of, png
from ..regularization.gaussian import Gaussian
from ..uq.laplace import laplace


@dataclass(frozen=True, eq=False)
class Visited:
    """What a law is called with at a solution.

    Parameters
    ----------
    arguments
        ``(q, d)`` at the quadrature points of all experiments.
    weights
        ``(q,)`` of the quadrature.
    law
        The `Law`.
    """

    arguments: np.ndarray
    weights: np.ndarray
    law: Law

    @classmethod
    def at(cls, linearization, law, number: int = 0) -> Visited:
        """Of a linearisation of an inverse problem; the law is the parameter of that number among the laws."""
        form, m = linearization.energy.pde.form, linearization.m
        calls = [form.visited(u, m)[number] for u in states_of(linearization)]
        arguments, weights = (np.concatenate(part) for part in zip(*calls, strict=True))
        return cls(arguments, weights, law)

    @property
    def range(self) -> np.ndarray:
        """Least and largest arguments (d, 2)."""
        return np.stack([self.arguments.min(axis=0), self.arguments.max(axis=0)], axis=1)

    @property
    def outside(self) -> float:
        """Share of the quadrature points, by their weights, at which the law is continued beyond its mesh."""
        return share_beyond(self._box, self.arguments, self.weights)

    def summary(self) -> dict:
        """Entries of a summary; a `BeyondLawWarning` where the law is called outside its mesh."""
        outside = self.outside
        if outside > 0:
            warn_beyond("the law is called", self._box, self.arguments, outside)
        return {"law_visited": self.range.tolist(), "law_outside": outside}

    @property
    def _box(self):
        """Bounds (d, 2) of the law's mesh."""
        mesh = self.law.basis.mesh.p
        return np.stack([mesh.min(axis=1), mesh.max(axis=1)], axis=1)


def law_figure(found: Callable, visited: Visited, truth: Callable | None = None, band: Callable | None = None,
               labels: tuple[str, str] = ("argument", "law")):
    """A law of one argument with what the data never visited shaded; what is shown is the visited range and half of it
    more on both sides.

    Parameters
    ----------
    found, truth
        Functions of arguments (n, 1) -> (n,).
    visited
        Where the law was called.
    band
        Standard deviation (n,) at arguments (n, 1); two of them are drawn on both sides.
    labels
        Of the axes.
    """
    figure = figure_of(6.4, 4.2, titled=False)
    axes = figure.add_subplot()
    y, (first, last) = _arguments(visited), visited.range[0]
    beyond = 0.5 * (last - first)
    y = np.linspace(max(y[0, 0], first - beyond), min(y[-1, 0], last + beyond), 400)[:, None]
    for a, b, label in ((y[0, 0], first, None), (last, y[-1, 0], "not visited")):
        axes.axvspan(a, b, color="0.9", zorder=0, label=label)
    value, inside = found(y), (first <= y[:, 0]) & (y[:, 0] <= last)
    heights = [value, *([] if truth is None else [truth(y)[inside]])]
    if band is not None:
        spread = 2.0 * band(y)
        axes.fill_between(y[:, 0], value - spread, value + spread, color="C0", alpha=0.25, lw=0,
                          label="two standard deviations")
        heights += [(value - spread)[inside], (value + spread)[inside]]
    axes.plot(y[:, 0], value, label="identified")
    if truth is not None:
        axes.plot(y[:, 0], truth(y), "k--", lw=1, label="truth")
    low, high = min(each.min() for each in heights), max(each.max() for each in heights)
    margin = 0.05 * max(high - low, 0.1 * abs(high), 1e-12)
    axes.set(xlabel=labels[0], ylabel=labels[1], xlim=(y[0, 0], y[-1, 0]), ylim=(low - margin, high + margin))
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def write_law(path: Path, found: Callable, visited: Visited, truth: Callable | None = None,
              band: Callable | None = None, labels: tuple[str, str] = ("argument", "law")) -> None:
    """`law_figure` as a PNG file, and a table beside it, ``.csv``: argument, law, std, truth, visited (0 or 1)."""
    path.write_bytes(png(law_figure(found, visited, truth, band, labels)))
    y = _arguments(visited)
    (first, last), nothing = visited.range[0], np.full(len(y), np.nan)
    columns = {"argument": y[:, 0], "law": found(y), "std": nothing if band is None else band(y),
               "truth": nothing if truth is None else truth(y), "visited": (first <= y[:, 0]) & (y[:, 0] <= last)}
    np.savetxt(path.with_suffix(".csv"), np.column_stack(list(columns.values())), delimiter=",", fmt="%.9g",
               header=",".join(columns), comments="")


def _arguments(visited: Visited) -> np.ndarray:
    """Arguments (400, 1) over the law's mesh and what was visited beyond it."""
    lower, upper = visited._box[0]
    first, last = visited.range[0]
    return np.linspace(min(lower, first), max(upper, last), 400)[:, None]


def law_bands(linearization) -> list[Callable]:
    """Standard deviations of all laws over their arguments, by the `laplace` approximation of their nodal values.

    The regularisation, made definite as `InverseLinearization.preconditioner` is, stands for the prior. No network
    bounds the bands: they are those of all functions of the laws' spaces.

    Parameters
    ----------
    linearization
        At the minimiser.

    Returns
    -------
    list of callables
        For each law arguments (n, d) -> standard deviations (n,); beyond the mesh that of its nearest point.
    """
    space, precision = linearization.energy.space, linearization.preconditioner
    root = np.linalg.cholesky(precision.solve(np.eye(space.size)))
    posterior = laplace(linearization, Gaussian(linearization.m, precision, root), threshold=1e-3).precision
    parts = getattr(space, "spaces", (space,))
    starts = np.cumsum([0, *(part.size for part in parts)])

    def std(y, start, part):
        rows = np.zeros((space.size, len(y)))
        rows[start:start + part.size] = part.interpolation(y).toarray().T
        return np.sqrt(np.maximum(np.einsum("ij,ij->j", rows, posterior.solve(rows)), 0.0))

    return [partial(std, start=start, part=part) for start, part in zip(starts, parts, strict=False)]


def law_band(linearization, slope: Callable | None = None) -> Callable:
    r"""Standard deviation of the only law; see `law_bands`.

    Parameters
    ----------
    slope
        Derivative (n,) at arguments (n, d) of what is drawn with respect to the law: ``lambda y: np.exp(m(y))`` for the
        band of :math:`e^m`.
    """
    (std,) = law_bands(linearization)
    return std if slope is None else lambda y: np.abs(slope(y)) * std(y)


def law_error(found: Callable, truth: Callable, lower: float, upper: float, points: int = 400) -> float:
    """Relative L2 error of a law of one argument on an interval; functions of arguments (n, 1) -> (n,)."""
    y = np.linspace(lower, upper, points)[:, None]
    return float(np.linalg.norm(found(y) - truth(y)) / np.linalg.norm(truth(y)))


def law_outcome(law, truth: Callable | None = None, *, logarithm: bool = False,
                labels: tuple[str, str] = ("argument", "law")) -> Callable:
    """The `outcome` of a case with one law of one argument: its picture with a band, a table, its range and errors.

    Parameters
    ----------
    law
        The `Law`.
    truth
        The true unknown, of arguments (1, n) -> (n,). Errors are then those over the visited range, ``law_error``, and
        on the next fifth of it beyond, ``law_error_beyond``.
    logarithm
        The unknown is the logarithm of what is drawn and compared.
    labels
        Of the axes.
    """
    def drawn(values):
        return np.exp(values) if logarithm else values

    def true(y):
        return drawn(truth(y.T))

    def outcome(at, folder):
        def found(y):
            return drawn(law.evaluate(at.m, y))

        seen = Visited.at(at, law)
        first, last = seen.range[0]
        if folder is not None:
            write_law(folder / "law.png", found, seen, true if truth else None,
                      law_band(at, slope=found if logarithm else None), labels)
        return seen.summary() | ({} if truth is None else {
            "law_error": law_error(found, true, first, last),
            "law_error_beyond": law_error(found, true, last, last + 0.2 * (last - first))})

    return outcome
