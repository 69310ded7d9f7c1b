"""Energies on a finite-element Hilbert space."""

from .inverse_problem import InverseProblem
from .reduction import ParametricReduction, ResidualReduction
from .regression import Regression, ScatteredRegression
from .ritz import RitzEnergy

__all__ = [
    "InverseProblem", "ParametricReduction", "Regression", "ResidualReduction", "RitzEnergy", "ScatteredRegression",
]
