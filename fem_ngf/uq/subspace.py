"""A prior restricted to a tangent space: uncertainty within what a network can express."""

from __future__ import annotations

import numpy as np

from ..linalg.dense import orthonormalize
from ..linalg.operators import Actions
from ..regularization.gaussian import Gaussian
from .eigen import DEPENDENT


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
