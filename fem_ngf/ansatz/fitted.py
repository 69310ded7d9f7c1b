"""Networks that start from a given function, a law with which the equation is solvable, say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..linalg.dense import damped_solve, marquardt_shift


@dataclass(frozen=True, eq=False)
class Fitted:
    """An ansatz whose start parameters are fitted to a function.

    Parameters
    ----------
    inner : Ansatz
        The ansatz; its own random start is where the fit starts.
    points : array (q, d)
        Where it is fitted.
    target : callable
        Points (q, d) -> values (q,) or (q, c).
    iterations : int
        Of Levenberg's and Marquardt's method; fewer where the relative misfit falls below 1e-3.
    """

    inner: object
    points: np.ndarray
    target: Callable
    iterations: int = 60

    inputs = property(lambda self: self.inner.inputs, doc="Dimension d of the points.")
    outputs = property(lambda self: self.inner.outputs, doc="Number c of components of the value.")
    size = property(lambda self: self.inner.size, doc="Number P of parameters.")

    def initial(self, generator: np.random.Generator) -> np.ndarray:
        """Parameters (P,) whose function is near the target."""
        theta, values, damping = self.inner.initial(generator), self.target(self.points), 1e-2
        error = self.inner(theta, self.points) - values
        for _ in range(self.iterations):
            if np.linalg.norm(error) <= 1e-3 * np.linalg.norm(values):
                break
            jacobian = self.inner.linearize(theta, self.points).jacobian().reshape(error.size, -1)
            gram = jacobian.T @ jacobian
            step = damped_solve(gram, jacobian.T @ error.ravel(), marquardt_shift(np.diag(gram), damping))
            trial = self.inner(theta - step, self.points) - values
            if np.linalg.norm(trial) < np.linalg.norm(error):
                theta, error, damping = theta - step, trial, 0.3 * damping
            else:
                damping *= 10.0
        return theta

    def __call__(self, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Samples (q,) or (q, c) at points x (q, d)."""
        return self.inner(theta, x)

    def linearize(self, theta: np.ndarray, x: np.ndarray):
        """Value and Jacobian at points x (q, d)."""
        return self.inner.linearize(theta, x)

    def as_dict(self) -> dict:
        """The inner ansatz; points and target must be given again to `ansatz_from_dict`."""
        return {"kind": "Fitted", "inner": self.inner.as_dict()}
