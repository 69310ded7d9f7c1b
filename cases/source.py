r"""Unknown source from sensors in part of the domain: what the norm of the prior does where no sensor looks.

.. math::
    \min_f \tfrac12 \sum_i \frac{(u(x_i) - d_i)^2}{\sigma_i^2} + \tfrac\alpha2 \|f\|_H^2
    \quad\text{subject to}\quad -\Delta u = f, \quad u = 0 \text{ on the boundary of the unit square,}

with :math:`\|f\|_H^2 = \|f\|_{L^2}^2`, or :math:`\|f\|_{L^2}^2 + l^2 \|\nabla f\|_{L^2}^2`, also the metric of the
search. True source: one bump among the sensors, which form a grid in x < `reach`, and one beyond them. With H = L2 the
minimiser is a multiple of the adjoint state: zero on the boundary, harmonic wherever no sensor is (so no bump can arise
there), peaked at the sensors. With H = H1 it is smooth, and continues beyond them: compare the pictures. Unless alpha
is given it is 20 for H1 and 100 for L2, which fit the data as well as the noise allows.
"""

from pathlib import Path
from typing import Literal

import numpy as np
from skfem import ElementTriP1, ElementTriP2

import fem_ngf as ngf
from fem_ngf import dot, grad


def residual(u, v, f, w):
    return dot(grad(u), grad(v)) - f * v


def truth(x):
    """True source: a bump among the sensors and one beyond them."""
    seen = (x[0] - 0.35) ** 2 + (x[1] - 0.6) ** 2
    unseen = (x[0] - 0.8) ** 2 + (x[1] - 0.35) ** 2
    return 10.0 * np.exp(-seen / 0.02) + 6.0 * np.exp(-unseen / 0.015)


def case(cells: int = 32, metric: Literal["l2", "h1"] = "h1", length: float = 0.15, alpha: float | None = None,
         noise: float = 0.01, noise_seed: int = 1, sensors: int = 9, reach: float = 0.65,
         data: Path | None = None) -> ngf.Case:
    """Unknown source of Poisson's equation from sensors in part of the domain.

    Parameters
    ----------
    metric, length
        Norm of the prior and of the search; its length scale l.
    reach
        The sensors lie in x < reach.
    """
    alpha = {"l2": 100.0, "h1": 20.0}[metric] if alpha is None else alpha
    norm = ngf.HilbertSpace.l2 if metric == "l2" else lambda basis: ngf.HilbertSpace.h1(basis, length)
    ngf.check_positive(alpha=alpha, reach=reach)
    model = ngf.Model(residual, ElementTriP2(), ElementTriP1(), dirichlet=0.0, linear=True, definite=True)
    points = ngf.grid_points((sensors, sensors), (0.05, 0.05), (min(reach, 0.95), 0.95))
    measured = ngf.point_data(data, points, truth, model, ngf.unit_square(2 * cells), noise=noise, seed=noise_seed)
    levels = ngf.levels(model, ngf.halvings(ngf.unit_square, cells), measured,
                        lambda space: ngf.Tikhonov(norm(space.basis)), alpha, truth=truth)
    return ngf.Case("source", levels, ngf.MLP((2, 20, 20, 1)), length=length,
                    defaults={"metric": metric, "sampling": "nodal"})


if __name__ == "__main__":
    ngf.main(case)
