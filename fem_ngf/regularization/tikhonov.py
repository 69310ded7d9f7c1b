"""Regularization of the parameter: Tikhonov in any Hilbert space, total variation, sums.

The protocol: ``value(m)``, ``derivative(m)`` (covector) and ``hessian(m, kind)``,
symmetric, positive semi-definite for kind ``"gauss-newton"``, exact for
``"newton"``. It is a sparse matrix, or an :class:`InvertibleOperator` where the
matrix would be dense (Gaussian priors, fractional Sobolev norms).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Protocol

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator, aslinearoperator
from skfem import BilinearForm, Functional, LinearForm
from skfem.helpers import dot, grad

from ..errors import InputError


class Regularization(Protocol):
    """What an energy adds to the misfit: a functional of vectors ``(n_m,)``."""

    def value(self, m: np.ndarray) -> float: ...
    def derivative(self, m: np.ndarray) -> np.ndarray: ...
    def hessian(self, m: np.ndarray, kind: str = "gauss-newton"): ...


class InvertibleOperator(LinearOperator):
    """A symmetric matrix known by its action and its inverse's.

    Parameters
    ----------
    size
        Number of unknowns n.
    apply, solve
        ``A v`` and ``A^-1 g`` for ``(n,)`` and ``(n, k)``.
    """

    def __init__(self, size: int, apply: Callable, solve: Callable):
        super().__init__(np.float64, (size, size))
        self._apply, self.solve = apply, solve

    def _matvec(self, vector):
        return self._apply(np.asarray(vector).reshape(self.shape[1]))

    def _matmat(self, vectors):
        return self._apply(vectors)

    def _adjoint(self):
        return self


@dataclass(frozen=True, eq=False)
class Tikhonov:
    r"""Quadratic penalty :math:`\frac{w}{2} \|m - \bar m\|_A^2`.

    Parameters
    ----------
    metric
        HilbertSpace, or the symmetric positive semi-definite matrix ``A`` ``(n, n)``
        itself, e.g. ``space.stiffness`` for :math:`\frac w2 \|\nabla m\|^2`.
    weight
        Positive number w: its share in a sum; the weight against the misfit may as well be that of `InverseProblem`.
    mean
        Vector ``(n,)`` or number that is not penalised.
    """

    metric: object
    weight: float = 1.0
    mean: np.ndarray | float = 0.0

    def __post_init__(self):
        _check_weight(self.weight)
        if not hasattr(self._matrix, "shape") or len(self._matrix.shape) != 2 or np.diff(self._matrix.shape)[0]:
            raise InputError(f"metric is {type(self.metric).__name__}; give a HilbertSpace or a square matrix")
        if np.shape(self.mean) not in ((), (self._matrix.shape[0],)):
            raise InputError(f"mean has shape {np.shape(self.mean)}; the metric has {self._matrix.shape[0]} unknowns")

    @property
    def _matrix(self):
        return getattr(self.metric, "matrix", self.metric)

    def value(self, m: np.ndarray) -> float:
        return 0.5 * float((m - self.mean) @ self.derivative(m))

    def derivative(self, m: np.ndarray) -> np.ndarray:
        return self.weight * (self._matrix @ (np.asarray(m) - self.mean))

    def hessian(self, m: np.ndarray, kind: str = "gauss-newton"):
        _check_kind(kind)
        matrix, weight = self._matrix, self.weight
        if not isinstance(matrix, LinearOperator) or not hasattr(self.metric, "riesz"):
            return weight * matrix
        riesz = self.metric.riesz
        return InvertibleOperator(matrix.shape[0], lambda v: weight * (matrix @ v), lambda g: riesz(g) / weight)


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
        _check_weight(self.weight)
        if not (np.isfinite(self.epsilon) and self.epsilon > 0):
            raise InputError(f"epsilon is {self.epsilon}; it must be a positive number (a small gradient of m)")

    def value(self, m: np.ndarray) -> float:
        return self.weight * float(_variation.assemble(self.basis, m=self._field(m), epsilon=self.epsilon))

    def derivative(self, m: np.ndarray) -> np.ndarray:
        return self.weight * _variation_derivative.assemble(self.basis, m=self._field(m), epsilon=self.epsilon)

    def hessian(self, m: np.ndarray, kind: str = "gauss-newton") -> sp.csr_array:
        _check_kind(kind)
        form = _lagged_diffusivity if kind == "gauss-newton" else _variation_hessian
        return self.weight * sp.csr_array(form.assemble(self.basis, m=self._field(m), epsilon=self.epsilon))

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


@dataclass(frozen=True, eq=False)
class SumOf:
    """Sum of several regularizations of the same parameter."""

    parts: tuple

    def __post_init__(self):
        object.__setattr__(self, "parts", tuple(self.parts))
        if not self.parts:
            raise InputError("parts is empty; give at least one regularization")

    def value(self, m: np.ndarray) -> float:
        return sum(part.value(m) for part in self.parts)

    def derivative(self, m: np.ndarray) -> np.ndarray:
        return sum(part.derivative(m) for part in self.parts)

    def hessian(self, m: np.ndarray, kind: str = "gauss-newton"):
        matrices = [part.hessian(m, kind) for part in self.parts]
        if any(isinstance(matrix, LinearOperator) for matrix in matrices):
            matrices = [aslinearoperator(matrix) for matrix in matrices]
        return reduce(add, matrices)


@dataclass(frozen=True, eq=False)
class Blocks:
    """One regularization for each field of a parameter that concatenates several.

    Parameters
    ----------
    parts, sizes
        Of each field the regularization (or None) and the number of unknowns.
    """

    parts: tuple
    sizes: tuple[int, ...]

    def __post_init__(self):
        if len(self.parts) != len(self.sizes):
            raise InputError(f"parts has {len(self.parts)} entries, sizes {len(self.sizes)}; give one of each a field")

    def value(self, m: np.ndarray) -> float:
        return sum(part.value(field) for part, field in zip(self.parts, self._split(m), strict=True) if part)

    def derivative(self, m: np.ndarray) -> np.ndarray:
        return np.concatenate([part.derivative(field) if part else np.zeros(len(field))
                               for part, field in zip(self.parts, self._split(m), strict=True)])

    def hessian(self, m: np.ndarray, kind: str = "gauss-newton") -> sp.csr_array:
        blocks = [part.hessian(field, kind) if part else sp.csr_array((len(field), len(field)))
                  for part, field in zip(self.parts, self._split(m), strict=True)]
        if not all(sp.issparse(block) for block in blocks):
            raise InputError("parts: the Hessian of a field is not sparse; Blocks takes sparse regularizations only")
        return sp.csr_array(sp.block_diag(blocks, format="csr"))

    def _split(self, m: np.ndarray) -> list[np.ndarray]:
        if np.shape(m) != (sum(self.sizes),):
            raise InputError(f"m has shape {np.shape(m)}; the fields have {sum(self.sizes)} unknowns together")
        return np.split(np.asarray(m), np.cumsum(self.sizes)[:-1])


def _check_weight(weight: float) -> None:
    if not (np.isfinite(weight) and weight > 0):
        raise InputError(f"weight is {weight}; it must be a positive number")


def _check_kind(kind: str) -> None:
    if kind not in ("gauss-newton", "newton"):
        raise InputError(f"kind is {kind!r}; choose 'gauss-newton' or 'newton'")
