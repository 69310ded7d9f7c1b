"""Uncertainty: Gaussian (Laplace) approximations of the posterior, from low-rank spectra of the misfit Hessian."""
