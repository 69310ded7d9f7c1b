"""Unknowns of evolutions: nodal values against networks that grow, on two cases.

Both take the same Newton flow on one mesh. An evolution is one right-hand side through all steps, forwards or
backwards; CPU seconds are those of the search, on one thread.

    OMP_NUM_THREADS=1 python benchmarks/evolutions.py [--data ad_diff.npz] [--cases advection_diffusion] [--nodal]

with hIPPYlib's file of its application ad_diff (189 evolutions, 3.4 to 4.1 s on the machine of the table), where the
Laplace approximation at the nodal minimiser is compared with the file's, too. Its variance takes 21 s there.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from fem_ngf import Identification, RunOptions, laplace, nodal_values, read_arrays
from fem_ngf.run.identification import Clock
from fem_ngf.run.loading import load_function
from fem_ngf.run.results import relative_error

CASES = Path(__file__).resolve().parents[1] / "cases"
UNKNOWNS = {"nodal values": {"ansatz": "finite-element", "tolerance": 1e-6},
            "network that grows": {"grow": True, "max_parameters": 500}}


def row(name: str, unknown: str, options: dict, arguments: dict) -> tuple[str, object]:
    """A line of the table, and where the search ended."""
    case = load_function(CASES / f"{name}.py")(**arguments)
    identification, clock = Identification.of(case, RunOptions.merged(case.defaults, options)), Clock()
    *_, stage = identification.stages(clock=clock)
    pde, iterate = case.levels[-1].energy.pde, stage.iterate
    cells = [f"`{name}.py`", unknown, iterate.parameters, f"{iterate.value:.2f}", f"{iterate.terms['misfit']:.2f}",
             f"{relative_error(identification, stage):.3f}", pde.evolutions.total // pde.experiments,
             f"{clock.cpu:.1f}"]
    return f"| {' | '.join(map(str, cells))} |", iterate.linearization


def spectrum(at, data: Path) -> str:
    """Eigenvalues and pointwise variance of the Laplace approximation at a linearisation, beside those of the file."""
    found, basis = read_arrays(data, ("eigenvalues", "nodes", "posterior_variance")), at.energy.space.basis
    before, start = at.energy.pde.evolutions.total, time.process_time()
    approximation = laplace(at, rank=60, oversampling=20)
    variance, seconds = approximation.pointwise_variance(), time.process_time() - start
    wanted, mass = nodal_values(basis, found["nodes"], found["posterior_variance"]), at.energy.space.mass
    error, values, known = variance - wanted, approximation.spectrum.values, found["eigenvalues"]
    return (f"eigenvalues {', '.join(f'{value:.0f}' for value in values[:5])}; of the first 30 the largest relative "
            f"difference: {np.abs(values[:30] / known[:30] - 1).max():.1e}\nvariance: relative difference in L2 "
            f"{np.sqrt(error @ (mass @ error) / (wanted @ (mass @ wanted))):.1e}, "
            f"{at.energy.pde.evolutions.total - before} evolutions, {seconds:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--cases", nargs="+", default=["advection_diffusion", "wave_speed"])
    parser.add_argument("--nodal", action="store_true", help="leave out the networks")
    given = parser.parse_args()
    print("| case | unknown | parameters | energy | misfit | relative error | evolutions an experiment | CPU s |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    minimiser = None
    for name in given.cases:
        for unknown, options in list(UNKNOWNS.items())[:1 if given.nodal else 2]:
            line, at = row(name, unknown, options, {"data": given.data} if name == "advection_diffusion" else {})
            minimiser = at if name == "advection_diffusion" and unknown == "nodal values" else minimiser
            print(line, flush=True)
    if given.data and minimiser is not None:
        print(spectrum(minimiser, given.data))


if __name__ == "__main__":
    main()
