"""Energies on a finite-element Hilbert space."""

from .inverse_problem import InverseProblem
from .regression import Regression, ScatteredRegression
from .ritz import RitzEnergy

__all__ = ["InverseProblem", "Regression", "RitzEnergy", "ScatteredRegression"]
