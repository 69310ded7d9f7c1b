r"""Conductivity as a function of the temperature, from a plate that cools.

.. math::
    \min_m \tfrac12 \sum_{ij} \frac{(u(x_i, t_j) - d_{ij})^2}{\sigma^2} + \tfrac\alpha2 \int |m'(u)|^2 du
    \quad\text{subject to}\quad u_t - \nabla\cdot(e^{m(u)} \nabla u) = 0

in the unit square, hot all over at first; from then on air cools the left side, :math:`k \partial_n u = -h u`, and all
else is insulated. The unknown is a law, the logarithm of the conductivity k(u), on an interval of temperatures. One
experiment passes through all of them. BDF2, with steps that grow as the plate calms down. Synthetic data: a finer mesh
and shorter steps, the law itself in the equation, normal noise.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from skfem import Basis, ElementLineHermite, ElementTriP1, MeshLine

import fem_ngf as ngf
from fem_ngf import dot, grad

HOT, DURATION = 3.0, 1.0


def residual(u, v, m, w):
    return torch.exp(m(u)) * dot(grad(u), grad(v))


def mass(u, v, m, w):
    return u * v


def cooling(u, v, m, w):
    return w.transfer * u * v


def truth(u):
    """True law m = log k of temperatures u (1, n)."""
    return np.log(0.5 + 0.25 * u[0] ** 2)


def law(cells: int) -> ngf.Law:
    """Laws of the temperature, cubic on each cell, with a continuous slope."""
    return ngf.Law(Basis(MeshLine(np.linspace(0.0, 1.02 * HOT, cells + 1)), ElementLineHermite(), intorder=4))


def times(steps: int) -> np.ndarray:
    """The last step is nine times as long as the first one."""
    s = np.linspace(0.0, 1.0, steps + 1)
    return DURATION * (0.2 * s + 0.8 * s**2)


def case(cells: int = 12, steps: int = 30, alpha: float = 3.0, noise: float = 0.005, noise_seed: int = 1,
         sensors: int = 4, transfer: float = 4.0, neurons: int = 4, data: Path | None = None) -> ngf.Case:
    """Conductivity k(u) of a plate from temperatures while it cools.

    Parameters
    ----------
    sensors
        On each of four lines across the plate.
    transfer
        Coefficient h of the cooled side.
    neurons
        Of the network, which increases with the temperature.
    """
    ngf.check_positive(alpha=alpha, steps=steps, transfer=transfer)
    model = ngf.Model(residual, ElementTriP1(), law(24), boundary={"left": cooling}, data={"transfer": transfer},
                      intorder=3, evolution=ngf.Evolution(mass, times(steps), "bdf2", initial=HOT))
    finer = replace(model, parameter=law(80), evolution=replace(model.evolution, times=times(2 * steps)))
    points = ngf.grid_points((4, sensors), (0.05, 0.1), (0.95, 0.9))
    measured = ngf.time_data(data, points, np.linspace(0.05, DURATION, 20), truth, finer, ngf.unit_square(2 * cells),
                             noise=noise, seed=noise_seed)
    levels = ngf.levels(model, {f"{cells} x {cells}": ngf.unit_square(cells)}, measured,
                        lambda space: ngf.Tikhonov(space.stiffness), alpha, truth=truth if data is None else None)
    network = ngf.GradNetM(1, (neurons,), activation="softplus", monotone=True, box=((0.0,), (HOT,)))
    outcome = ngf.law_outcome(model.parameter, None if data else truth, logarithm=True,
                              labels=("temperature", "conductivity"))
    return ngf.Case("nonlinear_heat", levels, network, outcome=outcome)


if __name__ == "__main__":
    ngf.main(case)
