"""Neural and finite-element parametrisations of an unknown field."""

from .finite_element import FiniteElement, prolongate
from .mlp import MLP
from .propagate import blocks

__all__ = ["MLP", "FiniteElement", "blocks", "prolongate"]
