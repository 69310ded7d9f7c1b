"""Data against prediction: what a misfit is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from .plots import figure_of

SHOWN = 4000
"""Of the data, at most: those of a whole field are evenly spread."""


@dataclass(frozen=True, eq=False)
class Residuals:
    """Data and what should have been measured.

    Parameters
    ----------
    data, predicted
        ``(n,)``, of all experiments one after the other.
    std
        Standard deviations ``(n,)`` of the data, positive; None where they are unknown.
    experiment
        Number of the experiment ``(n,)``.
    """

    data: np.ndarray
    predicted: np.ndarray
    std: np.ndarray | None
    experiment: np.ndarray

    @classmethod
    def of(cls, data: np.ndarray, residual: np.ndarray, std: np.ndarray | None) -> Residuals:
        """From arrays (n_obs, k); data whose `std` is zero or infinite are exact, or missing, and left out."""
        std = None if std is None else np.broadcast_to(std if np.ndim(std) != 1 else std[:, None], data.shape)
        used = np.ones(data.shape, dtype=bool) if std is None else np.isfinite(std) & (std > 0)
        experiment = np.broadcast_to(np.arange(data.shape[1]), data.shape)
        return cls(data[used], (data + residual)[used], None if std is None else std[used], experiment[used])

    @property
    def scaled(self) -> np.ndarray:
        """Residuals over their standard deviations, or over their own root mean square where those are unknown."""
        residual = self.predicted - self.data
        size = self.std if self.std is not None else np.sqrt(np.mean(residual**2)) or 1.0
        return residual / size


def residuals_figure(found: Residuals) -> Figure:
    """Prediction over data, residuals one by one, and how they are distributed beside the normal density."""
    figure, scaled = figure_of(12.6, 3.4, titled=False), found.scaled
    chosen = np.unique(np.linspace(0, len(scaled) - 1, min(len(scaled), SHOWN)).round().astype(int))
    known = "standard deviations" if found.std is not None else "their root mean square"
    over, order, counts = (figure.add_subplot(1, 3, number) for number in (1, 2, 3))
    for k in np.unique(found.experiment):
        of = chosen[found.experiment[chosen] == k]
        over.plot(found.data[of], found.predicted[of], ".", ms=3, color=f"C{k % 10}", label=f"experiment {k + 1}")
        order.plot(of, scaled[of], ".", ms=3, color=f"C{k % 10}")
    ends = [min(found.data.min(), found.predicted.min()), max(found.data.max(), found.predicted.max())]
    over.plot(ends, ends, "-", color="0.5", lw=0.8)
    over.set_title("prediction over data", y=1.0)
    if 1 < found.experiment.max() + 1 <= 6:
        over.legend(fontsize="small")
    for height, style in ((0, "-"), (-2, ":"), (2, ":")):
        order.axhline(height, color="0.5", lw=0.8, ls=style)
    order.set_title(f"residuals in {known}", y=1.0)
    order.set_xlabel("number of the datum", loc="right", labelpad=-1, fontsize="small")
    _distribution(counts, scaled)
    for axes in (over, order, counts):
        axes.grid(alpha=0.3)
        axes.locator_params(nbins=5)
    return figure


def _distribution(axes, scaled: np.ndarray) -> None:
    reach = max(4.0, float(np.quantile(np.abs(scaled), 0.995)))
    x = np.linspace(-reach, reach, 200)
    axes.hist(np.clip(scaled, -reach, reach), bins=min(41, 9 + len(scaled) // 20), range=(-reach, reach), density=True,
              color="C0", alpha=0.6)
    axes.plot(x, np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi), "k-", lw=1, label="normal density")
    axes.set_title("their distribution", y=1.0)
    axes.legend(fontsize="small")
