r"""Electrical impedance tomography of a water tank, measured or synthetic: what lies in the water, and where?

Currents are injected through electrodes on the wall and voltages measured at them. With the complete electrode model

.. math::
    -\nabla\cdot(\sigma \nabla u) = 0, \qquad u + z_l \sigma \partial_n u = U_l \text{ and }
    \int_{e_l} \sigma \partial_n u = I_l \text{ on electrode } l, \qquad \sum_l U_l = 0,

the unknown w is the departure of the log-conductivity from that of the empty tank, bounded by beta:

.. math::
    \log\sigma = \log\sigma_0 + \beta\tanh(w/\beta), \qquad
    \min_w \sum_{ij} \rho\Bigl(\frac{U_{ij}(\sigma) - U_{ij}(\sigma_0) - (d_{ij} - d^0_{ij})}{s_{ij}}\Bigr)
    + \tfrac12 \|w\|^2_{C^{-1}}.

Data d of the tank, data d0 of the empty tank: differences cancel most of what the model does not know. The constant
sigma_0 and the contact impedances z are fitted to d0. The standard deviations s are those of the instrument (0.05 % of
each voltage + 0.01 % of the largest) times a factor that the data tell; rho is Student's with four degrees of freedom,
or the square. C is a bilaplacian prior with pointwise standard deviation `spread` and length scale `correlation`. In
the end w is cut at a fraction of its extremes into water, resistive and conductive. Without `data` the tank is
synthetic, its voltages those of a finer mesh.

References
----------
M. Räsänen et al., Kuopio Tomography Challenge 2023: data, score, and the levels at which electrodes are missing.
"""

from pathlib import Path

import fem_ngf as ngf
from tank.reconstruction import measured_tank, reconstruction


def case(data: Path | None = None, reference: Path | None = None, mesh: Path | None = None, level: int = 1,
         truth: Path | None = None, spread: float = 0.25, correlation: float = 0.04, bound: float = 4.0,
         robust: bool = True, outliers: float = 0.0, neurons: int = 24) -> ngf.Case:
    """Electrical impedance tomography of a water tank.

    Parameters
    ----------
    data, reference, mesh, truth
        Files of the challenge: the target, the empty tank, the mesh, and the true labels for the score.
    level
        1 to 7; level l does without electrodes 1..2(l - 1).
    spread, correlation, bound
        Standard deviation and length scale (in metres) of the prior of w; largest departure beta of log-conductivity.
    robust, outliers
        Student's noise model, which shrugs off outliers, instead of the normal one; and, as a trial of that, the
        fraction of the target's voltages that is replaced by values drawn from all over their range.
    """
    measured = measured_tank(data, reference, mesh, truth).with_outliers(outliers)
    found = reconstruction(measured, level, spread, correlation, bound, robust)
    tank = ngf.Level("tank", found.energy, found.energy.space.basis, fields=found.fields)
    network = ngf.MLP((2, neurons, neurons, 1), box=(2 * (-found.grid.half,), 2 * (found.grid.half,)))
    return ngf.Case("eit_tank", (tank,), network, length=correlation, units={"x": "m"}, defaults={"sampling": "nodal"},
                    outcome=found.outcome)


if __name__ == "__main__":
    ngf.main(case)
