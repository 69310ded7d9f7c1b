r"""Log-permeability of an aquifer from fifty pressures in wells, with an anisotropic Gaussian prior.

.. math::
    \min_m \sum_i \frac{(u(x_i) - d_i)^2}{2\sigma^2} + \tfrac12 \|m - \bar m\|_{C^{-1}}^2
    \quad\text{subject to}\quad -\nabla\cdot(e^m \nabla u) = 0,

u = y on top and bottom, no flux left and right. State in P2 and parameter in P1 on n x n x 2 triangles. The prior is
bilaplacian, :math:`C^{-1} = L M^{-1} L`, :math:`L = \gamma K_\Theta + \delta M + \beta M_{\partial\Omega}`, with layers
that run at 45 degrees. The result is exported with the standard deviation of its Laplace approximation. Synthetic data:
the truth is a sample of the prior on a mesh of twice as many cells, observed at random points with 1 % noise.

References
----------
U. Villa, N. Petra, O. Ghattas, hIPPYlib: an extensible software framework for large-scale inverse problems, ACM TOMS 47
(2021); its model problem SubsurfaceBayesian, from which geometry and prior are taken.
"""

from pathlib import Path

import numpy as np
import torch
from skfem import ElementTriP1, ElementTriP2

import fem_ngf as ngf
from fem_ngf import dot, grad


def residual(u, v, m, w):
    return torch.exp(m) * dot(grad(u), grad(v))


TUTORIAL = ("targets", "d_noisy", "noise_std", "p1_xy", "m_true")
MODEL = ngf.Model(residual, ElementTriP2(), ElementTriP1(), intorder=4, linear=True, definite=True,
                  dirichlet={"top": lambda x: x[1], "bottom": lambda x: x[1]})


def case(cells: int = 64, noise: float = 0.01, wells: int = 50, data_seed: int = 1, uncertainty: bool = True,
         data: Path | None = None) -> ngf.Case:
    """Log-permeability of an aquifer from pressures in wells, with an anisotropic Gaussian prior.

    Parameters
    ----------
    wells
        Number of synthetic measurements.
    data_seed
        Seed of the synthetic truth, wells and noise.
    uncertainty
        Export the standard deviations of prior and posterior on the finest mesh.
    data
        File of measurements: .npz (points, values[, std]) or .csv (x, y, value[, std]); or the .npz of hIPPYlib's
        tutorial (targets, d_noisy, noise_std, and the true field on 64 x 64 cells: p1_xy, m_true).
    """
    ngf.check_positive(wells=wells)
    finer, rng = ngf.unit_square(2 * cells), ngf.noise_generator(data_seed)
    points = rng.uniform(0.05, 0.95, (wells, 2))
    if data is not None and data.suffix == ".npz" and ngf.read_arrays(data, optional=["targets"]):
        measured, truth = tutorial(data)
    else:
        truth = sample(MODEL.on(finer).parameter, rng) if data is None else None
        measured = ngf.point_data(data, points, truth, MODEL, finer, noise=noise, seed=data_seed + 1)
    levels = ngf.levels(MODEL, ngf.halvings(ngf.unit_square, cells), measured, lambda space: prior(space.basis),
                        truth=truth, fields=uncertainties if uncertainty else None)
    return ngf.Case("subsurface", levels, ngf.MLP((2, 20, 20, 1)))


def prior(basis):
    return ngf.bilaplacian(basis, gamma=0.1, delta=0.5, tensor=ngf.rotated_tensor(2.0, 0.5, np.pi / 4))


def sample(basis, rng):
    return ngf.as_function(basis, prior(basis).sample(rng))


def uncertainties(at) -> dict:
    """Standard deviations of prior and posterior, two leading directions, two samples."""
    return ngf.laplace(at, kind="newton").fields(at.energy.space.basis, modes=2, samples=2)


def tutorial(data: Path) -> tuple:
    """Measurements and truth of a file in the layout of hIPPYlib's tutorial."""
    points, values, std, nodes, m = ngf.read_arrays(data, TUTORIAL).values()
    basis = MODEL.on(ngf.unit_square(round(np.sqrt(len(nodes))) - 1)).parameter
    measured = ngf.Measurements(points, values, np.full(len(values), float(std)))
    return measured, ngf.as_function(basis, ngf.nodal_values(basis, nodes, m))


if __name__ == "__main__":
    ngf.main(case)
