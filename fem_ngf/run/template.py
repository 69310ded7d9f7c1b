r"""Log-conductivity m of a plate from sensors of its temperature u.

.. math::
    -\nabla\cdot(e^m \nabla u) = 1, \quad u = 0 \text{ on the left.}

What the problem is stands in this text, in `residual` and in `case`; change them, then::

    fem-ngf verify my_case.py      # are the derivatives right?
    fem-ngf run my_case.py         # identify; --help lists the flags
"""

from pathlib import Path

import numpy as np
import torch
from skfem import ElementTriP1, ElementTriP2

import fem_ngf as ngf
from fem_ngf import dot, grad


def residual(u, v, m, w):
    """The equation at a point, linear in the test function v; w.x are its coordinates."""
    return torch.exp(m) * dot(grad(u), grad(v)) - v


def truth(x):
    """The parameter from which synthetic data are made."""
    return np.exp(-8.0 * ((x[0] - 0.4) ** 2 + (x[1] - 0.6) ** 2))


def case(cells: int = 32, alpha: float = 10.0, noise: float = 0.01, data: Path | None = None) -> ngf.Case:
    """Log-conductivity of a plate from sensors.

    Parameters
    ----------
    alpha
        Of the regularisation.
    """
    model = ngf.Model(residual, ElementTriP2(), ElementTriP1(), dirichlet="left", linear=True, definite=True)
    meshes = ngf.halvings(ngf.unit_square, cells)  # or {"mine": ngf.read_mesh("mine.msh")}
    sensors = ngf.grid_points((10, 10), (0.05, 0.05), (0.95, 0.95))
    measured = ngf.point_data(data, sensors, truth, model, ngf.unit_square(2 * cells), noise=noise, seed=1)
    levels = ngf.levels(model, meshes, measured, lambda space: ngf.Tikhonov(space.stiffness), alpha, truth=truth)
    return ngf.Case("my_case", levels, ngf.MLP((2, 12, 12, 1)))


if __name__ == "__main__":
    ngf.main(case)
