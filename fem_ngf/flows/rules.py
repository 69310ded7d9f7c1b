r"""Directions of a `DirectedFlow`: the neighbouring systems of METHOD section 5, one rule each.

A rule is called with the tangent space, the derivative ``g`` (n,) and what it carried from the last step (None at the
first); it returns the direction ``d`` (P,) of the step ``theta - h d`` and what it carries on. ``tangent`` names the
kind of tangent space that it is given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..linalg.low_rank import LowRankPlus
from ..linalg.operators import Diagonal
from ..tangent.dual import damped_projection
from ..tangent.matrix_free import MatrixFreeTangent, NystromPreconditioner, nystrom, solve


@dataclass(frozen=True)
class DualDirection:
    """The damped natural gradient through the smaller of its two systems."""

    damping: float = 1e-6
    tangent: ClassVar[type] = MatrixFreeTangent

    def __call__(self, tangent: MatrixFreeTangent, derivative: np.ndarray, carried: None = None):
        """Direction (P,); nothing is carried."""
        return damped_projection(tangent, derivative, self.damping), None


@dataclass(frozen=True)
class Spring:
    r"""SPRING: natural gradient with momentum in the null space of the data.

    The direction solves :math:`\min_\phi \|T\phi - grad\|_H^2 + \lambda |\phi - \mu \phi_{prev}|^2`, that is
    :math:`\phi = \mu\phi_{prev} + (G + \lambda I)^{-1} (b - \mu G \phi_{prev})`; for data at points this is the
    published :math:`\phi = \mu\phi_{prev} + J^T (J J^T + \lambda I)^{-1} (r - \mu J \phi_{prev})`.

    Parameters
    ----------
    damping
        ``lambda``.
    momentum
        ``mu`` in [0, 1).

    References
    ----------
    J. Mueller, M. Zeinhofer, arXiv 2302.13163 (energy natural gradients). G. Goldshlager, N. Abrahamsen, L. Lin, A
    Kaczmarz-inspired approach to accelerate the optimization of neural network wavefunctions, J. Comput. Phys. 516
    (2024). A. Guzman-Cordero, F. Dangel, G. Goldshlager, M. Zeinhofer, arXiv 2505.12149.
    """

    damping: float = 1e-6
    momentum: float = 0.9
    tangent: ClassVar[type] = MatrixFreeTangent

    def __call__(self, tangent: MatrixFreeTangent, derivative: np.ndarray, carried: np.ndarray | None = None):
        """Direction (P,), which is carried on."""
        if carried is None or len(carried) != tangent.ansatz.size:
            direction = damped_projection(tangent, derivative, self.damping)
        else:
            kept = self.momentum * carried
            rest = derivative - tangent.space.apply(tangent.push_forward(kept))
            direction = kept + damped_projection(tangent, rest, self.damping)
        return direction, direction


@dataclass(frozen=True)
class FunctionMomentum:
    r"""Momentum that is a function: carried in the Hilbert space and projected anew.

    .. math:: d_k = G_k^+ b_k + \beta\, G_k^+ G_{k,k-1} d_{k-1}, \qquad G_{k,k-1} = T_k^T A\, T_{k-1}

    The cross-Gram matrix times the old direction is ``T_k^T A v`` with the old function step ``v = T_(k-1) d_(k-1)``:
    the function is carried, not the parameters, so that momentum survives a network that turns or grows.

    Parameters
    ----------
    momentum
        ``beta`` in [0, 1).
    damping
        Of both projections.

    References
    ----------
    arXiv 2604.15554.
    """

    momentum: float = 0.8
    damping: float = 1e-8
    tangent: ClassVar[type] = MatrixFreeTangent

    def __call__(self, tangent: MatrixFreeTangent, derivative: np.ndarray, carried: np.ndarray | None = None):
        """Direction (P,); its function step (n,) is carried on."""
        covector = derivative
        if carried is not None:
            covector = derivative + self.momentum * tangent.space.apply(carried)
        direction = damped_projection(tangent, covector, self.damping)
        return direction, tangent.push_forward(direction)


@dataclass(frozen=True)
class LowRankDirection:
    r"""The gradient on theta, preconditioned by a window of the last gradients (M-FAC).

    With them as the columns of ``U`` (P, m) it is :math:`(\lambda I + \tfrac1m U U^T)^{-1}` times the gradient, in
    O(P m) memory.

    Parameters
    ----------
    window
        Number m of gradients kept.
    damping
        ``lambda``, relative to the mean squared length of the gradients kept.

    References
    ----------
    E. Frantar, E. Kurtic, D. Alistarh, M-FAC: Efficient matrix-free approximations of second-order information,
    NeurIPS 2021.
    """

    window: int = 20
    damping: float = 1e-2
    tangent: ClassVar[type] = MatrixFreeTangent

    def __call__(self, tangent: MatrixFreeTangent, derivative: np.ndarray, carried: np.ndarray | None = None):
        """Direction (P,) scaled to unit curvature along the gradient; the gradients ``U`` (P, m) are carried on."""
        slope = tangent.pull_back(derivative)
        old = np.zeros((len(slope), 0)) if carried is None or len(carried) != len(slope) else carried
        columns = np.column_stack([old, slope])[:, -self.window:]
        scale = float(np.mean(np.sum(columns**2, axis=0)))
        if not scale > 0:
            return slope, columns
        factor = columns / np.sqrt(scale * columns.shape[1])
        return LowRankPlus(Diagonal(np.ones(len(slope))), factor, self.damping, factor).solve(slope), columns


@dataclass(frozen=True)
class MatrixFreeDirection:
    """``(G + lambda I) d = b`` by preconditioned conjugate gradients.

    Parameters
    ----------
    damping
        ``lambda`` relative to the largest eigenvalue that the sketch sees.
    rank
        Of the sketch; zero runs without a preconditioner, with an absolute damping.
    tolerance, iterations
        Of conjugate gradients. A loose tolerance stops early, which regularises (arXiv 2303.05754).
    seed
        Of the sketch.
    """

    damping: float = 1e-6
    rank: int = 20
    tolerance: float = 1e-3
    iterations: int = 100
    seed: int = 0
    tangent: ClassVar[type] = MatrixFreeTangent

    def __call__(self, tangent: MatrixFreeTangent, derivative: np.ndarray, carried: tuple[int, int] | None = None):
        """Direction (P,); the number of sketches so far and the iterations of this solve are carried on."""
        slope, sketches = tangent.pull_back(derivative), (carried or (0, 0))[0]
        damping, precondition = self.damping, None
        if self.rank:
            generator = np.random.default_rng([self.seed, sketches])
            sketch = nystrom(tangent.gram_product, len(slope), self.rank, 0.0, generator)
            damping = self.damping * sketch.values[0]
            precondition = NystromPreconditioner(sketch.vectors, sketch.values, damping)
        solved = solve(tangent, slope, damping, precondition, self.tolerance, self.iterations)
        return solved.x, (sketches + 1, solved.iterations)
