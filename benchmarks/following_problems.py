"""Thirteen inverse problems as a new user would write them, on which a network is asked to follow the search.

``PROBLEMS[name]()`` returns a `Problem`: the energy, the space, a network with its default start, nothing tuned. The
cases of the repository come with their own networks; the others have two hidden layers of 12 tanh neurons.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from scipy.sparse.linalg import splu
from skfem import Basis, ElementTriP1, ElementTriP2, ElementVector, FacetBasis

from fem_ngf import (
    MLP,
    Blocks,
    FiniteElement,
    GaussianNoise,
    HilbertSpace,
    InverseProblem,
    PerField,
    ProductSpace,
    SolveCounts,
    StationaryProblem,
    Tikhonov,
    WeakForm,
    boundary,
    dot,
    grad,
    point_values,
    unit_square,
)

CASES = Path(__file__).resolve().parent.parent / "cases"


@dataclass(frozen=True, eq=False)
class Problem:
    """An energy, the space of its unknown, and the network that a user would take.

    Parameters
    ----------
    energy, space
        `InverseProblem` and its `HilbertSpace`.
    network
        Ansatz with an ``initial``.
    start
        Constant start of nodal values.
    """

    energy: InverseProblem
    space: HilbertSpace
    network: object
    start: float = 0.0

    @property
    def nodal(self) -> FiniteElement:
        """The finite-element unknown."""
        return FiniteElement(self.space, self.start)


# ---- an evolution by hand -------------------------------------------------------------------------------------------


class Heat:
    """``u_t = D lap u`` with insulated boundary and unknown initial value: snapshots by implicit Euler.

    One solve is one evolution. The columns of the state hold the snapshots one below the other.
    """

    experiments = 1

    def __init__(self, space, steps=24, step=1e-3, snapshots=(4, 8, 16, 24)):
        self.space, self.steps, self.snapshots, self.counts = space, steps, snapshots, SolveCounts()
        self.state_size = self.work_per_solve = len(snapshots) * space.size
        self.parameter_size = space.size
        self.factor = splu((space.mass + step * space.stiffness).tocsc())

    def solve(self, m, start=None):
        """Snapshots from the initial value m (n,)."""
        self.counts.forward += 1
        return HeatState(self, m, self.snapshots_of(m))

    def snapshots_of(self, m):
        """(n_u,) or (n_u, b), linear in the initial value (n,) or (n, b)."""
        found, u = [], np.asarray(m, dtype=float)
        for number in range(1, self.steps + 1):
            u = self.factor.solve(self.space.mass @ u)
            if number in self.snapshots:
                found.append(u)
        return np.concatenate(found)

    def transpose(self, covector):
        """The transpose of `snapshots_of`."""
        parts = dict(zip(self.snapshots, np.split(covector, len(self.snapshots)), strict=True))
        p = np.zeros_like(parts[self.steps])
        for number in range(self.steps, 0, -1):
            p = self.space.mass @ self.factor.solve(p + parts.get(number, 0.0))
        return p


@dataclass(frozen=True, eq=False)
class HeatState:
    """One evolution with its tangent and adjoint."""

    problem: Heat
    m: np.ndarray
    values: np.ndarray

    @property
    def u(self):
        """(n_u, 1)."""
        return self.values[:, None]

    def tangent(self, dm):
        """(n_u, 1) or (n_u, 1, b)."""
        self.problem.counts.incremental += dm[0].size
        return np.expand_dims(self.problem.snapshots_of(dm), 1)

    def adjoint_state(self, covector, kind="adjoint"):
        """Minus the covector on the initial value: the first adjoint step, (n, 1) or (n, 1, b)."""
        setattr(self.problem.counts, kind, getattr(self.problem.counts, kind) + covector[0].size)
        return np.expand_dims(self.problem.transpose(covector[:, 0]), 1)

    def pull_back(self, p):
        """The covector itself."""
        return p[:, 0]

    def adjoint(self, covector, kind="adjoint"):
        """Transpose of `tangent`."""
        return self.pull_back(self.adjoint_state(covector, kind))


@dataclass(frozen=True, eq=False)
class SnapshotValues:
    """Point values of every snapshot."""

    matrix: object

    @property
    def shape(self):
        """(n_obs, n_u)."""
        return self.matrix.shape

    def __call__(self, u):
        """(n_u, ...) -> (n_obs, ...)."""
        return (self.matrix @ u.reshape(len(u), -1)).reshape(self.matrix.shape[0], *u.shape[1:])

    def transpose(self, r):
        """Its transpose."""
        return (self.matrix.T @ r.reshape(len(r), -1)).reshape(self.matrix.shape[1], *r.shape[1:])


# ---- the problems ---------------------------------------------------------------------------------------------------


def heat(cells: int = 32) -> Problem:
    """Initial temperature from 150 sensors read at four times."""
    space = HilbertSpace.h1(Basis(unit_square(cells), ElementTriP1(), intorder=4))
    x = space.points
    hill = np.exp(-((x - [0.3, 0.6]) ** 2).sum(1) / 0.02)
    truth = space.project(hill - 0.7 * np.exp(-((x - [0.7, 0.3]) ** 2).sum(1) / 0.01))
    one = point_values(space.basis, np.random.default_rng(0).uniform(0.03, 0.97, (150, 2))).matrix
    pde = Heat(space)
    sensors = SnapshotValues(sp.csr_array(sp.block_diag([one] * len(pde.snapshots))))
    return measured(pde, sensors, space, truth, 0.01, Tikhonov(space.stiffness, 1.0), network=MLP((2, 12, 12, 1)))


def measured(pde, sensors, space, truth, level, regularization, *, network, start=0.0, seed=1) -> Problem:
    """The problem with synthetic data of `truth` and normal noise of the `level` relative to the largest datum."""
    exact = sensors(pde.solve(truth).u)
    std = level * np.abs(exact).max()
    data = exact + std * np.random.default_rng(seed).standard_normal(exact.shape)
    energy = InverseProblem(pde, sensors, data, GaussianNoise.from_std(std), regularization, space)
    return Problem(energy, space, network, start)


def elastic(strain_energy):
    """Weak form with the plane strain ``eps(v)`` for Lame parameters 1 and 1."""
    def residual(u, v, m, w):
        du, dv = grad(u), grad(v)
        symmetric = sum(0.5 * (du[i, j] + du[j, i]) * 0.5 * (dv[i, j] + dv[j, i]) for i in range(2) for j in range(2))
        return strain_energy((du[0, 0] + du[1, 1]) * (dv[0, 0] + dv[1, 1]) + 2.0 * symmetric, v, m)
    return residual


def force(networks: int = 1, cells: int = 20) -> Problem:
    """Two components of a body force from displacements at 100 points."""
    state = Basis(unit_square(cells), ElementVector(ElementTriP1()), intorder=3)
    scalar = state.with_element(ElementTriP1())
    space = ProductSpace((HilbertSpace.h1(scalar), HilbertSpace.h1(scalar)))
    form = WeakForm(elastic(lambda work, v, m: work - m[0] * v[0] - m[1] * v[1]), state, (scalar, scalar))
    pde = StationaryProblem(form, dirichlet=state.get_dofs("left").all(), linear=True, symmetric=True, definite=True)
    sensors = point_values(state, np.random.default_rng(0).uniform(0.03, 0.97, (100, 2)))
    x, y = space.spaces[0].points.T
    hill = np.exp(-((x - 0.6) ** 2 + (y - 0.4) ** 2) / 0.03)
    truth = space.project(np.stack([hill - 0.5, np.sin(3 * np.pi * x) * (y - 0.5)], axis=1))
    parts = tuple(Tikhonov(one.stiffness, 0.1) for one in space.spaces)
    network = MLP((2, 12, 12, 2)) if networks == 1 else PerField((MLP((2, 12, 12, 1)), MLP((2, 12, 12, 1))))
    return measured(pde, sensors, space, truth, 0.005, Blocks(parts, space.sizes), network=network)


def two_fields(cells: int = 16) -> Problem:
    """Diffusivity and absorption from two experiments, 144 sensors, 0.3 % noise."""
    def residual(u, v, m, w):
        return torch.exp(m[0]) * dot(grad(u), grad(v)) + 20.0 * torch.exp(m[1]) * u * v - w.x[0] * v

    state = Basis(unit_square(cells), ElementTriP2())
    fields = state.with_element(ElementTriP1())
    space = ProductSpace((HilbertSpace.h1(fields), HilbertSpace.h1(fields)))
    loads = np.stack([0 * state.doflocs[0], 5.0 * (state.doflocs[1] > 0.5) / state.N], axis=1)
    pde = StationaryProblem(WeakForm(residual, state, (fields, fields)), loads=loads,
                            dirichlet=state.get_dofs("left").all(), linear=True)
    grid = np.stack(np.meshgrid(*2 * [np.linspace(0.05, 0.95, 12)]), axis=-1).reshape(-1, 2)
    x, y = space.spaces[0].points.T
    truth = space.project(np.stack([0.8 * np.sin(2 * np.pi * x), np.cos(np.pi * y) * x], axis=1))
    parts = tuple(Tikhonov(one.stiffness, 1.0) for one in space.spaces)
    network = PerField((MLP((2, 12, 12, 1)), MLP((2, 12, 12, 1))))
    return measured(pde, point_values(state, grid), space, truth, 3e-3, Blocks(parts, space.sizes), network=network)


def elasticity(cells: int = 24) -> Problem:
    """Log-stiffness of a loaded square from displacements at 200 points, weak regularisation."""
    state = Basis(unit_square(cells), ElementVector(ElementTriP1()), intorder=3)
    space = HilbertSpace.h1(state.with_element(ElementTriP1()))
    form = WeakForm(elastic(lambda work, v, m: torch.exp(m) * work + v[1]), state, space.basis)
    pde = StationaryProblem(form, dirichlet=state.get_dofs("bottom").all(), linear=True, symmetric=True, definite=True)
    sensors = point_values(state, np.random.default_rng(0).uniform(0.03, 0.97, (200, 2)))
    x = space.points
    truth = space.project(1.2 * np.exp(-((x - [0.6, 0.4]) ** 2).sum(1) / 0.03) - 0.6 * (x[:, 0] < 0.3))
    return measured(pde, sensors, space, truth, 0.002, Tikhonov(space.stiffness, 2.0), network=MLP((2, 12, 12, 1)))


def robin(cells: int = 32) -> Problem:
    """Heat transfer coefficient on the right boundary from 40 temperatures nearby, two experiments."""
    mesh = unit_square(cells)
    state = Basis(mesh, ElementTriP2(), intorder=4)
    edge = FacetBasis(mesh, ElementTriP2(), facets=boundary(mesh, "right"), intorder=4)
    fields = edge.with_element(ElementTriP1())
    space = HilbertSpace.h1(fields, 0.3)
    inside = WeakForm(lambda u, v, m, w: dot(grad(u), grad(v)), state, ElementTriP1())
    form = inside + WeakForm(lambda u, v, m, w: torch.exp(m) * u * v, edge, fields)
    left = state.get_dofs("left").all()
    values = np.zeros((state.N, 2))
    values[left, 0], values[left, 1] = 1.0, state.doflocs[1, left]
    pde = StationaryProblem(form, dirichlet=left, values=values, linear=True, symmetric=True, definite=True)
    points = np.column_stack([np.full(40, 0.9), np.linspace(0.02, 0.98, 40)])
    y = space.points[:, 1]
    truth = space.project(1.0 * np.sin(5.0 * y) + np.exp(-((y - 0.7) ** 2) / 0.005))
    return measured(pde, point_values(state, points), space, truth, 0.002, Tikhonov(space.stiffness, 0.3),
                    network=MLP((2, 12, 12, 1)))


def sensors(cells: int = 32, level: float = 0.001) -> Problem:
    """The README's example with 0.1 % noise: log-diffusivity from 200 sensors."""
    state = Basis(unit_square(cells), ElementTriP2())
    space = HilbertSpace.h1(state.with_element(ElementTriP1()))
    form = WeakForm(lambda u, v, m, w: torch.exp(m) * dot(grad(u), grad(v)) - v, state, space.basis)
    pde = StationaryProblem(form, dirichlet=state.get_dofs("left").all(), linear=True)
    generator = np.random.default_rng(0)
    truth = space.project(np.exp(-((space.points - [0.4, 0.6]) ** 2).sum(axis=1) / 0.08))
    points = point_values(state, generator.uniform(0.05, 0.95, (200, 2)))
    exact = points(pde.solve(truth).u)
    std = level * exact.max()
    data = exact + std * generator.standard_normal(exact.shape)
    energy = InverseProblem(pde, points, data, GaussianNoise.from_std(std), Tikhonov(space.stiffness, 30.0), space)
    return Problem(energy, space, MLP((2, 12, 12, 1)))


def of_case(name: str, **arguments) -> Problem:
    """The finest level of a case of the repository, with its network."""
    sys.path.insert(0, str(CASES))
    case = __import__(name).case(**arguments)
    level = case.levels[-1]
    length = {"length": case.length}
    return Problem(level.energy, level.space("h1", **length), case.ansatz, case.ansatz.start)


PROBLEMS = {
    "heat": heat,
    "force, one network": force,
    "force, two networks": lambda: force(2),
    "two fields": two_fields,
    "sensors 0.1 %": sensors,
    "diffusion": lambda: of_case("diffusion", data=CASES.parents[2] / "shared/data/hippylib/diffusion_n64.npz"),
    "diffusion 32": lambda: of_case("diffusion", cells=32),
    "reaction": lambda: of_case("reaction"),
    "elasticity": elasticity,
    "robin": robin,
    "conductivity": lambda: of_case("conductivity"),
    "plate": lambda: of_case("perforated_plate"),
    "block_3d": lambda: of_case("block_3d"),
}
