r"""Which inner product steers the network: the 1-D fit of cases/fit_1d.py, metric by metric.

For the energies 1/2 ||m - y||^2 in H1 and in L2, a tanh network of 20 neurons is trained by the same number of
iterations with the Gram matrix of H1, of L2, or without any (Euclid: gradient descent on the parameters with a line
search; Adam as a further control). The network is fixed, or grows from 2 neurons by the gain of the new neurons, or
grows by as many neurons drawn at random from the same dictionary. Numbers are relative errors in the energy's own norm,
median (smallest .. largest) over the seeds.

    python benchmarks/metric_study.py --seeds 5 --iterations 300
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np

from fem_ngf import MLP, Expansion, NaturalGradientFlow, ParameterDescent
from fem_ngf.growth.grow import grow

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from cases.fit_1d import case  # noqa: E402

NEURONS, START = 20, 2
MODES = ("fixed", "grown", "random")
METRICS = ("h1", "l2", "euclid", "adam")
NAMES = {"h1": "H1 Gram", "l2": "L2 Gram", "euclid": "Euclid (gradient descent)", "adam": "Euclid (Adam, rate 0.01)"}


def errors(energy: str, metric: str, mode: str, seed: int, iterations: int) -> np.ndarray:
    """Relative error after 0 .. `iterations` steps, one run."""
    level = case(energy=energy).levels[0]
    fit, ansatz = level.energy, MLP((1, NEURONS if mode == "fixed" else START, 1), "tanh")
    expansion = None if mode == "fixed" else Expansion(
        max_parameters=3 * NEURONS + 1, selection="random" if mode == "random" else "greedy", seed=seed)
    theta, rule = ansatz.initial(np.random.default_rng(seed)), {"iterations": iterations, "tolerance": 1e-15}
    if metric in ("h1", "l2"):
        flow = NaturalGradientFlow(fit, ansatz, level.space(metric, sampling="nodal"), method="levenberg-marquardt",
                                   stagnation=0.0, damping=1e-2, expansion=expansion, **rule)
        iterates = flow.run(theta)
    else:
        method = "adam" if metric == "adam" else "gradient-descent"
        flow = ParameterDescent(fit, ansatz, fit.space, method=method, stagnation=-np.inf, **rule)
        iterates = flow.run(theta) if expansion is None else growing(flow, theta, expansion, iterations)
    found = np.array([fit.relative_error(iterate.m) for iterate in iterates])
    return np.append(found, np.full(iterations + 1 - len(found), found[-1]))


def growing(flow, theta, expansion: Expansion, iterations: int):
    """Gradient descent whose network grows by the same number of neurons, at equal distances in the first third."""
    events = (NEURONS - START) // expansion.neurons
    at = {round((k + 1) * iterations / 3 / events): k for k in range(events)}
    iterate = flow.start(theta)
    yield iterate
    while not iterate.stop_reason:
        if iterate.step in at:
            gradient = flow.space.riesz(iterate.linearization.derivative)
            grown = grow(expansion, iterate.ansatz, iterate.theta, gradient, flow.space, flow.space.inner_product,
                         at[iterate.step])
            if grown is not None:
                iterate = replace(iterate, ansatz=grown.ansatz, theta=grown.theta)
        iterate = flow.step(iterate)
        yield iterate


def study(seeds: int, iterations: int) -> dict:
    """Error histories ``(seeds, iterations + 1)`` by (energy, metric, mode)."""
    found = {}
    for energy in ("h1", "l2"):
        for metric in METRICS:
            for mode in MODES if metric != "adam" else ("fixed",):
                runs = [errors(energy, metric, mode, seed, iterations) for seed in range(seeds)]
                found[energy, metric, mode] = np.array(runs)
                print(energy, metric, mode, cell(found[energy, metric, mode][:, -1]), flush=True)
    return found


def cell(values: np.ndarray) -> str:
    """Median and range."""
    return f"{np.median(values):.1e} ({values.min():.1e} .. {values.max():.1e})"


def table(found: dict, seeds: int, iterations: int) -> str:
    """The markdown page."""
    lines = ["# Metric study: a steep layer with an oscillation in one dimension", "",
             f"Relative error in the energy's own norm after {iterations} iterations of a tanh network; median "
             f"(smallest .. largest) of {seeds} seeds. Fixed: {NEURONS} neurons. Grown: {START} -> {NEURONS} neurons "
             "by orthogonal matching pursuit on the gain. Random: as many neurons from the same dictionary, "
             "unselected. Written by `python benchmarks/metric_study.py`.", "",
             "| energy | metric | fixed | grown | random control |", "|---|---|---|---|---|"]
    for energy in ("h1", "l2"):
        for metric in METRICS:
            runs = [found.get((energy, metric, mode)) for mode in MODES]
            cells = ["" if run is None else cell(run[:, -1]) for run in runs]
            lines.append(f"| {energy.upper()} | {NAMES[metric]} | {' | '.join(cells)} |")
    for energy in ("h1", "l2"):
        lines += ["", conclusion(found, energy)]
    return "\n".join(lines) + "\n"


def conclusion(found: dict, energy: str) -> str:
    """What the medians say about one energy, and no more."""
    def median(metric, mode):
        return np.median(found[energy, metric, mode][:, -1])

    own, other = energy, "l2" if energy == "h1" else "h1"
    ratios = [f"{NAMES[m]} {median(m, 'fixed') / median(own, 'fixed'):,.0f}" for m in (other, "euclid", "adam")]
    gain, luck = (median(own, "fixed") / median(own, mode) for mode in ("grown", "random"))
    return (f"{energy.upper()} energy, medians: with its own Gram matrix the fixed network's error is smaller than "
            f"with the others by factors of {', '.join(ratios)}. Relative to the fixed network, selected growth "
            f"divides the error by {gain:.1f} and growth at random by {luck:.1f}: the selection is worth a factor "
            f"{gain / luck:.1f}, no more.")


def figure(found: dict, path: Path) -> None:
    """Median error against iterations, one panel an energy."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    picture, axes = pyplot.subplots(1, 2, figsize=(9, 3.2), sharey=True, layout="constrained")
    colours = {"h1": "tab:blue", "l2": "tab:orange", "euclid": "tab:grey", "adam": "tab:green"}
    styles = {"fixed": "-", "grown": "--", "random": ":"}
    for axis, energy in zip(axes, ("h1", "l2"), strict=True):
        for (which, metric, mode), runs in found.items():
            if which == energy:
                axis.semilogy(np.median(runs, axis=0), styles[mode], color=colours[metric], lw=1.2,
                              label=f"{NAMES[metric]}, {mode}")
        axis.set(title=f"{energy.upper()} energy", xlabel="iteration")
    axes[0].set_ylabel("relative error")
    handles, labels = axes[0].get_legend_handles_labels()
    picture.legend(handles, labels, fontsize=6.5, loc="outside right center")
    picture.savefig(path, dpi=110)


def main() -> None:
    """Run the study and write its table and figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=300)
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    options = parser.parse_args()
    found = study(options.seeds, options.iterations)
    for folder in ("tables", "figures"):
        (options.out / folder).mkdir(parents=True, exist_ok=True)
    page = table(found, options.seeds, options.iterations)
    (options.out / "tables" / "metric_study.md").write_text(page)
    figure(found, options.out / "figures" / "metric_study.png")
    print(page)


if __name__ == "__main__":
    main()
