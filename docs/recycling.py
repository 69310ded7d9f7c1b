"""What recycled curvature is worth: PDE solves with and without it, on one mesh, as a table in Markdown.

    OMP_NUM_THREADS=1 python docs/recycling.py [--data FILE] > docs/tables/recycling.md

Runs cases/diffusion.py at 64 cells without continuation, for nodal values and for networks of five seeds, once with
the curvature pairs of earlier steps in the preconditioner (the default) and once without.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from fem_ngf import Continuation, Identification, RunOptions
from fem_ngf.run.loading import load_function

CASE = Path(__file__).resolve().parents[1] / "cases" / "diffusion.py"
KEPT = (40, 0)  # curvature pairs: the default, none


def energies(case, recycle: int, **options) -> list[tuple[int, float]]:
    """PDE solves and energy of every iterate."""
    identification = Identification.of(case, RunOptions(levels=1, **options))
    flows = tuple(replace(flow, recycle=recycle) for flow in identification.continuation.flows)
    stages = replace(identification, continuation=Continuation(flows)).stages()
    return [(stage.total_solves, stage.iterate.value) for stage in stages]


def row(name: str, found: dict, target: float) -> str:
    """Solves at which the energy first is at most the target, with and without recycling."""
    crossings = [next((solves for solves, value in found[kept] if value <= target), "-") for kept in KEPT]
    return f"| {name} | {crossings[0]} | {crossings[1]} |"


def main() -> None:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    case = load_function(CASE)(data=parser.parse_args().data)
    nodal = {kept: energies(case, kept, ansatz="finite-element") for kept in KEPT}
    best = min(value for found in nodal.values() for _, value in found)
    print("| unknown, and how near the lowest energy | solves | without recycling |\n| --- | ---: | ---: |")
    print(row("nodal values, to 0.003 %", nodal, 1.00003 * best))
    for seed in range(5):
        found = {kept: energies(case, kept, seed=seed) for kept in KEPT}
        print(row(f"network of seed {seed}, to 0.1 %", found, 1.001 * best))
    print(f"\nLowest energy: {best:.9e}.")


if __name__ == "__main__":
    main()
