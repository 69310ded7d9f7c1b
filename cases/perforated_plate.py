r"""Conductivity of a plate with holes from temperatures on its boundary, in two experiments.

.. math::
    \min_m \tfrac12 \sum_{j=1}^2 \sum_i \frac{(u_j(x_i) - d_{ij})^2}{\sigma_{j}^2} + \tfrac\alpha2 \|\nabla m\|_{L^2}^2
    \quad\text{subject to}\quad -\nabla\cdot(e^m \nabla u_j) = 0

with u = 0 at the right end in both experiments. In the first the left end is held at u = 1; in the second it is held at
0 and a unit flux enters through the top. All else, the rims of the holes included, is insulated. Measured are the
temperatures at the mesh's nodes on bottom, top and rims. Only the second experiment knows the size of the conductivity;
both together know its shape. The mesh comes from gmsh, synthetic data from one refined once more, with another element.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from skfem import ElementTriP1, ElementTriP2

import fem_ngf as ngf
from fem_ngf import dot, grad

PLATE = Path(__file__).resolve().parent.parent / "meshes" / "perforated_plate.msh"


def residual(u, v, m, w):
    return torch.exp(m) * dot(grad(u), grad(v))


def truth(x):
    """True log-conductivity: a part that conducts well and one that conducts badly."""
    good = ((x[0] - 0.6) / 0.3) ** 2 + ((x[1] - 0.6) / 0.2) ** 2
    bad = ((x[0] - 1.45) / 0.2) ** 2 + ((x[1] - 0.4) / 0.25) ** 2
    return 1.2 * np.exp(-good) - 1.5 * np.exp(-bad)


def case(mesh: Path | None = None, refinements: int = 1, alpha: float = 15.0, noise: float = 0.01, noise_seed: int = 1,
         data: Path | None = None) -> ngf.Case:
    """Conductivity of a perforated plate from temperatures on its boundary.

    Parameters
    ----------
    mesh, refinements
        File with boundaries left, right, bottom, top and holes; how often it is refined, for a continuation over all.
    """
    ngf.check_positive(alpha=alpha)
    meshes = ngf.refinements(ngf.read_mesh(PLATE if mesh is None else mesh), refinements)
    coarsest, *_, finest = (*meshes.values(), *meshes.values())
    model = ngf.Model(residual, ElementTriP2(), ElementTriP1(), dirichlet={"left": (1.0, 0.0), "right": 0.0},
                      neumann={"top": (0.0, 1.0)}, intorder=3, linear=True, definite=True)
    points = ngf.boundary_points(coarsest, ("bottom", "top", "holes"))
    measured = ngf.point_data(data, points, truth, replace(model, state=ElementTriP1()), finest.refined(), noise=noise,
                              seed=noise_seed)
    levels = ngf.levels(model, meshes, measured, lambda space: ngf.Tikhonov(space.stiffness), alpha, truth=truth)
    return ngf.Case("perforated_plate", levels, ngf.MLP((2, 16, 16, 1), box=ngf.bounding_box(coarsest)),
                    defaults={"sampling": "nodal"})


if __name__ == "__main__":
    ngf.main(case)
