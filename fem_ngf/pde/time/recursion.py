r"""The linearised recursion of a scheme in time and its transpose, one time after the other.

With the scheme's equations :math:`\Phi_i = \sum_f \sum_j w^f_{ij} F_f(u_{i-j}, m) = 0`, ``K = dF/du`` and
``L = dF/dm`` at one time, the tangent is the linearised recursion and the adjoint its transpose, backwards:

.. math::
    \sum_f \sum_j w^f_{ij} \bigl(K^f_{i-j}\,\delta u_{i-j} + L^f_{i-j}\,\delta m\bigr) = 0, \qquad
    \sum_f (K^f_i)^T q^f_i = -c_i, \quad q^f_i = \sum_j w^f_{i+j,j}\, p_{i+j}.

The derivative is :math:`\sum_i \sum_f (L^f_i)^T q^f_i`. At each time only the states there are needed, and the adjoint
states at the two times after it.
"""

from __future__ import annotations

import numpy as np


class Recursion:
    """Tangent and adjoint steps of an evolution at a parameter.

    Parameters
    ----------
    problem : EvolutionProblem
    tangents : Tangents
    """

    def __init__(self, problem, tangents):
        self.problem, self.tangents = problem, tangents
        self.forms, self.last = range(len(problem.terms)), len(problem.times) - 1

    @property
    def times(self):
        """Numbers of the times, with -1 for an initial velocity."""
        return range(-1 if self.problem.before is not None else 0, self.last + 1)

    def tangent(self, dm):
        """Generate (i, du (n, k[, b])), time after time, for direction(s) dm (n_m[, b])."""
        moving = Moving(self, dm)
        for i in range(self.last + 1):
            yield i, moving.step(i)
        moving.count()

    def adjoint_step(self, i, covector, p, kind):
        """Adjoint state (n, k[, b]) at time i from the covector there and p at the two times after it."""
        rhs = -covector
        for f in self.forms:
            later = self.weighted(f, i, p, (1, 2))
            if later is not None:
                rhs = rhs - self._times(f, i, later, transposed=True)
        return self.solve(i, rhs, "solve_transposed", kind)

    def weighted(self, f, i, p, delays=(0, 1, 2)):
        """``sum_j w_(i+j,j) p_(i+j)`` of form f over the delays j, (n, k[, b]); None where there is no such term."""
        weights = self.problem.terms[f].weights
        parts = [weights[i + j, j] * p[i + j] for j in delays if 0 <= i + j <= self.last and weights[i + j, j]]
        return sum(parts) if parts else None

    def second_derivatives(self, i, p):
        """(experiment, `SecondDerivatives`) of ``q^T F`` at time i, wherever they do not vanish."""
        for f in self.forms:
            q = self.weighted(f, i, p)
            for j in range(0 if q is None else q.shape[1]):
                second = self.tangents.second(f, i, j, q[:, j])
                if second is not None:
                    yield j, second

    def bend(self, i, second, du, dm, on_parameter):
        """Second derivative at time i in direction (du (n[, b]), dm (n_m[, b])): the covector on the state there.

        What it is on m is added to `on_parameter`. At time -1 no direction moves the initial velocity, du is None.
        """
        parameter, at = self.problem.parameter, self.problem.parameter.at(dm, max(i, 0))
        on_there = second.mm @ at
        if du is None:
            parameter.add(on_parameter, on_there, 0)
            return 0.0
        parameter.add(on_parameter, second.um.T @ du + on_there, i)
        return second.uu @ du + second.um @ at

    def moved(self, f, dm):
        """What dm does to a form that is linear and autonomous: a matrix (a direction each) and a vector; or None."""
        variation = self.tangents.variation(f)
        if variation is None:
            return None
        return [variation.along(column) for column in dm.reshape(len(dm), -1).T], self.tangents.at_rest(f) @ dm

    def parameter(self, f, i, dm, moved):
        """``L dm`` of form f at time i, (n, k[, b]); None where the form does not depend on m."""
        if moved is not None:
            (matrices, constant), u = moved, self.tangents.states(i)
            varied = np.stack([matrix @ u for matrix in matrices], axis=2).reshape(*u.shape, *dm.shape[1:])
            return varied + constant[:, None]
        found = [self.tangents.parameter(f, i, j) for j in range(self.problem.experiments)]
        return np.stack([each @ dm for each in found], axis=1) if any(each.nnz for each in found) else None

    def added(self, f, i, du, known):
        """``K du + L dm`` of form f at time i, None where no later step needs it."""
        if not self.problem.terms[f].weights[i + 1:, 1:].any():
            return None
        moved = self._times(f, i, du)
        return moved if known is None else known + moved

    def _times(self, f, i, x, transposed=False):
        """``K x`` or ``K^T x`` of form f at time i, x (n, k[, b])."""
        if self.problem.linear:
            matrix = self.tangents.state(f, i, 0)
            return ((matrix.T if transposed else matrix) @ x.reshape(len(x), x[0].size)).reshape(x.shape)
        matrices = [self.tangents.state(f, i, j) for j in range(x.shape[1])]
        return np.stack([(matrix.T if transposed else matrix) @ x[:, j] for j, matrix in enumerate(matrices)], axis=1)

    def solve(self, i, rhs, method, kind):
        """Solves with the matrix of step i, counted as `kind`; none where there is nothing to solve."""
        if i == 0 and self.problem.first is not None:
            return rhs if method == "solve_transposed" else np.zeros_like(rhs)
        if not rhs.any():
            return np.zeros_like(rhs)
        self.problem.counts.add(kind, rhs[0].size)
        if self.problem.linear:
            return getattr(self.tangents.solver(i, 0), method)(rhs)
        return np.stack([getattr(self.tangents.solver(i, j), method)(rhs[:, j]) for j in range(rhs.shape[1])], axis=1)


