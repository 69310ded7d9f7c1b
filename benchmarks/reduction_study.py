"""Learning the solution map of cases/parametric_diffusion.py: V, L2 and Euclid against POD with ridge regression.

Every network has the same start, the same snapshots and the same number of iterations. "Loss" is the norm in which the
distance to the snapshots is minimised, "metric" the Gram matrix of the flow. The baseline takes the snapshots' POD in V
and fits its coefficients by ridge regression on polynomials of y, the penalty chosen by leave-one-out error. Numbers:
mean relative error in V = H1_0 on unseen parameters.

    python benchmarks/reduction_study.py --iterations 60 --seeds 3
"""

from __future__ import annotations

import argparse
import sys
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from fem_ngf import (
    Matrix,
    NaturalGradientFlow,
    ParameterDescent,
    Regression,
    coefficient_space,
    pod,
    residual_reduction,
    snapshot_reduction,
)

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from cases.parametric_diffusion import LOWER, UPPER, diffusion, draw, network  # noqa: E402

UNSEEN = 200
ROWS = (("V", "V"), ("V", "L2"), ("V", "coefficients"), ("V", "none (gradient descent)"), ("V", "none (Adam)"),
        ("L2", "L2"), ("coefficients", "coefficients"), ("residual in V'", "V"), ("residual in V'", "residual in V'"))


def relative_errors(matrix, found: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Relative V-errors (N,) of columns."""
    def squared(columns):
        return np.sum(columns * (matrix @ columns), axis=0)

    return np.sqrt(squared(found - exact) / squared(exact))


def features(parameters: np.ndarray, degree: int) -> np.ndarray:
    """Monomials of the scaled parameters up to a degree."""
    y = 2.0 * (parameters - LOWER) / (UPPER - LOWER) - 1.0
    return np.column_stack([np.prod(y[:, list(which)], axis=1) for k in range(degree + 1)
                            for which in combinations_with_replacement(range(y.shape[1]), k)])


def ridge(X: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Ridge regression weights with the penalty of the smallest leave-one-out error."""
    left, values, right = np.linalg.svd(X, full_matrices=False)

    def fit(penalty):
        hat = np.sum(left**2 * (values**2 / (values**2 + penalty)), axis=1)
        weights = right.T @ ((values / (values**2 + penalty))[:, None] * (left.T @ Y))
        return np.sum(((Y - X @ weights) / (1.0 - hat)[:, None]) ** 2), weights

    return min((fit(penalty) for penalty in 10.0 ** np.arange(-8.0, 5.0)), key=lambda each: each[0])[1]


def baseline(problem, parameters, solutions, unseen, exact, rank: int, degree: int) -> float:
    """Mean relative V-error of POD with ridge regression."""
    basis = pod(solutions, problem.stiffness, rank)
    weights = ridge(features(parameters, degree), (basis.T @ (problem.stiffness @ solutions)).T)
    found = basis @ (features(unseen, degree) @ weights).T
    return float(relative_errors(problem.stiffness, found, exact).mean())


def trained(loss, metric, problem, data, options, seed: int) -> float:
    """Mean relative V-error of a network on unseen parameters."""
    parameters, solutions, unseen, exact = data
    basis = pod(solutions, sp.eye_array(len(solutions)), options.rank)
    distance = snapshot_reduction(parameters, solutions, problem.stiffness, basis)
    spaces = {"V": distance.space, "L2": coefficient_space(parameters, basis, problem.mass),
              "coefficients": coefficient_space(parameters, basis)}
    if loss == "residual in V'":
        energy = residual_reduction(parameters, problem.operators, problem.load, Matrix(problem.stiffness), basis)
        spaces["residual in V'"] = energy.space
    else:
        matrix = problem.mass if loss == "L2" else sp.eye_array(len(solutions))
        energy = distance if loss == "V" else Regression(spaces[loss], projected(solutions, basis, matrix))
    ansatz = network(options.squares, options.rank, options.neurons)
    rule = {"iterations": options.iterations, "tolerance": 1e-12, "stagnation": -np.inf}
    if metric in spaces:
        flow = NaturalGradientFlow(energy, ansatz, spaces[metric], method="levenberg-marquardt", damping=1e-2, **rule)
    else:
        method = "adam" if "Adam" in metric else "gradient-descent"
        flow = ParameterDescent(energy, ansatz, spaces["V"], method=method, **rule)
    *_, last = flow.run(ansatz.initial(np.random.default_rng(seed)))
    found = basis @ ansatz(last.theta, unseen).T
    return float(relative_errors(problem.stiffness, found, exact).mean())


def projected(solutions, basis, matrix) -> np.ndarray:
    """Coefficients (N r,) of the snapshots' projections in the inner product of a matrix."""
    return np.linalg.solve(basis.T @ (matrix @ basis), basis.T @ (matrix @ solutions)).T.ravel()


def main() -> None:
    """Run the study and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (("cells", 24), ("squares", 3), ("snapshots", 200), ("rank", 20), ("neurons", 20),
                        ("iterations", 60), ("seeds", 3)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "tables" / "parametric_diffusion.md")
    options = parser.parse_args()
    problem = diffusion(options.cells, options.squares)
    parameters, unseen = draw(options.snapshots, options.squares, 1), draw(UNSEEN, options.squares, 2)
    data = parameters, problem.solve(parameters), unseen, problem.solve(unseen)
    best = pod(data[1], problem.stiffness, options.rank)
    limit = relative_errors(problem.stiffness, best @ (best.T @ (problem.stiffness @ data[3])), data[3]).mean()
    size = network(options.squares, options.rank, options.neurons).size
    lines = ["# Model reduction: piecewise constant diffusion", "",
             f"Mean relative V-error (H1_0) on {UNSEEN} unseen parameters; {options.snapshots} snapshots, "
             f"{options.squares} x {options.squares} squares, {options.cells} x {options.cells} cells, reduced "
             f"dimension {options.rank}; network with {size} parameters, "
             f"{options.iterations} iterations, median (range) of {options.seeds} seeds. The reduced space itself "
             f"misses {limit:.1e}. Written by `python benchmarks/reduction_study.py`.", "",
             "| method | loss | metric | V-error, unseen |", "|---|---|---|---|"]
    for degree in (1, 2, 3):
        error = baseline(problem, *data, options.rank, degree)
        lines.append(f"| POD + ridge regression, degree {degree} | V |  | {error:.2e} |")
    for loss, metric in ROWS:
        found = np.array([trained(loss, metric, problem, data, options, seed) for seed in range(options.seeds)])
        cell = f"{np.median(found):.2e} ({found.min():.2e} .. {found.max():.2e})"
        lines.append(f"| network | {loss} | {metric} | {cell} |")
        print(lines[-1], flush=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
