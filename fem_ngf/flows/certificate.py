"""What could still be gained where a run ends: whether it may be called converged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..ansatz.finite_element import FiniteElement
from ..errors import SolveError
from ..tangent.rows import tangents
from .curvature import Curvature, krylov_pairs
from .iterate import CONVERGED, Iterate, solve_kinds, solves_since
from .quadratic_model import QuadraticModel, attainable

SHARE, LARGEST = 1e-3, 1e-2
"""Expected decrease, relative to the energy, up to which a run may be called converged; the largest for few data."""


def negligible(iterate: Iterate) -> float:
    """Expected decrease up to which a run may be called converged: `SHARE` of the energy, or 1/2 of a log-likelihood.

    Where there are few data and 1/2 is much, at most `LARGEST` of the energy.
    """
    noise, size = getattr(getattr(iterate.linearization, "energy", None), "noise", None), abs(iterate.value)
    return max(SHARE * size, min(0.5, LARGEST * size) if getattr(noise, "is_likelihood", False) else 0.0)


def expected_decrease(iterate: Iterate) -> float:
    r"""What the best step along the tangent space is expected to gain, :math:`\tfrac12 b\cdot G^+ b`.

    ``G`` is the Gram matrix in the Gauss-Newton metric. For an inverse problem its misfit part is learnt by
    `krylov_pairs`, which costs a few pairs of solves an experiment; other energies know their Hessian.

    Raises
    ------
    SolveError
        If the tangent vectors or the Hessian are not finite.
    """
    linearization = iterate.linearization
    nodal = isinstance(iterate.ansatz, FiniteElement)
    vectors = None if nodal else tangents(iterate.ansatz, iterate.theta, iterate.space)
    if hasattr(linearization, "residual"):
        curvature = Curvature.of(linearization)
        curvature = curvature.with_pairs(*krylov_pairs(linearization, curvature, share=0.01))
        limits = linearization.energy.limits
        return QuadraticModel(iterate.m, linearization.derivative, curvature, limits).expected_decrease(vectors)
    if nodal:
        return 0.5 * float(linearization.derivative @ linearization.preconditioner.solve(linearization.derivative))
    vectors = np.asarray(vectors)
    return attainable(vectors.T @ linearization.hessian_action(vectors), vectors.T @ linearization.derivative)


def certified(iterate: Iterate) -> Iterate:
    """The end of a flow that does not know what it could still gain, with that number.

    Where a rule calls it converged and more than `negligible` could be gained, the reason says so, and it is not. An
    energy without a Hessian has no such number.
    """
    if not any(hasattr(iterate.linearization, name) for name in ("residual", "hessian_action")):
        return iterate
    counts = getattr(getattr(iterate.linearization, "energy", None), "counts", None)
    before = counts and solve_kinds(counts)
    try:
        expected = expected_decrease(iterate)
    except SolveError:
        expected = float("inf")
    if counts is not None:
        iterate = replace(iterate, solves=solves_since(counts, before, iterate.solves))
    iterate = replace(iterate, expected=expected)
    if iterate.stop_reason not in CONVERGED or expected <= negligible(iterate):
        return iterate
    share = expected / abs(iterate.value) if iterate.value else float("inf")
    return iterate.stopped(f"{iterate.stop_reason}, but {share:.1%} of the energy could still be gained")


def run(flow, start: np.ndarray | Iterate) -> Iterator[Iterate]:
    """Iterates from parameters or from an iterate, the first one included; the last one has a stop reason.

    It says what could still be gained; a flow that does not know it is `certified`.
    """
    iterate = start if isinstance(start, Iterate) else flow.start(start)
    while not iterate.stop_reason:
        yield iterate
        iterate = flow.step(iterate)
    yield iterate if np.isfinite(iterate.expected_decrease) else certified(iterate)
