"""Evolutions too long to be kept: only what is observed leaves them, and adjoints recompute states from snapshots.

The schedules, which say when to take a snapshot and where to start again, are binomial (the least number of steps for
a number of snapshots) and come from the package checkpoint_schedules. A step is computed by the same operations
whenever it is computed, so that derivatives are bitwise those of the trajectory that is kept.

References
----------
A. Griewank, A. Walther, Algorithm 799: revolve, ACM Trans. Math. Softw. 26 (2000).
P. Stumm, A. Walther, MultiStage approaches for optimal offline checkpointing, SIAM J. Sci. Comput. 31 (2009).
J. R. Maddison, D. I. Dolci, D. A. Ham, checkpoint_schedules: schedules for incremental checkpointing of adjoint
simulations, J. Open Source Softw. 9 (2024).
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from weakref import finalize

import numpy as np
import scipy.sparse as sp
from checkpoint_schedules import Copy, EndForward, EndReverse, Forward, Move, MultistageCheckpointSchedule, StorageType

from ...errors import InputError, SolveError, check_has, check_not_negative, real_array
from ..protocol import checked_block, checked_direction
from .recursion import Moving, PullBack, Recursion
from .terms import Tangents


class CheckpointedEvolution:
    """An `EvolutionProblem` as a map to observations, with a bounded memory; it follows the protocol `PDE`.

    Its state is what is observed, ``u = S(m)``, an equation of its own: ``R(u, m) = u - S(m)``.

    Parameters
    ----------
    problem : EvolutionProblem
    observation : MatrixObservation
        Of a state at one time, n_obs values.
    weights : sparse (n_t, N + 1)
        Each time of observation as a combination of those of the trajectory, see `time_weights`.
    memory : float, optional
        Bytes for snapshots in memory.
    snapshots : int, optional
        Their number, in the place of `memory`.
    disk : int
        Further snapshots on disk.
    folder : path, optional
        Where these are written; by default where the system has its temporary files.

    Attributes
    ----------
    form, times, counts, evolutions
        Of the problem; `counts` has the steps that were recomputed too.
    recomputed : int
        Steps computed again, of all experiments at once.

    Raises
    ------
    InputError
        When there is no room for one snapshot, neither or both of `memory` and `snapshots` are given, or sizes differ.
    """

    def __init__(self, problem, observation, weights, *, memory=None, snapshots=None, disk=0, folder=None):
        check_has("problem", problem, "an EvolutionProblem", "terms", "step", "times")
        check_has("observation", observation, "an Observation such as point_values", "shape", "transpose")
        weights = weights if sp.issparse(weights) else np.atleast_2d(real_array("weights", weights))
        self.problem, self.observation, self.weights = problem, observation, sp.csc_array(weights)
        if observation.shape[1] != problem.size or self.weights.shape[1] != len(problem.times):
            raise InputError(f"observation has shape {observation.shape} and weights {self.weights.shape}; the "
                             f"evolution has {problem.size} unknowns at {len(problem.times)} times")
        if (memory is None) == (snapshots is None):
            raise InputError("give one of memory (bytes) and snapshots (their number)")
        self.depth = 2 if any(term.weights[:, 2].any() for term in problem.terms) else 1
        check_not_negative(disk=disk, **({"memory": memory} if snapshots is None else {"snapshots": snapshots}))
        if disk % 1 or (snapshots or 0) % 1:
            raise InputError(f"snapshots is {snapshots} and disk {disk}; give whole numbers")
        if snapshots is None:
            each = 8 * self.depth * problem.size * problem.experiments
            snapshots = int(memory // each)
            if snapshots + disk < 1:
                raise InputError(f"memory is {memory:g} bytes; one snapshot of this evolution takes {each}")
        if snapshots + disk < 1:
            raise InputError(f"snapshots is {snapshots} and disk {disk}; there must be one snapshot at least")
        self.snapshots, self.disk, self.folder, self.recomputed = int(snapshots), int(disk), folder, 0

    counts = property(lambda self: self.problem.counts)
    evolutions = property(lambda self: self.problem.evolutions)
    form = property(lambda self: self.problem.form)
    times = property(lambda self: self.problem.times)
    experiments = property(lambda self: self.problem.experiments)
    parameter_size = property(lambda self: self.problem.parameter_size)
    work_per_solve = property(lambda self: self.problem.work_per_solve)

    @property
    def state_size(self):
        """Number of observations of an experiment."""
        return self.weights.shape[0] * self.observation.shape[0]

    def solve(self, m, start=None):
        """What is observed for a parameter m (n_m,): an `ObservedEvolution`. `start` is not used."""
        m = np.array(real_array("m", m))
        if m.shape != (self.parameter_size,):
            raise InputError(f"m has shape {m.shape}; this problem needs ({self.parameter_size},)")
        if not np.isfinite(m).all():
            raise SolveError("m has entries that are not finite")
        return ObservedEvolution(self, m)

    def observed(self, i, states, into):
        """Add what is observed at time i of states (n, k[, b]) to (n_t, n_obs, k[, b])."""
        column = slice(*self.weights.indptr[i:i + 2])
        rows, shares = self.weights.indices[column], self.weights.data[column]
        if rows.size:
            values = self.observation(states)
            for row, share in zip(rows, shares, strict=True):
                into[row] += share * values

    def covector(self, i, covectors):
        """The transpose: covector (n, k[, b]) on the states at time i of covectors (n_t, n_obs, k[, b])."""
        column = slice(*self.weights.indptr[i:i + 2])
        rows, shares = self.weights.indices[column], self.weights.data[column]
        if not rows.size:
            return np.zeros((self.problem.size, *covectors.shape[2:]))
        return sum(share * self.observation.transpose(covectors[row]) for row, share in zip(rows, shares, strict=True))


class ObservedEvolution:
    """What is observed of an evolution for one parameter, with its tangent and adjoint, as the protocol `State` asks.

    Attributes
    ----------
    m : (n_m,)
    u : (n_t n_obs, k)
        All observations at the first time, then at the second one.

    Notes
    -----
    The sweep that makes u leaves its snapshots for the first adjoint; a later one starts with a sweep of its own.
    """

    def __init__(self, evolution, m):
        self.evolution, self.m = evolution, m
        problem, seen, self._sweep = evolution.problem, self._unseen(), Sweep(evolution, m)
        for i, states in self._sweep.forward():
            evolution.observed(i, states, seen)
        problem.evolutions.forward += problem.experiments
        self.u = seen.reshape(-1, problem.experiments)
        for array in (self.m, self.u):
            array.setflags(write=False)

    def frames(self, numbers):
        """States (len(numbers), n, k) at the times of these numbers, which increase; computed again."""
        film = MarchingFilm(self.evolution, self.m)
        return np.stack([film[i] for i in numbers])

    def tangent(self, dm):
        """Derivative (n_t n_obs, k[, b]) in direction(s) dm; states that it needs are computed again beside it."""
        dm = checked_direction(dm, self.m.size)
        seen, film = self._unseen(*dm.shape[1:]), MarchingFilm(self.evolution, self.m)
        for i, moved in Recursion(self.evolution.problem, film.tangents).tangent(dm):
            self.evolution.observed(i, moved, seen)
        return seen.reshape(self.evolution.state_size, *seen.shape[2:])

    def adjoint_state(self, covector, kind="adjoint"):
        """``-covector``: the equation is solved for u. The solves are those of `pull_back`."""
        return -self._in_time(covector).reshape(np.shape(covector))

    def pull_back(self, p):
        """Covector (n_m[, b]) of p (n_t n_obs, k[, b]); counted as adjoint solves."""
        return -self._pulled_back(self._in_time(p), "adjoint")

    def adjoint(self, covector, kind="adjoint"):
        """Transpose of `tangent`: covector(s) (n_t n_obs, k[, b]) to covector(s) on m (n_m[, b])."""
        return self._pulled_back(self._in_time(covector), kind)

    def second_order(self, du, dm, p):
        """Second derivative of ``p^T (u - S(m))`` in direction(s) dm, as `Trajectory.second_order`: zero on the state.

        A sweep through the states and their directional derivatives, with snapshots of both, and two adjoint recursions
        beside each other on its way back: for p, and for what bends the equation. All are incremental solves.
        """
        dm, evolution, on_state = checked_direction(dm, self.m.size), self.evolution, np.zeros(np.shape(du))
        problem, covector, columns = evolution.problem, -self._in_time(p), dm.shape[1:]
        if all(term.affine for term in problem.terms):
            return on_state, np.zeros_like(dm)
        sweep = Sweep(evolution, self.m, dm)
        recursion, p, dp, on_parameter = Recursion(problem, sweep.tangents), {}, {}, np.zeros_like(dm)
        total = PullBack(recursion, columns)
        for i in sweep.backward():
            p[i] = recursion.adjoint_step(i, evolution.covector(i, covector), p, "incremental")
            bent = np.zeros_like(sweep.moved[i])
            for j, second in recursion.second_derivatives(i, p):
                bent[:, j] += recursion.bend(i, second, sweep.moved[i][:, j], dm, on_parameter)
            dp[i] = recursion.adjoint_step(i, bent, dp, "incremental")
            total.add(i, dp)
            for each in p, dp:
                each.pop(i + 2, None)
        if problem.before is not None:
            for _, second in recursion.second_derivatives(-1, p):
                recursion.bend(-1, second, None, dm, on_parameter)
            total.add(-1, dp)
        evolution.evolutions.add("incremental", problem.experiments * (1 + dm[0].size))
        return on_state, total.covector + on_parameter

    def _pulled_back(self, covector, kind):
        evolution, sweep = self.evolution, self._sweep or Sweep(self.evolution, self.m, again=True)
        self._sweep, columns = None, covector.shape[3:]
        recursion, p = Recursion(evolution.problem, sweep.tangents), {}
        total = PullBack(recursion, columns)
        for i in sweep.backward():
            p[i] = recursion.adjoint_step(i, evolution.covector(i, covector), p, kind)
            total.add(i, p)
            p.pop(i + 2, None)
        if evolution.problem.before is not None:
            total.add(-1, p)
        evolution.evolutions.add(kind, covector[0, 0].size)
        return total.covector

    def _unseen(self, *columns):
        """Zeros (n_t, n_obs, k[, b])."""
        evolution = self.evolution
        return np.zeros((evolution.weights.shape[0], evolution.observation.shape[0], evolution.experiments, *columns))

    def _in_time(self, array):
        array = checked_block("the array", array, self.u.shape)
        return array.reshape(self.evolution.weights.shape[0], -1, *array.shape[1:])


class MarchingFilm:
    """States (n, k) at one time after the other, computed when first asked for; the last three are kept."""

    def __init__(self, evolution, m):
        self.evolution, self.tangents, self._states, self._next = evolution, Tangents(evolution.problem, m, self), {}, 0

    def __getitem__(self, i):
        while self._next <= i:
            self._states[self._next] = self.evolution.problem.step(self._next, self.tangents)
            self._states.pop(self._next - 3, None)
            self.tangents.forget(self._next - 3)
            self.evolution.recomputed += self._next > 0
            self._next += 1
        return self._states[i]


class Sweep:
    """One pass through all times and back, by a schedule of snapshots.

    Parameters
    ----------
    evolution : CheckpointedEvolution
    m : (n_m,)
    dm : (n_m,) or (n_m, b), optional
        Directions in which the states are differentiated on the way, `moved` at the times that the film has. A snapshot
        is then as large as 1 + b, so that there are as many fewer in memory.
    again : bool
        The pass forwards has been made before, and is now made for its snapshots only; so it is with directions.
    """

    def __init__(self, evolution, m, dm=None, again=False):
        self.evolution, self._steps = evolution, len(evolution.problem.times) - 1
        self._film, self.moved, self._memory, self._folder = {}, {}, {}, None
        self.tangents = Tangents(evolution.problem, m, self._film)
        self._moving = None if dm is None else Moving(Recursion(evolution.problem, self.tangents), dm)
        directions = 0 if dm is None else dm[0].size
        kept = min(evolution.snapshots, max(1, evolution.snapshots // (1 + directions)))
        self._schedule = MultistageCheckpointSchedule(self._steps, kept, evolution.disk)
        if again or self._moving:
            evolution.recomputed += sum(i > 0 for i, _ in self.forward())
        if self._moving:
            self._moving.count()

    def forward(self):
        """Generate (i, states (n, k)) for i = 0, ..., N, taking snapshots."""
        yield 0, self._advanced(0)
        for action in self._schedule:
            if isinstance(action, EndForward):
                return
            if action.write_ics:
                self._save(action.n0, action.storage)
            for i in range(action.n0 + 1, action.n1 + 1):
                yield i, self._advanced(i)

    def backward(self):
        """Generate i = N, ..., 0 while the film of `tangents` has the states at time i."""
        yield self._steps
        for action in self._schedule:
            if isinstance(action, EndReverse):
                break
            if isinstance(action, Copy | Move):
                self._load(action)
            elif isinstance(action, Forward):
                self._forward_again(action)
            else:
                for i in action:
                    yield i
                    self.tangents.forget(i)

    def _forward_again(self, action):
        """Steps between snapshots; none to prepare an adjoint step, which needs no later state."""
        if action.write_ics:
            self._save(action.n0, action.storage)
        if not action.write_adj_deps:
            for i in range(action.n0 + 1, action.n1 + 1):
                self._advanced(i)
                self.evolution.recomputed += 1

    def _advanced(self, i):
        self._film[i] = states = self.evolution.problem.step(i, self.tangents)
        if self._moving:
            self.moved[i] = self._moving.step(i)
        for film in self._film, self.moved:
            film.pop(i - 3, None)
        self.tangents.forget(i - 2)
        return states

    def _save(self, n, storage):
        times = range(max(n - self.evolution.depth + 1, 0), n + 1)
        snapshot = [film[i] for film in (self._film, self.moved)[:2 if self._moving else 1] for i in times]
        if storage is StorageType.RAM:
            self._memory[n] = snapshot
            return
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(dir=self.evolution.folder))
            finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        np.savez(self._file(n), *snapshot)

    def _load(self, action):
        n, move = action.n, isinstance(action, Move)
        if action.from_storage is StorageType.RAM:
            snapshot = self._memory.pop(n) if move else self._memory[n]
        else:
            with np.load(self._file(n)) as file:
                snapshot = [file[name] for name in file.files]
            if move:
                self._file(n).unlink()
        times = range(max(n - self.evolution.depth + 1, 0), n + 1)
        for film, states in (self._film, snapshot[:len(times)]), (self.moved, snapshot[len(times):]):
            film.clear()
            film.update(zip(times, states, strict=False))
        if self._moving:
            self._moving.go_on(self.moved)

    def _file(self, n):
        return self._folder / f"{n}.npz"
