r"""Heat source that travels and pulses: a field of space and time from the temperatures of a few sensors.

.. math::
    \min_m \tfrac12 \sum_{ij} \frac{(u(x_i, t_j) - d_{ij})^2}{\sigma^2} + \tfrac\alpha2 \int_0^1
    \|m\|^2 + l^2 \|\nabla m\|^2 + \tau^2 \|\partial_t m\|^2 \, dt
    \quad\text{subject to}\quad \partial_t u - 0.02\, \Delta u = m

on the unit square for 0 < t < 1, with u = 0 at the start and on the boundary, and all norms in L2. The true source has
two parts: a bump that travels once around the centre, and one that stays where it is and goes on and off three times.
The first is what neurons of (x, t) are made for, the second is a product of a function of x and one of t; most of
either is seen by nine by nine sensors, one a tenth of the side, a bump being about as wide.

The unknown is linear between the times of the steps, so that nodal values are as many as the mesh has nodes in space
and time. The scheme is BDF2; data come from a mesh with half the width and half the step.
"""

from pathlib import Path

import numpy as np
from skfem import ElementTriP1

import fem_ngf as ngf
from fem_ngf import dot, grad

END = 1.0


def mass(u, v, m, w):
    return u * v


def residual(u, v, m, w):
    return 0.02 * dot(grad(u), grad(v)) - m * v


def truth(x):
    """True source at points (x, y, t), coordinates first."""
    turn = 2.0 * np.pi * x[2] / END
    travelling = (x[0] - 0.5 - 0.25 * np.cos(turn)) ** 2 + (x[1] - 0.5 - 0.25 * np.sin(turn)) ** 2
    pulsing = (x[0] - 0.25) ** 2 + (x[1] - 0.75) ** 2
    return np.exp(-travelling / (2 * 0.12**2)) + (0.5 + 0.5 * np.sin(3.0 * turn)) * np.exp(-pulsing / (2 * 0.1**2))


def case(cells: int = 32, steps: int = 48, alpha: float = 2.5e4, length: float = 0.1, memory: float = 0.1,
         noise: float = 0.02, noise_seed: int = 1, sensors: int = 9, readings: int = 24,
         data: Path | None = None) -> ngf.Case:
    r"""Heat source that travels and pulses, from sensors.

    Parameters
    ----------
    steps
        Steps in time on the finest mesh; a coarser one has as many fewer as it has cells a side.
    length, memory
        Length scales l in space and :math:`\tau` in time, of the regularisation and of the search.
    readings
        Times at which the sensors are read.
    data
        A time series: `.npz` with points, times, values (times, points) and std, or `.csv` with columns x, y, t,
        value, std.
    """
    ngf.check_positive(alpha=alpha, steps=steps, readings=readings)

    def times(mesh):
        return np.linspace(0.0, END, max(2, round(steps * np.sqrt(mesh.nelements / 2) / cells)) + 1)

    def norm(space):
        return ngf.Tikhonov(ngf.TensorSpace.h1(space.spatial, space.temporal, length, memory))

    model = ngf.Model(residual, ElementTriP1(), ElementTriP1(), dirichlet=0.0, linear=True, definite=True,
                      evolution=ngf.Evolution(mass, times, "bdf2", parameter_times=times))
    points, when = ngf.grid_points((sensors, sensors), (0.1, 0.1), (0.9, 0.9)), np.linspace(0.0, END, readings + 1)[1:]
    measured = ngf.time_data(data, points, when, truth, model, ngf.unit_square(2 * cells), noise=noise, seed=noise_seed)
    levels = ngf.levels(model, ngf.halvings(ngf.unit_square, cells), measured, norm, alpha, truth=truth)
    network = ngf.MLP((3, 20, 20, 20, 1), activation="gauss", box=((0.0, 0.0, 0.0), (1.0, 1.0, END)))
    return ngf.Case("heat_source", levels, network, defaults={"max_parameters": 1000})


if __name__ == "__main__":
    ngf.main(case)
