"""Network -> function, and the tangent space of that map (METHOD section 2)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from ..ansatz.finite_element import FiniteElement
from ..errors import InputError, check_memory
from ..linalg.dense import damped_solve, orthonormalize
from ..spaces.protocol import Space, sample_shape

BLOCK = 2048


def realize(ansatz, theta: np.ndarray, space: Space) -> np.ndarray:
    r"""Vector ``m = \Pi N_theta`` (n,) of the network's projection onto the space.

    For a finite-element ansatz the parameters are the coefficients.
    """
    if isinstance(ansatz, FiniteElement):
        m = np.array(theta, dtype=np.float64)
        if m.shape != (space.size,):
            raise InputError(f"theta has shape {m.shape}; the finite-element space has {space.size} unknowns")
        m[space.fixed] = 0.0
        return m
    _check_outputs(ansatz, space)
    return space.project(ansatz(theta, space.points))


def tangent_vectors(ansatz, theta: np.ndarray, space: Space, block: int = BLOCK) -> np.ndarray:
    r"""Tangent functions :math:`T = \Pi [\partial N/\partial\theta_1 .. \partial N/\partial\theta_P]` (n, P).

    The Jacobian is formed for one block of points at a time and its moments
    ``B^T W J`` are added up, so that memory stays O(n P).
    """
    check_tangents(ansatz, space)
    if space.sampling == "nodal":
        return space.project(ansatz.linearize(theta, space.points).jacobian(), overwrite=True)
    return space.project_moments(tangent_moments(ansatz, theta, space, block))


def check_tangents(ansatz, space: Space) -> None:
    """InputError if the tangent functions, or their Gram matrix, do not fit this machine."""
    unknowns = max(space.size, ansatz.size)
    check_memory(f"{ansatz.size} tangent functions of {space.size} unknowns", ansatz.size * unknowns, 8)


def tangent_moments(ansatz, theta: np.ndarray, space: Space, block: int = BLOCK) -> np.ndarray:
    """``B^T W J`` (n, P), streamed over blocks of quadrature points."""
    _check_outputs(ansatz, space)
    points = space.points
    moments = np.zeros((space.size, ansatz.size))
    buffer = np.empty((min(block, len(points)), *sample_shape(space)[1:], ansatz.size))
    for part in space.quadrature.moment_blocks(block):
        here = points[part.points]
        jacobian = ansatz.linearize(theta, here).jacobian(out=buffer[: len(here)])
        moments[part.dofs] += part.matrix @ jacobian.reshape(-1, ansatz.size)
    return moments


def _check_outputs(ansatz, space: Space) -> None:
    if ansatz.outputs != space.components:
        raise InputError(f"the ansatz has {ansatz.outputs} outputs and the unknown {space.components} components; they "
                         "must be as many")


@dataclass(frozen=True, eq=False)
class TangentSpace:
    """Span of the tangent vectors ``T`` in a Hilbert space.

    Parameters
    ----------
    space
        The ambient space with its inner-product matrix ``A``.
    vectors
        ``T`` (n, P); the sparse identity for a finite-element ansatz.
    """

    space: Space
    vectors: np.ndarray | sp.csr_array

    @classmethod
    def at(cls, ansatz, theta: np.ndarray, space: Space, block: int = BLOCK) -> TangentSpace:
        """Tangent space of ``theta -> realize(ansatz, theta, space)``."""
        theta = np.asarray(theta, dtype=np.float64)
        if theta.shape != (ansatz.size,):
            raise InputError(f"theta has shape {theta.shape}; the ansatz has {ansatz.size} parameters")
        if isinstance(ansatz, FiniteElement):
            ones = np.ones(space.size)
            ones[space.fixed] = 0.0
            return cls(space, sp.csr_array(sp.diags_array(ones)))
        return cls(space, tangent_vectors(ansatz, theta, space, block))

    @property
    def is_full(self) -> bool:
        """True when the tangent space is the whole space (finite-element ansatz)."""
        return sp.issparse(self.vectors)

    @cached_property
    def matrix(self):
        """Gram matrix ``G = T^T A T`` (P, P) in the inner product of the space; A itself if `is_full`."""
        return self.gram()

    def gram(self, space: Space | None = None):
        """Gram matrix of the tangent vectors in the inner product of `space` (default: the ambient one)."""
        space = self.space if space is None else space
        if self.is_full:
            return space.inner_product
        return space.gram(self.vectors)

    def pull_back(self, covector: np.ndarray) -> np.ndarray:
        """``T^T g`` (P,): the derivative with respect to the parameters."""
        return self.vectors.T @ covector

    def push_forward(self, dtheta: np.ndarray) -> np.ndarray:
        """Vector ``T d`` (n,) of a parameter direction."""
        return self.vectors @ dtheta

    def direction(self, derivative: np.ndarray, damping: float = 0.0) -> np.ndarray:
        """Parameters ``d = (G + damping I)^+ T^T g`` of the projected gradient ``T d``."""
        if self.is_full:
            if damping:
                raise InputError("damping is for networks: a finite-element ansatz has the full tangent space")
            return self.space.riesz(derivative)
        return damped_solve(self.matrix, self.pull_back(derivative), damping)

    def project(self, vector: np.ndarray, damping: float = 0.0) -> np.ndarray:
        """Parameters of the H-orthogonal projection of a vector."""
        return self.direction(self.space.apply(vector), damping)

    def realized_alignment(self, derivative: np.ndarray, dtheta: np.ndarray) -> float:
        r"""Realised alignment :math:`c = b\cdot d/\sqrt{d^T G d\; g^T A^{-1} g}` of a direction ``d``."""
        b = self.pull_back(derivative)
        length = np.sqrt(max(dtheta @ (self.matrix @ dtheta), 0.0)) * self.space.dual_norm(derivative)
        return float(b @ dtheta / length) if length > 0 else 0.0

    @cached_property
    def orthonormal(self) -> np.ndarray:
        """A-orthonormal basis ``(n, r)`` of the tangent space."""
        return orthonormalize(self.vectors, self.space.inner_product)

    def alignment(self, derivative: np.ndarray) -> float:
        r"""Alignment :math:`\kappa = \|P_T\, grad\| / \|grad\|` in [0, 1] (undamped)."""
        norm = self.space.dual_norm(derivative)
        if norm == 0.0:
            return 1.0
        if self.is_full:
            return 1.0
        return float(min(np.linalg.norm(self.orthonormal.T @ derivative) / norm, 1.0))
