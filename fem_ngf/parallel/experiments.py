"""Experiments distributed over processes: each solves the equation for its share of them.

The states of a process never leave it. What all have is the parameter, the data and the observations: an observation of
the states is gathered, a covector on the parameter is summed, and so an `InverseProblem` of a `SharedProblem` and a
`SharedObservation` is the same function with the same derivatives on every process, whatever its noise, its
regularisation and its bounds, and whatever a flow asks of it.

Every operation is collective: all processes call it in the same order. A solve that fails on one of them is a
`SolveError` on all, so that all reject the same step.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import InputError, SolveError
from ..pde.protocol import SolveCounts
from .team import Team


def share_experiments(energy, team: Team):
    """The energy of an `InverseProblem` with its experiments distributed over the processes of a team.

    Parameters
    ----------
    energy : InverseProblem
        The same on all processes, of a `StationaryProblem`.
    team
        One process an experiment at most.

    Raises
    ------
    InputError
        If the energy has no experiments that can be taken apart, or fewer than there are processes.
    """
    problem = getattr(energy, "pde", energy)
    if not hasattr(problem, "of_experiments"):
        what = type(problem).__name__
        raise InputError(f"{team.size} processes share the experiments of a StationaryProblem; a {what} has none that "
                         "can be taken apart: start one process")
    if problem.experiments < team.size:
        raise InputError(f"{team.size} processes share {problem.experiments} experiment"
                         f"{'s' * (problem.experiments > 1)}; start as many processes as experiments at most")
    shared = SharedProblem(problem, team)
    return replace(energy, pde=shared, observation=SharedObservation(energy.observation, shared))


class SharedProblem:
    """A problem of which each process solves a share of the experiments, consecutive ones; a `PDE`."""

    def __init__(self, problem, team):
        self.team, self.counts, self.experiments = team, SolveCounts(), problem.experiments
        shares = team.shares(problem.experiments)
        self.widths = np.array([share.stop - share.start for share in shares])
        self.mine = shares[team.rank]
        self.local = problem.of_experiments(np.arange(problem.experiments)[self.mine])

    def __repr__(self):
        return f"SharedProblem({self.local!r} on process {self.team.rank} of {self.team.size})"

    @property
    def state_size(self):
        return self.local.state_size

    @property
    def work_per_solve(self):
        return self.local.work_per_solve

    @property
    def parameter_size(self):
        return self.local.parameter_size

    def solve(self, m, start=None):
        """The states of this process's experiments at the parameter of the first process, bit for bit."""
        given = self.team.same(m)
        local = getattr(start, "local", None if start is None else np.atleast_2d(start.T).T[:, self.mine])
        state = self.together(lambda: self.local.solve(given, start=local))
        return SharedState(self, state, None if self.local.linear else self._at_first(state.u))

    def _at_first(self, u):
        """All states (n_u, k) on the first process, from which a resumed run starts; None on the others."""
        every = np.empty((self.experiments, len(u))) if self.team.rank == 0 else None
        self.team.comm.Gatherv(np.ascontiguousarray(u.T), (every, self.widths * len(u)), root=0)
        return None if every is None else every.T

    def together(self, work):
        """The result of a piece of work on every process, its solves counted; the first failure is an error on all."""
        before = self.local.counts.copy()
        try:
            result = self.team.agreed(work)
        except (InputError, SolveError):  # on all: any other error is that of one process, which meets no one any more
            self._count(before)
            raise
        self._count(before)
        return result

    def _count(self, before: SolveCounts) -> None:
        """Add what all processes have solved since."""
        for solved in self.team.comm.allgather(self.local.counts - before):
            self.counts.forward += solved.forward
            self.counts.adjoint += solved.adjoint
            self.counts.incremental += solved.incremental


class SharedState:
    """The states of this process's experiments: a `State` whose columns are theirs, and whose covectors are sums.

    `start` has all of them on the first process, where the equation is not linear.
    """

    def __init__(self, problem: SharedProblem, local, start=None):
        self.problem, self.local, self.m, self.u, self.start = problem, local, local.m, local.u, start

    @property
    def inexactness(self):
        return self.local.inexactness

    def tangent(self, dm):
        return self.problem.together(lambda: self.local.tangent(dm))

    def adjoint_state(self, covector, kind="adjoint"):
        return self.problem.together(lambda: self.local.adjoint_state(covector, kind))

    def pull_back(self, p):
        return self.problem.team.summed(self.local.pull_back(p))

    def adjoint(self, covector, kind="adjoint"):
        return self.pull_back(self.adjoint_state(covector, kind))

    def second_order(self, du, dm, p):
        on_state, on_parameter = self.local.second_order(du, dm, p)
        return on_state, self.problem.team.summed(on_parameter)


class SharedObservation:
    """An `Observation` from this process's states to the observations of all experiments, and back."""

    def __init__(self, local, problem: SharedProblem):
        self.local, self._problem = local, problem

    @property
    def shape(self):
        return self.local.shape

    @property
    def points(self):
        return getattr(self.local, "points", None)

    def __call__(self, u):
        """Observations (n_obs, k, ...) of all experiments from the states (n_u, mine, ...) of some."""
        every = self._problem.team.joined(np.moveaxis(self.local(u), 1, 0), self._problem.widths)
        return np.ascontiguousarray(np.moveaxis(every, 0, 1))

    def transpose(self, r):
        """Covectors (n_u, mine, ...) on the states of some experiments from weights (n_obs, k, ...) of all."""
        return self.local.transpose(np.ascontiguousarray(r[:, self._problem.mine]))
