"""The conductivity case over noise seeds: error, PDE solves and CPU seconds, and what the network and the meshes add.

For each seed and method: relative L2 error of kappa and energy at the end; PDE solves (all meshes), work (solves
weighted by state unknowns) and CPU seconds until the energy on the finest mesh is within 1 % of that method's final
energy and stays there; the totals. Methods: the case as it is, without mesh continuation, and nodal values (classical
Newton-CG) with and without it.

The authors' code (FEniCS, L-BFGS on the network's weights) took 138 evaluations of energy and gradient, 276 PDE
solves, and 532 CPU seconds for an error of 4.4 % on these settings.

Run: ``OMP_NUM_THREADS=1 python benchmarks/conductivity_seeds.py [number of seeds]``
"""

import sys
from pathlib import Path

import numpy as np
import torch

from fem_ngf import Identification, RunOptions
from fem_ngf.run.identification import Clock
from fem_ngf.run.loading import load_function
from fem_ngf.run.results import relative_error

CASE = Path(__file__).resolve().parents[1] / "cases" / "conductivity.py"
METHODS = {
    "network": {},
    "network, one mesh": {"levels": 1},
    "nodal": {"ansatz": "finite-element"},
    "nodal, one mesh": {"ansatz": "finite-element", "levels": 1},
}


def measure(case, options: dict) -> dict[str, float]:
    """Numbers of one run."""
    identification, clock = Identification.of(case, RunOptions.merged(case.defaults, options)), Clock()
    rows = [(stage.level, stage.iterate.value, stage.total_solves, stage.work, clock.cpu, stage)
            for stage in identification.stages(clock=clock)]
    *_, solves, work, seconds, last = rows[-1]
    finest = len(identification.levels) - 1
    near = len(rows)
    while near > 0 and rows[near - 1][0] == finest and rows[near - 1][1] <= 1.01 * rows[-1][1]:
        near -= 1
    return {"error": relative_error(identification, last), "energy": last.iterate.value, "solves_1": rows[near][2],
            "work_1": rows[near][3], "cpu_1": rows[near][4], "solves": solves, "work": work, "cpu": seconds}


def main(seeds: int = 5) -> None:
    torch.set_num_threads(1)
    print(f"{'method':20s} {'seed':>6s} {'error':>7s} {'energy':>12s} | {'to 1 %: solves':>14s} {'work':>6s} "
          f"{'CPU s':>6s} | {'all: solves':>11s} {'work':>6s} {'CPU s':>6s}")
    found = {name: [] for name in METHODS}
    for seed in range(seeds):
        case = load_function(CASE)(noise_seed=seed)
        for name, options in METHODS.items():
            found[name].append(measure(case, options))
            print(line(name, str(seed), found[name][-1]), flush=True)
    for name, rows in found.items():
        print(line(name, "median", {key: float(np.median([row[key] for row in rows])) for key in rows[0]}))


def line(name: str, seed: str, row: dict[str, float]) -> str:
    """One row of the table."""
    return (f"{name:20s} {seed:>6s} {row['error']:7.4f} {row['energy']:12.5e} | {row['solves_1']:14.0f} "
            f"{row['work_1']:6.1f} {row['cpu_1']:6.2f} | {row['solves']:11.0f} {row['work']:6.1f} {row['cpu']:6.2f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
