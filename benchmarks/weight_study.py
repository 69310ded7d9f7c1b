"""Rules for the weight of the regularisation, against the best weight on a grid.

The problem is cases/diffusion.py with 1 %, 5 % and 10 % noise, several noise seeds, nodal and neural unknowns. The
discrepancy principle is told the standard deviation of the noise; the L-curve and generalised cross-validation are not.

Run:  python benchmarks/weight_study.py [--cells 32] [--seeds 3] [--out docs/tables/weight_study.md]
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fem_ngf import Identification, RunOptions, discrepancy, expected_misfit, flow_solver, gcv, lcurve
from fem_ngf.run.loading import load_function

ROOT = Path(__file__).resolve().parents[1]
GRID = np.geomspace(1e-12, 1e-6, 13)
START, ACCEPTED = 1e-7, 1.10
RULES = ("discrepancy", "lcurve", "gcv")
TITLES = {"discrepancy": "discrepancy", "lcurve": "L-curve", "gcv": "cross-validation"}


@dataclass(frozen=True)
class Row:
    """One problem: its best weight on the grid, and what each rule made of it."""

    unknown: str
    noise: float
    seed: int
    weight: float
    error: float
    choices: dict

    def ratio(self, rule: str) -> float:
        """Relative error of the rule's result, in units of the best on the grid."""
        return self.choices[rule]["error"] / self.error


def study(unknown: str, noise: float, seed: int, cells: int) -> Row:
    """All rules and the grid on one problem."""
    case = load_function(ROOT / "cases" / "diffusion.py")(cells=cells, noise=noise, noise_seed=seed)
    identification = Identification.of(case, RunOptions(ansatz=unknown, stagnation=1e-3))
    flows, truth = identification.continuation.flows, case.levels[-1].truth
    energy, space = flows[-1].energy, flows[-1].space
    std = np.zeros(energy.data.shape[0])
    std[energy.pde.free] = noise * np.abs(energy.pde.solve(truth).u).max()
    solve = flow_solver(flows, identification.ansatz.initial(np.random.default_rng(0)))

    def error(run):
        return space_norm(space, run.start.iterate.m - truth) / space_norm(space, truth)

    grid, start = [], None
    for weight in GRID[::-1]:
        run = solve(weight, start)
        start = run.start
        grid.append((error(run), weight))
    best, at = min(grid)
    rules = {"discrepancy": lambda: discrepancy(solve, START, expected_misfit(energy.noise, std)),
             "lcurve": lambda: lcurve(solve, GRID),
             "gcv": lambda: gcv(solve, START, space=space if unknown == "neural" else None, variance=(std > 0) * 1.0)}
    choices = {}
    for rule, choose in rules.items():
        before = time.process_time()
        choice = choose()
        choices[rule] = {"weight": choice.weight, "error": error(choice.run), "runs": len(choice.runs),
                         "solves": choice.solves, "found": choice.found, "seconds": time.process_time() - before}
    return Row(unknown, noise, seed, at, best, choices)


def space_norm(space, vector) -> float:
    """L2 norm."""
    return float(np.sqrt(vector @ (space.mass @ vector)))


def table(rows: list[Row]) -> str:
    """The rows in Markdown; bold: within 10 % of the best; *: the rule said itself that it did not find its weight."""
    head = ["unknown", "noise", "seed", "best weight", "error", *(f"{TITLES[rule]}: weight" if part == 0 else
            ("error / best" if part == 1 else "solves") for rule in RULES for part in range(3))]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        cells = [row.unknown, f"{row.noise:.0%}", str(row.seed), f"{row.weight:.1e}", f"{row.error:.4f}"]
        for rule in RULES:
            found, ratio = row.choices[rule], f"{row.ratio(rule):.3f}"
            cells += [f"{found['weight']:.1e}" + ("" if found["found"] else "*"),
                      f"**{ratio}**" if row.ratio(rule) <= ACCEPTED else ratio, str(found["solves"])]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def verdict(rows: list[Row]) -> str:
    """How often each rule came within 10 %, where it did not, and at what price."""
    lines = []
    for rule in RULES:
        failed = [f"{row.unknown} {row.noise:.0%} seed {row.seed} ({row.ratio(rule):.2f})" for row in rows
                  if row.ratio(rule) > ACCEPTED]
        price = np.median([row.choices[rule]["solves"] for row in rows])
        runs = np.median([row.choices[rule]["runs"] for row in rows])
        seconds = np.median([row.choices[rule]["seconds"] for row in rows])
        lines.append(f"- {TITLES[rule]}: {len(rows) - len(failed)} of {len(rows)} within 10 %; median {runs:.0f} runs, "
                     f"{price:.0f} solves, {seconds:.1f} CPU seconds. Missed: {', '.join(failed) or 'none'}.")
    covered = sum(any(row.ratio(rule) <= ACCEPTED for rule in RULES) for row in rows)
    return "\n".join([f"- At least one rule within 10 %: {covered} of {len(rows)}.", *lines])


def explanation(cells: int) -> str:
    """What the table shows."""
    return (f"cases/diffusion.py on {cells} x {cells} cells, whole-field data; relative L2 error of m against the "
            f"truth. The grid has {len(GRID)} weights from {GRID[0]:.0e} to {GRID[-1]:.0e}; every rule starts from "
            f"{START:.0e}. Bold: within 10 % of the best on the grid. A star: the rule reports itself that it settled "
            "for less than it asks for. Solves are all PDE solves of all runs of the rule, those of the models of "
            "cross-validation included; with a network those are one tangent solve a parameter and run.")


def main() -> None:
    """Run the study and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=32)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "tables" / "weight_study.md")
    options = parser.parse_args()
    rows = []
    for unknown in ("finite-element", "neural"):
        for noise in (0.01, 0.05, 0.1):
            for seed in range(1, options.seeds + 1):
                rows.append(study(unknown, noise, seed, options.cells))
                print(table(rows[-1:]).splitlines()[-1], flush=True)
    made = f"Made by benchmarks/weight_study.py --cells {options.cells} --seeds {options.seeds}."
    title = "# Choosing the weight of the regularisation"
    text = "\n\n".join([title, explanation(options.cells), verdict(rows), table(rows), made])
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text + "\n")
    print(verdict(rows))


if __name__ == "__main__":
    main()
