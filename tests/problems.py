"""Small model problems that several test modules share."""

from __future__ import annotations

import numpy as np
import scipy.linalg
import torch
from skfem import Basis, ElementTriP1, ElementTriP2

from fem_ngf import (
    GaussianNoise,
    HilbertSpace,
    InverseProblem,
    StationaryProblem,
    TangentSpace,
    Tikhonov,
    WeakForm,
    dot,
    grad,
    point_values,
    unit_square,
    whole_field,
)
from fem_ngf.flows.curvature import Curvature
from fem_ngf.linalg.dense import orthonormalize

SENSORS = np.array([[x, y] for x in (0.2, 0.45, 0.7) for y in (0.15, 0.5, 0.85)])


def diffusion_residual(u, v, m, w):
    """``-div(exp(m) grad u) = 1``."""
    return torch.exp(m) * dot(grad(u), grad(v)) - v


def reaction_residual(u, v, m, w):
    """``-lap u + exp(m) u + 5 u^3 = 10``: nonlinear in the state."""
    return dot(grad(u), grad(v)) + (torch.exp(m) * u + 5.0 * u**3 - 10.0) * v


def plain_residual(u, v, m, w):
    """``-div(m grad u) = 1``: defined only where m is positive."""
    return torch.where(m > 0, m, torch.nan) * dot(grad(u), grad(v)) - v


def bump(x):
    """A smooth field of order one at points ``(..., d)`` given component-first."""
    return 0.8 * np.sin(2.5 * x[0]) * np.cos(1.5 * x[1]) + 0.3


def parameter_space(n: int = 8, sampling: str = "nodal", length: float = 1.0) -> HilbertSpace:
    """P1 on the unit square with the H1 inner product."""
    return HilbertSpace.h1(Basis(unit_square(n), ElementTriP1(), intorder=4), length, sampling=sampling)


def inverse_problem(n: int = 8, *, residual=diffusion_residual, linear=True, experiments: int = 1, noise=None,
                    sensors: bool = True, weight: float = 1e-4, truth=bump, fraction: float = 0.02,
                    sampling: str = "nodal", definite: bool = False):
    """Energy, its parameter space and the true parameter.

    Experiment j has the load of the form plus ``j (1 + x)``. Data are those of the true parameter with noise of
    standard deviation `fraction` of the largest datum.
    """
    space = parameter_space(n, sampling)
    state = Basis(space.basis.mesh, ElementTriP2(), intorder=4)
    form = WeakForm(residual, state, state.with_element(ElementTriP1()))
    loads = np.column_stack([j * (1.0 + state.doflocs[0]) for j in range(experiments)]) / state.N
    pde = StationaryProblem(form, dirichlet=state.get_dofs().all(), loads=loads, linear=linear, symmetric=True,
                            definite=definite)
    observation = point_values(state, SENSORS) if sensors else whole_field(state)
    m = truth(space.basis.doflocs)
    data = observation(pde.solve(m).u)
    std = fraction * np.abs(data).max()
    data = data + std * np.random.default_rng(7).standard_normal(data.shape)
    noise = GaussianNoise.from_std(std) if noise is None else noise(std)
    energy = InverseProblem(pde, observation, data, noise, Tikhonov(space.stiffness, weight / std), space)
    return energy, space, m


def alignment_error(ansatz, theta: np.ndarray, space, derivative: np.ndarray) -> float:
    r"""Distance of :math:`\kappa` from dense linear algebra: a least-squares problem with the Cholesky factor of A.

    Parameters
    ----------
    derivative
        Covector ``(n,)``.
    """
    tangent = TangentSpace.at(ansatz, theta, space)
    free = space.free
    matrix = space.apply(np.eye(space.size))[np.ix_(free, free)]
    upper = scipy.linalg.cholesky(0.5 * (matrix + matrix.T))
    gradient = scipy.linalg.solve_triangular(upper, derivative[free], trans=1)
    vectors = tangent.vectors
    columns = upper @ (vectors.toarray() if tangent.is_full else vectors)[free]
    columns = columns / np.maximum(np.linalg.norm(columns, axis=0), np.finfo(float).tiny)
    left, singular, _ = np.linalg.svd(columns, full_matrices=False)
    kept = left[:, singular**2 > len(singular) * np.finfo(float).eps * singular[0] ** 2]
    expected = np.linalg.norm(kept.T @ gradient) / np.linalg.norm(gradient)
    return float(abs(tangent.alignment(derivative) - expected))


def random_pairs(linearization, generator, rank):
    """Random directions ``A'^-1 J^T W xi`` (n, rank), orthonormal in ``A'``, and their images ``J^T W J V``."""
    energy, base = linearization.energy, linearization.preconditioner
    noise = generator.standard_normal((*linearization.residual.shape, rank))
    weighted = energy.noise.hessian(linearization.residual)(noise)
    covectors = linearization.state.adjoint(energy.observation.transpose(weighted), kind="incremental")
    directions = orthonormalize(base.solve(covectors), base)
    return directions, linearization.misfit_action(directions)


def sketched(linearization, generator, rank):
    """The curvature that random pairs tell."""
    return Curvature.of(linearization).with_pairs(*random_pairs(linearization, generator, rank))