class Moving:
    """The linearised recursion in direction(s) dm (n_m[, b]), one time after the other.

    Parameters
    ----------
    recursion : Recursion
    dm : (n_m,) or (n_m, b)
    """

    def __init__(self, recursion, dm):
        self._recursion, self._dm = recursion, dm
        self._moved = [recursion.moved(f, dm) for f in recursion.forms]
        self.go_on({})

    def go_on(self, moved):
        """Begin anew after moved states (n, k[, b]) by their times, as many as the scheme asks for; or at the start."""
        self._past = {} if self._recursion.problem.before is None else {-1: self._known(-1)}
        for i, du in moved.items():
            self._remember(i, du, self._known(i))

    def step(self, i):
        """du (n, k[, b]) at time i."""
        recursion = self._recursion
        problem, known = recursion.problem, self._known(i)
        rhs = np.zeros((problem.size, problem.experiments, *self._dm.shape[1:]))
        for f, term in enumerate(problem.terms):
            parts = known, self._past.get(i - 1), self._past.get(i - 2)
            for weight, part in zip(term.weights[i], parts, strict=True):
                if weight and part[f] is not None:
                    rhs -= weight * part[f]
        du = recursion.solve(i, rhs, "solve", "incremental")
        self._remember(i, du, known)
        return du

    def count(self):
        """Count the evolution, or one for each direction and experiment."""
        problem = self._recursion.problem
        problem.evolutions.add("incremental", problem.experiments * self._dm[0].size)

    def _known(self, i):
        """``L dm`` of each form at time i."""
        recursion = self._recursion
        at = recursion.problem.parameter.at(self._dm, max(i, 0))
        return [recursion.parameter(f, i, at, self._moved[f]) for f in recursion.forms]

    def _remember(self, i, du, known):
        self._past[i] = [self._recursion.added(f, i, du, part) for f, part in enumerate(known)]
        self._past.pop(i - 2, None)


class PullBack:
    """Adds up the covector ``sum_i sum_f (L^f_i)^T q^f_i`` on m, from the last time to the first.

    Parameters
    ----------
    recursion : Recursion
    columns : tuple
        ``(b,)`` of a block of b adjoint trajectories, else ``()``.
    """

    def __init__(self, recursion, columns=()):
        self._recursion, self._columns = recursion, columns
        self._total = np.zeros((recursion.problem.parameter_size, *columns))
        self._sums = {}                 # by form: the products on elements, and q, both summed over all times

    def add(self, i, p):
        """Add what belongs to time i, p at that time and the two after it."""
        recursion, tangents = self._recursion, self._recursion.tangents
        for f in recursion.forms:
            q = recursion.weighted(f, i, p)
            if q is None:
                continue
            variation = tangents.variation(f)
            if variation is not None:
                self._sum(f, [q.sum(axis=1), *variation.products(q, tangents.states(i))])
                continue
            for j in range(q.shape[1]):
                tangent = tangents.parameter(f, i, j)
                if tangent.nnz:
                    recursion.problem.parameter.add(self._total, tangent.T @ q[:, j], max(i, 0))

    def _sum(self, f, parts):
        known = self._sums.get(f)
        self._sums[f] = parts if known is None else [a + b for a, b in zip(known, parts, strict=True)]

    @property
    def covector(self):
        """The sum (n_m[, b])."""
        total = self._total.copy()
        for f, (at_rest, *products) in self._sums.items():
            tangents = self._recursion.tangents
            if products:
                total += tangents.variation(f).pull_back(products).reshape(total.shape)
            total += tangents.at_rest(f).T @ at_rest
        return total
