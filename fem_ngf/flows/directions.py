"""Ideal steps in the Hilbert space: truncated (Gauss-)Newton directions (METHOD section 3b)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..errors import SolveError
from ..linalg.cg import CGStep, conjugate_gradients


@dataclass(frozen=True, eq=False)
class KrylovDirection:
    """Direction ``s`` (n,) and what conjugate gradients learnt about the misfit Hessian on the way.

    Parameters
    ----------
    vector
        ``s``.
    directions, images
        Conjugate directions ``V`` (n, j) and ``Y = H_misfit V`` (n, j).
    model_decrease
        ``-q(s)`` of the quadratic model ``q(s) = g.s + 1/2 s.Hs``.
    reason
        Why the iteration ended.
    """

    vector: np.ndarray
    directions: np.ndarray
    images: np.ndarray
    model_decrease: float
    reason: str


def steepest_direction(vector: np.ndarray) -> KrylovDirection:
    """A direction that was not found by conjugate gradients."""
    empty = np.zeros((len(vector), 0))
    return KrylovDirection(vector, empty, empty, float("nan"), "gradient")


def nesterov_direction(energy, space, iterate, length: float) -> KrylovDirection:
    r"""Nesterov's step in H: extrapolate, then descend from there, :math:`s = v - h\, grad E(m + v)`.

    Costs the forward and adjoint solves at the extrapolated function, which no network needs to realise. Where ``s``
    does not descend at ``m``, the momentum is left out.

    Parameters
    ----------
    iterate
        Its memory holds ``momentum`` (the last move, (n,)) and its ``age``.
    length
        Step ``h``.

    References
    ----------
    Y. Nesterov, A method of solving a convex programming problem with convergence rate O(1/k^2), Soviet Math.
    Dokl. 27 (1983); B. O'Donoghue, E. Candes, Adaptive restart for accelerated gradient schemes, Found. Comput.
    Math. 15 (2015).
    """
    derivative, age = iterate.linearization.derivative, iterate.memory.age
    extrapolation = iterate.memory.momentum * (age / (age + 3.0))
    try:
        ahead = energy.linearize(iterate.m + extrapolation).derivative
    except SolveError:
        return steepest_direction(-length * space.riesz(derivative))
    vector = extrapolation - length * space.riesz(ahead)
    return steepest_direction(vector if derivative @ vector < 0 else -length * space.riesz(derivative))


def first_step(linearization, vector: np.ndarray) -> float:
    """Minimiser ``g.v / v.Hv`` of the Gauss-Newton model along ``-v``; costs one Hessian action."""
    curvature = vector @ linearization.hessian_action(vector)
    return float(linearization.derivative @ vector / curvature) if curvature > 0 else 1.0


def quasi_newton_solve(base, pairs: list[tuple[np.ndarray, np.ndarray]]):
    r"""Limited-memory BFGS inverse Hessian with `base` as its start: a preconditioner made of old curvature.

    Parameters
    ----------
    base
        covector -> vector, symmetric positive definite.
    pairs
        ``(v, H v)`` of earlier conjugate-gradient runs with positive ``v.Hv``, oldest first.

    References
    ----------
    J. L. Morales, J. Nocedal, Automatic preconditioning by limited memory
    quasi-Newton updating, SIAM J. Optim. 10 (2000).
    """
    curvatures = [v @ y for v, y in pairs]

    def solve(covector: np.ndarray) -> np.ndarray:
        q, steps = covector.copy(), []
        for (v, y), curvature in zip(reversed(pairs), reversed(curvatures), strict=True):
            steps.append((v @ q) / curvature)
            q -= steps[-1] * y
        r = base(q)
        for (v, y), curvature, step in zip(pairs, curvatures, reversed(steps), strict=True):
            r += (step - (y @ r) / curvature) * v
        return r

    return solve


def recycled_pairs(memory, prior) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs ``(v, H v)`` kept in a flow's memory, with the regularisation Hessian `prior` of today."""
    if memory.directions is None:
        return []
    pairs = [(v, y + prior @ v) for v, y in zip(memory.directions.T, memory.images.T, strict=True)]
    return [(v, y) for v, y in pairs if v @ y > 0]


def remembered(memory, move: KrylovDirection, limit: int, fresh: bool):
    """Newest `limit` directions and images for the next step; none when the Hessian has become another (`fresh`)."""
    if limit == 0 or fresh:
        return replace(memory, directions=None, images=None)
    if memory.directions is None:
        return replace(memory, directions=move.directions, images=move.images)
    return replace(memory, directions=np.column_stack([memory.directions, move.directions])[:, -limit:],
                   images=np.column_stack([memory.images, move.images])[:, -limit:])


def newton_direction(linearization, kind: str, forcing: float, *, worth: float = 0.2, maximum: int = 100,
                     pairs=()) -> KrylovDirection:
    r"""Truncated Newton direction ``H s = -g`` by preconditioned conjugate gradients.

    Parameters
    ----------
    linearization
        Of an inverse problem: ``derivative``, ``misfit_action``, ``regularization_hessian``, ``preconditioner``.
    kind
        ``"gauss-newton"`` or ``"newton"``.
    forcing
        Stop when the preconditioned residual norm has fallen by this factor (Eisenstat-Walker).
    worth
        Stop when the last decrease of the quadratic model is below this fraction of its mean decrease per
        iteration: the model stops paying (METHOD section 3b).
    maximum
        Largest number of iterations; each costs two incremental solves.
    pairs
        Curvature pairs of earlier runs for `quasi_newton_solve`.

    Raises
    ------
    SolveError
        If the Hessian action is not finite.

    Notes
    -----
    A direction of non-positive curvature ends the iteration; if it is the
    first one, the preconditioned negative gradient is returned.
    """
    precondition = quasi_newton_solve(linearization.preconditioner.solve, list(pairs))
    prior = linearization.regularization_hessian(kind)
    empty = np.zeros((len(linearization.derivative), 0))
    images, directions, reason = [empty], [empty], "residual"
    vector, decrease = empty.sum(axis=1), 0.0

    def action(v: np.ndarray) -> np.ndarray:
        images.append(linearization.misfit_action(v, kind))
        return images[-1] + prior @ v

    for step in conjugate_gradients(action, -linearization.derivative, precondition, flat=1e-14):
        vector, decrease, reason = step.x, -step.model, _reason(step, forcing, worth, maximum)
        if not step.negative_curvature:
            directions.append(step.direction)
        if reason:
            break
    return KrylovDirection(vector, np.column_stack(directions), np.column_stack(images[: len(directions)]), decrease,
                           reason)


def _reason(step: CGStep, forcing: float, worth: float, maximum: int) -> str:
    """Why conjugate gradients end here, or nothing."""
    if step.negative_curvature:
        return "negative curvature"
    if step.residual <= forcing:
        return "residual"
    if step.decreases[-1] < worth * np.mean(step.decreases):
        return "model stopped paying"
    return "maximum" if step.iteration >= maximum else ""
