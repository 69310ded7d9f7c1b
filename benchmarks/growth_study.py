"""What growth is worth on cases/diffusion.py: selected neurons, the random control, and networks of fixed size.

All runs are on one mesh of 64 cells with published data, whose minimum is known. Counted are PDE solves and parameters
until the energy has reached a bound. "Random" inserts, at every event, as many neurons as the selection would, drawn
from the same dictionary.

    OMP_NUM_THREADS=1 python benchmarks/growth_study.py --data diffusion_n64.npz
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from fem_ngf import MLP, Identification, RunOptions
from fem_ngf.run.loading import load_function

ROOT = Path(__file__).resolve().parents[1]
MINIMUM = 1.804212555e-7  # hIPPYlib's, of these data
BOUNDS = {"1.8060e-7": 1.8060e-7, "0.01 % above the minimum": 1.0001 * MINIMUM}
BUDGETS = (200, 400)


def rows(budget: int) -> dict:
    """Network and options of every row with a parameter budget; the fixed one is the largest of two equal layers."""
    grow = {"grow": True, "max_parameters": budget}
    width = next(n for n in range(100, 0, -1) if MLP((2, n, n, 1)).size <= budget)
    return {"grown, selected": ((12, 12), grow),
            "grown at random": ((12, 12), {**grow, "growth": "random"}),
            f"fixed, 2-{width}-{width}-1": ((width, width), {})}


def history(case, widths, seed: int, options: dict) -> np.ndarray:
    """PDE solves, parameters and energy of every iterate (k, 3)."""
    unknown = replace(case.ansatz, widths=(2, *widths, 1))
    identification = Identification.of(replace(case, ansatz=unknown), RunOptions(levels=1, seed=seed, **options))
    return np.array([(stage.total_solves, stage.iterate.parameters, stage.iterate.value)
                     for stage in identification.stages()])


def crossing(found: list[np.ndarray], bound: float, column: int) -> str:
    """Median and range of a column where the energy first is at most the bound, over the runs that get there."""
    reached = [run[np.argmax(run[:, 2] <= bound), column] for run in found if run[-1, 2] <= bound]
    if not reached:
        return "-"
    missing = f", {len(reached)} of {len(found)}" if len(reached) < len(found) else ""
    return f"{np.median(reached):.0f} ({min(reached):.0f} .. {max(reached):.0f}{missing})"


def line(name: str, budget: int, found: list[np.ndarray]) -> str:
    """A row of the table."""
    cells = [crossing(found, bound, column) for bound in BOUNDS.values() for column in (0, 1)]
    above = 100.0 * (np.array([run[-1, 2] for run in found]) / MINIMUM - 1.0)
    ends = [f"{np.median(above):.4f} % ({above.min():.4f} .. {above.max():.4f})",
            f"{np.median([run[-1, 0] for run in found]):.0f}"]
    return f"| {' | '.join([name, str(budget), *cells, *ends])} |"


def main() -> None:
    """Run the study and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "tables" / "growth.md")
    options = parser.parse_args()
    case = load_function(ROOT / "cases" / "diffusion.py")(data=options.data)
    heads = [f"{what} to {bound}" for bound in BOUNDS for what in ("solves", "parameters")]
    lines = ["# Growth on the diffusion problem", "",
             "64 x 64 x 2 triangles, one mesh, published data with a known minimum of 1.804212555e-7; median (smallest "
             f".. largest) of {options.seeds} seeds, and how many of them get there where not all do. Grown networks "
             "start with 4 + 4 neurons (37 parameters); the random control inserts as many neurons from the same "
             "dictionary, unselected. Written by `python benchmarks/growth_study.py --data diffusion_n64.npz`.", "",
             f"| unknown | parameters, at most | {' | '.join(heads)} | end, above the minimum | solves at the end |",
             "|---|---|---|---|---|---|---|---|"]
    for budget in BUDGETS:
        for name, (widths, chosen) in rows(budget).items():
            lines.append(line(name, budget, [history(case, widths, seed, chosen) for seed in range(options.seeds)]))
            print(lines[-1], flush=True)
    options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
