r"""Geometrically adapted gradient flow in the output space of the data (METHOD section 5).

With outputs ``x(theta)`` (N c,) at N data points, targets ``y``, the cost
:math:`C = \tfrac1{2N} |x - y|^2` and the Jacobian ``D``, the flow is

.. math:: \theta' = -D^+ \nabla_x C = -\tfrac1N D^+ (x - y).

Over-parametrised and of full rank, :math:`D^+ = D^T (D D^T)^{-1}`: the outputs move on the straight line to the targets
and :math:`C(s) = e^{-2s/N} C(0)`. Under-parametrised, :math:`D^+ = (D^T D)^{-1} D^T`: the natural-gradient flow. Both
have the equilibria of plain gradient flow, to which a homotopy links them.

References
----------
T. Chen, arXiv 2311.15487. T. Chen, P. Munoz Ewald, arXiv 2408.01517.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.integrate import solve_ivp

from ..energies.smooth import finite_array
from ..errors import InputError, SolveError


@dataclass(frozen=True, eq=False)
class AdaptedPath:
    """A trajectory of the flow.

    Parameters
    ----------
    times
        ``(k,)``.
    theta, outputs
        ``(k, P)``, ``(k, N c)``.
    costs
        ``(k,)``.
    evaluations
        Number of Jacobians that the integrator asked for.
    """

    times: np.ndarray
    theta: np.ndarray
    outputs: np.ndarray
    costs: np.ndarray
    evaluations: int

    def deviation(self, targets: np.ndarray, count: int) -> float:
        r"""Largest distance from the line ``(1 - t) x_0 + t y``, ``t = 1 - exp(-s/N)``, relative to its length."""
        decay = np.exp(-self.times / count)[:, None]
        line = targets + decay * (self.outputs[0] - targets)
        return float(np.linalg.norm(self.outputs - line, axis=1).max() / np.linalg.norm(self.outputs[0] - targets))


@dataclass(frozen=True, eq=False)
class AdaptedFlow:
    """The adapted gradient flow of a least-squares fit.

    Parameters
    ----------
    ansatz
        Network with c outputs.
    points, targets
        ``(N, d)`` and ``(N,)`` or ``(N, c)``.
    homotopy
        0: plain gradient flow; 1: adapted; between, the direction ``(1 - a) I + a (D^T D)^+`` of gradients.
    rank_tolerance
        Singular values of ``D`` below this fraction of the largest count as zero.

    Raises
    ------
    InputError
        If shapes do not fit, or `homotopy` is outside [0, 1].
    """

    ansatz: object
    points: np.ndarray
    targets: np.ndarray
    homotopy: float = 1.0
    rank_tolerance: float = 1e-12

    def __post_init__(self):
        if not 0.0 <= self.homotopy <= 1.0:
            raise InputError(f"homotopy is {self.homotopy}; it must be between 0 (plain) and 1 (adapted)")
        outputs = self.ansatz.outputs
        shape = (len(self.points),) if outputs == 1 else (len(self.points), outputs)
        object.__setattr__(self, "targets", finite_array("targets", self.targets, shape).ravel())

    @property
    def count(self) -> int:
        """Number N of data points."""
        return len(self.points)

    @property
    def overparametrised(self) -> bool:
        """At least as many parameters as output values."""
        return self.ansatz.size >= len(self.targets)

    def outputs(self, theta: np.ndarray) -> np.ndarray:
        """``x(theta)`` (N c,)."""
        return self.ansatz(theta, self.points).ravel()

    def cost(self, theta: np.ndarray) -> float:
        """``C(theta)``."""
        return 0.5 * float(np.sum((self.outputs(theta) - self.targets) ** 2)) / self.count

    def velocity(self, theta: np.ndarray) -> np.ndarray:
        """``theta'`` (P,).

        Raises
        ------
        SolveError
            If the parameters have left the finite numbers.
        """
        if not np.isfinite(theta).all():
            raise SolveError("the parameters of the adapted flow are not finite")
        slope = (self.outputs(theta) - self.targets) / self.count
        left, values, right = self._svd(theta)
        kept = values > self.rank_tolerance * values[0]
        inverse = np.where(kept, 1.0 / np.where(kept, values, 1.0), 0.0)
        factors = (1.0 - self.homotopy) * values + self.homotopy * inverse
        return -right.T @ (factors * (left.T @ slope))

    def rank(self, theta: np.ndarray) -> int:
        """Numerical rank of ``D``: N c over-parametrised, P under-parametrised, unless the flow degenerates."""
        values = self._svd(theta)[1]
        return int(np.sum(values > self.rank_tolerance * values[0]))

    def alignment(self, theta: np.ndarray) -> float:
        """Share of the error that the tangent space reaches; 1 exactly where ``D`` has rank N c."""
        error = self.outputs(theta) - self.targets
        left, values, _ = self._svd(theta)
        left = left[:, values > self.rank_tolerance * values[0]]
        length = np.linalg.norm(error)
        return float(np.linalg.norm(left.T @ error) / length) if length > 0 else 1.0

    def stopping_time(self, theta: np.ndarray, cost: float) -> float:
        r"""A priori time ``s* = (N/2) ln(C(0)/cost)`` at which the adapted flow of full rank has that cost."""
        if not cost > 0:
            raise InputError(f"cost is {cost}; it must be positive")
        return 0.5 * self.count * float(np.log(self.cost(theta) / cost))

    def integrate(self, theta: np.ndarray, time: float, *, tolerance: float = 1e-10, samples: int = 50) -> AdaptedPath:
        """Trajectory over ``[0, time]`` by an adaptive Runge-Kutta method of order eight.

        Raises
        ------
        SolveError
            If the integrator gives up.
        """
        times = np.linspace(0.0, time, samples)
        start = np.asarray(theta, dtype=np.float64)
        solution = solve_ivp(lambda _, here: self.velocity(here), (0.0, time), start, "DOP853", times,
                             rtol=tolerance, atol=1e-2 * tolerance)
        if not solution.success:
            raise SolveError(f"the adapted flow stopped at time {solution.t[-1]:.3g}: {solution.message}")
        outputs = np.array([self.outputs(here) for here in solution.y.T])
        costs = 0.5 * np.sum((outputs - self.targets) ** 2, axis=1) / self.count
        return AdaptedPath(times, solution.y.T, outputs, costs, int(solution.nfev))

    def _svd(self, theta: np.ndarray):
        jacobian = self.ansatz.linearize(theta, self.points).jacobian().reshape(len(self.targets), -1)
        return np.linalg.svd(jacobian, full_matrices=False)
