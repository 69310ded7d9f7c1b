"""What every ansatz can do."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class Ansatz(Protocol):
    """A parametrised field N_theta on points; frozen, theta a flat float64 vector.

    With one component (c = 1) samples have shape (q,), Jacobians (q, P) and gradients (q, d);
    otherwise (q, c), (q, c, P) and (q, c, d).
    """

    @property
    def inputs(self) -> int:
        """Dimension d of the points."""

    @property
    def outputs(self) -> int:
        """Number c of components."""

    @property
    def size(self) -> int:
        """Number P of parameters."""

    def initial(self, generator: np.random.Generator) -> np.ndarray:
        """Start parameters (P,)."""

    def __call__(self, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Samples at points x (q, d)."""

    def jacobian(self, theta: np.ndarray, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """dN/dtheta, written into `out` if given."""

    def jvp(self, theta: np.ndarray, x: np.ndarray, dtheta: np.ndarray) -> np.ndarray:
        """J dtheta, samples."""

    def vjp(self, theta: np.ndarray, x: np.ndarray, samples: np.ndarray) -> np.ndarray:
        """J^T samples (P,)."""

    def gradient(self, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
        """dN/dx."""

    def linearize(self, theta: np.ndarray, x: np.ndarray):
        """J at these points as an operator with value, jvp, vjp, jacobian, dual_gram."""

    def as_dict(self) -> dict:
        """Numbers, strings and lists for checkpoints (see `ansatz_from_dict`)."""
