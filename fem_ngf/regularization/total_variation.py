"""Smoothed total variation: edges are allowed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from skfem import BilinearForm, Functional, LinearForm
from skfem.helpers import dot, grad

from ..errors import InputError, check_has, check_kind, check_positive
from ..linalg.operators import Matrix


@dataclass(frozen=True, eq=False)
class TotalVariation:
    r"""Smoothed total variation :math:`w \int \sqrt{|\nabla m|^2 + \epsilon^2} - \epsilon`.

    Parameters
    ----------
    basis
        scikit-fem basis of a scalar parameter.
    weight
        Positive number w.
    epsilon
        Size of gradient below which the penalty turns quadratic; positive.

    Notes
    -----
    Gauss-Newton is lagged diffusivity: the form
    :math:`w \int \nabla u \cdot \nabla v / s`, :math:`s = \sqrt{|\nabla m|^2 + \epsilon^2}`.
    Newton subtracts :math:`w \int (\nabla m \cdot \nabla u)(\nabla m \cdot \nabla v) / s^3`.

    References
    ----------
    C. R. Vogel, M. E. Oman, Iterative methods for total variation denoising,
    SIAM J. Sci. Comput. 17 (1996).
    """

    basis: object
    weight: float
    epsilon: float

    def __post_init__(self):
        check_positive(weight=self.weight, epsilon=self.epsilon)
        check_has("basis", self.basis, "a scikit-fem Basis", "N", "mesh", "with_element")

    def __repr__(self):
        return f"TotalVariation({self.size} unknowns, weight {self.weight:g}, epsilon {self.epsilon:g})"

    @property
    def size(self) -> int:
        """Number of unknowns n."""
        return int(self.basis.N)

    def value(self, m: np.ndarray) -> float:
        return self.weight * float(_variation.assemble(self.basis, m=self._field(m), epsilon=self.epsilon))

    def derivative(self, m: np.ndarray) -> np.ndarray:
        return self.weight * _variation_derivative.assemble(self.basis, m=self._field(m), epsilon=self.epsilon)

    def hessian(self, m: np.ndarray, kind: str = "gauss-newton") -> Matrix:
        check_kind(kind)
        form = _lagged_diffusivity if kind == "gauss-newton" else _variation_hessian
        matrix = sp.csr_array(form.assemble(self.basis, m=self._field(m), epsilon=self.epsilon))
        return Matrix(self.weight * matrix, definite=False)

    def _field(self, m: np.ndarray):
        m = np.asarray(m, dtype=np.float64)
        if m.shape != (self.basis.N,):
            raise InputError(f"m has shape {m.shape}; the basis has {self.basis.N} unknowns")
        return self.basis.interpolate(m)


def _smooth_length(w):
    return np.sqrt(dot(w.m.grad, w.m.grad) + w.epsilon**2)


@Functional
def _variation(w):
    square = dot(w.m.grad, w.m.grad)
    return square / (_smooth_length(w) + w.epsilon)  # = s - epsilon, without cancellation


@LinearForm
def _variation_derivative(v, w):
    return dot(w.m.grad, grad(v)) / _smooth_length(w)


@BilinearForm
def _lagged_diffusivity(u, v, w):
    return dot(grad(u), grad(v)) / _smooth_length(w)


@BilinearForm
def _variation_hessian(u, v, w):
    length = _smooth_length(w)
    return dot(grad(u), grad(v)) / length - dot(w.m.grad, grad(u)) * dot(w.m.grad, grad(v)) / length**3
