r"""The benchmark of Aristoff and Bangerth: 64 coefficients of a membrane from 169 deflections.

.. math::
    -\nabla\cdot(a \nabla u) = 10 \text{ on the unit square}, \quad u = 0 \text{ on the boundary},

the stiffness a constant on each of 8 x 8 squares, u in Q1 on 32 x 32 cells, observed at (k/14, l/14), k, l = 1..13,
with noise of standard deviation 0.05. The unknown is m = ln a. The prior density
:math:`\exp(-|\ln a|^2 / (2 \cdot 2^2))` has two readings: with respect to a, which in m is N(4, 2^2) in every square;
or with respect to ln a, which is N(0, 2^2). The nodal unknown has the 64 values of m; the neural one is a network on
the square, averaged over each of the 64 squares.

References
----------
D. Aristoff, W. Bangerth, A benchmark for the Bayesian inversion of coefficients in partial differential equations, SIAM
Review 65 (2023).
"""

import copy
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from skfem import Basis, ElementQuad0, ElementQuad1

import fem_ngf as ngf
from fem_ngf import dot, grad

STD, PRIOR_STD = 0.05, 2.0


def residual(u, v, m, w):
    return torch.exp(m) * dot(grad(u), grad(v)) - 10.0 * v


def case(prior: Literal["theta", "log-theta"] = "theta", data: Path | None = None, truth: Path | None = None,
         data_seed: int = 1) -> ngf.Case:
    """Membrane stiffness of Aristoff and Bangerth's benchmark.

    Parameters
    ----------
    prior
        What the prior density is taken with respect to: the coefficients theta, as published, or their logarithms.
    data
        The 169 measured values, index 13 (k - 1) + (l - 1): the published z_hat.txt. Default: synthetic ones.
    truth
        The 64 true coefficients, index i + 8 j with i along x: the published theta_true.txt.
    data_seed
        Seed of the synthetic noise.
    """
    if prior not in ("theta", "log-theta"):
        raise ngf.InputError(f"prior is {prior!r}; choose 'theta' or 'log-theta'")
    squares = Basis(ngf.unit_square(8, kind="quad"), ElementQuad0(), intorder=15)
    state = Basis(ngf.unit_square(32, kind="quad"), ElementQuad1(), intorder=3)  # 2 x 2 Gauss points a cell
    form = ngf.WeakForm(residual, state, constants(squares, state))
    pde = ngf.StationaryProblem(form, dirichlet=state.get_dofs().all(), linear=True, symmetric=True, definite=True)
    sensors = ngf.point_values(state, ngf.grid_points((13, 13), (1 / 14, 1 / 14), (13 / 14, 13 / 14)))
    column, row = np.floor(8 * squares.doflocs).astype(int)
    true = None if truth is None else np.log(ngf.read_numbers(truth, 64, positive=True))[column + 8 * row]
    if data is None:
        true = inclusions(*squares.doflocs) if true is None else true
        noise = STD * ngf.noise_generator(data_seed).standard_normal(sensors.shape[0])
    values = sensors(pde.solve(true).u)[:, 0] + noise if data is None else ngf.read_numbers(data, 169)
    # exp(-m^2/8) d theta = exp(-m^2/8 + m) dm is N(4, 4) up to a factor
    gaussian = ngf.independent(np.full(64, PRIOR_STD), np.full(64, PRIOR_STD**2 if prior == "theta" else 0.0))
    energy = ngf.InverseProblem(pde, sensors, values, ngf.GaussianNoise.from_std(np.full(169, STD)), gaussian,
                                ngf.HilbertSpace.l2(squares))

    def fields(at) -> dict:
        return {"state": (state, at.state.u[:, 0]), "theta": (squares, np.exp(at.m)), **ngf.laplace(at).fields(squares)}

    level = ngf.Level("32 x 32", energy, squares, truth=true, fields=fields)
    return ngf.Case("benchmark_8x8", (level,), ngf.MLP((2, 16, 16, 1)),
                    defaults={"metric": "l2", "tolerance": 1e-5})


def constants(coarse: Basis, fine: Basis) -> Basis:
    """Piecewise constants on the cells of the coarse mesh, with the quadrature points of the fine basis."""
    cells = coarse.mesh.element_finder()(*fine.mesh.p[:, fine.mesh.t].mean(axis=1))
    dofs = copy.copy(fine.with_element(ElementQuad0()).dofs)
    dofs.element_dofs, dofs.interior_dofs, dofs.N = cells[None], cells[None], coarse.N
    return Basis(fine.mesh, ElementQuad0(), intorder=3, dofs=dofs)


def inclusions(x, y):
    """Synthetic truth: a soft and a stiff inclusion in a background of one."""
    soft, stiff = (np.maximum(np.abs(x - c), np.abs(y - c)) < 0.15 for c in (0.3, 0.7))
    return np.log(0.1) * soft + np.log(10.0) * stiff


if __name__ == "__main__":
    ngf.main(case)
