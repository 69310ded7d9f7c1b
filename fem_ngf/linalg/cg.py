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
    """One iteration of `conjugate_gradients`.

    ``x`` is the iterate, ``direction`` the conjugate direction that led to it, ``residual`` the residual's norm in the
    preconditioner relative to the right-hand side's, ``model`` is ``1/2 x^T A x - b^T x``, ``decreases`` what each
    iteration took off it (positive numbers) and ``expected`` what the next one would, were the preconditioner exact
    (half the residual's squared norm). With ``negative_curvature`` the iteration is the last and has not moved:
    ``x`` is the iterate before, or the preconditioned right-hand side where that is the direction (a descent direction
    in either case).
    """

    iteration: int
    x: np.ndarray
    direction: np.ndarray
    residual: float
    model: float
    decreases: tuple[float, ...]
    expected: float
    negative_curvature: bool = False


def conjugate_gradients(apply, rhs, preconditioner=None):
    """Iterations of preconditioned conjugate gradients for ``A x = rhs`` from zero; the caller ends them.

    Parameters
    ----------
    apply : callable vector (n,) -> covector (n,)
    rhs : covector (n,)
    preconditioner : callable covector -> vector, optional

    Yields
    ------
    CGStep
        None for a right-hand side of zero.

    Raises
    ------
    SolveError
        When `apply` or the preconditioner returns something that is not finite.
    """
    x, r, model, decreases = np.zeros_like(rhs), np.array(rhs, dtype=float), 0.0, ()
    z = r if preconditioner is None else preconditioner(r)
    direction, rho = z, float(r @ z)
    start = residual = np.sqrt(max(rho, 0.0))
    while residual > 0.0 or np.isnan(rho):
        image = apply(direction)
        curvature, iteration = float(direction @ image), len(decreases) + 1
        if not (np.isfinite(curvature) and np.isfinite(rho)):
            raise SolveError(f"conjugate gradients met a value that is not finite in iteration {iteration}: the "
                             "operator (a Hessian, a Gram matrix) or its preconditioner overflowed")
        if curvature <= 0.0:
            x = x if decreases else direction
            yield CGStep(iteration, x, direction, residual / start, model, decreases, 0.5 * rho, True)
            return
        length = rho / curvature
        x, r = x + length * direction, r - length * image
        decreases += (0.5 * rho * length,)
        model -= decreases[-1]
        z = r if preconditioner is None else preconditioner(r)
        rho, before = float(r @ z), rho
        residual = np.sqrt(max(rho, 0.0))
        yield CGStep(iteration, x, direction, residual / start, model, decreases, 0.5 * rho)
        direction = z + (rho / before) * direction


def pcg(apply, rhs, *, preconditioner=None, stop=None, tolerance=1e-8, max_iterations=None) -> CGResult:
    """Solve ``A x = rhs`` by `conjugate_gradients`, whose first parameters and errors it shares.

    Parameters
    ----------
    stop : callable CGStep -> bool, optional
        Ends the iteration when true.
    tolerance : float
        On the residual's norm in the preconditioner, relative to the right-hand side's.
    max_iterations : int, optional
        Number of applications of `apply` allowed; n if not given.
    """
    limit = len(rhs) if max_iterations is None else max_iterations
    for step in conjugate_gradients(apply, rhs, preconditioner):
        reason = ("negative curvature" if step.negative_curvature else "residual" if step.residual <= tolerance else
                  "stop" if stop is not None and stop(step) else "maximum" if step.iteration >= limit else "")
        if reason:
            return CGResult(step.x, step.iteration, reason, step.residual, step.model)
    return CGResult(np.zeros_like(rhs), 0, "residual", 0.0, 0.0)
