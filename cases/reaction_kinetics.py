r"""A rate of reaction as a function of the concentration, from concentrations inside a layer fed on one side.

.. math::
    \min_r \tfrac12 \sum_i \frac{(u(x_i) - d_i)^2}{\sigma_i^2} + \tfrac\alpha2 \int |r'(u)|^2 du
    \quad\text{subject to}\quad -D \Delta u + r(u) = 0

on the unit square: u is given on the left, decreases upwards there, and does not flow through the other sides. The rate
is a law of the concentration. It increases, which makes the equation solvable, and is zero where there is nothing to
react: so is the network. The truth, r = V u / (K + u) of Michaelis and Menten, is not in its class. Synthetic data: a
finer mesh, the law itself in the equation, normal noise.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from skfem import Basis, ElementLineHermite, ElementTriP2, MeshLine

import fem_ngf as ngf
from fem_ngf import dot, grad

FED = 2.0


def residual(u, v, r, w):
    return w.diffusivity * dot(grad(u), grad(v)) + r(u) * v


def truth(u):
    """True rate at concentrations u (1, n)."""
    return u[0] / (0.3 + u[0])


def law(cells: int) -> ngf.Law:
    """Rates between no concentration and a fifth above the largest, cubic on each cell, with a continuous slope."""
    return ngf.Law(Basis(MeshLine(np.linspace(0.0, 1.2 * FED, cells + 1)), ElementLineHermite(), intorder=4))


def case(cells: int = 16, alpha: float = 3.0, noise: float = 0.01, noise_seed: int = 1, sensors: int = 14,
         diffusivity: float = 0.1, neurons: int = 4, data: Path | None = None) -> ngf.Case:
    """Rate of reaction r(u) from concentrations in a layer."""
    ngf.check_positive(alpha=alpha, diffusivity=diffusivity)
    model = ngf.Model(residual, ElementTriP2(), law(32), dirichlet={"left": lambda x: FED * (1.0 - 0.8 * x[1])},
                      data={"diffusivity": diffusivity}, intorder=4)
    points = ngf.grid_points((sensors, sensors), (0.03, 0.03), (0.97, 0.97))
    measured = ngf.point_data(data, points, truth, replace(model, parameter=law(80)), ngf.unit_square(2 * cells),
                              noise=noise, seed=noise_seed)
    known = None if data else truth
    levels = ngf.levels(model, ngf.halvings(ngf.unit_square, cells), measured,
                        lambda space: ngf.Tikhonov(space.stiffness), alpha, truth=known)
    network = ngf.GradNetM(1, (neurons,), activation="softplus", monotone=True, box=((0.0,), (1.2 * FED,)))
    outcome = ngf.law_outcome(model.parameter, known, labels=("concentration", "rate"))
    return ngf.Case("reaction_kinetics", levels, ngf.Anchored(network), outcome=outcome)


if __name__ == "__main__":
    ngf.main(case)
