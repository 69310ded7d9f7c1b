r"""Log-diffusivity of the unit square from a noisy observation of the whole state.

.. math::
    \min_m \tfrac12 \|u - u_d\|_{L^2}^2 + \tfrac\gamma2 \|\nabla m\|_{L^2}^2
    \quad\text{subject to}\quad -\nabla\cdot(e^m \nabla u) = 1, \quad u = 0 \text{ on the boundary.}

State in P2 and parameter in P1 on n x n x 2 triangles. The truth is log 9
outside and log 2 inside the disc of radius 0.2 at the centre; the search starts
from log 2. Synthetic data: the state on a mesh of twice as many cells, with
normal noise at every interior node.

With a file of nodal values on the finest mesh the misfit is the one above, and
the coarser meshes see the L2 projection of the data. Values at any other
points are point observations: the misfit is then
:math:`\frac12 \sum (u(x_i) - d_i)^2 / \sigma_i^2`.

References
----------
U. Villa, N. Petra, O. Ghattas, hIPPYlib: an extensible software framework for
large-scale inverse problems, ACM TOMS 47 (2021); its model problem
PoissonDeterministic.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from skfem import Basis, ElementTriP1, ElementTriP2

from fem_ngf import (
    MLP,
    Case,
    GaussianNoise,
    HilbertSpace,
    InputError,
    InverseProblem,
    Level,
    StationaryProblem,
    Tikhonov,
    WeakForm,
    check_positive,
    dot,
    grad,
    halvings,
    main,
    nodal_values,
    noisy,
    point_values,
    read_measurements,
    unit_square,
    whole_fields,
)


def residual(u, v, m, w):
    return torch.exp(m) * dot(grad(u), grad(v)) - v


def truth(x):
    """True log-diffusivity at points x (2, ...)."""
    return np.where((x[0] - 0.5) ** 2 + (x[1] - 0.5) ** 2 < 0.2**2, np.log(2.0), np.log(9.0))


def case(cells: int = 64, gamma: float = 1e-8, noise: float = 0.05, noise_seed: int = 1,
         data: Path | None = None) -> Case:
    """Log-diffusivity of the unit square from a noisy observation of the whole state.

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
    check_positive(gamma=gamma)
    bases = [Basis(unit_square(n), ElementTriP2(), intorder=4) for n in halvings(cells)]
    misfits, std = synthetic(bases, noise, noise_seed) if data is None else measured(bases, data, noise)
    levels = tuple(level(basis, gamma, *misfit) for basis, misfit in zip(bases, misfits, strict=True))
    levels = (*levels[:-1], replace(levels[-1], noise_std=std))
    return Case("diffusion", levels, MLP((2, 12, 12, 1), start=float(np.log(2.0))), start=float(np.log(2.0)),
                title="Log-diffusivity of the unit square from a noisy state")


def problem(basis) -> StationaryProblem:
    """The equation with a P1 parameter on the mesh of the state's `basis`."""
    form = WeakForm(residual, basis, ElementTriP1())
    return StationaryProblem(form, dirichlet=basis.get_dofs().all(), linear=True, symmetric=True, definite=True)


def level(basis, gamma: float, observation, data: np.ndarray, noise: GaussianNoise) -> Level:
    """The inverse problem on one mesh."""
    parameter = Basis(basis.mesh, ElementTriP1())
    space = HilbertSpace.l2(parameter)
    energy = InverseProblem(problem(basis), observation, data, noise, Tikhonov(space.stiffness, gamma), space)
    n = round(np.sqrt(basis.mesh.nelements / 2))
    fields = {"data": (basis, data)} if len(data) == basis.N else {}
    return Level(f"{n} x {n}", energy, parameter, truth=truth(parameter.doflocs),
                 fields=lambda at: {"state": (basis, at.state.u[:, 0]), **fields})


def synthetic(bases, noise: float, seed: int) -> tuple[list[tuple], np.ndarray]:
    """Observation, data and noise model on every mesh, and the noise's std: P1 on half the mesh size has P2's nodes."""
    finest = bases[-1]
    half = Basis(finest.mesh.refined(), ElementTriP1(), intorder=2)
    u = problem(half).solve(truth(half.doflocs)).u[:, 0]
    values = nodal_values(finest, half.doflocs.T, noisy(u, noise, seed)[0])
    values[finest.get_dofs().all()] = 0.0
    return whole_fields(bases, values), interior(finest, noise * np.abs(u).max())


def interior(basis, std) -> np.ndarray:
    """Standard deviations (n_u,): `std` inside, zero on the boundary, where the state is known."""
    deviations = np.broadcast_to(np.asarray(std, dtype=float), basis.N).copy()
    deviations[basis.get_dofs().all()] = 0.0
    return deviations


def measured(bases, data: Path, noise: float) -> tuple[list[tuple], np.ndarray | None]:
    """Observation, data and noise model on every mesh, and the noise's std, for the data of a file."""
    found = read_measurements(data, dimension=2)
    if found.values.ndim > 1:
        raise InputError(f"data file {str(data)!r} has values of shape {found.values.shape}; this case has one "
                         "experiment")
    try:
        values = nodal_values(bases[-1], found.points, found.values)
        std = noise * np.abs(values).max() if found.std is None else nodal_values(bases[-1], found.points, found.std)
        return whole_fields(bases, values), interior(bases[-1], std)
    except InputError:
        if found.std is None:
            n = round(np.sqrt(bases[-1].mesh.nelements / 2))
            raise InputError(f"data file {str(data)!r} has no std, and its points are not the P2 nodes of {n} x {n} "
                             "cells; add std to use them as sensors, or give the cells of its mesh") from None
    likelihood = GaussianNoise.from_std(found.std)
    return [(point_values(basis, found.points), found.values, likelihood) for basis in bases], None


if __name__ == "__main__":
    main(case)
