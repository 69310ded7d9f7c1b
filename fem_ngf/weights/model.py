r"""What a linearisation knows about the minimisers at other weights.

With the misfit's Gauss-Newton Hessian ``H`` and derivative ``g``, and the
Hessian ``R`` and derivative ``b`` of the regularisation at weight one, the
minimiser at the weight ``w`` is about :math:`m - (H + wR)^{-1}(g + wb)`. On a
subspace this is dense algebra: in the tangent space of a network it takes one
tangent solve a parameter, among nodal unknowns a randomised range finder. One
set of PDE solves then gives misfit, roughness and degrees of freedom at every
weight.

References
----------
G. H. Golub, M. Heath, G. Wahba, Generalized cross-validation as a method for
choosing a good ridge parameter, Technometrics 21 (1979).
E. Haber, D. Oldenburg, A GCV based method for nonlinear ill-posed problems,
Comput. Geosci. 4 (2000).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from ..errors import InputError
from ..linalg.dense import orthonormalize
from ..uq.eigen import DEPENDENT, misfit_spectrum

BLOCK = 64
DENSE = 1200
"""Number of unknowns up to which all of them are taken, at one tangent solve each; above, those that the data see."""


@dataclass(frozen=True, eq=False)
class WeightModel:
    """Quadratic models of misfit and roughness in a basis where both are diagonal.

    Parameters
    ----------
    misfit
        Value at the linearisation.
    hessian, penalty
        Diagonals ``(r,)`` of ``H`` and ``R``.
    slope, pull
        Derivatives ``g`` and ``b`` ``(r,)``.
    noise
        Diagonal ``(r,)`` of the share of the data's noise that each direction picks up, see `weight_model`.
    solves
        PDE solves that the model cost.
    """

    misfit: float
    hessian: np.ndarray
    penalty: np.ndarray
    slope: np.ndarray
    pull: np.ndarray
    noise: np.ndarray
    solves: int

    def step(self, weight: float) -> np.ndarray:
        """Coordinates ``(r,)`` of the predicted minimiser."""
        return -(self.slope + weight * self.pull) / (self.hessian + weight * self.penalty)

    def misfit_at(self, weight: float) -> float:
        """Predicted misfit of the minimiser at a weight."""
        step = self.step(weight)
        return self.misfit + float(self.slope @ step + 0.5 * step @ (self.hessian * step))

    def degrees(self, weight: float) -> float:
        """Degrees of freedom: trace of the influence matrix ``F (H + wR)^-1 F^T``, F the whitened sensitivities."""
        return float(np.sum(self.hessian / (self.hessian + weight * self.penalty)))

    def fitted(self, weight: float) -> float:
        """Share of the noise that the minimiser fits."""
        return float(np.sum(self.noise / (self.hessian + weight * self.penalty)))

    def score(self, weight: float) -> float:
        """Generalised cross-validation: the misfit, over the squared share of the noise that is left."""
        left, misfit = 1.0 - self.fitted(weight), self.misfit_at(weight)
        return misfit / left**2 if left > 0 and misfit > 0 else float("inf")


def weight_model(linearization, *, tangent=None, variance=None, threshold: float = 1e-2,
                 generator: np.random.Generator | None = None) -> WeightModel:
    r"""Model around the minimiser at the weight of the energy.

    Parameters
    ----------
    linearization
        Of an inverse problem.
    tangent
        Tangent space of a network: the minimisers are then sought in it, at the price of one tangent solve a
        parameter and experiment. Default: among all vectors.
    variance
        Relative variances ``(n_obs,)`` or ``(n_obs, k)`` of the data. Default: the inverse of the misfit's weights,
        as for a misfit that is a likelihood; for misfits with a mass matrix (an L2 norm), the same variance for all.
        With weights ``W`` and variances ``S`` the fitted share of the noise is
        :math:`\mathrm{tr}(J (H + wR)^{-1} J^T W S W) / \mathrm{tr}(W S)`, which is trace / number for ``S = W^{-1}``.
    threshold, generator
        Of the range finder, see `fem_ngf.uq.eigen`; eigenvalues are relative to the regularisation at its weight.
    """
    counts, weight = linearization.energy.counts, linearization.energy.weight
    before, inner = counts.total, linearization.preconditioner
    pull = linearization.regularization_derivative
    if tangent is not None and not tangent.is_full:
        basis = orthonormalize(np.asarray(tangent.vectors), inner, tolerance=DEPENDENT)
    elif len(pull) <= DENSE:
        basis = np.eye(len(pull))
    else:
        spectrum = misfit_spectrum(linearization, inner, threshold=threshold, generator=generator)
        extra = np.column_stack([inner.solve(linearization.derivative), inner.solve(pull), np.ones_like(pull)])
        extra = orthonormalize(extra, inner, spectrum.vectors, DEPENDENT)
        basis = np.column_stack([spectrum.vectors, extra])
    seen = _sensitivities(linearization, basis)
    weighted = _columns(linearization, seen)
    penalty = linearization.regularization_hessian().gram(basis)
    values, directions = _diagonalised(seen.T @ weighted, penalty)
    weighted, basis = weighted @ directions, basis @ directions
    spread, total = _spread(linearization, variance)
    noise = values / total if spread is None else np.einsum("ij,i,ij->j", weighted, spread, weighted) / total
    return WeightModel(linearization.terms["misfit"], values, (1.0 - values) / weight,
                       basis.T @ (linearization.derivative - pull), basis.T @ pull / weight, noise,
                       counts.total - before)


def _sensitivities(linearization, basis: np.ndarray) -> np.ndarray:
    """Observed tangents ``J Q`` (n_obs k, r)."""
    observe, state = linearization.energy.observation, linearization.state
    parts = [observe(state.tangent(basis[:, i : i + BLOCK])) for i in range(0, basis.shape[1], BLOCK)]
    return np.concatenate([part.reshape(-1, part.shape[-1]) for part in parts], axis=1)


def _columns(linearization, seen: np.ndarray) -> np.ndarray:
    """``W J Q``."""
    shape = linearization.residual.shape
    weigh = linearization.energy.noise.hessian(linearization.residual, "gauss-newton")
    return weigh(seen.reshape(*shape, -1)).reshape(seen.shape)


def _spread(linearization, variance) -> tuple[np.ndarray | None, float]:
    """Variances ``S`` (n_obs k,), None for the inverse of the weights, and ``tr(W S)``."""
    shape = linearization.residual.shape
    precision = getattr(linearization.energy.noise, "precision", None)
    coupled = sp.issparse(precision) and (precision - sp.diags_array(precision.diagonal())).count_nonzero() > 0
    if variance is None and not coupled:
        return None, float(np.count_nonzero(_columns(linearization, np.ones((linearization.residual.size, 1)))))
    spread = np.ones(shape) if variance is None else np.asarray(variance, dtype=np.float64)
    if spread.shape[:1] != shape[:1] or not np.isfinite(spread).all() or (spread < 0).any():
        raise InputError(f"variance has shape {spread.shape}; give {shape[0]} numbers that are not negative")
    spread = np.broadcast_to(spread if spread.ndim == 2 else spread[:, None], shape).ravel()
    if coupled:
        weights = np.repeat(precision.diagonal(), shape[1])
    else:
        weights = _columns(linearization, np.ones((linearization.residual.size, 1)))[:, 0]
    return spread, float(weights @ spread)


def _diagonalised(hessian: np.ndarray, penalty: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Basis in which ``H + wR`` is the identity and ``H`` diagonal with values in [0, 1]; null directions left out."""
    total = hessian + penalty
    lengths, vectors = np.linalg.eigh(0.5 * (total + total.T))
    keep = lengths > 1e-12 * lengths[-1]
    vectors = vectors[:, keep] / np.sqrt(lengths[keep])
    reduced = vectors.T @ hessian @ vectors
    values, rotation = np.linalg.eigh(0.5 * (reduced + reduced.T))
    return np.clip(values, 0.0, 1.0), vectors @ rotation
