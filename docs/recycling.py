"""What recycled curvature is worth: PDE solves with and without it, on one mesh.

    OMP_NUM_THREADS=1 python docs/recycling.py [--data FILE]

Runs cases/diffusion.py at 64 cells without continuation, the nodal unknown and networks of five seeds, once with the
curvature pairs of earlier steps as preconditioner (the default) and once without, and prints the solves at which the
energy comes within 0.01 % (nodal) or 0.1 % (networks) of the lowest nodal energy.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from fem_ngf.flows import Continuation
from fem_ngf.run import Identification, RunOptions
from fem_ngf.run.loading import load_function

CASE = Path(__file__).resolve().parents[1] / "cases" / "diffusion.py"


def energies(case, recycle: int, **options) -> list[tuple[int, float]]:
    """PDE solves and energy of every iterate."""
    identification = Identification.of(case, RunOptions(levels=1, **options))
    flows = tuple(replace(flow, recycle=recycle) for flow in identification.continuation.flows)
    stages = replace(identification, continuation=Continuation(flows)).stages()
    return [(stage.total_solves, stage.iterate.value) for stage in stages]


def crossing(found: list[tuple[int, float]], target: float) -> str:
    """Solves at which the energy first is at most the target."""
    return str(next((solves for solves, value in found if value <= target), "-"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    case = load_function(CASE)(data=parser.parse_args().data)
    nodal = {recycle: energies(case, recycle, ansatz="finite-element") for recycle in (40, 0)}
    best = min(value for found in nodal.values() for _, value in found)
    print(f"lowest nodal energy {best:.9e}")
    print(f"nodal, to 0.01 %: {crossing(nodal[40], 1.0001 * best)} solves, without recycling "
          f"{crossing(nodal[0], 1.0001 * best)}")
    for seed in range(5):
        found = {recycle: energies(case, recycle, seed=seed) for recycle in (40, 0)}
        print(f"network, seed {seed}, to 0.1 %: {crossing(found[40], 1.001 * best)} solves, without recycling "
              f"{crossing(found[0], 1.001 * best)}")


if __name__ == "__main__":
    main()
