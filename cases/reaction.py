r"""Unknown reaction coefficient of a nonlinear equation from point sensors.

.. math::
    \min_q \tfrac12 \sum_i \frac{(u(x_i) - d_i)^2}{\sigma_i^2} + \tfrac\alpha2 \|\nabla q\|_{L^2}^2
    \quad\text{subject to}\quad -\Delta u + q\,u + u^3 = 10, \quad \partial_n u = 0

on the unit square. The unknown is q itself, of either sign: the cubic term keeps the equation solvable where q is
moderately negative, and a q for which Newton's method fails is a rejected step. Synthetic data: a finer mesh, sensors
on a grid, normal noise.
"""

from pathlib import Path

import numpy as np
from skfem import ElementTriP1, ElementTriP2

import fem_ngf as ngf
from fem_ngf import dot, grad


def residual(u, v, q, w):
    return dot(grad(u), grad(v)) + (q * u + u**3 - 10.0) * v


def truth(x):
    """True coefficient: a well beside a hill."""
    hill = (x[0] - 0.7) ** 2 + (x[1] - 0.65) ** 2
    well = (x[0] - 0.3) ** 2 + (x[1] - 0.35) ** 2
    return 2.0 + 8.0 * np.exp(-hill / 0.03) - 5.0 * np.exp(-well / 0.03)


def case(cells: int = 32, alpha: float = 0.5, noise: float = 0.005, noise_seed: int = 1, sensors: int = 16,
         data: Path | None = None) -> ngf.Case:
    """Unknown reaction coefficient q in -lap u + q u + u^3 = 10 from point sensors."""
    ngf.check_positive(alpha=alpha)
    model = ngf.Model(residual, ElementTriP2(), ElementTriP1(), intorder=6, symmetric=True)
    points = ngf.grid_points((sensors, sensors), (0.0, 0.0), (1.0, 1.0))
    measured = ngf.point_data(data, points, truth, model, ngf.unit_square(2 * cells), noise=noise, seed=noise_seed)
    levels = ngf.levels(model, ngf.halvings(ngf.unit_square, cells), measured,
                        lambda space: ngf.Tikhonov(space.stiffness), alpha, truth=truth)
    return ngf.Case("reaction", levels, ngf.MLP((2, 16, 16, 1), start=1.0),
                    defaults={"sampling": "nodal"})


if __name__ == "__main__":
    ngf.main(case)
