r"""Gaussian distributions of the unknown: a regularisation and a prior in one.

The negative logarithm of the density, :math:`\frac12\|m - \bar m\|^2_{C^{-1}}`, is a regularisation; the precision
:math:`C^{-1}` is a `SymmetricOperator` and may be the inner product of a Hilbert space too (the Cameron-Martin space).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from ..errors import InputError, check_kind, check_positive
from ..linalg.operators import Diagonal, SymmetricOperator


@dataclass(frozen=True, eq=False)
class Gaussian:
    r""":math:`N(\bar m, C)`, made by `bilaplacian`, `independent` or `fem_ngf.uq.laplace.restrict`.

    Parameters
    ----------
    mean
        ``(n,)``.
    precision
        ``C^-1``.
    root
        ``F`` (n, q) with ``F F^T = C``: a matrix, or a scipy LinearOperator that also acts transposed.
    """

    mean: np.ndarray
    precision: SymmetricOperator
    root: object

    @property
    def size(self) -> int:
        """Number of unknowns n."""
        return self.precision.size

    # ---- as a regularisation ------------------------------------------------------------------------------------

    def value(self, m: np.ndarray) -> float:
        """Negative logarithm of the density, up to a constant."""
        return 0.5 * float(self.precision.gram((m - self.mean)[:, None])[0, 0])

    def derivative(self, m: np.ndarray) -> np.ndarray:
        """Covector ``C^-1 (m - mean)``."""
        return self.precision.apply(m - self.mean)

    def hessian(self, m: np.ndarray, kind: str = "gauss-newton") -> SymmetricOperator:
        """``C^-1``."""
        check_kind(kind)
        return self.precision

    def __rmul__(self, weight: float) -> Gaussian:
        """``weight * prior``: of precision ``weight C^-1``, the regularisation times a positive weight."""
        if weight == 1.0:
            return self
        check_positive(weight=weight)
        return Gaussian(self.mean, weight * self.precision, self.root * weight**-0.5)

    # ---- as a distribution --------------------------------------------------------------------------------------

    def sample(self, generator: np.random.Generator, count: int | None = None) -> np.ndarray:
        """Independent samples: ``(n,)``, or ``(n, count)``; their covariance is exactly `C`."""
        size = self.root.shape[1]
        fields = self.root @ generator.standard_normal(size if count is None else (size, count))
        return (fields.T + self.mean).T

    def pointwise_variance(self, method: str = "auto", *, generator: np.random.Generator | None = None,
                           rank: int = 200, probes: int = 200, block: int = 256) -> np.ndarray:
        """Diagonal of the covariance ``(n,)``.

        Parameters
        ----------
        method
            ``"exact"``: n solves, in blocks. ``"randomized"``: the leading part
            of `C` by a randomised range finder of `rank` columns, the remainder
            by Hutchinson's estimator; 2 rank + probes applications of `C`.
            ``"auto"``: exact for up to 10 000 unknowns.
        generator
            Source of randomness of ``"randomized"``; by default seeded with 0.
        rank, probes
            Effort of ``"randomized"``. The error falls like probes^-1/2.
        block
            Columns of one block of solves.

        References
        ----------
        R. A. Meyer, C. Musco, C. Musco, D. P. Woodruff, Hutch++: optimal
        stochastic trace estimation, SOSA 2021 (here for the diagonal).
        """
        if method not in ("auto", "exact", "randomized"):
            raise InputError(f"method is {method!r}; choose 'auto', 'exact' or 'randomized'")
        if isinstance(self.root, np.ndarray) or sp.issparse(self.root):
            return np.asarray((self.root**2).sum(axis=1)).ravel()
        if method == "exact" or (method == "auto" and self.size <= 10_000):
            return self._exact_variance(block)
        return self._randomized_variance(generator or np.random.default_rng(0), rank, probes)

    def _exact_variance(self, block: int) -> np.ndarray:
        variance = np.empty(self.size)
        for start in range(0, self.size, block):
            columns = np.arange(start, min(start + block, self.size))
            unit = np.zeros((self.size, columns.size))
            unit[columns, np.arange(columns.size)] = 1.0
            half = self.root.T @ unit
            variance[columns] = np.einsum("ij,ij->j", half, half)
        return variance

    def _randomized_variance(self, generator: np.random.Generator, rank: int, probes: int) -> np.ndarray:
        n, covariance = self.size, self.precision.solve
        rank = min(rank, n)
        leading = np.linalg.qr(covariance(generator.standard_normal((n, rank))))[0]
        image = covariance(leading)
        variance = np.einsum("ij,ij->i", leading, image)  # diagonal of Q Q^T C
        if probes and rank < n:
            signs = generator.choice([-1.0, 1.0], size=(n, probes))
            rest = signs - leading @ (leading.T @ signs)
            remainder = covariance(rest)
            remainder -= leading @ (leading.T @ remainder)
            cross = image - leading @ (leading.T @ image)  # (I - QQ^T) C Q
            variance += np.einsum("ij,ij->i", cross, leading) + np.mean(signs * remainder, axis=1)
        return variance


def independent(std, mean) -> Gaussian:
    r"""Gaussian of independent coefficients, :math:`N(\bar m_i, \sigma_i^2)`: for a handful of numbers.

    Parameters
    ----------
    std, mean
        Standard deviations and means ``(n,)``.

    Raises
    ------
    InputError
        If a standard deviation is not positive, or the shapes differ.
    """
    std, mean = np.asarray(std, dtype=np.float64), np.asarray(mean, dtype=np.float64)
    if std.ndim != 1 or mean.shape != std.shape:
        raise InputError(f"std has shape {std.shape} and mean {mean.shape}; both must be (n,)")
    if not (np.isfinite(std).all() and (std > 0).all() and np.isfinite(mean).all()):
        raise InputError("std must be positive and finite, mean finite")
    return Gaussian(mean, Diagonal(1.0 / std**2), Diagonal(std).sparse)
