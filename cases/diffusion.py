r"""Log-diffusivity of the unit square from a noisy observation of the whole state.

.. math::
    \min_m \tfrac12 \|u - u_d\|_{L^2}^2 + \tfrac\gamma2 \|\nabla m\|_{L^2}^2
    \quad\text{subject to}\quad -\nabla\cdot(e^m \nabla u) = 1, \quad u = 0 \text{ on the boundary.}

State in P2 and parameter in P1 on n x n x 2 triangles. The truth is log 9 outside and log 2 inside the disc of radius
0.2 at the centre; the search starts from log 2. Synthetic data: the state on a mesh of twice as many cells, with normal
noise at every interior node. Coarser meshes see the L2 projection of the data. With a file of values at other points
than the nodes of the finest mesh the misfit is :math:`\frac12 \sum (u(x_i) - d_i)^2 / \sigma_i^2`.

References
----------
U. Villa, N. Petra, O. Ghattas, hIPPYlib: an extensible software framework for large-scale inverse problems, ACM TOMS 47
(2021); its model problem PoissonDeterministic.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from skfem import Basis, ElementTriP1, ElementTriP2

import fem_ngf as ngf
from fem_ngf import dot, grad


def residual(u, v, m, w):
    return torch.exp(m) * dot(grad(u), grad(v)) - v


def truth(x):
    """True log-diffusivity."""
    return np.where((x[0] - 0.5) ** 2 + (x[1] - 0.5) ** 2 < 0.2**2, np.log(2.0), np.log(9.0))


def case(cells: int = 64, gamma: float = 1e-8, noise: float = 0.05, noise_seed: int = 1,
         data: Path | None = None) -> ngf.Case:
    """Log-diffusivity of the unit square from a noisy state.

    Parameters
    ----------
    data
        File of measurements: .npz (points, values[, std]) or .csv (x, y, value[, std]). Values at exactly the P2 nodes
        of the finest mesh are the whole field; values at other points need their standard deviation.
    """
    ngf.check_positive(gamma=gamma)
    model = ngf.Model(residual, ElementTriP2(), ElementTriP1(), dirichlet=0.0, intorder=4, linear=True, definite=True)
    meshes = ngf.halvings(ngf.unit_square, cells)
    *_, finest = meshes.values()
    nodes = Basis(finest, ElementTriP2(), intorder=4)
    measured = ngf.field_data(data, nodes, truth, replace(model, state=ElementTriP1(), intorder=2), noise=noise,
                              seed=noise_seed, exact=nodes.get_dofs().all())
    levels = ngf.levels(model, meshes, measured, lambda space: ngf.Tikhonov(space.stiffness), gamma, truth=truth)
    return ngf.Case("diffusion", levels, ngf.MLP((2, 12, 12, 1), start=float(np.log(2.0))))


if __name__ == "__main__":
    ngf.main(case)
