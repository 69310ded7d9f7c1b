"""What selection is worth in growth: neurons chosen by their gain against neurons at random, on 20 starts.

Networks of four neurons a layer grow inside the Newton flow, by four neurons an event up to a budget. At random as many
neurons are inserted at every event as would have been selected, from the same dictionary. Both end where the flow says.

    OMP_NUM_THREADS=1 python benchmarks/growth_study.py [--seeds 20] [--problems "heat, 20 cells"]
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from following import nodal
from following_problems import heat, of_case, sensors

from fem_ngf import Expansion, NewtonFlow
from fem_ngf.growth.grow import seedling

TABLE = Path(__file__).resolve().parents[1] / "docs" / "tables" / "growth.md"
BUDGET, WITHIN = 300, 0.01
FLOW = {"neurons": 4, "max_parameters": BUDGET}
PROBLEMS = {
    "diffusion, 32 cells": lambda: of_case("diffusion", cells=32),
    "heat, 20 cells": lambda: heat(20),
    "sensors with 0.1 % noise, 16 cells": lambda: sensors(16),
}
KINDS = {"selected": {"selection": "greedy"}, "at random": {"selection": "random"}}


def run(name: str, kind: str, seed: int) -> np.ndarray:
    """Energy, solves and parameters of every iterate (k, 3)."""
    problem = PROBLEMS[name]()
    network = seedling(problem.network, 4)
    flow = NewtonFlow(problem.energy, network, problem.space, iterations=150,
                      expansion=replace(Expansion(**FLOW, seed=seed), **KINDS[kind]))
    start = network.initial(np.random.default_rng(seed))
    return np.array([(each.value, each.total_solves, each.parameters) for each in flow.run(start)])


def quartiles(numbers, form: str) -> str:
    """Median and quartiles."""
    low, middle, high = np.percentile(numbers, [25, 50, 75])
    return f"{middle:{form}} ({low:{form}} .. {high:{form}})"


def reached(runs: list[np.ndarray], bound: float, column: int) -> str:
    """Quartiles of a column where the energy first is below the bound, and in how many runs it comes to be."""
    found = [run[np.argmax(run[:, 0] <= bound), column] for run in runs if run[-1, 0] <= bound]
    missing = "" if len(found) == len(runs) else f", {len(found)} of {len(runs)}"
    return quartiles(found, ".0f") + missing if found else "-"


def line(name: str, kind: str, runs: list[np.ndarray], minimum: float) -> str:
    """A row of the table."""
    bound = (1.0 + WITHIN) * minimum
    ends = np.array([run[-1] for run in runs])
    return (f"| {name} | {kind} | {quartiles(ends[:, 0] / minimum - 1.0, '.2%')} | {quartiles(ends[:, 2], '.0f')} | "
            f"{quartiles(ends[:, 1], '.0f')} | {reached(runs, bound, 2)} | {reached(runs, bound, 1)} |")


def main() -> None:
    """Run the study and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--problems", default=";".join(PROBLEMS), help="names, separated by semicolons")
    parser.add_argument("--out", type=Path, default=TABLE)
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = ["# Selected neurons against random ones", "",
             f"Median (quartiles) of {options.seeds} starts of a network with four neurons a layer that grows by four "
             f"an event, to {BUDGET} parameters at most: chosen by their gain, or as many of the same dictionary at "
             "random. Energy above the nodal minimum, parameters and solves at the end; both where the energy is "
             f"first {WITHIN:.0%} above the minimum. Written by `python benchmarks/growth_study.py`.", "",
             "| problem | neurons | end, above | parameters | solves | parameters to 1 % | solves to 1 % |",
             "|---|---|---:|---:|---:|---:|---:|"]
    for name in options.problems.split(";"):
        minimum = nodal(PROBLEMS[name])[0]
        found = {kind: [run(name, kind, seed) for seed in range(options.seeds)] for kind in KINDS}
        for kind, runs in found.items():
            lines.append(line(name, kind, runs, minimum))
            print(lines[-1], flush=True)
        pairs = zip(*found.values(), strict=True)
        print(f"{name}: selected ends lower in {sum(a[-1, 0] < b[-1, 0] for a, b in pairs)} of {options.seeds}")
        options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
