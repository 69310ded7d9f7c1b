r"""Equation error: the state that one frozen Newton step predicts from a measured one (METHOD section 7).

With ``K`` the state tangent at the measured state ``u_d`` and a reference law, frozen,

.. math:: u(m) = u_d - K_{ff}^{-1} R_f(u_d, m), \qquad r(m) = S (R(u_d, m) + K (u(m) - u_d)):

an `InverseProblem` for it compares the weak residual, turned into displacements by the tangent, and the reactions with
the data. It is quadratic where the residual is linear in the law, costs one solve a load step, and its minimiser is the
first Gauss-Newton step of the constrained problem. The plain equation error takes the diagonal of K.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.optimize import lsq_linear

from ..errors import InputError, SolveError
from ..forms.visits import MOST, check_visits
from ..pde.operator import FreeOperator


class FrozenEquation:
    """What `Reactions` is, linearised in the state at a measured one.

    Parameters
    ----------
    reactions : Reactions
        The problem with its sets.
    measured : (n_u, k)
        Measured states of all experiments; the given values replace them on the Dirichlet unknowns.
    reference : vector (n_m,)
        Law at which the tangents are frozen.
    whitened : bool
        False takes the diagonal of the tangents: no solve, and residuals count as forces.

    Raises
    ------
    InputError
        If the measured states have another shape.
    SolveError
        If a tangent is singular or not finite.
    """

    def __init__(self, reactions, measured, reference, whitened=True):
        problem = reactions.problem
        if np.shape(measured) != (problem.state_size, problem.experiments):
            raise InputError(f"measured has shape {np.shape(measured)}; states "
                             f"{problem.state_size, problem.experiments} are needed")
        self.reactions, self.counts = reactions, problem.counts
        self.measured = np.array(measured, dtype=float)
        self.measured[problem.dirichlet] = problem.lift[problem.dirichlet]
        check_visits(problem.form, self.measured.T, reference, "measured states", MOST)
        tangents = [sp.csr_matrix(problem.form.tangent(u, reference)) for u in self.measured.T]
        solve = FreeOperator(problem.free, points=problem.form.state_points) if whitened else None
        self.solvers = [solve.factorize(K) if whitened else _Scaling(K.diagonal(), problem.free) for K in tangents]
        self.stiffness = [sp.csr_array(reactions.sums @ sp.csr_array(K)) for K in tangents]

    form = property(lambda self: self.reactions.form, doc="Weak form of the problem.")
    parameter_size = property(lambda self: self.reactions.parameter_size, doc="Number n_m of parameter unknowns.")
    work_per_solve = property(lambda self: self.reactions.work_per_solve, doc="Unknowns of one linear solve.")
    experiments = property(lambda self: self.reactions.experiments, doc="Number k of experiments.")
    state_size = property(lambda self: self.reactions.state_size, doc="Number n_u + n_r of state unknowns.")

    def solve(self, m, start=None) -> FrozenState:
        """The predicted state for m (n_m,); one solve an experiment, no iteration."""
        return FrozenState(self, np.array(m, dtype=float))


class _Scaling:
    """Solves with a diagonal on the free unknowns."""

    def __init__(self, diagonal, free):
        self._inverse = np.zeros(len(diagonal))
        self._inverse[free] = 1.0 / diagonal[free]

    def solve(self, covector):
        return (self._inverse * covector.T).T

    solve_transposed = solve


class FrozenState:
    """State (n_u + n_r, k) of a `FrozenEquation` with its tangent and adjoint; see `StationaryState`."""

    def __init__(self, owner, m):
        if not np.isfinite(m).all():
            raise SolveError("m has entries that are not finite")
        problem = owner.reactions.problem
        residuals = np.stack([owner.form.residual(u, m) for u in owner.measured.T], axis=1) - problem.loads
        self._owner, self.m, self._blocks = owner, m, None
        owner.counts.forward += owner.experiments
        self.u = np.concatenate([owner.measured, np.zeros((owner.reactions.sums.shape[0], owner.experiments))])
        self.u = self.u + self._predicted(residuals)

    @property
    def _parameter_tangents(self):
        if self._blocks is None:
            self._blocks = [self._owner.form.parameter_tangent(u, self.m) for u in self._owner.measured.T]
        return self._blocks

    def _predicted(self, residuals):
        """Changes (n_u + n_r, k[, b]) of the state that residuals (n_u, k[, b]) cause."""
        owner = self._owner
        du = np.stack([-solver.solve(residuals[:, j]) for j, solver in enumerate(owner.solvers)], axis=1)
        dr = np.stack([owner.reactions.sums @ residuals[:, j] + S @ du[:, j] for j, S in enumerate(owner.stiffness)],
                      axis=1)
        return np.concatenate([du, dr])

    def tangent(self, dm):
        """Derivative (n_u + n_r, k[, b]) of the state in direction(s) dm (n_m[, b])."""
        residuals = np.stack([B @ dm for B in self._parameter_tangents], axis=1)
        self._owner.counts.incremental += residuals[0].size
        return self._predicted(residuals)

    def adjoint_state(self, covector, kind="adjoint"):
        """What multiplies the residuals: (n_u + n_r, k[, b]), its last rows unused."""
        owner, n = self._owner, self._owner.reactions.problem.state_size
        owner.counts.add(kind, covector[0].size)
        sums = owner.reactions.sums.T
        p = [sums @ covector[n:, j] - solver.solve_transposed(covector[:n, j] + S.T @ covector[n:, j])
             for j, (solver, S) in enumerate(zip(owner.solvers, owner.stiffness, strict=True))]
        return np.concatenate([np.stack(p, axis=1), np.zeros_like(covector[n:])])

    def pull_back(self, p):
        """Covector on m of adjoint state(s)."""
        n = self._owner.reactions.problem.state_size
        return sum(B.T @ p[:n, j] for j, B in enumerate(self._parameter_tangents))

    def adjoint(self, covector, kind="adjoint"):
        """Transpose of `tangent`."""
        return self.pull_back(self.adjoint_state(covector, kind))

    def second_order(self, du, dm, p):
        """Second derivative in m alone: the state enters linearly."""
        owner, n = self._owner, self._owner.reactions.problem.state_size
        seconds = [owner.form.second_derivatives(u, self.m, p[:n, j]).mm for j, u in enumerate(owner.measured.T)]
        return np.zeros_like(du), sum(mm @ dm for mm in seconds)


def quadratic_minimiser(here, fixed=(), bounds=(-np.inf, np.inf)) -> np.ndarray:
    """The vector (n_m,) at which an energy's quadratic model is least, by its dense Hessian: for laws, which are small.

    Parameters
    ----------
    here : InverseLinearization
        Of the energy of a `FrozenEquation`, which is quadratic, say; of others this is a Gauss-Newton step.
    fixed : int array
        Unknowns that do not change.
    bounds : pair of float or (n_m,)
        Lower and upper ones of the others, with something between them.
    """
    m = here.m
    free = np.setdiff1d(np.arange(len(m)), fixed)
    lower, upper = (np.broadcast_to(bound, m.shape)[free] for bound in bounds)
    values, vectors = np.linalg.eigh(here.hessian_action(np.eye(len(m)))[np.ix_(free, free)])
    kept = values > 1e-14 * values[-1]
    roots, vectors = np.sqrt(values[kept]), vectors[:, kept]
    target = roots * (vectors.T @ m[free]) - vectors.T @ here.derivative[free] / roots
    found = m.copy()
    found[free] = lsq_linear(roots[:, None] * vectors.T, target, (lower, upper), method="bvls").x
    return found
