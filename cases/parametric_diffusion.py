r"""The map from a piecewise constant diffusion to the solution, learnt in the norm of the solutions.

.. math::
    -\nabla\cdot(a(y) \nabla u) = 1, \quad u = 0 \text{ on the boundary}, \qquad
    a(y) = y_k \text{ on square } k \text{ of } k_x \times k_x, \quad y_k \sim U(0.1, 1.9),

    \min_c \tfrac1{2N} \sum_j \|u(y_j) - \Phi c(y_j)\|_V^2, \qquad V = H^1_0.

A network maps y to the coefficients c of a reduced basis: the leading singular vectors of the nodal values of N
snapshots. ``--metric`` chooses the inner product of the flow: that of V, of L2, or the Euclidean one of the
coefficients. With ``--energy residual`` no snapshot enters but through the basis: the energy is the mean squared dual
norm of the residual, and ``--metric residual`` its own inner product.
"""

from typing import Literal

import numpy as np
import scipy.sparse as sp
from skfem import ElementTriP0, ElementTriP1

import fem_ngf as ngf
from fem_ngf import dot, grad

LOWER, UPPER = 0.1, 1.9


def residual(u, v, a, w):
    return a * dot(grad(u), grad(v)) - v


def diffusion(cells: int, squares: int) -> ngf.AffineProblem:
    """The problem on `cells` x `cells` cells with `squares` x `squares` values of the diffusion."""
    model = ngf.Model(residual, ElementTriP1(), ElementTriP0(), dirichlet=0.0, linear=True, definite=True)
    discrete = model.on(ngf.unit_square(cells))
    column, row = np.floor(squares * discrete.parameter.doflocs).astype(int)
    return ngf.AffineProblem(discrete.state, discrete.equation, np.eye(squares**2)[column + squares * row])


def draw(count: int, squares: int, seed: int) -> np.ndarray:
    """Parameters (count, squares^2), uniform."""
    return np.random.default_rng(seed).uniform(LOWER, UPPER, (count, squares**2))


def network(squares: int, rank: int, neurons: int) -> ngf.MLP:
    """Two hidden layers from parameters to coefficients."""
    box = ((LOWER,) * squares**2, (UPPER,) * squares**2)
    return ngf.MLP((squares**2, neurons, neurons, rank), "tanh", box, scale=1.0)


def case(cells: int = 24, squares: int = 3, snapshots: int = 200, rank: int = 20, neurons: int = 20,
         energy: Literal["snapshots", "residual"] = "snapshots") -> ngf.Case:
    """Diffusion with piecewise constant coefficients: the map to the solution.

    Parameters
    ----------
    cells, squares
        Cells a side, and squares with one value each; a multiple.
    snapshots, rank
        Number of solutions, dimension of the reduced space.
    energy
        Distance to the snapshots in V, or dual norm of the residual.
    """
    problem, parameters = diffusion(cells, squares), draw(snapshots, squares, seed=1)
    solutions = problem.solve(parameters)
    basis = ngf.pod(solutions, sp.eye_array(len(solutions)), rank)
    fit = distance = ngf.snapshot_reduction(parameters, solutions, problem.stiffness, basis)
    spaces = {"v": distance.space, "l2": ngf.coefficient_space(parameters, basis, problem.mass),
              "euclid": ngf.coefficient_space(parameters, basis)}
    if energy == "residual":
        fit = ngf.residual_reduction(parameters, problem.operators, problem.load, ngf.Matrix(problem.stiffness), basis)
        spaces["residual"] = fit.space

    def fields(at):
        return ngf.compared(problem.state, problem.full(basis @ at.m[:rank]), problem.full(solutions[:, 0]))

    level = ngf.SampleLevel(f"{snapshots} parameters", fit, spaces, distance.target, fields)
    return ngf.Case("parametric_diffusion", (level,), network(squares, rank, neurons), tuning={"damping": 1e-2},
                    defaults={"flow": "natural-gradient", "method": "levenberg-marquardt", "iterations": 60,
                              "metric": "v" if energy == "snapshots" else "residual", "stagnation": 1e-6})


if __name__ == "__main__":
    ngf.main(case)
