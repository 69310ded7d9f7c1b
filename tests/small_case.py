"""A small diffusion problem for the tests of the command line: -div(exp(m) grad u) = 1, sensors, two meshes."""

import os
import signal
from pathlib import Path

import numpy as np
import skfem
import torch

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
    boundary_trace,
    dot,
    grad,
    main,
    point_values,
    read_measurements,
    read_mesh,
    unit_square,
)


def residual(u, v, m, w):
    return torch.exp(m) * dot(grad(u), grad(v)) - v


def problem(mesh):
    state, parameter = skfem.Basis(mesh, skfem.ElementTriP2()), skfem.Basis(mesh, skfem.ElementTriP1())
    return StationaryProblem(WeakForm(residual, state, parameter.elem), dirichlet=state.get_dofs().all(), linear=True,
                             symmetric=True), state, parameter


def truth(x):
    return 0.5 * np.sin(np.pi * x[0]) * x[1]


def synthetic(sensors, noise):
    """Noisy values (sensors^2,) on a grid, from a finer mesh."""
    grid = np.linspace(0.1, 0.9, sensors)
    points = np.array(np.meshgrid(grid, grid)).reshape(2, -1).T
    pde, state, parameter = problem(skfem.MeshTri().refined(4))
    u = pde.solve(truth(parameter.doflocs)).u
    values = point_values(state, points)(u)[:, 0]
    return points, values + noise * np.random.default_rng(5).standard_normal(len(values))


def case(cells: int = 8, data: Path | None = None, sensors: int = 8, noise: float = 2e-3, gamma: float = 1.0,
         side: str = "left",
         mesh: Path | None = None, stop_after: int = 0, stop_by: str = "SIGINT") -> Case:
    """Diffusion with point sensors.

    Parameters
    ----------
    cells
        Cells per side of the finest mesh, even.
    data
        File with points and values; without it synthetic data are made.
    sensors
        Sensors per side of the synthetic data.
    noise
        Standard deviation of the noise.
    gamma
        Weight of the regularisation.
    side
        Boundary on which the data are reported.
    mesh
        Mesh file, instead of the two meshes of the square.
    stop_after
        Send this process a signal in that solve on the coarse mesh, for tests that interrupt; 0: never.
    stop_by
        The signal's name.
    """
    if cells < 2:
        raise InputError(f"cells is {cells}; it must be 2 at least")
    if data is None:
        points, values = synthetic(sensors, noise)
    else:
        measurements = read_measurements(data, dimension=2)
        points, values = measurements.points, measurements.values
    levels, meshes = [], {f"{n} x {n}": unit_square(n) for n in (cells // 2, cells)}
    for name, domain in ({"file": read_mesh(mesh)} if mesh else meshes).items():
        pde, state, parameter = problem(domain)
        boundary_trace(state, side)
        space = HilbertSpace.l2(parameter)
        energy = InverseProblem(
            signalling(pde, stop_after, stop_by), point_values(state, points), values,
            GaussianNoise.from_std(np.full(len(values), noise)), Tikhonov(space.stiffness, gamma), space)
        levels.append(Level(name, energy, parameter, truth=truth(parameter.doflocs),
                            fields=lambda linearization, state=state: {"u": (state, linearization.state.u[:, 0])}))
    return Case("small", tuple(levels), MLP((2, 6, 1)), title="Small diffusion problem",
                defaults={"iterations": 4}, tuning={"share": 0.1})


def signalling(pde, number, name):
    """The problem, which sends its own process a signal in a certain solve."""
    solve, solved = pde.solve, []

    def signalled(m, start=None):
        solved.append(1)
        if len(solved) == number:
            os.kill(os.getpid(), signal.Signals[name])
        return solve(m, start=start)

    pde.solve = signalled
    return pde


if __name__ == "__main__":
    main(case)
