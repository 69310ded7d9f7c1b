"""Background conductivity and contact impedances from the measurement of the empty tank."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fem_ngf import ElectrodeModel, InputError, StudentNoise
from tank.files import Measurement
from tank.voltage_noise import DEGREES, robust_scale, standard_deviation


@dataclass(frozen=True, eq=False)
class Calibration:
    """What the empty tank tells.

    Parameters
    ----------
    conductivity
        Of the background.
    impedances
        (L,) contact impedances.
    residual
        (k, n_pat) computed minus measured voltages.
    factor
        Their size in units of the instrument's standard deviation (robust): measurement and modelling errors.
    iterations
        Gauss-Newton steps taken.
    """

    conductivity: float
    impedances: np.ndarray
    residual: np.ndarray
    factor: float
    iterations: int


def calibrate(model: ElectrodeModel, reference: Measurement, *, typical: float = 1e-4, spread: float = 2.0,
              iterations: int = 30) -> Calibration:
    """Fit a constant conductivity and one contact impedance an electrode to a reference measurement.

    Gauss-Newton in the logarithms, with Student weights whose scale is estimated from the residual in every step. The
    prior keeps impedances that the data do not determine: log z is normal around ``log typical``.

    Parameters
    ----------
    model
        Complete electrode model with the currents of `reference`; its impedances are the start.
    reference
        Measurement of the empty tank.
    typical, spread
        Centre and standard deviation (of log z) of the prior.
    iterations
        Largest number of steps.

    Raises
    ------
    InputError
        If no conductivity and impedances explain the measurement: it comes from another tank.
    SolveError
        If a solve fails.
    """
    std = standard_deviation(reference.voltages)
    x = np.r_[np.log(_conductivity(model, reference)), np.log(model.impedances)]
    mean, precision = np.r_[0.0, np.full(len(x) - 1, np.log(typical))], np.r_[0.0, np.full(len(x) - 1, spread**-2.0)]
    x[1:] = np.clip(x[1:], mean[1:] - 3 * spread, mean[1:] + 3 * spread)
    residual, jacobian = _linearize(model, reference, x)
    for taken in range(1, iterations + 1):  # noqa: B007
        factor = max(1.0, robust_scale(residual / std))
        noise = StudentNoise(std * factor, DEGREES)
        weights = noise.weights(residual)
        hessian = np.einsum("jix,ji,jiy->xy", jacobian, weights, jacobian, optimize=True) + np.diag(precision)
        gradient = np.einsum("jix,ji->x", jacobian, weights * residual) + precision * (x - mean)
        step = np.clip(-np.linalg.solve(hessian, gradient), -1.0, 1.0)

        def cost(x, residual, noise=noise):
            return noise.value(residual) + 0.5 * precision @ (x - mean) ** 2

        start, scale = cost(x, residual), 1.0
        while True:
            moved = x + scale * step
            trial = _linearize(model, reference, moved)
            if cost(moved, trial[0]) <= start:
                break
            scale *= 0.5
            if scale < 1e-4:
                raise InputError("reference: no conductivity and contact impedances explain its voltages; it must "
                                 "come from the empty tank of this mesh")
        x, (residual, jacobian) = moved, trial
        if np.abs(scale * step).max() < 1e-3:
            break
    return Calibration(float(np.exp(x[0])), np.exp(x[1:]), residual, factor, taken)


def _conductivity(model: ElectrodeModel, reference: Measurement) -> float:
    """The constant conductivity whose voltages have the size of the measured ones, with impedances to match."""
    state = model.solve(np.zeros(model.parameter_size))
    voltages = (model.observation_matrix(reference.patterns) @ state.u).T
    slope = np.sum(voltages * reference.voltages) / np.sum(voltages**2)
    if not slope > 0:
        raise InputError("reference: its voltages are zero or have the opposite sign of the computed ones; it must "
                         "come from the empty tank of this mesh, with these currents")
    return 1.0 / float(slope)


def _linearize(model: ElectrodeModel, reference: Measurement, x):
    """Residual (k, n_pat) and its derivative (k, n_pat, 1 + L) by log sigma and log z."""
    changed = replace(model, impedances=np.exp(x[1:]))
    state = changed.solve(np.full(model.parameter_size, x[0]))
    basis, fields = changed.patterns[0], state.fields
    injected, measured = basis.T @ model.currents, basis.T @ reference.patterns
    contacts = [fields.T @ (c @ fields) / z for c, z in zip(changed.contacts, changed.impedances, strict=True)]
    # fields^T K fields is the resistance, and K = K_sigma + contacts + grounding; mean-free patterns feel no grounding
    by_sigma = -(state.resistance() - sum(contacts))
    slopes = [injected.T @ slope @ measured for slope in (by_sigma, *contacts)]
    return injected.T @ state.resistance() @ measured - reference.voltages, np.stack(slopes, axis=2)
