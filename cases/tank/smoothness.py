"""A bilaplacian prior with a lumped mass matrix: its precision is sparse, so that Gram matrices in it are cheap."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from fem_ngf import BilaplacianPrior, InputError, bilaplacian
from fem_ngf.linalg.factorize import factorize
from fem_ngf.regularization.tikhonov import InvertibleOperator


@dataclass(frozen=True, eq=False)
class Smoothness:
    r"""Gaussian prior :math:`N(0, C)` of a field in the plane, :math:`C^{-1} = L D^{-1} L`, D the lumped mass.

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

    References
    ----------
    F. Lindgren, H. Rue, J. Lindstrom, An explicit link between Gaussian fields and Gaussian Markov random fields,
    J. R. Stat. Soc. B 73 (2011), Appendix C.5 on the lumped mass.
    """

    basis: object
    length: float
    spread: float

    def __post_init__(self):
        for name in ("length", "spread"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise InputError(f"{name} is {value}; it must be a positive number")

    @cached_property
    def gaussian(self) -> BilaplacianPrior:
        """The same prior with the consistent mass matrix, which can be sampled."""
        weight = 1.0 / (np.sqrt(4 * np.pi) * self.length * self.spread)
        return bilaplacian(self.basis, weight * self.length**2, weight)

    @cached_property
    def precision(self) -> sp.csr_array:
        """``C^-1`` (n, n)."""
        prior = self.gaussian
        lumped = np.asarray(prior.mass.sum(axis=1)).ravel()
        return sp.csr_array(prior.operator @ sp.diags_array(1.0 / lumped) @ prior.operator)

    @cached_property
    def operator(self) -> InvertibleOperator:
        """``C^-1`` with ``@`` and ``solve``."""
        factors = factorize(self.precision, symmetric=True, definite=True)
        return InvertibleOperator(self.basis.N, lambda v: self.precision @ v, factors.solve)

    def value(self, m) -> float:
        """Half the squared norm in ``C^-1``."""
        return 0.5 * float(m @ (self.precision @ m))

    def derivative(self, m) -> np.ndarray:
        """Covector ``C^-1 m``."""
        return self.precision @ m

    def hessian(self, m, kind: str = "gauss-newton") -> InvertibleOperator:
        """``C^-1``."""
        return self.operator
