"""Natural-gradient directions without the Gram matrix for 50,000 parameters on 100,000 quadrature points.

First the direction for about 1,000 parameters is compared with the dense one. Then steps of the large network are taken
in L2 of linear elements on a square; the peak resident memory of the process is reported at the end. The dense Gram
matrix alone would take P^2 * 8 bytes, the tangent vectors n * P * 8 bytes.

    OMP_NUM_THREADS=1 python benchmarks/large_p.py [--cells 130] [--width 156] [--steps 2]
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import numpy as np
import torch
from skfem import Basis, ElementTriP1

from fem_ngf import MLP, DirectedFlow, HilbertSpace, MatrixFreeDirection, Regression, TangentSpace, unit_square
from fem_ngf.tangent.dual import primal_direction
from fem_ngf.tangent.matrix_free import MatrixFreeTangent, nystrom, solve

ROOT = Path(__file__).resolve().parents[1]


def target(x):
    """A field with a ring and an oscillation, at points (q, 2)."""
    radius = np.hypot(x[:, 0] - 0.5, x[:, 1] - 0.5)
    return np.tanh(40.0 * (radius - 0.3)) + 0.3 * np.sin(12.0 * x[:, 0])


def problem(cells: int, widths):
    """Regression energy, space, network and start parameters."""
    space = HilbertSpace.l2(Basis(unit_square(cells), ElementTriP1(), intorder=2))
    ansatz = MLP(widths, "tanh", output_scale=1.0)
    return Regression.of_function(space, target), space, ansatz, ansatz.initial(np.random.default_rng(0))


def peak_gib() -> float:
    """Largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def agreement() -> tuple[int, float, int, int]:
    """P, relative distance to the dense direction, iterations with and without the preconditioner."""
    energy, space, ansatz, theta = problem(20, (2, 30, 29, 1))
    tangent, dense = MatrixFreeTangent.at(ansatz, theta, space), TangentSpace.at(ansatz, theta, space)
    derivative = energy.linearize(np.zeros(space.size)).derivative
    damping = 1e-5 * np.linalg.eigvalsh(dense.matrix)[-1]
    sketch = nystrom(tangent.gram_product, ansatz.size, 80, damping, np.random.default_rng(0))
    slope = tangent.pull_back(derivative)
    found, plain = (solve(tangent, slope, damping, each, 1e-10, 2000) for each in (sketch, None))
    exact = primal_direction(dense, derivative, damping)
    distance = float(np.linalg.norm(found.x - exact) / np.linalg.norm(exact))
    return ansatz.size, distance, found.iterations, plain.iterations


def large(cells: int, width: int, steps: int) -> list[str]:
    """Rows of the table: one a step."""
    energy, space, ansatz, theta = problem(cells, (2, width, width, width, 1))
    rule = MatrixFreeDirection(damping=1e-5, rank=20, tolerance=1e-2, iterations=30)
    flow, rows = DirectedFlow(energy, ansatz, space, rule, iterations=steps), []
    before = time.perf_counter()
    for iterate in flow.run(theta):
        iterations = iterate.memory.carried[1] if iterate.step else 0
        rows.append(f"| {ansatz.size} | {len(space.points)} | {space.size} | {iterate.step} | "
                    f"{energy.relative_error(iterate.m):.3e} | {iterations} | {time.perf_counter() - before:.1f} | "
                    f"{peak_gib():.2f} |")
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Run both parts and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=130)
    parser.add_argument("--width", type=int, default=157)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "tables" / "large_p.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    size, distance, found, plain = agreement()
    lines = ["# Natural-gradient directions without the Gram matrix", "",
             f"At P = {size} the matrix-free direction differs from the dense one by {distance:.1e} (relative); "
             f"conjugate gradients take {found} iterations with a Nystrom preconditioner of rank 80, {plain} without.",
             "Large network, one thread; rank 20, at most 30 iterations a step. Written by "
             "`python benchmarks/large_p.py`.", "",
             "| parameters | quadrature points | unknowns of H | step | relative error | CG iterations | seconds | "
             "peak memory, GiB |", "|---|---|---|---|---|---|---|---|"]
    print("\n".join(lines), flush=True)
    lines += large(options.cells, options.width, options.steps)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
