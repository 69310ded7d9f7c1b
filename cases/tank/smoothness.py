"""The prior of the tank's contrast: smooth, of a given length scale and size, cheap in Gram matrices."""

from __future__ import annotations

import numpy as np

from fem_ngf import Gaussian, InputError, bilaplacian


def smoothness(basis, length: float, spread: float) -> Gaussian:
    r"""Gaussian :math:`N(0, C)` of a field in the plane, :math:`C^{-1} = L D^{-1} L`, D the lumped mass.

    :math:`L = (\ell^2 K + M + \text{Robin term}) / (\sqrt{4\pi}\, \ell\, s)`: away from the boundary the pointwise
    standard deviation is s.

    Parameters
    ----------
    basis
        scikit-fem basis of P1.
    length
        Length scale l.
    spread
        Standard deviation s.
    """
    for name, value in (("length", length), ("spread", spread)):
        if not (np.isfinite(value) and value > 0):
            raise InputError(f"{name} is {value}; it must be a positive number")
    weight = 1.0 / (np.sqrt(4 * np.pi) * length * spread)
    return bilaplacian(basis, weight * length**2, weight, lumped=True)
