"""Regularisations: Tikhonov, total variation, Gaussian priors, and their sums."""
