"""Fractional powers of an elliptic operator: the inner products of H^s."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from scipy.interpolate import AAA
from scipy.linalg import eigh
from scipy.sparse.linalg import LinearOperator, eigsh

from .operators import Matrix, SymmetricOperator


@dataclass(frozen=True, eq=False)
class SobolevPower(SymmetricOperator):
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
    def size(self) -> int:
        return self.mass.shape[0]

    def apply(self, vector: np.ndarray) -> np.ndarray:
        out = np.zeros_like(vector)
        out[self.free] = self._mass @ self._power(self.order, vector[self.free])
        return out

    def solve(self, covector: np.ndarray) -> np.ndarray:
        out = np.zeros_like(covector)
        out[self.free] = self._power(-self.order, self._mass.solve(covector[self.free]))
        return out

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
                vector = self._mass.solve(self._energy @ vector)
            else:
                vector = self._energy.solve(self._mass @ vector)
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
            factors = [Matrix(self._energy.matrix - pole * self._mass.matrix) for pole in poles]
            self._fractions[exponent] = (weights[0], weights[1:], factors)
        return self._fractions[exponent]

    @cached_property
    def _fractions(self) -> dict:
        return {}

    @cached_property
    def _largest(self) -> float:
        """Largest eigenvalue of ``L``."""
        start = np.random.default_rng(0).standard_normal(self.free.size)
        inverse = LinearOperator(self._mass.matrix.shape, self._mass.solve)
        return float(eigsh(self._energy.matrix, k=1, M=self._mass.matrix, Minv=inverse, which="LM", v0=start, tol=1e-3,
                           return_eigenvectors=False)[0])

    @cached_property
    def _eigen(self):
        return eigh(self._energy.matrix.toarray(), self._mass.matrix.toarray())

    @cached_property
    def _mass(self) -> Matrix:
        return Matrix(self.mass[self.free][:, self.free])

    @cached_property
    def _energy(self) -> Matrix:
        return Matrix(self.energy[self.free][:, self.free])
