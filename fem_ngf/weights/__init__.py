"""Choosing the weight of the regularisation: discrepancy principle, L-curve, generalised cross-validation."""

from .choice import WeightChoice, WeightedRun
from .choose import RULES, choose
from .discrepancy import chi_squared_target, discrepancy, expected_misfit
from .gcv import gcv
from .lcurve import corner, lcurve
from .model import WeightModel, weight_model
from .scaled import Scaled, base_weight, reweighted
from .solver import flow_solver

__all__ = ["RULES", "Scaled", "WeightChoice", "WeightModel", "WeightedRun", "base_weight", "choose",
           "chi_squared_target", "corner", "discrepancy", "expected_misfit", "flow_solver", "gcv", "lcurve",
           "reweighted", "weight_model"]
