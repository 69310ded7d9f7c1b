r"""A conservative vector field learnt by a network that is a gradient by construction.

.. math::
    \min_f \tfrac12 \sum_i w_i |f(x_i) - \nabla\psi(x_i)|^2, \qquad f = \text{GradNet}_\theta, \quad x_i \in [0, 1]^2.

The convex potential is :math:`x_1^4 + x_1^2/2 + x_1 x_2/2 + 3 x_2^2/2 - x_2^3/3` (networks of the monotone kind), the
other one :math:`\sin(2\pi x_1)\cos(\pi x_2/2)/4 + x_1 x_2/2 - x_2^2/2`. The samples are the nodes of a uniform grid,
weighted by the trapezoidal rule; the flow is the natural gradient in L2 of the samples, which is Gauss-Newton here.

References
----------
S. Chaudhari, S. Pranav, J. M. F. Moura, Gradient networks, arXiv 2404.07361.
"""

from typing import Literal

import numpy as np
from skfem import Basis, ElementTriP1, ElementVector

import fem_ngf as ngf


def gradient(field: str, x):
    """Gradient (q, 2) of a potential at points x (q, 2)."""
    a, b = x.T
    if field == "convex":
        return np.stack([4.0 * a**3 + a + 0.5 * b, 0.5 * a + 3.0 * b - b**2], axis=1)
    return np.stack([0.5 * np.pi * np.cos(2 * np.pi * a) * np.cos(0.5 * np.pi * b) + 0.5 * b,
                     -0.125 * np.pi * np.sin(2 * np.pi * a) * np.sin(0.5 * np.pi * b) + 0.5 * a - b], axis=1)


def case(field: Literal["convex", "nonconvex"] = "convex", kind: Literal["cascaded", "modular"] = "cascaded",
         cells: int = 40) -> ngf.Case:
    """A conservative vector field learnt by a gradient network.

    Parameters
    ----------
    field, kind
        Which potential; which network, of matrices in a row or side by side.
    cells
        Cells a side of the grid of samples.
    """
    basis = Basis(ngf.unit_square(cells), ElementTriP1())
    points, weights = basis.doflocs.T, ngf.HilbertSpace.l2(basis, sampling="nodal").weights
    space = ngf.SampleSpace(points, components=2, weights=weights)
    energy = ngf.Regression(space, space.project(gradient(field, points)))
    vectors = Basis(basis.mesh, ElementVector(ElementTriP1()))

    level = ngf.SampleLevel(f"{len(points)} samples", energy, {"l2": space}, energy.target,
                            fields=lambda at: ngf.compared(vectors, at.m, energy.target))
    network = (ngf.GradNetC if kind == "cascaded" else ngf.GradNetM)(monotone=field == "convex")
    defaults = {"flow": "natural-gradient", "method": "levenberg-marquardt", "metric": "l2", "iterations": 200,
                "tolerance": 1e-12, "stagnation": 1e-12}
    return ngf.Case("gradient_field", (level,), network, defaults=defaults,
                    tuning={"damping": 1e-2}, title=f"Gradient of a {field} potential")


if __name__ == "__main__":
    ngf.main(case)
