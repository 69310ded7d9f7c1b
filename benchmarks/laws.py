"""What the cases of laws find: errors where the data are and beyond, failed solves, meshes, materials.

    OMP_NUM_THREADS=1 python benchmarks/laws.py scalar|flux            # five noises, networks and nodal values
    OMP_NUM_THREADS=1 python benchmarks/laws.py materials              # rubbers from data that are made here
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

from rubber.judge import PATHS, TRUTHS  # noqa: E402
from rubber.material import Rubber  # noqa: E402
from rubber.plate import finer  # noqa: E402

STRETCH = {"isihara": 0.6, "neohookean": 0.3, "haineswilson": 0.5, "gentthomas": 0.3, "arrudaboyce": 0.5, "ogden": 0.3,
           "anisotropy45": 0.4, "anisotropy60": 0.4, "holzapfel": 0.4}
"""Displacement of the upper side, below that at which the plate becomes unstable."""


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


def ended(case, seed: int, nodal: bool = False) -> dict:
    """What a run of the case concludes, with its work (solves on the finest mesh) and the share of solves that fail."""
    levels = tuple(replace(level, energy=replace(level.energy, pde=Failures(level.energy.pde)))
                   for level in case.levels)
    options = {"seed": seed} | ({"ansatz": "finite-element"} if nodal else {})
    run = ngf.Identification.of(replace(case, levels=levels), ngf.RunOptions.merged(case.defaults, options))
    *_, stage = run.stages()
    counted = [level.energy.pde for level in levels]
    return dict(case.outcome(stage.iterate.linearization, None)) | {
        "work": stage.work,
        "share_failed": sum(each.failed for each in counted) / sum(each.solves for each in counted)}


def spread(values) -> str:
    """Least to largest, per cent."""
    return f"{100 * min(values):.1f}-{100 * max(values):.1f}"


def scalar() -> None:
    """Laws of one argument, five noises."""
    print("| case | unknown | error where the data are, % | on the next fifth, % | work, solves on the finest mesh |\n"
          "| --- | --- | ---: | ---: | ---: |")
    for name in ("nonlinear_conductivity", "reaction_kinetics"):
        make = load_function(CASES / f"{name}.py")
        for nodal in (False, True):
            found = [ended(make(noise_seed=seed), seed, nodal) for seed in range(1, 6)]
            work = [each["work"] for each in found]
            print(f"| `{name}.py` | {'nodal values' if nodal else 'network'} | "
                  f"{spread([each['law_error'] for each in found])} | "
                  f"{spread([each['law_error_beyond'] for each in found])} | {min(work):.0f}-{max(work):.0f} |",
                  flush=True)


def flux() -> None:
    """Fluxes with three structures: errors, and solves of the equation that fail."""
    print("| p | structure | where the gradients are, % | uniform on the disc, % | failed solves, % |\n"
          "| --- | --- | ---: | ---: | ---: |")
    make = load_function(CASES / "flux_law.py")
    for p in (3.0, 1.5):
        for structure in ("monotone", "gradient", "none"):
            found = [ended(make(p=p, structure=structure, noise_seed=seed), seed) for seed in range(1, 6)]
            columns = (spread([each[key] for each in found]) for key in ("flux_error", "flux_error_disc",
                                                                         "share_failed"))
            print(f"| {p} | {structure} | {' | '.join(columns)} |", flush=True)


def mesh(folder: Path) -> None:
    """The error of the data's mesh: displacements of the true material on refined meshes against those of the file."""
    print("| data | refined | hole | rms of displacements - exact | - measured | reactions |\n"
          "| --- | ---: | --- | ---: | ---: | ---: |")
    for name in ("Isihara_high", "NeoHookean_high"):
        test = ngf.LoadSteps.read(folder / f"{name}.npz")
        exact = ngf.read_arrays(folder / f"{name}.npz", ("displacement_exact",))["displacement_exact"]
        test, exact = test.select([-1]), exact[-1].ravel()
        material, truth = Rubber(), TRUTHS[name.split("_")[0].lower()]
        m = material.interpolated([truth.slope(i) for i in range(3)])
        for times, snapped in ((0, False), (1, False), (1, True), (2, True)):
            on = finer(test.mesh, times, snapped)
            equation = test.equation(material.residual, material.laws, on, test.prolongation(on) @ test.states)
            u = equation.solve(m).u[:, 0]
            rms = [np.sqrt(np.mean((u[:len(exact)] - each) ** 2)) for each in (exact, test.states[:, 0])]
            force = np.abs(u[-4:] / test.reactions[0] - 1.0).max()
            print(f"| {name} | {times} | {'circle' if snapped else 'polygon'} | {rms[0]:.1e} | {rms[1]:.1e} | "
                  f"{100 * force:.2f} % |", flush=True)


def identified(settings: dict, seeds) -> None:
    """Rows of whole runs of the rubber."""
    make = load_function(CASES / "hyperelastic.py")
    for seed in seeds:
        begin = time.process_time()
        name = settings["data"].stem if "data" in settings else settings["truth"]
        try:
            found = ended(make(**settings), seed)
        except ngf.SolveError as error:
            print(f"| {name} | {seed} | {error} |", flush=True)
            continue
        errors, families = found["law_errors"], found.get("fibre_families", 0)
        percent = [100 * errors["P"][key] for key in (*PATHS, "mean")]
        percent += [100 * errors.get("P_visited", {"mean": np.nan})["mean"], 100 * errors["W"]["mean"]]
        structure = "coupled" if "sum" in found["law_visited"] else f"fibres: {families}"
        angle, rms = found.get("fibre_angle", np.nan), found["displacement_misfit"]
        print(f"| {name} | {seed} | {' | '.join(f'{each:.2f}' for each in percent)} | {structure} | {angle:.2f} | "
              f"{rms:.1e} | {time.process_time() - begin:.0f} |", flush=True)


def heading() -> None:
    """Of the rows of `identified`."""
    names = ("material", "seed", *PATHS, "mean of P", "P, visited", "mean of W", "found", "angle",
             "rms of displacements", "CPU s")
    print(f"| {' | '.join(names)} |\n| --- |{' ---: |' * (len(names) - 1)}")


def rubber(folder: Path) -> None:
    """Published data, three seeds; errors in per cent."""
    heading()
    for data in sorted(folder.glob("*_high.npz")):
        identified({"data": data}, range(3))


def materials() -> None:
    """Data made on a finer mesh, the same settings for all materials; errors in per cent."""
    heading()
    for truth, stretch in STRETCH.items():
        identified({"truth": truth, "cells": 14, "stretch": stretch, "steps": round(stretch / 0.05)}, (0,))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("scalar", "flux", "materials", "mesh", "rubber"))
    parser.add_argument("--data", type=Path)
    arguments = parser.parse_args()
    if arguments.part in ("mesh", "rubber"):
        {"mesh": mesh, "rubber": rubber}[arguments.part](arguments.data)
    else:
        {"scalar": scalar, "flux": flux, "materials": materials}[arguments.part]()


if __name__ == "__main__":
    main()
