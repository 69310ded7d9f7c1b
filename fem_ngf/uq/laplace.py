r"""The Laplace approximation :math:`N(m_*, (H + C^{-1})^{-1})` of a posterior.

References
----------
T. Bui-Thanh, O. Ghattas, J. Martin, G. Stadler, A computational framework for
infinite-dimensional Bayesian inverse problems, SIAM J. Sci. Comput. 35 (2013).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..errors import InputError
from ..linalg.dense import orthonormalize
from ..linalg.low_rank import LowRankPlus
from ..linalg.operators import Actions
from ..regularization.gaussian import Gaussian
from .eigen import DEPENDENT, Spectrum, misfit_spectrum


@dataclass(frozen=True, eq=False)
class LaplaceApproximation:
    r"""Gaussian around a minimiser, from the spectrum :math:`H V = C^{-1} V \Lambda`.

    The covariance is :math:`C - V \Lambda (I + \Lambda)^{-1} V^T`
    (with :math:`V^T C^{-1} V = I`). Make it with `laplace`.

    Parameters
    ----------
    mean
        The minimiser ``m`` (n,).
    prior
        Gaussian prior, or its restriction to a tangent space.
    spectrum
        Eigenpairs of the misfit Hessian.
    """

    mean: np.ndarray
    prior: Gaussian
    spectrum: Spectrum

    @property
    def reduction(self) -> np.ndarray:
        """``lambda / (1 + lambda)`` (r,): the share of the prior variance that the data take off each direction."""
        return self.spectrum.values / (1.0 + self.spectrum.values)

    @property
    def degrees(self) -> float:
        """Effective number of parameters that the data determine: the sum of `reduction`."""
        return float(self.reduction.sum())

    @cached_property
    def precision(self) -> LowRankPlus:
        """Posterior precision ``C^-1 + (C^-1 V) Lambda (C^-1 V)^T``, the Hessian; its `solve` is the covariance."""
        roots = np.sqrt(self.spectrum.values)
        return LowRankPlus(self.prior.precision, self._images * roots, solved=self.spectrum.vectors * roots)

    def sample(self, generator: np.random.Generator, count: int | None = None) -> np.ndarray:
        """Independent samples ``(n,)`` or ``(n, count)``: samples of the prior, contracted by what the data say."""
        fields = (self.prior.sample(generator, count).T - self.prior.mean).T
        contraction = 1.0 - 1.0 / np.sqrt(1.0 + self.spectrum.values)
        moved = self.spectrum.vectors @ ((self._images.T @ fields).T * contraction).T
        return ((fields - moved).T + self.mean).T

    def pointwise_variance(self) -> np.ndarray:
        """Diagonal of the posterior covariance ``(n,)``."""
        return np.maximum(self.prior_variance - self.spectrum.vectors**2 @ self.reduction, 0.0)

    @cached_property
    def prior_variance(self) -> np.ndarray:
        """Diagonal of the prior covariance ``(n,)``."""
        return self.prior.pointwise_variance()

    def trace(self, mass=None) -> float:
        """Trace of the covariance; with the mass matrix that of the operator on L2.

        The mass matrix is lumped for the prior's part (the integral of its pointwise variance), as it is exact for
        the part that the data take off.
        """
        vectors = self.spectrum.vectors
        if mass is None:
            return float(self.prior_variance.sum() - np.sum(vectors**2 @ self.reduction))
        lumped = np.asarray(mass.sum(axis=1)).ravel()
        taken = np.einsum("ij,ij->j", vectors, mass @ vectors) @ self.reduction
        return float(lumped @ self.prior_variance - taken)

    def kl_divergence(self) -> float:
        """Kullback-Leibler divergence of the approximation from the prior, in nats: what the data taught."""
        values, shift = self.spectrum.values, self.mean - self.prior.mean
        return 0.5 * float(np.sum(np.log1p(values)) - self.degrees + shift @ self.prior.precision.apply(shift))

    def fields(self, basis, modes: int = 0, samples: int = 0, generator: np.random.Generator | None = None) -> dict:
        """Fields to export: name -> (basis, vector).

        Parameters
        ----------
        basis
            Of the parameter.
        modes
            Number of leading eigenvectors (the directions that the data determine best).
        samples
            Number of posterior samples.
        generator
            Of the samples; by default seeded with 0.
        """
        found = {"standard_deviation": (basis, np.sqrt(self.pointwise_variance())),
                 "prior_standard_deviation": (basis, np.sqrt(self.prior_variance))}
        for i in range(min(modes, self.spectrum.rank)):
            found[f"mode_{i + 1}"] = (basis, self.spectrum.vectors[:, i])
        if samples:
            drawn = self.sample(np.random.default_rng(0) if generator is None else generator, samples)
            found |= {f"sample_{i + 1}": (basis, drawn[:, i]) for i in range(samples)}
        return found

    @cached_property
    def _images(self) -> np.ndarray:
        """``C^-1 V`` (n, r)."""
        return self.prior.precision.apply(self.spectrum.vectors)


def laplace(linearization, prior=None, *, tangent=None, rank: int | None = None, threshold: float = 0.01,
            oversampling: int = 10, generator: np.random.Generator | None = None,
            kind: str = "gauss-newton") -> LaplaceApproximation:
    """Laplace approximation at a linearisation, which should be that at the minimiser.

    Parameters
    ----------
    linearization
        Of an inverse problem.
    prior
        Gaussian prior; by default the energy's regularisation at its weight, which must then be one.
    tangent
        Tangent space of a network: the posterior of ``m + T d`` for Gaussian ``d``. It says how sure one is within
        what the network can express, and so bounds the variance from below.
    rank, threshold, oversampling, generator, kind
        See `generalized_spectrum` and `misfit_spectrum`.

    Raises
    ------
    InputError
        If the regularisation is not a Gaussian prior.
    """
    if prior is None:
        prior, weight = linearization.energy.regularization, linearization.energy.weight
        prior = weight * prior if isinstance(prior, Gaussian) else prior
    if not isinstance(prior, Gaussian):
        raise InputError(f"prior is a {type(prior).__name__}; give a Gaussian, such as "
                         "fem_ngf.bilaplacian(basis, gamma, delta)")
    prior = prior if tangent is None else restrict(prior, tangent)
    spectrum = misfit_spectrum(linearization, prior.precision, rank=rank, threshold=threshold,
                               oversampling=oversampling, generator=generator, kind=kind)
    return LaplaceApproximation(linearization.m, prior, spectrum)


def restrict(prior: Gaussian, tangent) -> Gaussian:
    r"""The prior given that ``m`` lies in ``mean + span(T)``: covariance :math:`Q Q^T`, Q orthonormal in ``C^-1``.

    With tangent vectors ``T`` it is the Gaussian of :math:`T d`, where ``d`` has the precision :math:`T^T C^{-1} T`. On
    the subspace the precision is that of the whole space.

    Parameters
    ----------
    prior
        The Gaussian on the whole space.
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
    basis = orthonormalize(np.asarray(tangent.vectors), prior.precision, tolerance=DEPENDENT)
    precision = Actions(prior.size, prior.precision.apply, lambda covector: basis @ (basis.T @ covector))
    return Gaussian(prior.mean, precision, basis)
