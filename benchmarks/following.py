"""Does a network follow the search? Ends, solves and CPU of networks against nodal values, on ten problems.

    python benchmarks/following.py [--seeds 5] [--flow newton|descent] [--problems "heat;reaction"] [--out FILE.json]

Nodal values run once a problem: their end with tight tolerances is the minimum, their solves and CPU are counted until
0.1 % above it. Every network starts from `seeds` starts.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from following_problems import PROBLEMS

from fem_ngf import HilbertDescent, NewtonFlow

ABOVE = 1e-3


def followed(flow, start):
    """Iterates of a run as rows (energy, solves, CPU seconds), and the last iterate."""
    rows, clock = [], time.process_time()
    for iterate in flow.run(start):
        rows.append((iterate.value, iterate.total_solves, time.process_time() - clock))
    return rows, iterate


def nodal(name: str) -> dict:
    """Minimum of nodal values; solves and CPU seconds to `ABOVE` it by Newton-CG."""
    problem = PROBLEMS[name]()
    tight = {"iterations": 200, "stagnation": 1e-10, "tolerance": 1e-13, "worth": 0.02}
    minimum = followed(HilbertDescent(problem.energy, problem.nodal, problem.space, **tight),
                       problem.nodal.initial())[0][-1][0]
    problem = PROBLEMS[name]()
    usual = {"iterations": 200, "stagnation": 1e-6, "tolerance": 1e-10}
    rows, _ = followed(HilbertDescent(problem.energy, problem.nodal, problem.space, **usual), problem.nodal.initial())
    minimum = min(minimum, rows[-1][0])
    _, solves, cpu = next(row for row in rows if row[0] <= (1.0 + ABOVE) * minimum)
    return {"minimum": minimum, "solves": solves, "cpu": cpu}


def networks(name: str, kind: str, seeds: int, minimum: float) -> list[dict]:
    """One row a start: excess over the minimum, solves to the end, CPU seconds, and the flow's last word."""
    found = []
    for seed in range(seeds):
        problem = PROBLEMS[name]()
        flow = NewtonFlow(problem.energy, problem.network, problem.space) if kind == "newton" else HilbertDescent(
            problem.energy, problem.network, problem.space, iterations=60, stagnation=1e-4)
        rows, last = followed(flow, problem.network.initial(np.random.default_rng(seed)))
        value, solves, cpu = rows[-1]
        reached = next((row[1] for row in rows if row[0] <= (1.0 + ABOVE) * minimum), None)
        expected = last.memory.expected_decrease / value if kind == "newton" else None
        beyond = last.memory.expected_beyond / value if kind == "newton" else None
        found.append({"excess": value / minimum - 1.0, "solves": solves, "cpu": cpu, "reached": reached,
                      "end": last.stop_reason, "expected": expected, "beyond": beyond, "steps": last.step})
    return found


def line(name: str, control: dict, rows: list[dict]) -> str:
    """One row of the table."""
    excess, solves, cpu = (np.array([row[key] for row in rows]) for key in ("excess", "solves", "cpu"))
    ends = ", ".join(sorted({row["end"] for row in rows}))
    middle = [f"{np.median(excess):.2%}", f"{excess.max():.2%}", f"{np.median(solves):.0f}", f"{np.median(cpu):.1f}"]
    cells = [name, *middle, str(control["solves"]), f"{control['cpu']:.1f}", ends]
    return f"| {' | '.join(cells)} |"


def main():
    """Print the table and write all rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--flow", choices=("newton", "descent"), default="newton")
    parser.add_argument("--problems", default=";".join(PROBLEMS), help="names, separated by semicolons")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    head = ("problem", "median", "worst", "solves", "CPU s", "nodal solves", "nodal CPU s", "ends")
    print("|", " | ".join(head), "|\n|" + "---|" * len(head))
    found = {}
    for name in options.problems.split(";"):
        control = nodal(name)
        rows = networks(name, options.flow, options.seeds, control["minimum"])
        found[name] = {"nodal": control, "networks": rows}
        print(line(name, control, rows), flush=True)
        if options.out:
            options.out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
