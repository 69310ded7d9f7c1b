r"""Poisson's equation on a domain with a re-entrant corner, solved by a network as a minimisation problem.

.. math::
    \min_u \int_\Omega \tfrac12 |\nabla u|^2 - f u, \qquad u = 0 \text{ on } \partial\Omega, \qquad
    \Omega = (-1, 1)^2 \setminus [0, 1)^2.

The source belongs to the exact solution :math:`u = (1 - x^2)(1 - y^2)\, r^{2/3} \sin(\tfrac23\varphi)`, with the angle
measured from one of the edges at the corner; its gradient is unbounded there. In the metric "energy" the gradient flow
is the Galerkin projection onto the tangent space, and the norm of the gradient the distance to the Galerkin solution
(W. Dahmen, W. Li, Y. Teng, Z. Wang, arXiv 2507.13475).
"""

import numpy as np
import torch
from skfem import Basis, ElementTriP1

import fem_ngf as ngf
from fem_ngf import dot, grad


def density(u, w):
    return 0.5 * dot(grad(u), grad(u)) - w.f * u


def solution(x):
    angle = torch.remainder(torch.atan2(x[1], x[0]) - 0.5 * np.pi, 2.0 * np.pi)
    return (1.0 - x[0] ** 2) * (1.0 - x[1] ** 2) * (x * x).sum(0) ** (1 / 3) * torch.sin(2 / 3 * angle)


exact, source = ngf.manufactured(solution)


def bubble(x):
    """Zero on the boundary of the L-shaped domain, positive inside; points x (q, 2)."""
    a, b = x.T
    return (1.0 - a**2) * (1.0 - b**2) * (np.maximum(-a, 0.0) + np.maximum(-b, 0.0))


def case(cells: int = 32, levels: int = 2, neurons: int = 16) -> ngf.Case:
    """Poisson's equation with a re-entrant corner, on three squares of cells x cells."""
    network = ngf.BoundaryLift(ngf.MLP((2, neurons, neurons, 1), box=((-1.0, -1.0), (1.0, 1.0))), bubble)
    defaults = {"flow": "natural-gradient", "method": "levenberg-marquardt", "metric": "energy", "sampling": "nodal",
                "iterations": 200, "stagnation": 1e-6}
    meshes = tuple(level(max(cells // 2**k, 2)) for k in reversed(range(levels)))
    return ngf.Case("ritz_2d", meshes, network, defaults=defaults, tuning={"damping": 1e-2})


def level(n: int) -> ngf.Level:
    """The energy on `n` cells a unit; the truth is the exact solution at the nodes."""
    basis = Basis(ngf.l_shape(n), ElementTriP1(), intorder=6)
    functional = ngf.Functional(density, basis, f=source(np.asarray(basis.global_coordinates())))
    energy = ngf.RitzEnergy(functional, basis, basis.get_dofs().all(), quadratic=True)
    return ngf.Level(f"{n} cells a unit", energy, basis, energy.fixed, exact(basis.doflocs),
                     matrices={"energy": energy.curvature(np.zeros(basis.N))})


if __name__ == "__main__":
    ngf.main(case)
