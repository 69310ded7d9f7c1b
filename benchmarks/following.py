"""Does a network follow the search? Ends, solves and CPU of networks against nodal values, on thirteen problems.

    python benchmarks/following.py [--seeds 10] [--problems "heat;reaction"]

Nodal values run twice a problem: their end with tight tolerances is the minimum, and the default run is what networks
are compared with. Networks start from several starts: the problem's own, of fixed size, and the default, which has
eight neurons a layer and grows.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from following_problems import PROBLEMS

from fem_ngf import Expansion, NewtonFlow
from fem_ngf.growth.grow import seedling

ABOVE, START = (5e-3, 1e-3), 8
TABLE = Path(__file__).resolve().parents[1] / "docs" / "tables" / "following.md"
FLOWS = {
    "network of fixed size": lambda p: NewtonFlow(p.energy, p.network, p.space),
    "growing network": lambda p: NewtonFlow(p.energy, seedling(p.network, START), p.space, expansion=Expansion()),
}


def followed(flow, start):
    """Iterates of a run as rows (energy, solves, CPU seconds), and the last iterate."""
    rows, clock = [], time.process_time()
    for iterate in flow.run(start):
        rows.append((iterate.value, iterate.total_solves, time.process_time() - clock))
    return rows, iterate


def with_activation(network, name: str):
    """The network, or one a field, with other neurons."""
    if hasattr(network, "parts"):
        return replace(network, parts=tuple(with_activation(part, name) for part in network.parts))
    return replace(network, activation=name)


def to(rows, energy: float) -> float:
    """Solves until the energy is reached; nan where it is not."""
    return next((solves for value, solves, _ in rows if value <= energy), np.nan)


def nodal(make) -> tuple[float, str]:
    """Minimum of nodal values, and the row of their own search."""
    problem = make()
    start = problem.nodal.initial()
    minimum = followed(NewtonFlow(problem.energy, problem.nodal, problem.space, tolerance=1e-6), start)[0][-1][0]
    problem = make()
    rows, last = followed(NewtonFlow(problem.energy, problem.nodal, problem.space), start)
    return minimum, line(minimum, [rows], [last])


def line(minimum: float, runs: list, ends: list) -> str:
    """Excess over the minimum (median, worst), and the medians of solves, CPU seconds and parameters; the ends."""
    excess = np.array([rows[-1][0] for rows in runs]) / minimum - 1.0
    solves = [[to(rows, (1.0 + above) * minimum) for rows in runs] for above in ABOVE]
    solves = [*solves, [rows[-1][1] for rows in runs]]
    medians = ["-" if np.isnan(median) else f"{median:.0f}" for median in np.median(solves, axis=1)]
    cpu, size = np.median([rows[-1][2] for rows in runs]), np.median([last.parameters for last in ends])
    return (f"{np.median(excess):.2%} | {excess.max():.2%} | {' | '.join(medians)} | {cpu:.1f} | {size:.0f} | "
            f"{', '.join(sorted({last.status for last in ends}))} |")


def network(name: str, kind: str, seeds: int, minimum: float, activation: str | None) -> str:
    """The row of networks from several starts."""
    found = []
    for seed in range(seeds):
        problem = PROBLEMS[name]()
        if activation:
            problem = replace(problem, network=with_activation(problem.network, activation))
        flow = FLOWS[kind](problem)
        found.append(followed(flow, flow.ansatz.initial(np.random.default_rng(seed))))
    return line(minimum, *map(list, zip(*found, strict=True)))


def main() -> None:
    """Run all flows on the problems and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="starts of the growing network")
    parser.add_argument("--fixed", type=int, default=3, help="starts of the network of fixed size")
    parser.add_argument("--problems", default=";".join(PROBLEMS), help="names, separated by semicolons")
    parser.add_argument("--activation", help="of the neurons, instead of the problem's own")
    parser.add_argument("--out", type=Path, default=TABLE)
    options = parser.parse_args()
    torch.set_num_threads(1)
    seeds = dict(zip(FLOWS, (options.fixed, options.seeds), strict=True))
    lines = ["# Networks against nodal values", "",
             f"Energy above the minimum over nodal values, median and worst of {options.seeds} starts ({options.fixed} "
             "of the network of fixed size); solves (medians) to 0.5 % and 0.1 % above that minimum, and to the flow's "
             "own end; CPU seconds of the whole run. One thread. Written by `python benchmarks/following.py`.", "",
             "| problem | flow | median | worst | to 0.5 % | to 0.1 % | solves | CPU s | parameters | ends |",
             "|---|---|---:|---:|---:|---:|---:|---:|---:|---|"]
    for name in options.problems.split(";"):
        minimum, row = nodal(PROBLEMS[name])
        lines.append(f"| {name} | nodal values | {row}")
        for kind in (kind for kind in FLOWS if seeds[kind]):
            lines.append(f"| {name} | {kind} | {network(name, kind, seeds[kind], minimum, options.activation)}")
            print(lines[-1], flush=True)
            options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
