r"""Conductivity of a block of tetrahedra from sensors inside it.

.. math::
    \min_m \tfrac12 \sum_i \frac{(u(x_i) - d_i)^2}{\sigma^2} + \tfrac\alpha2 \|\nabla m\|_{L^2}^2
    \quad\text{subject to}\quad -\nabla\cdot(e^m \nabla u) = 0

in the unit cube, with u = 0 at the bottom (y = 0), a unit flux through the top
(y = 1) and insulated sides. State and parameter
in P1; synthetic data from P2 on the same mesh, at a grid of sensors, with
normal noise.
"""

from pathlib import Path

import numpy as np
import torch
from skfem import Basis, ElementTetP1, ElementTetP2, FacetBasis

from fem_ngf import (
    MLP,
    Case,
    HilbertSpace,
    Level,
    StationaryProblem,
    Tikhonov,
    WeakForm,
    boundary,
    check_positive,
    dot,
    grad,
    grid_points,
    halvings,
    main,
    point_data,
    sensor_problem,
    unit_cube,
)


def residual(u, v, m, w):
    return torch.exp(m) * dot(grad(u), grad(v))


def heating(u, v, m, w):
    return -v


def truth(x):
    """True log-conductivity at points x (3, ...): a soft ball that conducts well."""
    return 2.0 * np.exp(-((x[0] - 0.4) ** 2 + (x[1] - 0.6) ** 2 + (x[2] - 0.5) ** 2) / 0.06)


def case(cells: int = 12, alpha: float = 40.0, noise: float = 0.01, noise_seed: int = 1, sensors: int = 8,
         data: Path | None = None) -> Case:
    """Conductivity of a block of tetrahedra from sensors inside it.

    Parameters
    ----------
    cells
        Cells a side of the finest mesh; the coarser ones have half as many, down to 6.
    alpha
        Weight of the regularisation.
    noise
        Standard deviation of the synthetic noise, relative to the largest measured value.
    noise_seed
        Seed of the synthetic noise.
    sensors
        Sensors a side of the grid.
    data
        File of measurements instead: .npz (points, values[, std]) or .csv (x, y, z, value[, std]).
    """
    check_positive(alpha=alpha)
    points = grid_points((sensors,) * 3, (0.1, 0.1, 0.1), (0.9, 1.0, 0.9))
    measured = point_data(data, 3, points, lambda: true_state(cells), noise=noise, seed=noise_seed)
    levels = tuple(level(n, alpha, measured) for n in halvings(cells, smallest=6))
    return Case("block_3d", levels, MLP((3, 16, 16, 1)), defaults={"sampling": "nodal", "stagnation": 1e-4},
                title="Conductivity of a block of tetrahedra from sensors inside it")


def problem(n: int, element) -> tuple[Basis, StationaryProblem]:
    """Basis of the state and equation on a mesh of n cells a side."""
    basis = Basis(unit_cube(n), element, intorder=3)
    top = FacetBasis(basis.mesh, element, facets=boundary(basis.mesh, "top"), intorder=3)
    form = WeakForm(residual, basis, ElementTetP1()) + WeakForm(heating, top, ElementTetP1())
    return basis, StationaryProblem(form, dirichlet=basis.get_dofs("bottom").all(), linear=True, symmetric=True,
                                    definite=True)


def true_state(n: int):
    """State of the true conductivity, in P2."""
    basis, pde = problem(n, ElementTetP2())
    return basis, pde.solve(truth(basis.mesh.p)).u


def level(n: int, alpha: float, measured) -> Level:
    """The inverse problem on one mesh."""
    basis, pde = problem(n, ElementTetP1())
    parameter = Basis(basis.mesh, ElementTetP1())
    space = HilbertSpace.l2(parameter)
    energy = sensor_problem(pde, basis, measured, Tikhonov(space.stiffness, alpha), space)
    return Level(f"{n} x {n} x {n}", energy, parameter, truth=truth(parameter.doflocs),
                 fields=lambda at: {"state": (basis, at.state.u[:, 0])})


if __name__ == "__main__":
    main(case)
