"""Scores of the measured tank targets at several levels, with and without outliers, nodal and neural.

Run as ``python benchmarks/eit_targets.py FOLDER [--neural] [--outliers]``, FOLDER with data1.mat, data2.mat, ref.mat,
Mesh_dense.mat, true1.mat and true2.mat of the Kuopio Tomography Challenge 2023. One line a run: level, target, noise
model, unknown, score, steps, PDE solves, CPU seconds. The settings are those of cases/eit_tank.py for all.
"""

import argparse
import importlib.util
import time
from pathlib import Path

import numpy as np

from fem_ngf.ansatz import FiniteElement
from fem_ngf.flows import HilbertDescent
from fem_ngf.tomography import read_truth, score, segment


def load_case():
    path = Path(__file__).parents[1] / "cases" / "eit_tank.py"
    spec = importlib.util.spec_from_file_location("eit_tank", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def reconstruct(module, folder: Path, target: int, level: int, robust: bool, outliers: float, neural: bool) -> dict:
    """Score and price of one reconstruction."""
    start = time.process_time()
    files = {"data": folder / f"data{target}.mat", "reference": folder / "ref.mat", "mesh": folder / "Mesh_dense.mat"}
    problem = module.problem(**files, level=level, robust=robust, outliers=outliers)
    space = module.nodal_space(problem.energy)
    ansatz = module.network(problem.radius) if neural else FiniteElement(space, 0.0)
    flow = HilbertDescent(problem.energy, ansatz, space, **module.FLOW)
    *_, iterate = flow.run(ansatz.initial(np.random.default_rng(0)))
    labels = segment(problem.image(iterate.m), module.OUTLINE)
    return {"score": score(read_truth(folder / f"true{target}.mat"), labels), "steps": iterate.step,
            "energy": iterate.value, "solves": problem.energy.counts.total, "cpu": time.process_time() - start}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--neural", action="store_true")
    parser.add_argument("--outliers", action="store_true")
    parser.add_argument("--levels", type=int, nargs="+", default=[1, 4, 7])
    options = parser.parse_args()
    module = load_case()
    runs = [(level, True, 0.0) for level in options.levels]
    if options.outliers:
        runs = [(1, robust, 0.01) for robust in (True, False)] + [(1, False, 0.0)]
    print("level target    noise outliers   score steps solves    energy  cpu s")
    for level, robust, outliers in runs:
        for target in (1, 2):
            result = reconstruct(module, options.folder, target, level, robust, outliers, options.neural)
            noise = "student" if robust else "normal"
            print(f"{level:5d} {target:6d} {noise:>8} {outliers:8.2f} {result['score']:7.3f} "
                  f"{result['steps']:5d} {result['solves']:6d} {result['energy']:9.1f} "
                  f"{result['cpu']:6.1f}", flush=True)


if __name__ == "__main__":
    main()
