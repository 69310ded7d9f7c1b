r"""Conductivity of the unit square from a noisy state: the problem "poisson_noise" of Mitusch, Funke and Kuchta.

.. math::
    \min_\kappa \|u - u_d\|_{L^2}^2 + \alpha \|\nabla\kappa\|_{L^2}^2
    \quad\text{subject to}\quad -\nabla\cdot(\kappa \nabla u) = f, \quad u = 0 \text{ on the boundary.}

The unknown is the conductivity itself, not its logarithm; where it is not positive the equation has no solution and the
step that led there is rejected. As in the authors' code: neither term of the energy has a factor 1/2; the data are the
exact state plus a P1 function with independent normal nodal values of standard deviation :math:`\|u\|_{L^2}/10`,
boundary nodes included. Here kappa and the exact state are projected to P1 first.

References
----------
S. K. Mitusch, S. W. Funke, M. Kuchta, Hybrid FEM-NN models, J. Comput. Phys. 446 (2021), arXiv 2101.00962, Section 3.
"""

import numpy as np
import torch
from skfem import ElementTriP1

import fem_ngf as ngf
from fem_ngf import dot, grad


def residual(u, v, m, w):
    return torch.where(m > 0, m, torch.nan) * dot(grad(u), grad(v)) - w.f * v


def true_conductivity(x):
    return 1.0 / (1.0 + x[0] ** 2 * x[1] ** 2 + (x[0] - 1) ** 2 * (x[1] - 1) ** 2)


true_state, source = ngf.manufactured(lambda x: torch.sin(np.pi * x[0]) * torch.sin(np.pi * x[1]), true_conductivity)


def case(cells: int = 80, alpha: float = 1e-4, snr: float = 10.0, noise_seed: int = 0, neurons: int = 30) -> ngf.Case:
    """Conductivity of the unit square from a noisy observation of the whole state.

    Parameters
    ----------
    cells
        Cells a side of the finest mesh; each coarser one has a quarter as many, down to about 16.
    snr
        Norm of the true state over the standard deviation of the nodal noise.
    """
    ngf.check_positive(alpha=alpha, snr=snr)
    model = ngf.Model(residual, ElementTriP1(), ElementTriP1(), dirichlet=0.0, data={"f": source}, intorder=4,
                      linear=True, definite=True)
    meshes = ngf.halvings(ngf.unit_square, cells, factor=4)
    exact = model.on([*meshes.values()][-1]).space
    noise = 0.5 / snr * ngf.noise_generator(noise_seed).standard_normal(exact.size)  # the true state has norm 1/2
    measured = ngf.WholeField(exact.basis, exact.project(true_state(exact.points.T)) + noise, scale=2.0)
    levels = ngf.levels(model, meshes, measured, lambda space: ngf.Tikhonov(space.stiffness), 2.0 * alpha,
                        truth=true_conductivity)
    return ngf.Case("conductivity", levels, ngf.MLP((2, neurons, 1), activation="sigmoid", start=1.0),
                    defaults={"sampling": "nodal"})


if __name__ == "__main__":
    ngf.main(case)
