r"""Conductivity as a function of the temperature, from temperatures on the boundary and on one line of a plate.

.. math::
    \min_m \tfrac12 \sum_i \frac{(u(x_i) - d_i)^2}{\sigma_i^2} + \tfrac\alpha2 \int |m'(u)|^2 du
    \quad\text{subject to}\quad -\nabla\cdot(e^{m(u)} \nabla u) = 0

on the unit square: u = 0 at the bottom, heat flows in on the left at the rate q and out at the bottom only. The unknown
is a law, the logarithm of the conductivity k(u): it lives on an interval of temperatures, and k is positive whatever
the network. Synthetic data: a finer mesh, the law itself in the equation, normal noise.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from skfem import Basis, ElementLineHermite, ElementTriP2, MeshLine

import fem_ngf as ngf
from fem_ngf import dot, grad


def residual(u, v, m, w):
    return torch.exp(m(u)) * dot(grad(u), grad(v))


def truth(u):
    """True law m = log k of temperatures u (1, n)."""
    return np.log(0.5 + 0.5 * u[0] ** 1.5)


def law(hottest: float, cells: int) -> ngf.Law:
    """Laws of the temperature between 0 and `hottest`, cubic on each cell, with a continuous slope."""
    return ngf.Law(Basis(MeshLine(np.linspace(0.0, hottest, cells + 1)), ElementLineHermite(), intorder=4))


def lines(sensors: int) -> np.ndarray:
    """Points (n, 2) on the left, on the right, on the top and on the line x = 1/2, none at the bottom."""
    s = np.linspace(0.0, 1.0, sensors + 1)[1:]
    sides = [np.column_stack([np.full(sensors, x), s]) for x in (0.0, 0.5, 1.0)]
    return np.unique(np.concatenate([*sides, np.column_stack([s, np.ones(sensors)])]), axis=0)


def case(cells: int = 24, alpha: float = 3.0, noise: float = 0.01, noise_seed: int = 1, sensors: int = 24,
         heat: float = 4.0, hottest: float = 3.2, neurons: int = 4, data: Path | None = None) -> ngf.Case:
    """Conductivity k(u) of a plate from temperatures on its boundary and on one line.

    Parameters
    ----------
    sensors
        On each side but the bottom, and on the line.
    heat
        Rate at which heat flows in on the left.
    hottest
        Upper end of the interval of temperatures on which the law is sought.
    neurons
        Of the network, which increases with the temperature.
    """
    ngf.check_positive(alpha=alpha, heat=heat, hottest=hottest)
    model = ngf.Model(residual, ElementTriP2(), law(hottest, 32), dirichlet={"bottom": 0.0}, neumann={"left": heat},
                      intorder=4)
    measured = ngf.point_data(data, lines(sensors), truth, replace(model, parameter=law(hottest, 100)),
                              ngf.unit_square(2 * cells), noise=noise, seed=noise_seed)
    known = None if data else truth
    levels = ngf.levels(model, ngf.halvings(ngf.unit_square, cells), measured,
                        lambda space: ngf.Tikhonov(space.stiffness), alpha, truth=known)
    network = ngf.GradNetM(1, (neurons,), activation="softplus", monotone=True, box=((0.0,), (hottest,)))
    outcome = ngf.law_outcome(model.parameter, known, logarithm=True, labels=("temperature", "conductivity"))
    return ngf.Case("nonlinear_conductivity", levels, network, outcome=outcome)


if __name__ == "__main__":
    ngf.main(case)
