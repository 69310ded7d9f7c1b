"""Neural and finite-element parametrisations of an unknown field.

An ansatz is a frozen value; its parameters theta are a flat float64 numpy
vector that it is given on every call.
"""

from .activations import ACTIVATIONS
from .finite_element import FiniteElement, prolongate
from .gradnet import GradNetC, GradNetM
from .linearized import Linearized
from .mlp import MLP
from .module import TorchModule
from .per_field import PerField
from .propagate import blocks
from .protocol import Ansatz
from .restore import ansatz_from_dict
from .transforms import BoundaryLift, Transformed

__all__ = [
    "ACTIVATIONS", "MLP", "Ansatz", "BoundaryLift", "FiniteElement", "GradNetC", "GradNetM", "Linearized",
    "PerField", "TorchModule", "Transformed", "ansatz_from_dict", "blocks", "prolongate",
]
