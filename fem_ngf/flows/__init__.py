"""Descent flows: in the Hilbert space with retraction, projected on the tangent space, and baselines on theta."""

from .baselines import ParameterDescent
from .continuation import Continuation, Stage
from .hilbert_descent import HilbertDescent
from .iterate import Iterate
from .natural_gradient import NaturalGradientFlow

__all__ = ["Continuation", "HilbertDescent", "Iterate", "NaturalGradientFlow", "ParameterDescent", "Stage"]
