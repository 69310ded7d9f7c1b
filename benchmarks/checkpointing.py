"""Memory against steps computed again: a long heat equation with snapshots, beside the one that keeps its trajectory.

Implicit Euler, P1 on n x n x 2 triangles, unknown initial state, one observation of the end. Counted are the steps that
the derivative computes again, beside the least number for as many snapshots (Griewank and Walther); the memory is the
peak of what solve and derivative allocate (as Python's tracemalloc sees it, without the factorisation). The derivative
with snapshots must be bitwise the one of the kept trajectory, where that is computed.

    OMP_NUM_THREADS=1 python benchmarks/checkpointing.py [--cells 111] [--steps 400] [--megabytes 200 20 4]
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from math import comb

import numpy as np
from skfem import Basis, ElementTriP1

from fem_ngf import CheckpointedEvolution, EvolutionProblem, MatrixObservation, WeakForm, dot, grad, unit_square


def heat(cells: int, steps: int) -> EvolutionProblem:
    """The evolution."""
    basis = Basis(unit_square(cells), ElementTriP1())
    mass, form, start = (WeakForm(residual, basis, basis) for residual in (
        lambda u, v, m, w: u * v, lambda u, v, m, w: 0.01 * dot(grad(u), grad(v)), lambda u, v, m, w: (u - m) * v))
    return EvolutionProblem(mass, form, np.linspace(0, 1, steps + 1), initial=start, linear=True, definite=True)


def least(steps: int, snapshots: int) -> int:
    """Steps computed again by the best schedule, where an adjoint step needs the states up to its own time only."""
    snapshots, repetitions = min(snapshots, steps - 1), 0
    while comb(snapshots + repetitions, snapshots) < steps:
        repetitions += 1
    return repetitions * steps - comb(snapshots + repetitions, repetitions - 1) - (steps - 1)


def measured(make) -> tuple[np.ndarray, float, float]:
    """Derivative, peak of allocated megabytes and CPU seconds of ``make() -> derivative``."""
    tracemalloc.start()
    start = time.process_time()
    derivative = make()
    seconds, peak = time.process_time() - start, tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    return derivative, peak, seconds


def kept(problem, m, observation) -> np.ndarray:
    """Derivative of half the squared observations, by the trajectory."""
    state = problem.solve(m)
    covector = np.zeros_like(state.film)
    covector[-1] = observation.transpose(observation(state.film[-1]))
    return state.adjoint(covector.reshape(state.u.shape))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=111)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--megabytes", type=float, nargs="*", default=[20.0, 4.0, 1.0])
    parser.add_argument("--leave-out-trajectory", action="store_true", help="where it would not fit")
    options = parser.parse_args()
    problem = heat(options.cells, options.steps)
    m = np.random.default_rng(0).standard_normal(problem.size)
    observation = MatrixObservation(np.random.default_rng(1).standard_normal((5, problem.size)) / problem.size)
    weights = np.zeros((1, options.steps + 1))
    weights[0, -1] = 1.0
    kept(heat(options.cells, 1), m, observation)  # imports and first calls
    whole = problem.size * (options.steps + 1) * 8e-6
    print(f"{problem.size} unknowns, {options.steps} steps, trajectory of {whole:.0f} MB")
    print("| kept | steps computed again | least | peak, MB | CPU s | derivative |")
    print("| --- | ---: | ---: | ---: | ---: | --- |")
    expected = None
    if not options.leave_out_trajectory:
        expected, peak, seconds = measured(lambda: kept(problem, m, observation))
        print(f"| all states | 0 | 0 | {peak:.1f} | {seconds:.1f} | |")
    for megabytes in options.megabytes:
        long = CheckpointedEvolution(problem, observation, weights, memory=1e6 * megabytes)
        found, peak, seconds = measured(lambda long=long: (lambda at: at.adjoint(at.u))(long.solve(m)))
        same = "" if expected is None else "the same bits" if np.array_equal(found, expected) else "DIFFERENT"
        print(f"| {long.snapshots} snapshots, {megabytes:g} MB | {long.recomputed} | "
              f"{least(options.steps, long.snapshots)} | {peak:.1f} | {seconds:.1f} | {same} |", flush=True)


if __name__ == "__main__":
    main()
