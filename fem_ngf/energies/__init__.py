"""Energies on a finite-element Hilbert space."""

from .inverse_problem import InverseProblem

__all__ = ["InverseProblem"]
