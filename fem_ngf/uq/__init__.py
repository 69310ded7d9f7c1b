"""Uncertainty: Gaussian (Laplace) approximations of the posterior, from low-rank spectra of the misfit Hessian."""

from .eigen import Spectrum, misfit_spectrum
from .independent import IndependentPrior
from .laplace import LaplaceApproximation, laplace
from .subspace import SubspacePrior, restrict

__all__ = ["IndependentPrior", "LaplaceApproximation", "Spectrum", "SubspacePrior", "laplace", "misfit_spectrum",
           "restrict"]
