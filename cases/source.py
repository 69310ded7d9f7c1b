r"""Unknown source from sensors in part of the domain: what the norm of the prior does where no sensor looks.

.. math::
    \min_f \tfrac12 \sum_i \frac{(u(x_i) - d_i)^2}{\sigma_i^2} + \tfrac\alpha2 \|f\|_H^2
    \quad\text{subject to}\quad -\Delta u = f, \quad u = 0 \text{ on the boundary of the unit square,}

with :math:`\|f\|_H^2 = \|f\|_{L^2}^2`, or :math:`\|f\|_{L^2}^2 + l^2 \|\nabla f\|_{L^2}^2` (l = 0.15). The same
inner product is the metric of the search. True source: one bump among the
sensors, which form a grid in x < `reach`, and one beyond them. With H = L2 the
minimiser is a multiple of the adjoint state: zero on the boundary, harmonic
wherever no sensor is (so no bump can arise there), peaked at the sensors. With
H = H1 it is smooth, and continues beyond the sensors.

Compare ``--metric l2`` with ``--metric h1`` in the pictures.
"""

from pathlib import Path
from typing import Literal

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

LENGTH = 0.15


def residual(u, v, m, w):
    return dot(grad(u), grad(v)) - m * v


def truth(x):
    """True source at points x (2, ...)."""
    seen = (x[0] - 0.35) ** 2 + (x[1] - 0.6) ** 2
    unseen = (x[0] - 0.8) ** 2 + (x[1] - 0.35) ** 2
    return 10.0 * np.exp(-seen / 0.02) + 6.0 * np.exp(-unseen / 0.015)


def case(cells: int = 32, metric: Literal["l2", "h1"] = "h1", alpha: float | None = None, noise: float = 0.01,
         noise_seed: int = 1, sensors: int = 9, reach: float = 0.65, data: Path | None = None) -> Case:
    """Unknown source from sensors in part of the unit square.

    Parameters
    ----------
    cells
        Cells a side of the finest mesh; the coarser ones have half as many, down to about 16.
    metric
        Norm of the prior and of the search: l2 or h1.
    alpha
        Weight of the regularisation; by default 20 for h1 and 100 for l2, with which both fit the data as well as the
        noise allows.
    noise
        Standard deviation of the synthetic noise, relative to the largest measured value.
    noise_seed
        Seed of the synthetic noise.
    sensors
        Sensors a side of the grid.
    reach
        The sensors lie in x < reach.
    data
        File of measurements instead: .npz (points, values[, std]) or .csv (x, y, value[, std]).
    """
    alpha = {"l2": 100.0, "h1": 20.0}[metric] if alpha is None else alpha
    check_positive(alpha=alpha, reach=reach)
    points = grid_points((sensors, sensors), (0.05, 0.05), (min(reach, 0.95), 0.95))
    measured = point_data(data, 2, points, lambda: true_state(2 * cells), noise=noise, seed=noise_seed)
    levels = tuple(level(n, metric, alpha, measured) for n in halvings(cells))
    return Case("source", levels, MLP((2, 20, 20, 1)), length=LENGTH, defaults={"metric": metric, "stagnation": 1e-4},
                title="Unknown source of Poisson's equation from sensors in part of the domain")


def problem(n: int) -> tuple[Basis, StationaryProblem]:
    """Basis of the state and equation on n x n cells."""
    basis = Basis(unit_square(n), ElementTriP2())
    form = WeakForm(residual, basis, ElementTriP1())
    return basis, StationaryProblem(form, dirichlet=basis.get_dofs().all(), linear=True, symmetric=True, definite=True)


def true_state(n: int):
    """State of the true source on n x n cells."""
    basis, pde = problem(n)
    return basis, pde.solve(truth(basis.mesh.p)).u


def level(n: int, metric: str, alpha: float, measured) -> Level:
    """The inverse problem on n x n cells."""
    basis, pde = problem(n)
    parameter = Basis(basis.mesh, ElementTriP1())
    space = HilbertSpace.l2(parameter) if metric == "l2" else HilbertSpace.h1(parameter, LENGTH)
    energy = sensor_problem(pde, basis, measured, Tikhonov(space, alpha), space)
    return Level(f"{n} x {n}", energy, parameter, truth=truth(parameter.doflocs),
                 fields=lambda at: {"state": (basis, at.state.u[:, 0])})


if __name__ == "__main__":
    main(case)
