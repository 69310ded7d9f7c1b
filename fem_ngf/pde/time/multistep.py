r"""Schemes in time, all of them linear two-step formulas with one set of weights a step.

.. math::
    \sum_{j=0}^2 \bigl(\alpha_{ij} B(u_{i-j}) + \delta_{ij} D(u_{i-j}) + \beta_{ij} R(u_{i-j}, t_{i-j})\bigr) = 0,
    \qquad i = 1, \dots, N,

for :math:`\frac{d}{dt} B(u) + R(u, t) = 0`, and for :math:`\frac{d^2}{dt^2} B(u) + \frac{d}{dt} D(u) + R(u, t) = 0`
in Newmark's scheme. All evaluate the equation at one time at once, so that its derivatives are needed there only, and
the coupling in time is by numbers.

References
----------
E. Hairer, S. P. Norsett, G. Wanner, Solving Ordinary Differential Equations I, Springer 1993: BDF2 with variable steps,
Section III.5.
N. M. Newmark, A method of computation for structural dynamics, J. Eng. Mech. Div. 85 (1959).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...errors import InputError

LARGEST_RATIO = 1.0 + np.sqrt(2.0)
"""Of a step of BDF2 to the one before: beyond it the formula is unstable."""


@dataclass(frozen=True, eq=False)
class Weights:
    """Weights ``[i, j]`` (N + 1, 3) of what is evaluated at time i - j in the equation of step i; row 0 is zero."""

    mass: np.ndarray
    damping: np.ndarray
    residual: np.ndarray


def steps(times: np.ndarray) -> np.ndarray:
    """Lengths (N,) of the steps; those that differ by rounding of the times are made equal."""
    lengths = np.diff(times)
    tolerance = 8.0 * np.finfo(float).eps * np.abs(times).max()
    ordered = np.sort(lengths)
    starts = np.flatnonzero(np.diff(ordered, prepend=-np.inf) > tolerance)
    return ordered[starts][np.searchsorted(ordered[starts], lengths, side="right") - 1]


def multistep(times: np.ndarray, method: str) -> Weights:
    """Weights of a scheme.

    Parameters
    ----------
    times
        ``(N + 1,)``, increasing.
    method
        ``"euler"`` (implicit, order 1), ``"crank-nicolson"``, ``"bdf2"`` (order 2; its first step is one of
        Crank-Nicolson), or ``"newmark"`` for two derivatives in time (beta = 1/4, gamma = 1/2, order 2; in its first
        step u_(-1) stands for the initial velocity).

    Raises
    ------
    InputError
        For another method, or steps of BDF2 that grow too fast to be stable.
    """
    if method not in _METHODS:
        raise InputError(f"method is {method!r}; choose {', '.join(map(repr, _METHODS))}")
    h = steps(times)
    weights = Weights(*np.zeros((3, len(times), 3)))
    _METHODS[method](weights, h)
    return weights


def _euler(weights: Weights, h: np.ndarray) -> None:
    weights.mass[1:, :2] = 1.0, -1.0
    weights.residual[1:, 0] = h


def _crank_nicolson(weights: Weights, h: np.ndarray) -> None:
    weights.mass[1:, :2] = 1.0, -1.0
    weights.residual[1:, :2] = 0.5 * h[:, None]


def _bdf2(weights: Weights, h: np.ndarray) -> None:
    ratio = h[1:] / h[:-1]
    if (ratio >= LARGEST_RATIO).any():
        i = int(np.argmax(ratio))
        raise InputError(f"times: step {i + 2} is {ratio[i]:.3g} times as long as the one before; BDF2 is unstable "
                         f"from {LARGEST_RATIO:.2f} on, let the steps grow more slowly")
    _crank_nicolson(weights, h)
    weights.mass[2:] = np.stack([(1 + 2 * ratio) / (1 + ratio), -(1 + ratio), ratio**2 / (1 + ratio)], axis=1)
    weights.residual[2:] = np.stack([h[1:], 0 * ratio, 0 * ratio], axis=1)


def _newmark(weights: Weights, h: np.ndarray) -> None:
    """The trapezoidal rule for u and its velocity, with the velocity eliminated."""
    weights.mass[1] = 1.0 / h[0], -1.0 / h[0], -1.0
    weights.damping[1, :2] = 0.5, -0.5
    weights.residual[1, :2] = 0.25 * h[0]
    before, after = h[:-1], h[1:]
    weights.mass[2:] = np.stack([1 / after, -1 / after - 1 / before, 1 / before], axis=1)
    weights.damping[2:] = 0.5, 0.0, -0.5
    weights.residual[2:] = 0.25 * np.stack([after, after + before, before], axis=1)


_METHODS = {"euler": _euler, "crank-nicolson": _crank_nicolson, "bdf2": _bdf2, "newmark": _newmark}
