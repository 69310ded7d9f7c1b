r"""Conductivity of a block of tetrahedra from sensors inside it.

.. math::
    \min_m \tfrac12 \sum_i \frac{(u(x_i) - d_i)^2}{\sigma^2} + \tfrac\alpha2 \|\nabla m\|_{L^2}^2
    \quad\text{subject to}\quad -\nabla\cdot(e^m \nabla u) = 0

in the unit cube, with u = 0 at the bottom (y = 0), a unit flux through the top (y = 1) and insulated sides. State and
parameter in P1; synthetic data from P2 on the same mesh, at a grid of sensors, with normal noise.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from skfem import ElementTetP1, ElementTetP2

import fem_ngf as ngf
from fem_ngf import dot, grad


def residual(u, v, m, w):
    return torch.exp(m) * dot(grad(u), grad(v))


def truth(x):
    """True log-conductivity: a soft ball that conducts well."""
    return 2.0 * np.exp(-((x[0] - 0.4) ** 2 + (x[1] - 0.6) ** 2 + (x[2] - 0.5) ** 2) / 0.06)


def case(cells: int = 12, alpha: float = 40.0, noise: float = 0.01, noise_seed: int = 1, sensors: int = 8,
         data: Path | None = None) -> ngf.Case:
    """Conductivity of a block of tetrahedra from sensors inside it.

    Parameters
    ----------
    cells
        Cells a side of the finest mesh; the coarser ones have half as many, down to 6.
    """
    ngf.check_positive(alpha=alpha)
    model = ngf.Model(residual, ElementTetP1(), ElementTetP1(), dirichlet={"bottom": 0.0}, neumann={"top": 1.0},
                      intorder=3, linear=True, definite=True)
    finer = replace(model, state=ElementTetP2())
    points = ngf.grid_points((sensors,) * 3, (0.1, 0.1, 0.1), (0.9, 1.0, 0.9))
    measured = ngf.point_data(data, points, truth, finer, ngf.unit_cube(cells), noise=noise, seed=noise_seed)
    levels = ngf.levels(model, ngf.halvings(ngf.unit_cube, cells, smallest=6), measured,
                        lambda space: ngf.Tikhonov(space.stiffness), alpha, truth=truth)
    return ngf.Case("block_3d", levels, ngf.MLP((3, 16, 16, 1)), defaults={"sampling": "nodal"})


if __name__ == "__main__":
    ngf.main(case)
