"""A prior restricted to a tangent space: uncertainty within what a network can express."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .eigen import orthonormal


@dataclass(frozen=True, eq=False)
class SubspacePrior:
    r"""Gaussian on ``mean + span(Q)`` with covariance :math:`Q Q^T`: the prior given that ``m`` lies there.

    With tangent vectors ``T`` it is the Gaussian of :math:`T d`, where ``d`` has the
    precision :math:`T^T C^{-1} T`. Make it with `restrict`.

    Parameters
    ----------
    prior
        The Gaussian on the whole space.
    vectors
        ``Q`` (n, r), orthonormal in the precision ``C^-1``.
    mean
        ``(n,)``.
    """

    prior: object
    vectors: np.ndarray
    mean: np.ndarray

    def apply(self, vector: np.ndarray) -> np.ndarray:
        """Covector ``C^-1 v``: the precision on the subspace is that of the whole space."""
        return self.prior.apply(vector)

    def solve(self, covector: np.ndarray) -> np.ndarray:
        """Vector ``Q Q^T g`` for ``(n,)`` or ``(n, k)``."""
        return self.vectors @ (self.vectors.T @ covector)

    def sample(self, generator: np.random.Generator, count: int | None = None) -> np.ndarray:
        """Independent samples: ``(n,)``, or ``(n, count)``."""
        size = self.vectors.shape[1]
        fields = self.vectors @ generator.standard_normal(size if count is None else (size, count))
        return (fields.T + self.mean).T

    def pointwise_variance(self) -> np.ndarray:
        """Diagonal of the covariance ``(n,)``."""
        return np.einsum("ij,ij->i", self.vectors, self.vectors)


def restrict(prior, tangent) -> SubspacePrior:
    """The prior restricted to a tangent space.

    Parameters
    ----------
    prior
        ``apply``, ``solve`` and ``mean``.
    tangent
        `fem_ngf.tangent.TangentSpace` of a network; of a finite-element ansatz it is the whole space and the prior
        is returned as it is.

    Notes
    -----
    Tangent vectors that are linearly dependent to rounding, in the norm of
    the prior, are left out; the rank is then below the number of parameters.
    """
    if tangent.is_full:
        return prior
    return SubspacePrior(prior, orthonormal(np.asarray(tangent.vectors), prior), np.asarray(prior.mean))
