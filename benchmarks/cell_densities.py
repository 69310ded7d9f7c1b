"""Mosaic's conductivity recovery: the densities of 16 x 8 x 1 hexahedra, each in [1e-3, 1], from temperatures at nodes.

A slab of 2 x 1 x 1 is held at T = 0 on the left and heated by the flux one on the right; its conductivity is
k = 1e-3 + (1 - 1e-3) rho^3. The energy is the sum of (T - T_target)^2 over the nodes, from rho = 1/2, with no
regularisation. The data are not attainable: the benchmark lumps a quarter of a cell's flux to every node of the right
face, however many cells it has, so that its target has 9/16 of the heat.

    OMP_NUM_THREADS=1 python benchmarks/cell_densities.py [--seeds 3]

References
----------
Mosaic: a benchmark suite for differentiable physics solvers, Pasteur Labs (2026), problem "thermal-mesh",
"conductivity_recovery".
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from scipy.optimize import least_squares
from skfem import ElementHex0, ElementHex1, MeshHex

from fem_ngf import MLP, FiniteElement, Measurements, Model, NewtonFlow, StationaryProblem, WeakForm, dot, grad

SIZE, BOUNDS, START = (2.0, 1.0, 1.0), (1e-3, 1.0), 0.5


def residual(u, v, m, w):
    """``-div(k(rho) grad T) = 0``."""
    return (1e-3 + (1.0 - 1e-3) * m**3) * dot(grad(u), grad(v))


def slab(cells):
    """The mesh, with the names of two boundaries."""
    mesh = MeshHex.init_tensor(*(np.linspace(0.0, side, n + 1) for side, n in zip(SIZE, cells, strict=True)))
    return mesh.with_boundaries({"left": lambda x: x[0] < 1e-9, "right": lambda x: x[0] > SIZE[0] - 1e-9})


def true_densities(x):
    """Two hills at points x (3, ...)."""
    return sum(np.exp(-((x[0] - c) ** 2 + (x[1] - 0.5) ** 2) / (2.0 * 0.15**2)) for c in (0.6, 1.4)).clip(0.0, 1.0)


def target(discrete, cells) -> np.ndarray:
    """Nodal temperatures of the true densities for the benchmark's own load, in its single precision."""
    state, mesh = discrete.state, discrete.mesh
    load = np.zeros((state.N, 1))
    right = np.flatnonzero(mesh.p[0] > SIZE[0] - 1e-9)
    load[state.nodal_dofs[0, right]] = SIZE[1] / cells[1] * SIZE[2] / cells[2] / 4.0
    form = WeakForm(residual, state, discrete.parameter)
    pde = StationaryProblem(form, dirichlet=state.get_dofs("left").all(), loads=load, linear=True, definite=True)
    truth = np.zeros(discrete.parameter.N)
    truth[discrete.parameter.element_dofs[0]] = true_densities(mesh.p[:, mesh.t].mean(axis=1))
    return pde.solve(truth).u[:, 0].astype(np.float32).astype(float)


def problem(cells=(16, 8, 1)):
    """The energy, on densities one a cell."""
    model = Model(residual, ElementHex1(), ElementHex0(), dirichlet={"left": 0.0}, neumann={"right": 1.0}, linear=True,
                  definite=True)
    discrete = model.on(slab(cells))
    temperatures = Measurements(discrete.mesh.p.T, np.zeros(discrete.mesh.nvertices), np.sqrt(0.5))
    at_nodes, _, _ = temperatures.on(discrete.state)
    values = at_nodes(target(discrete, cells)[:, None])
    return discrete.inverse_problem(Measurements(discrete.mesh.p.T, values, np.full_like(values, np.sqrt(0.5))),
                                    bounds=BOUNDS)


def searched(energy, ansatz, theta, iterations: int = 400):
    """The last iterate of a Newton flow."""
    return list(NewtonFlow(energy, ansatz, energy.space, iterations=iterations).run(theta))[-1]


def trust_region(energy, evaluations: int = 300) -> float:
    """The energy that scipy's bounded Gauss-Newton method reaches with exact Jacobians."""
    def misfit(m):
        return (energy.observation(energy.pde.solve(m).u) - energy.data)[:, 0]

    def jacobian(m):
        return energy.observation(energy.pde.solve(m).tangent(np.eye(len(m))))[:, 0]

    found = least_squares(misfit, np.full(energy.space.size, START), jacobian, bounds=BOUNDS, max_nfev=evaluations,
                          xtol=1e-12, ftol=1e-12, gtol=1e-12)
    return 2.0 * found.cost


def main() -> None:
    """Print the ends of a bounded Gauss-Newton method, of nodal values, and of networks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    energy = problem()
    clock = time.process_time()
    end, solves = trust_region(energy), energy.counts.total
    print(f"{'scipy, trf':24s} {end:9.4f} {solves:7d} solves {time.process_time() - clock:6.1f} s")
    nodal, network = FiniteElement(energy.space, START), MLP((3, 12, 12, 1), "tanh", ((0.0,) * 3, SIZE), START)
    runs = {"densities": (nodal, nodal.initial())} | {
        f"network, seed {n}": (network, network.initial(np.random.default_rng(n))) for n in range(options.seeds)}
    for name, (ansatz, theta) in runs.items():
        clock = time.process_time()
        last = searched(energy, ansatz, theta)
        print(f"{name:24s} {last.value:9.4f} {last.total_solves:7d} solves {time.process_time() - clock:6.1f} s "
              f"{last.step:4d} steps, {last.status}", flush=True)


if __name__ == "__main__":
    main()
