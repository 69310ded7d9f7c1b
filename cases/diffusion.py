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
    cells
        Cells a side of the finest mesh; the coarser ones have half as many, down to about 16.
    gamma
        Weight of the regularisation.
    noise
        Standard deviation of the synthetic noise, relative to the largest value of the state; for a file without std,
        what the rules that choose the weight take for it.
    noise_seed
        Seed of the synthetic noise.
    data
        File of measurements: .npz (points, values[, std]) or .csv (x, y, value[, std]). Values at exactly the P2
        nodes of the finest mesh are the whole field; values at other points need their standard deviation.
    """
    ngf.check_positive(gamma=gamma)
    model = ngf.Model(residual, ElementTriP2(), ElementTriP1(), dirichlet=0.0, intorder=4, linear=True, definite=True)
    meshes = ngf.halvings(ngf.unit_square, cells)
    *_, finest = meshes.values()
    nodes = Basis(finest, ElementTriP2(), intorder=4)
    measured = (synthetic(nodes, noise, noise_seed) if data is None else
                ngf.field_data(data, nodes, noise=noise, exact=nodes.get_dofs().all()))
    levels = ngf.levels(model, meshes, measured, lambda space: ngf.Tikhonov(space.stiffness), gamma, truth=truth)
    return ngf.Case("diffusion", levels, ngf.MLP((2, 12, 12, 1), start=float(np.log(2.0))))


def synthetic(nodes: Basis, noise: float, seed: int) -> ngf.WholeField:
    """Noisy values at the nodes of P2: those of P1 on half the mesh size."""
    model = ngf.Model(residual, ElementTriP1(), ElementTriP1(), dirichlet=0.0, intorder=2, linear=True, definite=True)
    true = model.on(nodes.mesh.refined())
    u = true.solve(truth).u[:, 0]
    values = ngf.nodal_values(nodes, true.state.doflocs.T, ngf.noisy(u, noise, seed)[0])
    std = np.full(nodes.N, noise * np.abs(u).max())
    values[nodes.get_dofs().all()] = std[nodes.get_dofs().all()] = 0.0
    return ngf.WholeField(nodes, values, noise_std=std)


if __name__ == "__main__":
    ngf.main(case)
