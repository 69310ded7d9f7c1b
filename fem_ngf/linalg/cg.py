"""Preconditioned conjugate gradients that say why they stopped.

References
----------
T. Steihaug, "The conjugate gradient method and trust regions in large scale optimization",
SIAM J. Numer. Anal. 20 (1983): stopping on negative curvature.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import SolveError


@dataclass(frozen=True)
class CGResult:
    """What conjugate gradients returned, and why they stopped.

    reason is "residual", "negative curvature", "stop" (the callback) or "maximum".
    """

    x: np.ndarray
    iterations: int
    reason: str
    residual: float
    model: float


@dataclass(frozen=True)
class CGStep:
    """What the stop callback of `pcg` sees after an iteration.

    model is ``1/2 x^T A x - b^T x``; decreases lists what each iteration took off it (positive numbers).
    """

    iteration: int
    x: np.ndarray
    residual: float
    model: float
    decreases: tuple[float, ...]


def pcg(apply, rhs, *, preconditioner=None, stop=None, tolerance=1e-8, max_iterations=None):
    """Preconditioned conjugate gradients for ``A x = rhs``, started from zero.

    Parameters
    ----------
    apply : callable vector (n,) -> covector (n,)
    rhs : covector (n,)
    preconditioner : callable covector -> vector, optional
    stop : callable CGStep -> bool, optional
        Ends the iteration when true.
    tolerance : float
        On the residual's norm in the preconditioner, relative to the right-hand side's.
    max_iterations : int, optional
        Number of applications of `apply` allowed; n if not given.

    Returns
    -------
    CGResult
        On negative curvature x is the last iterate, or the preconditioned right-hand side when that is the first
        direction (a descent direction in either case).

    Raises
    ------
    SolveError
        When `apply` or the preconditioner returns something that is not finite.
    """
    x, r, model, decreases = np.zeros_like(rhs), np.array(rhs, dtype=float), 0.0, ()
    z = r if preconditioner is None else preconditioner(r)
    direction, rho = z, float(r @ z)
    norm, start = np.sqrt(max(rho, 0.0)), np.sqrt(max(rho, 0.0))
    if start == 0.0:
        return CGResult(x, 0, "residual", 0.0, 0.0)
    for iteration in range(1, (len(rhs) if max_iterations is None else max_iterations) + 1):
        image = apply(direction)
        curvature = float(direction @ image)
        if not (np.isfinite(curvature) and np.isfinite(rho)):
            raise SolveError(f"conjugate gradients met a value that is not finite in iteration {iteration}")
        if curvature <= 0.0:
            return CGResult(direction if iteration == 1 else x, iteration, "negative curvature", norm / start, model)
        length = rho / curvature
        x, r = x + length * direction, r - length * image
        decreases += (0.5 * rho * length,)
        model -= decreases[-1]
        z = r if preconditioner is None else preconditioner(r)
        rho, before = float(r @ z), rho
        norm = np.sqrt(max(rho, 0.0))
        if norm <= tolerance * start:
            return CGResult(x, iteration, "residual", norm / start, model)
        if stop is not None and stop(CGStep(iteration, x, norm / start, model, decreases)):
            return CGResult(x, iteration, "stop", norm / start, model)
        direction = z + (rho / before) * direction
    return CGResult(x, len(decreases), "maximum", norm / start, model)
