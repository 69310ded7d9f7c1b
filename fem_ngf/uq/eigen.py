r"""Dominant spectrum of the misfit Hessian against the prior: :math:`H v = \lambda C^{-1} v`.

References
----------
N. Halko, P.-G. Martinsson, J. A. Tropp, Finding structure with randomness,
SIAM Review 53 (2011).
A. K. Saibaba, J. Lee, P. K. Kitanidis, Randomized algorithms for generalized
Hermitian eigenvalue problems, Numer. Linear Algebra Appl. 23 (2016).
U. Villa, N. Petra, O. Ghattas, hIPPYlib, ACM TOMS 47 (2021): double pass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ..errors import InputError
from ..linalg.dense import orthonormalize
from ..linalg.operators import SymmetricOperator

BLOCK = 20
DEPENDENT = 3e-7
"""Part of their length below which vectors count as dependent: what is left is not worth two solves."""


@dataclass(frozen=True, eq=False)
class Spectrum:
    r"""Eigenpairs :math:`H V = C^{-1} V \Lambda`, :math:`V^T C^{-1} V = I`.

    Parameters
    ----------
    values
        ``(r,)``, largest first, not negative.
    vectors
        ``V`` (n, r).
    solves
        PDE solves that finding them took, by kind.
    complete
        False when eigenvalues above the threshold may have been left out.
    """

    values: np.ndarray
    vectors: np.ndarray
    solves: dict[str, int] = field(default_factory=dict)
    complete: bool = True

    @property
    def rank(self) -> int:
        """Number of eigenpairs."""
        return len(self.values)


def generalized_spectrum(action: Callable, precision: SymmetricOperator, *, rank: int | None = None,
                         threshold: float = 0.01, limit: int | None = None, oversampling: int = 10,
                         generator: np.random.Generator | None = None) -> Spectrum:
    """Dominant eigenpairs of ``H v = lambda C^-1 v`` by a randomised range finder with a double pass.

    The range of ``C H`` is enlarged by blocks of 20 random vectors until `rank` + `oversampling` columns are there
    or, without a rank, until `oversampling` eigenvalues lie below `threshold` (a direction below it loses less than
    that fraction of its variance to the data), or a block adds nothing new.

    Parameters
    ----------
    action
        ``H`` on a block of vectors ``(n, k)``: covectors ``(n, k)``.
    precision
        ``C^-1``.
    rank
        Number of eigenpairs; None: as many as lie above `threshold`.
    limit
        Upper bound of the rank that is known, such as the number of data.
    generator
        Source of randomness; by default seeded with 0.

    Returns
    -------
    Spectrum
        Without counted solves; `misfit_spectrum` fills them in.
    """
    for name, value in (("rank", rank), ("limit", limit)):
        if value is not None and value < 1:
            raise InputError(f"{name} is {value}; it must be 1 at least")
    generator = np.random.default_rng(0) if generator is None else generator
    size = precision.size
    most = min(size, limit or size)
    wanted = most if rank is None else min(rank + oversampling, most)
    basis, images, exhausted = np.zeros((size, 0)), np.zeros((size, 0)), False
    values, rotation = np.zeros(0), np.zeros((0, 0))
    while basis.shape[1] < wanted and not exhausted:
        count = min(BLOCK, wanted - basis.shape[1])
        fresh = precision.solve(action(generator.standard_normal((size, count))))
        fresh = orthonormalize(fresh, precision, basis, DEPENDENT)
        exhausted = fresh.shape[1] == 0
        basis, images = np.column_stack([basis, fresh]), np.column_stack([images, action(fresh)])
        values, rotation = _ritz(basis, images)
        if rank is None and np.count_nonzero(values >= threshold) + oversampling <= values.size:
            break
    above = np.count_nonzero(values >= threshold)
    complete = exhausted or values.size >= most or above + oversampling <= values.size
    kept = above if rank is None else min(rank, values.size)
    return Spectrum(values[:kept], basis @ rotation[:, :kept], complete=bool(complete and above <= kept))


def misfit_spectrum(linearization, precision: SymmetricOperator, *, rank: int | None = None, threshold: float = 0.01,
                    oversampling: int = 10, generator: np.random.Generator | None = None,
                    kind: str = "gauss-newton") -> Spectrum:
    """Dominant spectrum of the Hessian of the misfit; every action costs two solves an experiment.

    Parameters
    ----------
    linearization
        Of an inverse problem: ``misfit_action`` on blocks, ``residual``, ``energy.counts``.
    precision, rank, threshold, oversampling, generator
        See `generalized_spectrum`.
    kind
        ``"gauss-newton"`` or ``"newton"``, the exact Hessian, which is what the posterior's density has at its maximum
        but need not be positive: negative eigenvalues are left out.
    """
    counts = linearization.energy.counts
    before = _kinds(counts)
    limit = linearization.residual.size if kind == "gauss-newton" else None
    found = generalized_spectrum(lambda block: linearization.misfit_action(block, kind), precision, rank=rank,
                                 threshold=threshold, limit=limit, oversampling=oversampling, generator=generator)
    solves = {kind: value - before[kind] for kind, value in _kinds(counts).items()}
    return Spectrum(found.values, found.vectors, solves, found.complete)


def _ritz(basis: np.ndarray, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    core = basis.T @ images
    values, rotation = np.linalg.eigh(0.5 * (core + core.T))
    return np.maximum(values[::-1], 0.0), rotation[:, ::-1]


def _kinds(counts) -> dict[str, int]:
    return {kind: getattr(counts, kind) for kind in ("forward", "adjoint", "incremental")}
