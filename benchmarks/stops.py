"""How runs end: the word, what could still be gained, and how far above the nodal minimum, of every case.

    OMP_NUM_THREADS=1 python benchmarks/stops.py [--seeds 5] [--cases diffusion,reaction]

Every case runs as the command line runs it, at a moderate size. The nodal minimum comes from the same energy and the
same start, by the Newton flow with a tolerance of 1e-6. Where it is zero (a regression) distances are relative to the
start.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from fem_ngf import Identification, InputError, RunOptions
from fem_ngf.run.arguments import parse
from fem_ngf.run.loading import load_function

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "docs" / "tables" / "stops.md"
SIZES = {
    "advection_diffusion": "--iterations 8 --max-parameters 250", "benchmark_8x8": "", "block_3d": "--cells 6",
    "conductivity": "--cells 20", "diffusion": "--cells 32", "eit_tank": "--level 7 --max-parameters 300",
    "fit_1d": "--cells 128", "flux_law": "--cells 6 --law-cells 8",
    "gradient_field": "--cells 16", "heat_source": "--cells 12 --steps 16 --readings 8",
    "hyperelastic": "--cells 8 --steps 2 --refinements 0 --stretch 0.3", "nonlinear_conductivity": "--cells 12",
    "nonlinear_heat": "--cells 8 --steps 15", "parametric_diffusion": "--cells 12 --snapshots 60 --rank 8",
    "perforated_plate": "--refinements 0", "reaction": "--cells 16", "reaction_kinetics": "--cells 12",
    "ritz_2d": "--cells 16", "source": "--cells 16",
    "subsurface": "--cells 32 --no-uncertainty", "wave_speed": "--cells 10 --steps 80 --number 3",
}
LAWS = ("flux_law", "hyperelastic", "nonlinear_conductivity", "nonlinear_heat", "reaction_kinetics")
ZERO = 1e-9


def ended(case, start=None, **options):
    """First and last iterate of a run, and its CPU seconds."""
    clock = time.process_time()
    identification = Identification.of(case, RunOptions.merged(case.defaults, options))
    iterates = []
    for stage in identification.stages(start):
        iterates = [*iterates[:1], stage.iterate]
    return iterates[0], iterates[-1], time.process_time() - clock


def minimum(case, given: dict):
    """Where nodal values end on the finest mesh that begin as the network does.

    The flow is the case's where Newton's is not for it; coarser meshes, and the rules that end a continuation, are not
    used.
    """
    settings = RunOptions.merged(case.defaults, {**given, "levels": 1})
    first = next(Identification.of(case, settings).stages()).iterate
    nodal = {**given, "levels": 1, "ansatz": "finite-element", "iterations": 60}
    try:
        _, last, seconds = ended(case, first.m, **nodal, flow="newton", tolerance=1e-6)
    except InputError:
        _, last, seconds = ended(case, first.m, **nodal, tolerance=1e-9)
    return first, last, seconds


def rows(name: str, seeds: int) -> list[str]:
    """Rows of the table, one an end that occurred: its word, how often, and the worst of its numbers."""
    function = load_function(ROOT / "cases" / f"{name}.py")
    arguments, given = parse(function, SIZES[name].split(), "stops")
    case = function(**arguments)
    runs = [ended(case, **given, seed=seed) for seed in range(seeds)]
    first, nodal, seconds = minimum(case, given)
    print(f"{name}: nodal values {nodal.value:.9g}, {nodal.status} ({nodal.stop_reason}), {seconds:.1f} CPU s")
    scale = abs(nodal.value) if abs(nodal.value) > ZERO * abs(first.value) else abs(first.value)
    found: dict[str, list] = {}
    for _, last, seconds in runs:
        above, gain = (last.value - nodal.value) / scale, last.expected_decrease / scale
        print(f"  {last.value:.9g} {last.status} ({last.stop_reason}), gain {gain:.2e}, above {above:.2e}, "
              f"{last.parameters} parameters, {seconds:.1f} CPU s", flush=True)
        found.setdefault(f"{last.status}: {last.stop_reason}", []).append((gain, above, seconds))
    lines = []
    for end, numbers in found.items():
        gain, above, seconds = np.array(numbers).T
        lines.append(f"| {name}{'†' if name in LAWS else ''} | {end} | {len(numbers)} | {gain.max():.2%} | "
                     f"{np.median(above):.2%} | {above.max():.2%} | {np.median(seconds):.1f} |")
    return lines


def main() -> None:
    """Run the cases and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cases", default=",".join(SIZES))
    parser.add_argument("--out", type=Path, default=TABLE)
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT / "cases"))
    lines = ["# How runs end", "",
             f"Ends of {options.seeds} starts of every case, run as the command line does at a moderate size: how many "
             "ended so, the most that could still be gained, how far above the nodal minimum of the finest mesh "
             "(median and worst), CPU seconds. A dagger: networks of laws, which are monotone or gradients and do not "
             "grow, so that nodal values pass them. Written by `python benchmarks/stops.py`.", "",
             "| case | end | starts | to gain | above | at worst | CPU s |", "|---|---|---:|---:|---:|---:|---:|"]
    for name in options.cases.split(","):
        lines += rows(name, options.seeds)
        options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
