r"""Reactions: sums of the residual over sets of Dirichlet unknowns, as further unknowns of the state.

With ``S`` the matrix of the sums (n_r, n_u) the state is (u, r): ``R(u, m) = load`` on the free unknowns, and
``r = S (R(u, m) - load)``. An observation of (u, r) then compares displacements and forces at once.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from ..errors import InputError


class Reactions:
    """A `StationaryProblem` whose states end with the reactions of its experiments.

    Parameters
    ----------
    problem : StationaryProblem
    sets : sequence of int arrays
        Dirichlet unknowns of each reaction.

    Raises
    ------
    InputError
        If a set is empty or holds an unknown that is free.
    """

    def __init__(self, problem, sets):
        for number, each in enumerate(sets):
            if len(each) == 0 or not np.isin(each, problem.dirichlet).all():
                raise InputError(f"set {number} of the reactions has {np.size(each)} unknowns, of which "
                                 f"{np.count_nonzero(~np.isin(each, problem.dirichlet))} are free; a reaction is "
                                 "summed over unknowns with given values")
        self.problem = problem
        columns, rows = np.concatenate(sets), np.repeat(np.arange(len(sets)), [len(each) for each in sets])
        self.sums = sp.csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(sets), problem.state_size))

    counts = property(lambda self: self.problem.counts, doc="Solves of the problem.")
    form = property(lambda self: self.problem.form, doc="Weak form of the problem.")
    parameter_size = property(lambda self: self.problem.parameter_size, doc="Number n_m of parameter unknowns.")
    work_per_solve = property(lambda self: self.problem.work_per_solve, doc="Unknowns of one linear solve.")
    experiments = property(lambda self: self.problem.experiments, doc="Number k of experiments.")

    @property
    def state_size(self) -> int:
        """Number n_u + n_r of state unknowns."""
        return self.problem.state_size + self.sums.shape[0]

    def solve(self, m, start=None) -> ReactionState:
        """The state for m (n_m,); `start` (n_u, k) or (n_u + n_r, k). SolveError when there is none."""
        if isinstance(start, ReactionState):
            start = start.inner
        elif start is not None:
            start = start[: self.problem.state_size]
        return ReactionState(self, self.problem.solve(m, start))


class ReactionState:
    """State (u, r) (n_u + n_r, k) of `Reactions`, with its tangent and adjoint; see `StationaryState`."""

    def __init__(self, owner, inner):
        form, loads = owner.form, owner.problem.loads
        residuals = np.stack([form.residual(u, inner.m) for u in inner.u.T], axis=1) - loads
        self._owner, self.inner, self.m = owner, inner, inner.m
        self.u = np.concatenate([inner.u, owner.sums @ residuals])
        self._stiffness = None

    @property
    def _tangents(self):
        """``S dR/du`` of each experiment, (n_r, n_u)."""
        if self._stiffness is None:
            tangents = [self._owner.form.tangent(u, self.m) for u in self.inner.u.T]
            self._stiffness = [self._owner.sums @ sp.csr_array(K) for K in tangents]
            self.inner.factorize(tangents)
        return self._stiffness

    def tangent(self, dm):
        """Derivative (n_u + n_r, k[, b]) of the state in direction(s) dm (n_m[, b])."""
        tangents, du = self._tangents, self.inner.tangent(dm)
        dr = [S @ du[:, j] + self._owner.sums @ (B @ dm)
              for j, (S, B) in enumerate(zip(tangents, self.inner.parameter_tangents, strict=True))]
        return np.concatenate([du, np.stack(dr, axis=1)])

    def adjoint_state(self, covector, kind="adjoint"):
        """Adjoint state (n_u + n_r, k[, b]) of covector(s) of the same shape."""
        n = self._owner.problem.state_size
        on_state, on_reaction = covector[:n], covector[n:]
        pulled = np.stack([S.T @ on_reaction[:, j] for j, S in enumerate(self._tangents)], axis=1)
        return np.concatenate([self.inner.adjoint_state(on_state + pulled, kind), -on_reaction])

    def pull_back(self, p):
        """Covector on m of adjoint state(s)."""
        return self.inner.pull_back(self._test(p))

    def adjoint(self, covector, kind="adjoint"):
        """Transpose of `tangent`."""
        return self.pull_back(self.adjoint_state(covector, kind))

    def second_order(self, du, dm, p):
        """See `StationaryState.second_order`; reactions enter the equations linearly."""
        n = self._owner.problem.state_size
        on_state, on_parameter = self.inner.second_order(du[:n], dm, self._test(p))
        return np.concatenate([on_state, np.zeros_like(du[n:])]), on_parameter

    def _test(self, p):
        """The function that multiplies the residual in ``p^T`` of all equations."""
        n = self._owner.problem.state_size
        sums = self._owner.sums.T
        return p[:n] - np.stack([sums @ p[n:, j] for j in range(p.shape[1])], axis=1)
