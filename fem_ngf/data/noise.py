"""Noise models: the misfit of a residual ``r = observed - measured``.

Every model has ``value(r)``, ``derivative(r)`` and ``hessian(r, kind)`` for
`r` of shape ``(n_obs, k)``, k experiments. The Hessian is a function of
``dr`` ``(n_obs, k)`` or ``(n_obs, k, b)``; kind ``"gauss-newton"`` is positive
semi-definite, ``"newton"`` exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from ..errors import InputError, check_kind, real_array, shown

Action = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class GaussianNoise:
    r"""Normal noise: :math:`\frac12 \sum r^T P r`, or a squared L2 norm of the residual.

    Parameters
    ----------
    precision
        Inverse covariance: sparse ``(n_obs, n_obs)`` shared by the experiments;
        or dense weights, one an observation, that broadcast to ``(n_obs, k)``.
    constant
        Added to the value, e.g. the part of the data that no state can fit.
    is_likelihood
        Whether the value is minus the logarithm of a density: not where the precision is that of a norm.
    """

    precision: sp.csr_array | np.ndarray
    constant: float = 0.0
    is_likelihood: bool = True

    def __repr__(self):
        return f"GaussianNoise(precision {shown(self.precision)}{'' if self.is_likelihood else ', of a norm'})"

    @classmethod
    def from_std(cls, std) -> GaussianNoise:
        """Independent noise of standard deviation `std`: a number, ``(n_obs,)`` or ``(n_obs, k)``.

        An infinite `std` marks an observation that is missing.
        """
        std = _positive("std", std)
        if std.ndim == 1:
            return cls(sp.diags_array(std**-2.0, format="csr"))
        return cls(std**-2.0)

    @classmethod
    def from_matrix(cls, mass, scale: float = 1.0, constant: float = 0.0) -> GaussianNoise:
        r"""Misfit :math:`\frac{\mathrm{scale}}2 \|r\|_M^2` + constant, e.g. with the mass matrix of the state."""
        if mass.ndim != 2 or mass.shape[0] != mass.shape[1]:
            raise InputError(f"mass has shape {mass.shape}; it must be square, one row an observation")
        if not np.isfinite(constant):
            raise InputError(f"constant is {constant}; it must be a number")
        return cls(sp.csr_array(mass) * float(_positive("scale", scale)), float(constant), is_likelihood=False)

    def value(self, r: np.ndarray) -> float:
        """Misfit, summed over the experiments."""
        return 0.5 * float(np.sum(r * self.derivative(r))) + self.constant

    def derivative(self, r: np.ndarray) -> np.ndarray:
        """``P r``, of the shape of `r`."""
        return self._apply(np.asarray(r, dtype=np.float64), np.ndim(r))

    def hessian(self, r: np.ndarray, kind: str = "gauss-newton") -> Action:
        """``dr -> P dr``; the same for both kinds."""
        check_kind(kind)
        dimensions = np.ndim(r)
        return lambda dr: self._apply(np.asarray(dr, dtype=np.float64), dimensions)

    def _apply(self, r: np.ndarray, dimensions: int) -> np.ndarray:
        if sp.issparse(self.precision):
            _check_rows(r, self.precision.shape[0])
            return (self.precision @ r.reshape(len(r), -1)).reshape(r.shape)
        _check_broadcast("precision", self.precision, r.shape[:dimensions])
        return _columns(self.precision, r) * r


# ---- noise with outliers: methods of what has `weights` and `curvature` --------------------------------------------


def _derivative(self, r: np.ndarray) -> np.ndarray:
    """Weight times residual, of the shape of `r`."""
    return self.weights(r) * r


def _hessian(self, r: np.ndarray, kind: str = "gauss-newton") -> Action:
    """Weights (``"gauss-newton"``) or second derivatives (``"newton"``) times ``dr``."""
    check_kind(kind)
    weights = self.weights(r) * (self.curvature(r) if kind == "newton" else 1.0)
    return lambda dr: _columns(weights, dr) * dr


@dataclass(frozen=True, eq=False)
class StudentNoise:
    r"""Student-t noise, for data with outliers: :math:`\sum \frac{\nu+1}2 \log(1 + r^2/(\nu\sigma^2))`.

    The influence of a residual falls off beyond :math:`\sqrt\nu\,\sigma`; the
    misfit is not convex there. Gauss-Newton uses the weights of iteratively
    reweighted least squares.

    Parameters
    ----------
    std
        Scale sigma: a number, ``(n_obs,)`` or ``(n_obs, k)``.
    degrees
        Degrees of freedom nu; normal noise for nu to infinity.

    References
    ----------
    K. L. Lange, R. J. A. Little, J. M. G. Taylor, Robust statistical modeling
    using the t distribution, J. Am. Stat. Assoc. 84 (1989).
    """

    std: np.ndarray
    degrees: float = 4.0

    def __post_init__(self):
        object.__setattr__(self, "std", _positive("std", self.std))
        object.__setattr__(self, "degrees", float(_positive("degrees", self.degrees)))

    def __repr__(self):
        return f"StudentNoise(std {shown(self.std)}, degrees {self.degrees:g})"

    is_likelihood = True

    def value(self, r: np.ndarray) -> float:
        """Misfit, summed over observations and experiments."""
        scaled = _scaled(r, self.std)
        return 0.5 * (self.degrees + 1) * float(np.sum(np.log1p(scaled**2 / self.degrees)))

    def weights(self, r: np.ndarray) -> np.ndarray:
        """Positive weights of reweighted least squares, of the shape of `r`."""
        return (self.degrees + 1) / (self.degrees + _scaled(r, self.std) ** 2) / _columns(self.std, r) ** 2

    def curvature(self, r: np.ndarray) -> np.ndarray:
        """Second derivatives over the weights, of the shape of `r`: negative for outliers."""
        square = _scaled(r, self.std) ** 2
        return (self.degrees - square) / (self.degrees + square)

    derivative, hessian = _derivative, _hessian


@dataclass(frozen=True, eq=False)
class HuberNoise:
    r"""Huber's misfit, for data with outliers: quadratic up to `threshold` standard deviations, linear beyond.

    Parameters
    ----------
    std
        Scale sigma: a number, ``(n_obs,)`` or ``(n_obs, k)``.
    threshold
        Where it becomes linear, in standard deviations. 1.345 keeps 95 % of the
        efficiency for normal noise.

    References
    ----------
    P. J. Huber, Robust estimation of a location parameter, Ann. Math. Stat. 35 (1964).
    """

    std: np.ndarray
    threshold: float = 1.345

    def __post_init__(self):
        object.__setattr__(self, "std", _positive("std", self.std))
        object.__setattr__(self, "threshold", float(_positive("threshold", self.threshold)))

    def __repr__(self):
        return f"HuberNoise(std {shown(self.std)}, threshold {self.threshold:g})"

    is_likelihood = True

    def value(self, r: np.ndarray) -> float:
        """Misfit, summed over observations and experiments."""
        size = np.abs(_scaled(r, self.std))
        linear = self.threshold * (size - 0.5 * self.threshold)
        return float(np.sum(np.where(size <= self.threshold, 0.5 * size**2, linear)))

    def weights(self, r: np.ndarray) -> np.ndarray:
        """Positive weights of reweighted least squares, of the shape of `r`."""
        size = np.abs(_scaled(r, self.std))
        return np.minimum(1.0, self.threshold / np.maximum(size, self.threshold)) / _columns(self.std, r) ** 2

    def curvature(self, r: np.ndarray) -> np.ndarray:
        """Second derivatives over the weights, of the shape of `r`: zero for outliers."""
        return np.where(np.abs(_scaled(r, self.std)) <= self.threshold, 1.0, 0.0)

    derivative, hessian = _derivative, _hessian


def _columns(weights: np.ndarray, r: np.ndarray) -> np.ndarray:
    """Weights ``(n_obs,)`` or ``(n_obs, k)`` with trailing axes so that they multiply `r`, columns last."""
    weights = np.asarray(weights)
    return weights.reshape(weights.shape + (1,) * (np.ndim(r) - weights.ndim)) if weights.ndim else weights


def _scaled(r: np.ndarray, std: np.ndarray) -> np.ndarray:
    r = np.asarray(r, dtype=np.float64)
    _check_broadcast("std", std, r.shape)
    return r / _columns(std, r)


def _check_rows(r: np.ndarray, rows: int) -> None:
    if r.ndim == 0 or r.shape[0] != rows:
        raise InputError(f"residual has shape {r.shape}; the noise model has {rows} observations (one std an "
                         f"experiment has shape (1, {rows}))")


def _check_broadcast(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    fitting = shape[: array.ndim], (*shape[:1], 1)[: len(shape)], (1, *shape[1:])
    if array.ndim and array.shape not in fitting:
        raise InputError(f"{name} has shape {array.shape}; the observations have shape {shape}: give a number, one an "
                         f"observation {shape[:1]}, one an experiment {(1, *shape[1:])}, or all")


def _positive(name: str, value) -> np.ndarray:
    value = real_array(name, value)
    if value.size == 0 or value.ndim > 2 or np.isnan(value).any() or (value <= 0).any():
        raise InputError(f"{name} is {_extreme(value)}; every value must be positive")
    return value


def _extreme(value: np.ndarray) -> str:
    if value.size == 0:
        return "empty"
    bad = int(np.sum(~(value > 0)))
    return f"{value}" if value.ndim == 0 else f"of shape {value.shape} with {bad} entries that are not positive numbers"
