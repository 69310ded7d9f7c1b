"""Unknowns of evolutions: nodal values against networks that grow, on two cases.

Both take the same Newton flow on one mesh. An evolution is one right-hand side through all steps, forwards or
backwards; CPU seconds are those of the search, on one thread.

    OMP_NUM_THREADS=1 python benchmarks/evolutions.py [--data ad_diff.npz]

with hIPPYlib's file of its application ad_diff (189 evolutions, 3.4 to 4.1 s on the machine of the table).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fem_ngf import Identification, RunOptions
from fem_ngf.run.identification import Clock
from fem_ngf.run.loading import load_function
from fem_ngf.run.results import relative_error

CASES = Path(__file__).resolve().parents[1] / "cases"
UNKNOWNS = {"nodal values": {"ansatz": "finite-element", "tolerance": 1e-6},
            "network that grows": {"grow": True, "max_parameters": 500}}


def row(name: str, unknown: str, options: dict, arguments: dict) -> str:
    """A line of the table."""
    case = load_function(CASES / f"{name}.py")(**arguments)
    identification, clock = Identification.of(case, RunOptions.merged(case.defaults, options)), Clock()
    *_, stage = identification.stages(clock=clock)
    pde, iterate = case.levels[-1].energy.pde, stage.iterate
    cells = [f"`{name}.py`", unknown, iterate.parameters, f"{iterate.value:.2f}", f"{iterate.terms['misfit']:.2f}",
             f"{relative_error(identification, stage):.3f}", pde.evolutions.total // pde.experiments,
             f"{clock.cpu:.1f}"]
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    data = parser.parse_args().data
    print("| case | unknown | parameters | energy | misfit | relative error | evolutions an experiment | CPU s |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, arguments in (("advection_diffusion", {"data": data}), ("wave_speed", {})):
        for unknown, options in UNKNOWNS.items():
            print(row(name, unknown, options, arguments), flush=True)


if __name__ == "__main__":
    main()
