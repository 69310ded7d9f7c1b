r"""A steep layer with an oscillation, fitted by a small tanh network in the norm of a Hilbert space.

.. math::
    \min_m \tfrac12 \|m - y\|_H^2, \qquad y(x) = \tanh(50 (x - \tfrac12)) + \tfrac12 \sin(6 \pi x), \quad x \in (0, 1).

H is H1 (``--energy h1``) or L2. The flow's metric is chosen by ``--metric``:
where it is the energy's own the gradient is ``m - y`` itself, and all that
stands between the network and its target is the projection on its tangent
space. No PDE is solved.

References
----------
W. Dahmen, W. Li, Y. Teng, Z. Wang, Expansive natural neural gradient flows for energy minimization, arXiv 2507.13475.
"""

from typing import Literal

import numpy as np
from skfem import Basis, ElementLineP1

import fem_ngf as ngf


def target(x):
    """The function to fit, of points x (q, 1)."""
    return np.tanh(50.0 * (x[:, 0] - 0.5)) + 0.5 * np.sin(6.0 * np.pi * x[:, 0])


def case(cells: int = 512, energy: Literal["h1", "l2"] = "h1", neurons: int = 20) -> ngf.Case:
    """A steep layer with an oscillation, fitted in the norm of a Hilbert space.

    Parameters
    ----------
    cells
        Cells of the interval (linear elements).
    energy
        Norm of the energy, h1 or l2.
    """
    basis = Basis(ngf.interval(cells), ElementLineP1())
    space = (ngf.HilbertSpace.h1 if energy == "h1" else ngf.HilbertSpace.l2)(basis, sampling="nodal")
    fit = ngf.Regression.of_function(space, target)
    level = ngf.Level(f"{cells}", fit, basis, truth=fit.target)
    defaults = {"flow": "natural-gradient", "method": "levenberg-marquardt", "metric": energy, "sampling": "nodal",
                "iterations": 300, "tolerance": 1e-12, "stagnation": 1e-12}
    return ngf.Case("fit_1d", (level,), ngf.MLP((1, neurons, 1), activation="tanh"), defaults=defaults,
                tuning={"damping": 1e-2}, title="A steep layer with an oscillation")


if __name__ == "__main__":
    ngf.main(case)
