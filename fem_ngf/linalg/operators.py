"""Inner-product matrices with their inverses: sparse ones, and fractional powers for H^s."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import scipy.sparse as sp
from scipy.interpolate import AAA
from scipy.linalg import eigh
from scipy.sparse.linalg import LinearOperator, eigsh

from .factorize import factorize


class InnerProduct(Protocol):
    """A symmetric positive definite ``A`` on all unknowns (rows of fixed unknowns are ignored)."""

    matrix: object

    def apply(self, vector: np.ndarray) -> np.ndarray:
        """``A v`` for (n,) or (n, k)."""

    def solve(self, covector: np.ndarray) -> np.ndarray:
        """``A^-1 g`` for (n,) or (n, k); zero at fixed unknowns."""

    def gram(self, vectors: np.ndarray) -> np.ndarray:
        """``T^T A T``."""


def symmetric_product(left: np.ndarray, right: np.ndarray, block: int = 256) -> np.ndarray:
    """``left^T right`` when it is known to be symmetric: only blocks of the upper triangle are multiplied.

    Parameters
    ----------
    left, right
        ``(n, k)``.
    """
    k = left.shape[1]
    if k <= 2 * block:
        product = left.T @ right
        return 0.5 * (product + product.T)
    product = np.empty((k, k))
    for start in range(0, k, block):
        stop = min(start + block, k)
        product[start:stop, start:] = left[:, start:stop].T @ right[:, start:]
        product[start:, start:stop] = product[start:stop, start:].T
    return product


def orthonormal_columns(vectors: np.ndarray, metric: InnerProduct, tolerance: float = 1e-10) -> np.ndarray:
    """A-orthonormal basis ``(n, r)`` of the numerical column space of `vectors` (n, k).

    The Gram matrix squares the condition of the vectors, so it is used in stages: each takes its well-conditioned
    part (four digits of singular values) and the rest goes on, deflated twice, until its columns have lost all but
    `tolerance` of their length.

    References
    ----------
    A. Stathopoulos, K. Wu, A block orthogonalization procedure with constant
    synchronization requirements, SIAM J. Sci. Comput. 23 (2002).
    """
    lengths = _lengths(vectors, metric)
    rest, basis = vectors[:, lengths > 0] / lengths[lengths > 0], vectors[:, :0]
    while rest.shape[1]:
        eigenvalues, rotation = np.linalg.eigh(metric.gram(rest))
        keep = eigenvalues > 1e-8 * eigenvalues[-1]
        found = _deflated(rest @ (rotation[:, keep] / np.sqrt(eigenvalues[keep])), basis, metric)
        corrections, again = np.linalg.eigh(metric.gram(found))
        basis = np.column_stack([basis, found @ (again / np.sqrt(corrections))])
        rest = _deflated(_deflated(rest @ rotation[:, ~keep], basis, metric), basis, metric)
        rest = rest[:, _lengths(rest, metric) > tolerance]
    return basis


def _deflated(vectors: np.ndarray, basis: np.ndarray, metric: InnerProduct) -> np.ndarray:
    return vectors - basis @ (metric.apply(basis).T @ vectors)


def _lengths(vectors: np.ndarray, metric: InnerProduct) -> np.ndarray:
    return np.sqrt(np.maximum(np.sum(vectors * metric.apply(vectors), axis=0), 0.0))


@dataclass(frozen=True, eq=False)
class MatrixInnerProduct:
    """Sparse ``A``; factorised on the `free` unknowns at the first solve."""

    matrix: sp.csr_array
    free: np.ndarray

    def apply(self, vector: np.ndarray) -> np.ndarray:
        return self.matrix @ vector

    @cached_property
    def _factor(self):
        matrix = self.matrix
        if self.free.size < matrix.shape[0]:
            matrix = matrix[self.free][:, self.free]
        return factorize(matrix, symmetric=True, definite=True)

    def solve(self, covector: np.ndarray) -> np.ndarray:
        vector = np.zeros_like(covector)
        vector[self.free] = self._factor.solve(covector[self.free])
        return vector

    def gram(self, vectors: np.ndarray) -> np.ndarray:
        return symmetric_product(vectors, self.matrix @ vectors)


@dataclass(frozen=True, eq=False)
class OperatorInnerProduct:
    """An ``A`` known by its actions: an operator with ``@`` and ``solve``, such as the precision of a prior."""

    matrix: object

    def apply(self, vector: np.ndarray) -> np.ndarray:
        return self.matrix @ vector

    def solve(self, covector: np.ndarray) -> np.ndarray:
        return self.matrix.solve(covector)

    def gram(self, vectors: np.ndarray) -> np.ndarray:
        return symmetric_product(vectors, self.matrix @ vectors)


@dataclass(frozen=True, eq=False)
class SobolevInnerProduct:
    r""":math:`A = M L^s`, :math:`L = M^{-1} S`, :math:`S = M + l^2 K`, for real `s` in [-2, 2].

    Small spaces use the generalised eigen-decomposition. Large ones write
    ``s = k + r`` with an integer ``k`` and ``-1 < r < 0`` and replace
    :math:`\lambda^r` on the spectrum of ``L`` by a rational function in partial
    fractions, one factorisation of :math:`S - p M` a pole.

    References
    ----------
    Y. Nakatsukasa, O. Sete, L. N. Trefethen, The AAA algorithm for rational
    approximation, SIAM J. Sci. Comput. 40 (2018).
    """

    mass: sp.csr_array
    energy: sp.csr_array
    order: float
    free: np.ndarray
    dense_limit: int = 800

    @property
    def matrix(self) -> LinearOperator:
        return LinearOperator(self.mass.shape, matvec=self.apply, matmat=self.apply, dtype=np.float64)

    def apply(self, vector: np.ndarray) -> np.ndarray:
        out = np.zeros_like(vector)
        out[self.free] = self._mass @ self._power(self.order, vector[self.free])
        return out

    def solve(self, covector: np.ndarray) -> np.ndarray:
        out = np.zeros_like(covector)
        out[self.free] = self._power(-self.order, self._mass_factor.solve(covector[self.free]))
        return out

    def gram(self, vectors: np.ndarray) -> np.ndarray:
        return symmetric_product(vectors, self.apply(vectors))

    def _power(self, exponent: float, vector: np.ndarray) -> np.ndarray:
        """``L^exponent v`` on the free unknowns."""
        if self.free.size <= self.dense_limit:
            eigenvalues, eigenvectors = self._eigen
            coefficients = eigenvectors.T @ (self._mass @ vector)
            scale = eigenvalues**exponent
            return eigenvectors @ (coefficients * (scale if vector.ndim == 1 else scale[:, None]))
        whole = int(np.ceil(exponent))
        fraction = exponent - whole
        if fraction < -1e-14:
            vector = self._fractional(fraction, vector)
        for _ in range(abs(whole)):
            if whole > 0:
                vector = self._mass_factor.solve(self._energy @ vector)
            else:
                vector = self._energy_factor.solve(self._mass @ vector)
        return vector

    def _fractional(self, exponent: float, vector: np.ndarray) -> np.ndarray:
        constant, weights, factors = self._partial_fractions(exponent)
        moments = self._mass @ vector
        return constant * vector + sum(weight * factor.solve(moments)
                                       for weight, factor in zip(weights, factors, strict=True))

    def _partial_fractions(self, exponent: float):
        if exponent not in self._fractions:
            grid = np.geomspace(1.0, 1.05 * self._largest, 2000)
            rational = AAA(grid, grid**exponent, rtol=1e-13, clean_up=True)
            poles, residues = rational.poles(), rational.residues()
            keep = (np.abs(poles.imag) <= 1e-8 * np.abs(poles)) & (poles.real < 0)
            poles, _ = poles.real[keep], residues.real[keep]
            design = np.column_stack([np.ones_like(grid), *(1.0 / (grid - pole) for pole in poles)])
            scale = np.abs(design / grid[:, None] ** exponent).max(axis=0)
            relative = design / grid[:, None] ** exponent / scale
            weights = np.linalg.lstsq(relative, np.ones_like(grid), rcond=None)[0] / scale
            factors = [factorize(self._energy - pole * self._mass, symmetric=True, definite=True) for pole in poles]
            self._fractions[exponent] = (weights[0], weights[1:], factors)
        return self._fractions[exponent]

    @cached_property
    def _fractions(self) -> dict:
        return {}

    @cached_property
    def _largest(self) -> float:
        """Largest eigenvalue of ``L``."""
        start = np.random.default_rng(0).standard_normal(self.free.size)
        inverse = LinearOperator(self._mass.shape, self._mass_factor.solve)
        return float(eigsh(self._energy, k=1, M=self._mass, Minv=inverse, which="LM", v0=start, tol=1e-3,
                           return_eigenvectors=False)[0])

    @cached_property
    def _eigen(self):
        return eigh(self._energy.toarray(), self._mass.toarray())

    @cached_property
    def _mass(self):
        return self.mass[self.free][:, self.free]

    @cached_property
    def _energy(self):
        return self.energy[self.free][:, self.free]

    @cached_property
    def _mass_factor(self):
        return factorize(self._mass, symmetric=True, definite=True)

    @cached_property
    def _energy_factor(self):
        return factorize(self._energy, symmetric=True, definite=True)
