r"""SPRING: natural gradient with momentum in the null space of the data (METHOD section 5).

The direction solves :math:`\min_\phi \|T\phi - grad\|_H^2 + \lambda |\phi - \mu \phi_{prev}|^2`, that is
:math:`\phi = \mu\phi_{prev} + (G + \lambda I)^{-1} (b - \mu G \phi_{prev})`; for data at points this is the published
:math:`\phi = \mu\phi_{prev} + J^T (J J^T + \lambda I)^{-1} (r - \mu J \phi_{prev})`.

References
----------
J. Mueller, M. Zeinhofer, arXiv 2302.13163 (energy natural gradients). G. Goldshlager, N. Abrahamsen, L. Lin, A Kaczmarz
-inspired approach to accelerate the optimization of neural network wavefunctions, J. Comput. Phys. 516 (2024). A.
Guzman-Cordero, F. Dangel, G. Goldshlager, M. Zeinhofer, arXiv 2505.12149.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..tangent.dual import damped_projection
from ..tangent.tangent_space import TangentSpace


@dataclass(frozen=True)
class Spring:
    """Rule of a `DirectedFlow`.

    Parameters
    ----------
    damping
        ``lambda``.
    momentum
        ``mu`` in [0, 1).
    """

    damping: float = 1e-6
    momentum: float = 0.9

    def __call__(self, tangent: TangentSpace, derivative: np.ndarray, memory: dict):
        """Direction (P,), kept for the next step."""
        previous = memory.get("direction")
        if previous is None or len(previous) != tangent.vectors.shape[1]:
            direction = damped_projection(tangent, derivative, self.damping)
        else:
            carried = self.momentum * previous
            rest = derivative - tangent.space.apply(tangent.push_forward(carried))
            direction = carried + damped_projection(tangent, rest, self.damping)
        return direction, {"direction": direction}
