"""A field of space and time on cases/heat_source.py: nodal values against a network of x, y, t that grows itself.

Both minimise the same energy by the same Newton flow, directly and over the same meshes of space and time; the network
starts with 6 + 6 + 6 neurons. Counted are evolutions (one for each right-hand side: a forward or a linearised run
through all steps), their work in those of the finest mesh, and CPU seconds of the search alone.

    OMP_NUM_THREADS=1 python benchmarks/heat_source.py
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from fem_ngf import Continuation, Expansion, FiniteElement, NewtonFlow
from fem_ngf.growth.grow import seedling
from fem_ngf.output.plots import figure_of, png
from fem_ngf.run.loading import load_function

ROOT = Path(__file__).resolve().parents[1]
WITHIN, TOLERANCE = 1.02, 2e-4


@dataclass(frozen=True)
class Result:
    """End of a search and its price; `path` has work, seconds and energy of each iterate on the finest mesh."""

    unknown: str
    parameters: int
    value: float
    misfit: float
    error: float
    evolutions: tuple[int, ...]
    work: float
    seconds: float
    path: np.ndarray

    def within(self, bound: float) -> list[str]:
        """Work and seconds where the energy first was at most the bound."""
        reached = self.path[self.path[:, 2] <= bound]
        return [f"{number:.0f}" for number in reached[0, :2]] if len(reached) else ["-", "-"]


def search(case, unknown: str, seed: int | None, levels: int, budget: int) -> Iterator[Result]:
    """A search on the finest meshes, of nodal values (no seed) or a network: a result for each finest iterate."""
    used, flows, path = case.levels[-levels:], [], []
    before = [level.energy.pde.evolutions.total for level in used]
    for level in used:
        space = level.space("h1")
        if seed is None:
            flows.append(NewtonFlow(level.energy, FiniteElement(space), space, tolerance=TOLERANCE))
        else:
            expansion = Expansion(neurons=6, max_parameters=budget, seed=seed)
            flows.append(NewtonFlow(level.energy, seedling(case.ansatz, 6), space, tolerance=TOLERANCE,
                                    expansion=expansion))
    norm, start = replace(flows[-1].space, product=None).norm, time.process_time()  # of L2
    for stage in Continuation(tuple(flows), probe=0.0).run(
            flows[0].ansatz.initial(np.random.default_rng(seed))):
        iterate, spent = stage.iterate, time.process_time() - start
        work = stage.work / (len(used[-1].energy.pde.times) - 1)
        print(f"{unknown}, {used[stage.level].label}, step {iterate.step}: {iterate.parameters} parameters, energy "
              f"{iterate.value:.6g}, work {work:.1f}, {spent:.0f} s", flush=True)
        if stage.level == levels - 1:
            path.append((work, spent, iterate.value))
            evolutions = (level.energy.pde.evolutions.total - n for level, n in zip(used, before, strict=True))
            yield Result(unknown, iterate.parameters, iterate.value, iterate.terms["misfit"],
                         norm(iterate.m - used[-1].truth) / norm(used[-1].truth), tuple(evolutions), work, spent,
                         np.array(path))


def line(result: Result, least: float) -> str:
    """A row of the table."""
    excess = 100.0 * (result.value / least - 1.0)
    cells = [result.unknown, f"{result.parameters:,}", f"{result.value:.1f}", f"{excess:.2f} %", f"{result.misfit:.0f}",
             f"{result.error:.4f}", " + ".join(map(str, result.evolutions)), f"{result.work:.0f}",
             f"{result.seconds:.0f}", *result.within(WITHIN * least)]
    return f"| {' | '.join(cells)} |"


def figure(paths: dict[str, np.ndarray], least: float) -> Figure:
    """Energy on the finest meshes above the least, over the work of all meshes: what the coarser ones are worth."""
    drawn = figure_of(7.5, 4.5, titled=False)
    axes = drawn.add_subplot()
    for unknown, path in paths.items():
        work, _, value = path[path[:, 2] > least].T
        axes.semilogy(work, 100.0 * (value / least - 1.0), "o-", ms=3, label=unknown)
    axes.set(xlabel="work, in evolutions on the finest meshes", ylabel="energy above the least, %",
             ylim=(1e-2, 1e2), xlim=(0, None))
    axes.axhline(0.1, color="0.5", lw=0.8, ls="--")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return drawn


def main() -> None:
    """Run the study and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=32)
    parser.add_argument("--steps", type=int, default=48)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budgets", type=int, nargs="*", default=[1000])
    parser.add_argument("--alone", action="store_true", help="the first network on the finest mesh only, too")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "tables" / "heat_source.md")
    parser.add_argument("--figure", type=Path, default=ROOT / "docs" / "figures" / "heat_source.png")
    options = parser.parse_args()
    case = load_function(ROOT / "cases" / "heat_source.py")(cells=options.cells, steps=options.steps)
    meshes = " and ".join(level.label for level in case.levels[-2:])
    heads = ["unknown", "parameters", "energy", "above the least", "misfit", "relative error",
             "evolutions on each mesh", "their work", "CPU s", "work to 2 %", "CPU s to 2 %"]
    lines = ["# A heat source of space and time", "",
             f"Meshes of space and time {meshes}, {case.levels[-1].energy.data.size} data with 2 % noise (half their "
             "number is what noise explains of the misfit), BDF2; relative errors in L2 of space and time. Work is in "
             "evolutions on the finest mesh, and \"to 2 %\" means 2 % above the least energy found. Written by `python "
             "benchmarks/heat_source.py`.", "", f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    found: list[Result] = []
    searches = [("nodal values, finest mesh only", None, 1, 0), ("nodal values", None, 2, 0)]
    searches += [(f"network, seed {seed}{', finest mesh only' * (levels == 1)}", seed, levels, budget)
                 for budget in options.budgets for seed in range(options.seeds)
                 for levels in ((2, 1) if options.alone and seed == 0 else (2,))]
    for i, each in enumerate(searches):
        for result in search(case, *each):
            found[i:] = [result]
            least = min(one.value for one in found)
            options.out.write_text("\n".join([*lines, *(line(one, least) for one in found)]) + "\n")
            options.figure.write_bytes(png(figure({one.unknown: one.path for one in found}, least)))


if __name__ == "__main__":
    main()
