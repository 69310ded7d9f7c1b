"""What the cases of laws find: errors where the data are and beyond, failed solves, meshes, materials.

    OMP_NUM_THREADS=1 python benchmarks/laws.py scalar|flux            # five noises, networks and nodal values
    OMP_NUM_THREADS=1 python benchmarks/laws.py mesh|rubber --data ../shared/data/nn_euclid

Each part writes a table of docs/tables/laws.md to the standard output. CPU seconds are those of one thread.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

import fem_ngf as ngf
from fem_ngf.run.loading import load_function

CASES = Path(__file__).resolve().parents[1] / "cases"
sys.path.insert(0, str(CASES))
MATERIALS = {"Isihara_high": ("isihara", {}), "NeoHookean_high": ("neohookean", {}),
             "Holzapfel_high": ("holzapfel", {})}


class Failures:
    """An equation that counts the solves that fail."""

    def __init__(self, equation):
        self._equation, self.solves, self.failed = equation, 0, 0

    def __getattr__(self, name):
        return getattr(self._equation, name)

    def solve(self, m, start=None):
        """See `StationaryProblem.solve`."""
        self.solves += 1
        try:
            return self._equation.solve(m, start=start)
        except ngf.SolveError:
            self.failed += 1
            raise


def ended(case, seed: int, nodal: bool = False, observed: bool = False):
    """The case's conclusions at the end of its default flow on its finest mesh, with solves, failures, seconds."""
    level, options = case.levels[-1], case.defaults
    space = level.space(options.get("metric", "h1"), case.length, options.get("sampling", "quadrature"))
    energy = replace(level.energy, pde=Failures(level.energy.pde)) if observed else level.energy
    ansatz = ngf.FiniteElement(space, case.start) if nodal else case.ansatz
    flow = ngf.NewtonFlow(energy, ansatz, space, iterations=options.get("iterations", 150),
                          expansion=None if nodal else ngf.Expansion())
    *_, last = flow.run(ansatz.initial(np.random.default_rng(seed)))
    found = {"solves": last.total_solves} | dict(case.outcome(last.linearization, None))
    return found | ({"share_failed": energy.pde.failed / energy.pde.solves} if observed else {})


def spread(values) -> str:
    """Least to largest, per cent."""
    return f"{100 * min(values):.1f}-{100 * max(values):.1f}"


def scalar() -> None:
    """Laws of one argument, five noises."""
    print("| case | unknown | error where the data are, % | on the next fifth, % | solves |\n"
          "| --- | --- | ---: | ---: | ---: |")
    for name in ("nonlinear_conductivity", "reaction_kinetics"):
        make = load_function(CASES / f"{name}.py")
        for nodal in (False, True):
            found = [ended(make(noise_seed=seed), seed, nodal) for seed in range(1, 6)]
            solves = [each["solves"] for each in found]
            print(f"| `{name}.py` | {'nodal values' if nodal else 'network'} | "
                  f"{spread([each['law_error'] for each in found])} | "
                  f"{spread([each['law_error_beyond'] for each in found])} | {min(solves)}-{max(solves)} |", flush=True)


def flux() -> None:
    """Fluxes with three structures: errors, and solves of the equation that fail."""
    print("| p | structure | error, by where the gradients are, % | uniform on the disc, % | failed solves, % |\n"
          "| --- | --- | ---: | ---: | ---: |")
    make = load_function(CASES / "flux_law.py")
    for p in (1.5, 3.0):
        for structure in ("monotone", "gradient", "none"):
            found = [ended(make(p=p, structure=structure, noise_seed=seed), seed, observed=True) for seed in (1, 2, 3)]
            columns = (spread([each[key] for each in found]) for key in ("flux_error", "flux_error_disc",
                                                                         "share_failed"))
            print(f"| {p} | {structure} | {' | '.join(columns)} |", flush=True)


def mesh(folder: Path) -> None:
    """The error of the data's mesh: displacements of the true material on refined meshes against those of the file."""
    from rubber.judge import TRUTHS
    from rubber.material import Rubber
    from rubber.plate import finer

    print("| data | refined | hole | rms of displacements - exact | - measured | reactions |\n"
          "| --- | ---: | --- | ---: | ---: | ---: |")
    for name in ("Isihara_high", "NeoHookean_high"):
        test = ngf.LoadSteps.read(folder / f"{name}.npz")
        exact = ngf.read_arrays(folder / f"{name}.npz", ("displacement_exact",))["displacement_exact"]
        test, exact = test.select([-1]), exact[-1].ravel()
        material, (truth, _) = Rubber(), MATERIALS[name]
        for times, snapped in ((0, False), (1, False), (1, True), (2, True)):
            on = finer(test.mesh, times, snapped)
            equation = test.equation(material.residual, material.laws, on, test.prolongation(on) @ test.states)
            u = equation.solve(material.interpolated(*TRUTHS[truth])).u[:, 0]
            rms = [np.sqrt(np.mean((u[:len(exact)] - each) ** 2)) for each in (exact, test.states[:, 0])]
            force = np.abs(u[-4:] / test.reactions[0] - 1.0).max()
            print(f"| {name} | {times} | {'circle' if snapped else 'polygon'} | {rms[0]:.1e} | {rms[1]:.1e} | "
                  f"{100 * force:.2f} % |", flush=True)


def rubber(folder: Path) -> None:
    """Whole runs, three seeds."""
    print("| data | seed | error of P, mean, % | worst, % | of W, % | angle | CPU s |\n"
          "| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    make = load_function(CASES / "hyperelastic.py")
    for name, (truth, more) in MATERIALS.items():
        for seed in range(3):
            begin = time.process_time()
            found = ended(make(data=folder / f"{name}.npz", truth=truth, **more), seed)
            P, W = (found["law_errors"][kind] for kind in "PW")
            print(f"| {name} | {seed} | {100 * P['mean']:.2f} | {100 * P['worst']:.2f} | {100 * W['mean']:.2f} | "
                  f"{found.get('fibre_angle', float('nan')):.2f} | {time.process_time() - begin:.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("scalar", "flux", "mesh", "rubber"))
    parser.add_argument("--data", type=Path)
    arguments = parser.parse_args()
    if arguments.part in ("mesh", "rubber"):
        {"mesh": mesh, "rubber": rubber}[arguments.part](arguments.data)
    else:
        {"scalar": scalar, "flux": flux}[arguments.part]()


if __name__ == "__main__":
    main()
