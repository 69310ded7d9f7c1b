r"""Natural-gradient directions without the Gram matrix: conjugate gradients with a randomised Nystrom preconditioner.

The product ``v -> T^T (A (T v)) + lambda v`` needs one Jacobian-vector and one
vector-Jacobian product; the preconditioner needs as many of them as its rank.

References
----------
Z. Frangella, J. A. Tropp, M. Udell, Randomized Nystrom preconditioning, SIAM J. Matrix Anal. Appl. 44 (2023).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..ansatz.protocol import Linearization
from ..errors import SolveError
from ..linalg.cg import CGResult, pcg
from ..linalg.low_rank import nystrom_factor
from ..spaces.protocol import Space
from .tangent_space import TangentSpace


@dataclass(frozen=True, eq=False)
class MatrixFreeTangent:
    """The tangent space of `TangentSpace`, known by its actions.

    Parameters
    ----------
    space
        Ambient space.
    ansatz, theta
        The network and its parameters (P,).
    """

    space: Space
    ansatz: object
    theta: np.ndarray

    @classmethod
    def at(cls, ansatz, theta: np.ndarray, space: Space) -> MatrixFreeTangent:
        """Tangent space of ``theta -> realize(ansatz, theta, space)``; memory O(q x neurons)."""
        return cls(space, ansatz, theta)

    @cached_property
    def jacobian(self) -> Linearization:
        """The network's Jacobian at the points of the space as an operator."""
        return self.ansatz.linearize(self.theta, self.space.points)

    @cached_property
    def dense(self) -> TangentSpace:
        """The same space with its tangent vectors."""
        return TangentSpace.at(self.ansatz, self.theta, self.space)

    def push_forward(self, dtheta: np.ndarray) -> np.ndarray:
        """Vector ``T d`` (n,) of a parameter direction (P,)."""
        return self.space.project(self.jacobian.jvp(dtheta))

    def pull_back(self, covector: np.ndarray) -> np.ndarray:
        """``T^T g`` (P,) of a covector (n,)."""
        return self.jacobian.vjp(self.space.project_transposed(covector))

    def gram_product(self, dtheta: np.ndarray) -> np.ndarray:
        """``G d`` (P,)."""
        return self.pull_back(self.space.apply(self.push_forward(dtheta)))


@dataclass(frozen=True, eq=False)
class NystromPreconditioner:
    """Inverse of ``U diag(values) U^T + damping I``, scaled to one on the complement.

    Parameters
    ----------
    vectors, values
        ``U`` (P, r) orthonormal, eigenvalues (r,) in decreasing order.
    damping
        ``lambda``.
    """

    vectors: np.ndarray
    values: np.ndarray
    damping: float

    def __call__(self, covector: np.ndarray) -> np.ndarray:
        """Apply the inverse to (P,)."""
        inside = self.vectors.T @ covector
        factor = (self.values[-1] + self.damping) / (self.values + self.damping) - 1.0
        return covector + self.vectors @ (factor * inside)


def nystrom(apply, size: int, rank: int, damping: float, generator: np.random.Generator) -> NystromPreconditioner:
    """Randomised Nystrom approximation of a positive semi-definite operator, as a preconditioner.

    Parameters
    ----------
    apply
        ``(P,) -> (P,)``; called `rank` times.
    size, rank
        P and r.
    generator
        Of the test matrix.
    """
    test = np.linalg.qr(generator.standard_normal((size, min(rank, size))))[0]
    sketch = np.column_stack([apply(column) for column in test.T])
    vectors, roots, _ = np.linalg.svd(nystrom_factor(test, sketch), full_matrices=False)
    if not roots.size:
        raise SolveError("the sketch of the Gram matrix vanishes: the network depends on none of its parameters")
    return NystromPreconditioner(vectors, roots**2, damping)


def solve(tangent: MatrixFreeTangent, slope: np.ndarray, damping: float, precondition=None, tolerance: float = 1e-10,
          iterations: int | None = None) -> CGResult:
    """``(G + damping I) d = slope`` by conjugate gradients."""
    return pcg(lambda v: tangent.gram_product(v) + damping * v, slope, preconditioner=precondition, tolerance=tolerance,
               max_iterations=iterations)
