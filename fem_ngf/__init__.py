"""Identify unknown fields in partial differential equations: neural unknowns, finite-element Hilbert geometry.

The unknown is a neural network, the geometry of the search is a finite-element
Hilbert space, and every step follows that space's own gradient flow.
"""

from .ansatz import MLP, FiniteElement, GradNetC, GradNetM, PerField, TorchModule
from .energies import InverseProblem
from .errors import InputError, SolveError
from .expansion import Expansion
from .flows import Continuation, HilbertDescent, Iterate, NaturalGradientFlow, ParameterDescent
from .forms import WeakForm
from .functional import Functional
from .measurements import read_measurements
from .noise import GaussianNoise, HuberNoise, StudentNoise
from .observation import boundary_trace, point_values, subdomain_averages, whole_field
from .pde import StationaryProblem
from .product_space import ProductSpace
from .regularization import Blocks, Tikhonov, TotalVariation
from .spaces import HilbertSpace
from .tangent import TangentSpace, realize

__version__ = "0.1.0"

__all__ = [
    "MLP",
    "Blocks",
    "Continuation",
    "Expansion",
    "FiniteElement",
    "Functional",
    "GaussianNoise",
    "GradNetC",
    "GradNetM",
    "HilbertDescent",
    "HilbertSpace",
    "HuberNoise",
    "InputError",
    "InverseProblem",
    "Iterate",
    "NaturalGradientFlow",
    "ParameterDescent",
    "PerField",
    "ProductSpace",
    "SolveError",
    "StationaryProblem",
    "StudentNoise",
    "TangentSpace",
    "Tikhonov",
    "TorchModule",
    "TotalVariation",
    "WeakForm",
    "boundary_trace",
    "point_values",
    "read_measurements",
    "realize",
    "subdomain_averages",
    "whole_field",
]
