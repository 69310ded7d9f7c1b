"""What an observation and a noise model are to the energies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class Observation(Protocol):
    """A linear map from states u ``(n_u, ...)`` to what is measured, ``(n_obs, ...)``."""

    @property
    def shape(self) -> tuple[int, int]:
        """``(n_obs, n_u)``."""

    def __call__(self, u: np.ndarray) -> np.ndarray:
        """Observations ``(n_obs, ...)``."""

    def transpose(self, r: np.ndarray) -> np.ndarray:
        """Covector ``(n_u, ...)`` of what weighs the observations by r ``(n_obs, ...)``."""


@runtime_checkable
class Noise(Protocol):
    """The misfit of a residual r ``(n_obs, k)``, observed minus measured, of k experiments.

    InputError where r has another shape than the data that it was made for.
    """

    def value(self, r: np.ndarray) -> float:
        """The misfit."""

    def derivative(self, r: np.ndarray) -> np.ndarray:
        """Its derivative ``(n_obs, k)``."""

    def hessian(self, r: np.ndarray, kind: str = "gauss-newton") -> Callable[[np.ndarray], np.ndarray]:
        """Its second derivative as a map of dr ``(n_obs, k)`` or ``(n_obs, k, b)``.

        Positive semi-definite for kind ``"gauss-newton"``, exact for ``"newton"``.
        """
