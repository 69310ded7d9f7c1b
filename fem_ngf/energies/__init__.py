"""Energies on a finite-element Hilbert space."""

from .inverse_problem import InverseProblem
from .regression import Regression, ScatteredRegression

__all__ = ["InverseProblem", "Regression", "ScatteredRegression"]
