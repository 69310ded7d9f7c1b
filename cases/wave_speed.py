r"""Squared slowness of a medium from waves that eight shots send through it to the receivers on one side.

.. math::
    \min_m \sum_{sij} \frac{(u_s(x_i, t_j) - d_{sij})^2}{2\sigma_s^2} + \tfrac\alpha2 \|m\|_{H^1}^2
    \quad\text{subject to}\quad (1 + m)\, \partial_t^2 u_s - \Delta u_s = 0,

in the unit square, at rest until the shot. On all sides waves leave, :math:`\partial_n u_s + \partial_t u_s = g_s`, and
enter where the shot is, as a Ricker wavelet. Receivers are on the right, shots on the three other sides. The unknown m
is the relative anomaly of the squared slowness, true is one of 20 % with another of opposite sign. State in P2,
parameter in P1; Newmark's scheme. Synthetic data: a finer mesh, 1 % noise. (The steps in time are the same, so that the
scheme's dispersion in time is a part of the model.)
"""

from pathlib import Path

import numpy as np
from skfem import ElementTriP1, ElementTriP2

import fem_ngf as ngf
from fem_ngf import dot, grad

DURATION = 2.4
SIDES = ("left", "right", "bottom", "top")


def residual(u, v, m, w):
    return dot(grad(u), grad(v))


def mass(u, v, m, w):
    return (1.0 + m) * u * v


def leaving(u, v, m, w):
    return u * v


def truth(x):
    """True anomaly: one of 20 %, and a smaller one of opposite sign."""
    return (0.2 * np.exp(-((x[0] - 0.4) ** 2 + (x[1] - 0.6) ** 2) / 0.015)
            - 0.12 * np.exp(-((x[0] - 0.65) ** 2 + (x[1] - 0.3) ** 2) / 0.012))


def shots(number: int) -> dict[str, list]:
    """Fluxes of the shots through the sides, evenly spread from top right over the left to bottom right."""
    fluxes = {side: [0.0] * number for side in ("top", "left", "bottom")}
    for j, along in enumerate(3.0 * (np.arange(number) + 0.5) / number):
        side, axis, place = (("top", 0, 1.0 - along), ("left", 1, 2.0 - along), ("bottom", 0, along - 2.0))[int(along)]
        fluxes[side][j] = lambda x, axis=axis, place=place: 40.0 * np.exp(-((x[axis] - place) / 0.05) ** 2)
    return fluxes


def case(cells: int = 24, steps: int = 160, number: int = 8, receivers: int = 31, frequency: float = 2.5,
         alpha: float = 2e5, noise: float = 0.01, noise_seed: int = 1, data: Path | None = None) -> ngf.Case:
    """Squared slowness of a medium from the waves of eight shots at receivers on one side.

    Parameters
    ----------
    steps
        Of the scheme in time.
    number
        Shots.
    receivers
        On the right side.
    frequency
        Of the wavelet: its peak. Cells and steps must resolve more than twice as much.
    """
    ngf.check_positive(alpha=alpha, steps=steps, number=number, receivers=receivers, frequency=frequency)

    model = ngf.Model(residual, ElementTriP2(), ElementTriP1(), neumann=shots(number), intorder=5, linear=True,
                      definite=True, evolution=ngf.Evolution(
                          mass, np.linspace(0.0, DURATION, steps + 1), "newmark",
                          absorbing=dict.fromkeys(SIDES, leaving), pulse=ngf.ricker(frequency)))
    points = ngf.grid_points((1, receivers), (1.0, 0.05), (1.0, 0.95))
    heard = np.linspace(0.4, DURATION, 101)
    measured = ngf.time_data(data, points, heard, truth, model, ngf.unit_square(cells + 8), noise=noise,
                             seed=noise_seed)
    levels = ngf.levels(model, {f"{cells} x {cells}": ngf.unit_square(cells)}, measured,
                        lambda space: ngf.Tikhonov(ngf.HilbertSpace.h1(space.basis, 0.1)), alpha,
                        truth=truth if data is None else None)
    return ngf.Case("wave_speed", levels, ngf.MLP((2, 16, 16, 1)), defaults={"sampling": "nodal"})


if __name__ == "__main__":
    ngf.main(case)
