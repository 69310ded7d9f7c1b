"""What an energy is to the flows."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from ..linalg.operators import SymmetricOperator
from ..pde.protocol import SolveCounts


@runtime_checkable
class Linearization(Protocol):
    """An energy around the vector m ``(n,)``; derivatives are computed when asked for.

    Its Hessian is that of the misfit plus that of the regularisation, which is cheap and sparse or invertible. Kind
    ``"gauss-newton"`` is positive semi-definite where the energy allows it, ``"newton"`` exact.
    """

    m: np.ndarray
    value: float
    terms: dict[str, float]

    @property
    def derivative(self) -> np.ndarray:
        """Covector ``(n,)``."""

    def hessian_action(self, v: np.ndarray, kind: str = "gauss-newton") -> np.ndarray:
        """Covector ``H v`` of a vector ``(n,)``, or of a block of them ``(n, b)``."""

    def misfit_action(self, v: np.ndarray, kind: str = "gauss-newton") -> np.ndarray:
        """The part of `hessian_action` that the regularisation has no share in."""

    def regularization_hessian(self, kind: str = "gauss-newton") -> SymmetricOperator:
        """The other part, positive semi-definite for both kinds or zero."""

    @property
    def preconditioner(self) -> SymmetricOperator:
        """A definite operator close to the Hessian that is cheap to invert."""


@runtime_checkable
class Energy(Protocol):
    """A functional of vectors ``(n,)`` that flows minimise."""

    @property
    def counts(self) -> SolveCounts:
        """PDE solves so far, one per right-hand side."""

    @property
    def work_per_solve(self) -> int:
        """The unit in which solves on different meshes are compared."""

    def __call__(self, m: np.ndarray) -> float:
        """The value at m."""

    def linearize(self, m: np.ndarray, start=None) -> Linearization:
        """The energy around m, a nonlinear solve started from the state `start`; SolveError where it is undefined."""
