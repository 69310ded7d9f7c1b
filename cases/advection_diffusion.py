r"""Initial concentration of a substance from sensors around two obstacles, with a Gaussian prior.

.. math::
    \min_m \sum_{ij} \frac{(u(x_i, t_j) - d_{ij})^2}{2\sigma^2} + \tfrac12 \|m - \bar m\|_{C^{-1}}^2
    \quad\text{subject to}\quad u_t - \kappa \Delta u + w\cdot\nabla u = 0, \quad u(0) = m,

in the unit square without two rectangles, no diffusive flux through any boundary. State and parameter in P2, implicit
Euler with 40 steps of 0.1; more than 20 cells a side have shorter steps, and fewer cells and steps before them. The
prior is bilaplacian, :math:`C^{-1} = L M^{-1} L`, :math:`L = \gamma K + \delta M + \beta M_{\partial\Omega}`.
Sensors on the obstacles' rims measure from t = 1 on, when most is mixed. Synthetic data: a flow along all walls, a
truth that is no function of the mesh, more cells and steps.

References
----------
U. Villa, N. Petra, O. Ghattas, hIPPYlib: an extensible software framework for large-scale inverse problems, ACM TOMS 47
(2021); its application ad_diff, from which domain, equation and prior are taken.
"""

from pathlib import Path

import numpy as np
import torch
from skfem import Basis, ElementTriP2, MeshTri

import fem_ngf as ngf
from fem_ngf import dot, grad

HOLES = (((0.25, 0.5), (0.15, 0.4)), ((0.6, 0.75), (0.6, 0.85)))
TUTORIAL = ("points", "triangles", "nodes", "velocity_points", "velocity", "times", "observation_times", "targets",
            "data", "noise_std", "m_true", "kappa", "gamma", "delta", "prior_mean")
OBSERVED = np.linspace(1.0, 4.0, 16)


def residual(u, v, m, w):
    return w.kappa * dot(grad(u), grad(v)) + dot(w.velocity, grad(u)) * v


def mass(u, v, m, w):
    return u * v


def start(u, v, m, w):
    return (u - m) * v


def truth(x):
    """True initial concentration: a cloud with a flat top."""
    return np.minimum(0.5, np.exp(-100.0 * ((x[0] - 0.35) ** 2 + (x[1] - 0.7) ** 2)))


def velocity(x):
    """A flow along all walls: the rotated gradient of a function that vanishes there."""
    x = torch.tensor(x, requires_grad=True)
    stream = torch.sin(np.pi * x[0]) * torch.sin(np.pi * x[1]) / np.pi
    for hole in HOLES:
        away = [torch.clamp(torch.maximum(a - y, y - b), min=0.0) for y, (a, b) in zip(x, hole, strict=True)]
        stream = stream * (1.0 - torch.exp(-(away[0] ** 2 + away[1] ** 2) / 0.01))
    along = torch.autograd.grad(stream.sum(), x)[0]
    return torch.stack([along[1], -along[0]]).numpy()


def domain(cells: int):
    """Unit square without the holes; 20 cells a side, or a multiple, meet their rims."""
    return ngf.without(ngf.unit_square(cells), HOLES)


def times(mesh) -> np.ndarray:
    """Steps of 0.1 on 20 cells a side, shorter on finer meshes."""
    return np.linspace(0.0, 4.0, round(2.0 * np.sqrt(2.0) / mesh.param()) + 1)


def model(kappa: float, flow, times) -> ngf.Model:
    return ngf.Model(residual, ElementTriP2(), ElementTriP2(), data={"kappa": kappa, "velocity": flow}, intorder=6,
                     linear=True, evolution=ngf.Evolution(mass, times, start=start))


def case(cells: int = 20, noise: float = 0.01, noise_seed: int = 1, uncertainty: bool = False,
         data: Path | None = None) -> ngf.Case:
    """Initial concentration of a substance from sensors around two obstacles, with a Gaussian prior.

    Parameters
    ----------
    cells
        Cells a side: 20, 40, 80 or 160.
    uncertainty
        Export the standard deviations of prior and posterior.
    data
        File of a time series: .npz (points, times, values[, std]) or .csv (x, y, t, value[, std]); or the .npz of
        hIPPYlib's application, with its mesh, flow and weights of the prior.
    """
    if cells not in (20, 40, 80, 160):
        raise ngf.InputError(f"cells is {cells}; the rims of the holes need 20, 40, 80 or 160 cells a side")
    if data is not None and data.suffix == ".npz" and ngf.read_arrays(data, optional=["velocity"]):
        meshes, equation, measured, weights, true = tutorial(data)
    else:
        meshes, weights, true = ngf.halvings(domain, cells, 20), (1.0, 8.0, 0.25), truth if data is None else None
        equation = model(0.01, velocity, times)
        measured = ngf.time_data(data, ngf.boundary_points(domain(40), ["holes"]), OBSERVED, truth, equation,
                                 domain(cells + 20), noise=noise, seed=noise_seed)
    gamma, delta, mean = weights
    levels = ngf.levels(equation, meshes, measured,
                        lambda space: ngf.bilaplacian(space.basis, gamma, delta, mean=mean), truth=true,
                        fields=(lambda at: ngf.laplace(at).fields(at.energy.space.basis)) if uncertainty else None)
    return ngf.Case("advection_diffusion", levels, ngf.MLP((2, 16, 16, 1)), start=mean,
                    defaults={"sampling": "nodal"})


def tutorial(data: Path) -> tuple:
    """Mesh, model, measurements, weights of the prior and truth of a file of hIPPYlib's application."""
    found = ngf.read_arrays(data, TUTORIAL)
    mesh = MeshTri(found["points"].T.copy(), found["triangles"].T.astype(np.int64).copy())
    basis = Basis(mesh, ElementTriP2())
    flow = [ngf.as_function(basis, ngf.nodal_values(basis, found["velocity_points"], each))
            for each in found["velocity"].T]
    equation = model(float(found["kappa"]), lambda x: np.stack([each(x) for each in flow]), found["times"])
    values = found["data"]
    measured = ngf.TimeSeries(found["targets"], found["observation_times"], values,
                              np.full(values.shape, float(found["noise_std"])))
    weights = tuple(float(found[name]) for name in ("gamma", "delta", "prior_mean"))
    true = ngf.as_function(basis, ngf.nodal_values(basis, found["nodes"], found["m_true"]))
    return {f"{mesh.nelements} cells": mesh}, equation, measured, weights, true


if __name__ == "__main__":
    ngf.main(case)
