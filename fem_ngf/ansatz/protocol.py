"""What every ansatz and its linearisation can do."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class Linearization(Protocol):
    """The Jacobian J = dN/dtheta at q points as an operator: the only derivative of an ansatz with respect to theta.

    With one component (c = 1) samples have shape (q,) and Jacobians (q, P); otherwise (q, c) and (q, c, P), the
    components of a point side by side.
    """

    @property
    def value(self) -> np.ndarray:
        """Samples N_theta(x)."""

    def jvp(self, dtheta: np.ndarray) -> np.ndarray:
        """J dtheta, samples, of a direction (P,)."""

    def vjp(self, samples: np.ndarray) -> np.ndarray:
        """J^T samples (P,)."""

    def jacobian(self, out: np.ndarray | None = None) -> np.ndarray:
        """J in full, written into `out` if given."""

    def dual_gram(self) -> np.ndarray:
        """J J^T (q, q), or (q c, q c): the neural tangent kernel of these points."""


@runtime_checkable
class Ansatz(Protocol):
    """A parametrised field N_theta on points; frozen, theta a flat float64 vector."""

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
        """Samples (q,) or (q, c) at points x (q, d)."""

    def linearize(self, theta: np.ndarray, x: np.ndarray) -> Linearization:
        """Value and Jacobian at points x (q, d)."""

    def as_dict(self) -> dict:
        """Numbers, strings and lists for checkpoints (see `ansatz_from_dict`)."""
