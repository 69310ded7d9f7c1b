"""Does a network follow the search? Ends, solves and CPU of networks against nodal values, on ten problems.

    python benchmarks/following.py [--seeds 3] [--problems "heat;reaction"]

Nodal values run once a problem: their end with tight tolerances is the minimum, their solves and CPU are counted until
0.1 % above it. Networks start from `seeds` starts: the problem's own, of fixed size, and the default, which has eight
neurons a layer and grows.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from following_problems import PROBLEMS

from fem_ngf import Expansion, NewtonFlow
from fem_ngf.growth.grow import seedling

ABOVE, START = 1e-3, 8
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


def nodal(make) -> tuple[float, int, float]:
    """Minimum of nodal values; solves and CPU seconds to `ABOVE` it."""
    problem = make()
    start = problem.nodal.initial()
    minimum = followed(NewtonFlow(problem.energy, problem.nodal, problem.space, tolerance=1e-6), start)[0][-1][0]
    problem = make()
    rows, _ = followed(NewtonFlow(problem.energy, problem.nodal, problem.space, tolerance=1e-5), start)
    _, solves, cpu = next(row for row in rows if row[0] <= (1.0 + ABOVE) * minimum)
    return minimum, solves, cpu


def row(name: str, kind: str, seeds: int, minimum: float) -> str:
    """Excess over the minimum (median, worst), and the medians of solves, CPU seconds and parameters; the ends."""
    found, ends = [], []
    for seed in range(seeds):
        problem = PROBLEMS[name]()
        flow = FLOWS[kind](problem)
        rows, last = followed(flow, flow.ansatz.initial(np.random.default_rng(seed)))
        found.append((rows[-1][0] / minimum - 1.0, *rows[-1][1:], last.parameters))
        ends.append(last.status)
    excess, solves, cpu, parameters = np.array(found).T
    return (f"| {name} | {kind} | {np.median(excess):.2%} | {excess.max():.2%} | {np.median(solves):.0f} | "
            f"{np.median(cpu):.1f} | {np.median(parameters):.0f} | {', '.join(sorted(set(ends)))} |")


def main() -> None:
    """Run all flows on the problems and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--problems", default=";".join(PROBLEMS), help="names, separated by semicolons")
    parser.add_argument("--out", type=Path, default=TABLE)
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = ["# Networks against nodal values", "",
             f"Energy above the nodal minimum, median and worst of {options.seeds} starts; solves and CPU seconds to "
             "the flow's own end, for nodal values to 0.1 % above their minimum. One thread. Written by "
             "`python benchmarks/following.py`.", "",
             "| problem | flow | median | worst | solves | CPU s | parameters | ends |",
             "|---|---|---:|---:|---:|---:|---:|---|"]
    for name in options.problems.split(";"):
        minimum, solves, cpu = nodal(PROBLEMS[name])
        lines.append(f"| {name} | nodal values | | | {solves} | {cpu:.1f} | | |")
        for kind in FLOWS:
            lines.append(row(name, kind, options.seeds, minimum))
            print(lines[-1], flush=True)
            options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
