"""Descent flows: in the Hilbert space with retraction, projected on the tangent space, and baselines on theta.

The systems of METHOD section 5 are rules of one `DirectedFlow`, spaces (`sobolev_samples`), or `AdaptedFlow`.
"""

from .adapted import AdaptedFlow, AdaptedPath
from .baselines import ParameterDescent
from .continuation import Continuation, Stage
from .directed import DirectedFlow
from .dual import DualDirection
from .function_momentum import FunctionMomentum
from .hilbert_descent import HilbertDescent
from .iterate import Iterate
from .low_rank import LowRankDirection
from .matrix_free import MatrixFreeDirection, MatrixFreeTangent
from .natural_gradient import NaturalGradientFlow
from .sobolev_natural_gradient import sobolev_samples
from .spring import Spring

__all__ = [
    "AdaptedFlow", "AdaptedPath", "Continuation", "DirectedFlow", "DualDirection", "FunctionMomentum", "HilbertDescent",
    "Iterate", "LowRankDirection", "MatrixFreeDirection", "MatrixFreeTangent", "NaturalGradientFlow",
    "ParameterDescent", "Spring", "Stage", "sobolev_samples",
]
