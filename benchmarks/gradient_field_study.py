"""Gradient networks on the two fields of arXiv 2404.07361: natural gradient against the published training with Adam.

Every trial trains a network of about 100 parameters by Levenberg-Marquardt in L2 of the samples (nodes of a 41 x 41
grid) and is judged by the mean over a 100 x 100 grid of the squared length of the gradient's error, in decibel. A
Jacobian is one pass of reverse mode over all samples; a value is one forward pass.

    python benchmarks/gradient_field_study.py --trials 5 --iterations 200
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fem_ngf import NaturalGradientFlow

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from cases.gradient_field import case, gradient  # noqa: E402

PUBLISHED = {("convex", "cascaded"): ("mGradNet-C", -49.05), ("convex", "modular"): ("mGradNet-M", -48.65),
             ("nonconvex", "cascaded"): ("GradNet-C", -42.17), ("nonconvex", "modular"): ("GradNet-M", -39.53)}
LINE = np.linspace(0.0, 1.0, 100)
GRID = np.stack(np.meshgrid(LINE, LINE, indexing="ij"), axis=-1).reshape(-1, 2)
BETTER = 10.0


@dataclass(frozen=True)
class Counted:
    """An ansatz that counts its passes over the samples."""

    inner: object
    passes: dict = field(default_factory=lambda: {"values": 0, "jacobians": 0})

    size = property(lambda self: self.inner.size)
    outputs = property(lambda self: self.inner.outputs)

    def __call__(self, theta, x):
        self.passes["values"] += 1
        return self.inner(theta, x)

    def linearize(self, theta, x):
        self.passes["jacobians"] += 1
        return self.inner.linearize(theta, x)


def decibel(network, theta, exact) -> float:
    """Mean squared length of the error of the field on the grid, in dB."""
    return 10.0 * np.log10(np.mean(np.sum((network(theta, GRID) - exact) ** 2, axis=1)))


def trial(which: str, kind: str, seed: int, iterations: int, goal: float) -> tuple:
    """Final dB, passes over the samples, and the Jacobians it took to be better than `goal` (nan if never)."""
    problem = case(which, kind)
    level, net = problem.levels[0], problem.ansatz
    counted, exact, reached = Counted(net), gradient(which, GRID), np.nan
    flow = NaturalGradientFlow(level.energy, counted, level.space(), method="levenberg-marquardt", damping=1e-2,
                               iterations=iterations, tolerance=1e-15, stagnation=0.0)
    for iterate in flow.run(net.initial(np.random.default_rng(seed))):
        if np.isnan(reached) and decibel(net, iterate.theta, exact) <= goal:
            reached = counted.passes["jacobians"]
    return decibel(net, iterate.theta, exact), counted.passes, reached, net.size


def main() -> None:
    """Run the trials and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "tables" / "gradient_field.md")
    options = parser.parse_args()
    lines = ["# Gradient networks with the natural gradient", "",
             f"Mean squared error of the gradient on a 100 x 100 grid in dB (squared length, both components added), "
             f"mean and range of {options.trials} trials with {options.iterations} Levenberg-Marquardt iterations in "
             "L2 of 1681 samples. Published: arXiv 2404.07361, about 100 parameters, Adam, 5 trials. Jacobians, values "
             f"are passes over all samples; the last column is the largest number of Jacobians until "
             f"{BETTER:.0f} dB below the published error. Written by `python benchmarks/gradient_field_study.py`.", "",
             "| network | field | parameters | published dB | dB: mean (best .. worst) | Jacobians | values | "
             "Jacobians to -10 dB | seconds a trial |", "|---|---|---|---|---|---|---|---|---|"]
    for (which, kind), (name, published) in PUBLISHED.items():
        start = time.process_time()
        runs = [trial(which, kind, seed, options.iterations, published - BETTER) for seed in range(options.trials)]
        seconds = (time.process_time() - start) / options.trials
        found, passes = np.array([run[0] for run in runs]), [run[1] for run in runs]
        counts = [f"{np.mean([each[what] for each in passes]):.0f}" for what in ("jacobians", "values")]
        lines.append(f"| {name} | {which} | {runs[0][3]} | {published} | {found.mean():.1f} ({found.min():.1f} .. "
                     f"{found.max():.1f}) | {counts[0]} | {counts[1]} | {max(run[2] for run in runs):.0f} | "
                     f"{seconds:.1f} |")
        print(lines[-1], flush=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
