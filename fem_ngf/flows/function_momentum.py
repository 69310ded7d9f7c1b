r"""Momentum that is a function: carried in the Hilbert space and projected anew (METHOD section 5).

.. math:: d_k = G_k^+ b_k + \beta\, G_k^+ G_{k,k-1} d_{k-1}, \qquad G_{k,k-1} = T_k^T A\, T_{k-1}

The cross-Gram matrix times the old direction is ``T_k^T A v`` with the old function step ``v = T_(k-1) d_(k-1)``: the
function is kept, not the parameters, so that momentum survives a network that turns or grows.

References
----------
arXiv 2604.15554.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..tangent.dual import damped_projection
from ..tangent.tangent_space import TangentSpace


@dataclass(frozen=True)
class FunctionMomentum:
    """Rule of a `DirectedFlow`.

    Parameters
    ----------
    momentum
        ``beta`` in [0, 1).
    damping
        Of both projections.
    """

    momentum: float = 0.8
    damping: float = 1e-8

    def __call__(self, tangent: TangentSpace, derivative: np.ndarray, memory: dict):
        """Direction (P,); its function step is kept."""
        covector = derivative
        if "function" in memory:
            covector = derivative + self.momentum * tangent.space.apply(memory["function"])
        direction = damped_projection(tangent, covector, self.damping)
        return direction, {"function": tangent.push_forward(direction)}
