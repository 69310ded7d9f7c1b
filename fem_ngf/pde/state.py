"""The state of a stationary problem: a solution that is its own linearisation point."""

from __future__ import annotations

import numpy as np

from ..errors import InputError


class State:
    """Solution of a stationary problem for one parameter, with its tangent and adjoint.

    Attributes
    ----------
    m : (n_m,)
    u : (n_u, k)
        One column an experiment.

    Notes
    -----
    With ``K = dR/du`` and ``B = dR/dm`` at (u, m): ``tangent`` is ``du = -K^-1 B dm``, and ``adjoint`` its transpose,
    ``c -> -B^T K^-T c``. Both are made when first asked for and kept.
    """

    def __init__(self, problem, m, u, solvers):
        self.problem, self.m, self.u = problem, m, u
        self.m.setflags(write=False)
        self.u.setflags(write=False)
        self._solvers = solvers                   # one for all experiments, one each, or None: not yet made
        self._parameter_tangents = None

    @property
    def solvers(self):
        """Factorisations of dR/du: one shared by all experiments (linear problems) or one an experiment."""
        if self._solvers is None:
            self._solvers = tuple(self.problem.factorize(column, self.m) for column in self.u.T)
        return self._solvers

    @property
    def parameter_tangents(self):
        """dR/dm of each experiment, csr (n_u, n_m)."""
        if self._parameter_tangents is None:
            self._parameter_tangents = [self.problem.form.parameter_tangent(column, self.m) for column in self.u.T]
        return self._parameter_tangents

    def tangent(self, dm):
        """Derivative of the state in direction(s) dm.

        Parameters
        ----------
        dm : vector (n_m,) or (n_m, b)

        Returns
        -------
        du : (n_u, k) or (n_u, k, b), zero on the Dirichlet dofs

        Counted as k (or k b) incremental solves.
        """
        dm = np.asarray(dm, dtype=float)
        if dm.ndim not in (1, 2) or dm.shape[0] != self.m.size:
            raise InputError(f"dm has shape {dm.shape}; give ({self.m.size},) or ({self.m.size}, b)")
        rhs = -np.stack([matrix @ dm for matrix in self.parameter_tangents], axis=1)
        self.problem.counts.incremental += rhs[0].size
        return self._solve(rhs, "solve")

    def adjoint_state(self, covector, kind="adjoint"):
        """Adjoint state p: ``K^T p = -covector``, zero on the Dirichlet dofs.

        Parameters
        ----------
        covector : (n_u, k) or (n_u, k, b)
        kind : {"adjoint", "incremental"}
            How to count the solves: for a derivative, or inside a Hessian action.

        Returns
        -------
        p : shape of covector
        """
        covector = self._checked("covector", covector)
        if kind not in ("adjoint", "incremental"):
            raise InputError(f"kind is {kind!r}; choose 'adjoint' or 'incremental'")
        setattr(self.problem.counts, kind, getattr(self.problem.counts, kind) + covector[0].size)
        return self._solve(-covector, "solve_transposed")

    def pull_back(self, p):
        """Covector on m of adjoint state(s) p (n_u, k) or (n_u, k, b): the sum over experiments of (dR/dm)^T p."""
        p = self._checked("p", p)
        return sum(matrix.T @ p[:, j] for j, matrix in enumerate(self.parameter_tangents))

    def adjoint(self, covector, kind="adjoint"):
        """Transpose of `tangent`: covector(s) on u (n_u, k[, b]) to covector(s) on m (n_m[, b])."""
        return self.pull_back(self.adjoint_state(covector, kind))

    def second_derivatives(self, p):
        """Second derivatives of ``p_j^T R(u_j, m)`` for p (n_u, k): one `SecondDerivatives` an experiment."""
        p = self._checked("p", p)
        return [self.problem.form.second_derivatives(self.u[:, j], self.m, p[:, j]) for j in range(p.shape[1])]

    def _solve(self, rhs, method):
        if len(self.solvers) == 1:
            return getattr(self.solvers[0], method)(rhs)
        return np.stack([getattr(solver, method)(rhs[:, j]) for j, solver in enumerate(self.solvers)], axis=1)

    def _checked(self, name, array):
        array = np.asarray(array, dtype=float)
        if array.ndim not in (2, 3) or array.shape[:2] != self.u.shape:
            raise InputError(f"{name} has shape {array.shape}; give {self.u.shape}, or one more axis for a block")
        return array
