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

from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.sparse as sp
from skfem import Basis, BilinearForm, ElementTriP1, LinearForm
from skfem.helpers import dot, grad

from fem_ngf import (
    MLP,
    Case,
    HilbertSpace,
    Matrix,
    ParametricReduction,
    ResidualReduction,
    SampleLevel,
    Stacked,
    main,
    pod,
    unit_square,
)

LOWER, UPPER = 0.1, 1.9


@dataclass(frozen=True, eq=False)
class Diffusion:
    """The discrete problem: ``sum_k y_k A_k u = f`` on the free unknowns.

    Parameters
    ----------
    basis
        Linear elements.
    operators, load
        ``A_k`` (n, n) and ``f`` (n,), on the free unknowns.
    space
        H1_0 with the stiffness matrix.
    """

    basis: Basis
    operators: tuple
    load: np.ndarray
    space: HilbertSpace

    @property
    def stiffness(self):
        """Inner product of V on the free unknowns."""
        return sp.csr_array(sum(self.operators))

    @property
    def mass(self):
        """Inner product of L2 on the free unknowns."""
        return self.space.mass[self.space.free][:, self.space.free]

    def solve(self, parameters: np.ndarray) -> np.ndarray:
        """Solutions (n, N) on the free unknowns for parameters (N, p)."""
        def one(y):
            matrix = sp.csr_array(sum(factor * operator for factor, operator in zip(y, self.operators, strict=True)))
            return Matrix(matrix).solve(self.load)

        return np.column_stack([one(y) for y in parameters])

    def vector(self, free: np.ndarray) -> np.ndarray:
        """Vector on all unknowns."""
        full = np.zeros(self.basis.N)
        full[self.space.free] = free
        return full


def diffusion(cells: int, squares: int) -> Diffusion:
    """The problem on `cells` x `cells` cells with `squares` x `squares` values of the diffusion."""
    basis = Basis(unit_square(cells), ElementTriP1(), intorder=2)
    space = HilbertSpace.h1_seminorm(basis, fixed=basis.get_dofs().all())

    def piece(k):
        def form(u, v, w):
            where = np.minimum((squares * w.x).astype(int), squares - 1)
            return (where[0] + squares * where[1] == k) * dot(grad(u), grad(v))

        return sp.csr_array(BilinearForm(form).assemble(basis))[space.free][:, space.free]

    load = LinearForm(lambda v, w: 1.0 * v).assemble(basis)[space.free]
    return Diffusion(basis, tuple(piece(k) for k in range(squares**2)), load, space)


def draw(count: int, squares: int, seed: int) -> np.ndarray:
    """Parameters (count, squares^2), uniform."""
    return np.random.default_rng(seed).uniform(LOWER, UPPER, (count, squares**2))


def network(squares: int, rank: int, neurons: int) -> MLP:
    """Two hidden layers from parameters to coefficients."""
    box = ((LOWER,) * squares**2, (UPPER,) * squares**2)
    return MLP((squares**2, neurons, neurons, rank), box=box, scale=1.0)


def case(cells: int = 24, squares: int = 3, snapshots: int = 200, rank: int = 20, neurons: int = 20,
         energy: Literal["snapshots", "residual"] = "snapshots") -> Case:
    """The map from a piecewise constant diffusion to the solution.

    Parameters
    ----------
    cells
        Cells a side, a multiple of the number of squares.
    squares
        Squares a side with one value each.
    snapshots
        Number of solutions.
    rank
        Dimension of the reduced space.
    neurons
        Width of the two hidden layers.
    energy
        Distance to the snapshots in V, or dual norm of the residual.
    """
    problem, parameters = diffusion(cells, squares), draw(snapshots, squares, seed=1)
    solutions = problem.solve(parameters)
    basis = pod(solutions, sp.eye_array(len(solutions)), rank)
    distance = ParametricReduction(parameters, solutions, problem.stiffness, basis)
    spaces = {"v": distance.space(), "l2": distance.space(problem.mass), "euclid": distance.space("coefficients")}
    fit = distance
    if energy == "residual":
        fit = ResidualReduction(parameters, problem.operators, problem.load, Matrix(problem.stiffness), basis)
        spaces["residual"] = fit.space()

    def fields(linearization):
        found = problem.vector(basis @ linearization.m.reshape(snapshots, rank)[0])
        exact = problem.vector(solutions[:, 0])
        return {"m": (problem.basis, found), "truth": (problem.basis, exact), "error": (problem.basis, found - exact)}

    level = SampleLevel(f"{snapshots} parameters", fit, spaces, distance.target, fields)
    defaults = {"flow": "natural-gradient", "method": "levenberg-marquardt", "iterations": 60,
                "metric": "v" if energy == "snapshots" else "residual",
                "sampling": "nodal", "stagnation": 1e-6}
    return Case("parametric_diffusion", (level,), Stacked(network(squares, rank, neurons)), defaults=defaults,
                tuning={"damping": 1e-2}, title="Diffusion with piecewise constant coefficients")


if __name__ == "__main__":
    main(case)
