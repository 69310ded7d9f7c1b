"""Dense linear algebra on the columns of tall matrices: Gram matrices, orthonormal bases, damped solves."""

from __future__ import annotations

from functools import partial

import numpy as np
import scipy.linalg

from ..errors import SolveError

ROUNDING = 1e-11
"""Part of its length below which what a projection leaves of a vector is rounding."""


def symmetric_product(left: np.ndarray, right: np.ndarray, block: int = 48) -> np.ndarray:
    """``left^T right`` when it, or the sum it belongs to, is symmetric: only its upper triangle is multiplied.

    Parameters
    ----------
    left, right
        ``(n, k)``.
    """
    k = left.shape[1]
    product = np.empty((k, k))
    for start in range(0, k, block):
        stop = min(start + block, k)
        rows = left[:, start:stop].T @ right[:, start:]
        corner = rows[:, :stop - start]
        product[start:stop, start:], product[start:, start:stop] = rows, rows.T
        product[start:stop, start:stop] = 0.5 * (corner + corner.T)
    return product


def orthonormalize(vectors: np.ndarray, metric, against: np.ndarray | None = None,
                   tolerance: float = 1e-10) -> np.ndarray:
    """A-orthonormal basis ``(n, r)`` of what the columns of `vectors` (n, k) add to the span of `against`.

    The Gram matrix squares the condition of the vectors, so it is used in stages: each takes its well-conditioned
    part (four digits of singular values) and the rest goes on, deflated twice, until its columns have lost all but
    `tolerance` of their length. Lengths are those that `against` leaves, unless only rounding is left.

    Parameters
    ----------
    metric
        `SymmetricOperator` A.
    against
        A-orthonormal columns ``(n, i)`` that the basis is to be orthogonal to.

    References
    ----------
    A. Stathopoulos, K. Wu, A block orthogonalization procedure with constant
    synchronization requirements, SIAM J. Sci. Comput. 23 (2002).
    """
    rest = _normalized(vectors, metric, 0.0)
    known, images = rest[:, :0], rest[:, :0]
    if against is not None and against.shape[1]:
        known, images = against, metric.apply(against)
        rest = _normalized(deflate(rest, known, images), metric, ROUNDING)
    first = known.shape[1]
    while rest.shape[1]:
        eigenvalues, rotation = np.linalg.eigh(metric.gram(rest))
        keep = eigenvalues > 1e-8 * eigenvalues[-1]
        added = deflate(rest @ (rotation[:, keep] / np.sqrt(eigenvalues[keep])), known, images, sweeps=1)
        corrections, again = np.linalg.eigh(metric.gram(added))
        added = added @ (again / np.sqrt(corrections))
        known, images = np.column_stack([known, added]), np.column_stack([images, metric.apply(added)])
        rest = deflate(rest @ rotation[:, ~keep], known, images)
        rest = rest[:, _lengths(rest, metric) > tolerance]
    return known[:, first:]


def deflate(vectors: np.ndarray, basis: np.ndarray, images: np.ndarray, sweeps: int = 2) -> np.ndarray:
    """Vectors ``(n, ...)`` minus their projection on A-orthonormal columns ``(n, i)`` with `images` ``A basis``.

    One sweep takes off most, the second makes it exact.
    """
    flat = vectors.reshape(len(vectors), -1)
    for _ in range(sweeps if basis.shape[1] else 0):
        flat = flat - basis @ (images.T @ flat)
    return flat.reshape(vectors.shape)


def _normalized(vectors: np.ndarray, metric, shortest: float) -> np.ndarray:
    lengths = _lengths(vectors, metric)
    return vectors[:, lengths > shortest] / lengths[lengths > shortest]


def _lengths(vectors: np.ndarray, metric) -> np.ndarray:
    return np.sqrt(np.maximum(np.sum(vectors * metric.apply(vectors), axis=0), 0.0))


def damped_solve(G, b, damping=0.0):
    """Solve ``(G + damping) d = b`` for a symmetric positive semi-definite dense G.

    Cholesky first; when that fails, the pseudo-inverse from the eigenvalues above rounding.

    Parameters
    ----------
    G : array (P, P)
    b : array (P,) or (P, k)
    damping : float or array (P,)
        A multiple of the identity, or a diagonal.

    Returns
    -------
    array of the shape of b

    Raises
    ------
    SolveError
        When G or b is not finite.
    """
    if not np.all(np.isfinite(b)):
        raise SolveError("the right-hand side of a damped system has entries that are not finite")
    return damped_inverse(G, damping)(b)


def damped_inverse(G, damping=0.0):
    """Function ``b -> d`` of `damped_solve`, for several right-hand sides one after the other."""
    damped = np.array(G, dtype=float)
    damped[np.diag_indices_from(damped)] += damping
    if not np.isfinite(damped.sum()):
        raise SolveError("the damped system has entries that are not finite")
    try:
        return partial(scipy.linalg.cho_solve, scipy.linalg.cho_factor(damped, lower=True, check_finite=False))
    except np.linalg.LinAlgError:
        values, vectors = scipy.linalg.eigh(damped, check_finite=False)
        keep = values > len(values) * np.finfo(float).eps * max(values[-1], 0.0)
        values, vectors = values[keep], vectors[:, keep]
        return lambda b: vectors @ ((vectors.T @ b).T / values).T


def marquardt_shift(diagonal: np.ndarray, damping: float) -> np.ndarray:
    """Marquardt's shift ``(P,)`` for `damped_solve`: relative to the diagonal of the Gram matrix, with a floor.

    A parameter that the function hardly depends on is held by a thousandth of the mean diagonal.

    References
    ----------
    D. W. Marquardt, An algorithm for least-squares estimation of nonlinear parameters, J. SIAM 11 (1963).
    """
    return damping * (diagonal + 1e-3 * diagonal.mean())


def levenberg_shift(diagonal: np.ndarray, damping: float) -> np.ndarray:
    """Shift ``(P,)`` between Levenberg's multiple of the identity and Marquardt's of the diagonal.

    Along a search of many steps Marquardt's lets parameters run away on which the function hardly depends. Here they
    are held by what the median parameter weighs.

    References
    ----------
    M. K. Transtrum, J. P. Sethna, Improvements to the Levenberg-Marquardt algorithm for nonlinear least-squares
    minimization, arXiv 1201.5885 (2012), section 2.
    """
    return damping * (0.1 * diagonal + 0.9 * np.median(diagonal))
