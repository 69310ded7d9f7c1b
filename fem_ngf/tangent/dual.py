r"""The damped projection by whichever of its two forms is smaller (METHOD section 2).

.. math:: (T^T A T + \lambda I)^{-1} T^T g \;=\; T^T (T T^T + \lambda A^{-1})^{-1} A^{-1} g

The left matrix is P x P, the right one n x n: with fewer unknowns than parameters the dual (kernel) form is cheaper. At
points ``T T^T`` is the neural tangent kernel, and in a space of samples whose inner product is the inverse of a kernel
``K`` this is the Sobolev natural gradient :math:`J^T (J J^T + \lambda K)^{-1} K g` (arXiv 2202.06232).
"""

from __future__ import annotations

import numpy as np

from ..linalg.dense import damped_solve
from ..spaces.protocol import as_samples
from .matrix_free import MatrixFreeTangent
from .tangent_space import TangentSpace


def primal_direction(tangent: TangentSpace, covector: np.ndarray, damping: float) -> np.ndarray:
    """``(G + lambda I)^-1 T^T g`` (P,) from the P x P Gram matrix."""
    return damped_solve(tangent.matrix, tangent.pull_back(covector), damping)


def dual_direction(tangent: MatrixFreeTangent, covector: np.ndarray, damping: float) -> np.ndarray:
    """The same direction from an n x n matrix: ``T T^T`` comes from the network's dual Gram matrix.

    Parameters
    ----------
    covector
        ``g`` (n,).
    damping
        ``lambda``, positive unless the rows of ``T`` on the free unknowns are independent.
    """
    space, free = tangent.space, tangent.space.free
    half = space.project(as_samples(space, tangent.jacobian.dual_gram()))
    matrix = space.project(as_samples(space, np.ascontiguousarray(half.T)), overwrite=True)
    matrix += damping * space.riesz(np.eye(space.size))
    coefficients = np.zeros(space.size)
    coefficients[free] = damped_solve(matrix[np.ix_(free, free)], space.riesz(covector)[free])
    return tangent.pull_back(coefficients)


def damped_projection(tangent: MatrixFreeTangent, covector: np.ndarray, damping: float) -> np.ndarray:
    """The direction by the smaller system."""
    if tangent.space.size < tangent.ansatz.size:
        return dual_direction(tangent, covector, damping)
    return primal_direction(tangent.dense, covector, damping)
