r"""Unknown reaction coefficient of a nonlinear equation from point sensors.

.. math::
    \min_q \tfrac12 \sum_i \frac{(u(x_i) - d_i)^2}{\sigma_i^2} + \tfrac\alpha2 \|\nabla q\|_{L^2}^2
    \quad\text{subject to}\quad -\Delta u + q\,u + u^3 = 10, \quad \partial_n u = 0

on the unit square. The unknown is q itself, of either sign: the cubic term
keeps the equation solvable where q is moderately negative, and a q for which
Newton's method fails is a rejected step. Synthetic data: a finer mesh, sensors
on a grid, normal noise.
"""

from pathlib import Path

import numpy as np
from skfem import Basis, ElementTriP1, ElementTriP2

from fem_ngf import (
    MLP,
    Case,
    HilbertSpace,
    Level,
    StationaryProblem,
    Tikhonov,
    WeakForm,
    check_positive,
    dot,
    grad,
    grid_points,
    halvings,
    main,
    point_data,
    sensor_problem,
    unit_square,
)

SOURCE = 10.0


def residual(u, v, q, w):
    return dot(grad(u), grad(v)) + (q * u + u**3 - SOURCE) * v


def truth(x):
    """True coefficient at points x (2, ...): a well beside a hill."""
    hill = (x[0] - 0.7) ** 2 + (x[1] - 0.65) ** 2
    well = (x[0] - 0.3) ** 2 + (x[1] - 0.35) ** 2
    return 2.0 + 8.0 * np.exp(-hill / 0.03) - 5.0 * np.exp(-well / 0.03)


def case(cells: int = 32, alpha: float = 0.5, noise: float = 0.005, noise_seed: int = 1, sensors: int = 16,
         data: Path | None = None) -> Case:
    """Unknown reaction coefficient q in -lap u + q u + u^3 = 10 from point sensors.

    Parameters
    ----------
    cells
        Cells a side of the finest mesh; the coarser ones have half as many, down to about 16.
    alpha
        Weight of the regularisation.
    noise
        Standard deviation of the synthetic noise, relative to the largest measured value.
    noise_seed
        Seed of the synthetic noise.
    sensors
        Sensors a side of the grid.
    data
        File of measurements instead: .npz (points, values[, std]) or .csv (x, y, value[, std]).
    """
    check_positive(alpha=alpha)
    points = grid_points((sensors, sensors), (0.0, 0.0), (1.0, 1.0))
    measured = point_data(data, 2, points, lambda: true_state(2 * cells), noise=noise, seed=noise_seed)
    levels = tuple(level(n, alpha, measured) for n in halvings(cells))
    return Case("reaction", levels, MLP((2, 16, 16, 1), start=1.0), start=1.0, defaults={"stagnation": 1e-4},
                title="Unknown reaction coefficient of a nonlinear equation")


def problem(n: int) -> tuple[Basis, StationaryProblem]:
    """Basis of the state and equation on n x n cells."""
    basis = Basis(unit_square(n), ElementTriP2(), intorder=6)
    return basis, StationaryProblem(WeakForm(residual, basis, ElementTriP1()), symmetric=True)


def true_state(n: int):
    """State of the true coefficient on n x n cells."""
    basis, pde = problem(n)
    return basis, pde.solve(truth(basis.mesh.p), start=np.ones(basis.N)).u


def level(n: int, alpha: float, measured) -> Level:
    """The inverse problem on n x n cells."""
    basis, pde = problem(n)
    parameter = Basis(basis.mesh, ElementTriP1())
    space = HilbertSpace.l2(parameter)
    energy = sensor_problem(pde, basis, measured, Tikhonov(space.stiffness, alpha), space)
    return Level(f"{n} x {n}", energy, parameter, truth=truth(parameter.doflocs),
                 fields=lambda at: {"state": (basis, at.state.u[:, 0])})


if __name__ == "__main__":
    main(case)
