"""The forms of an evolution, each evaluated at one time; what is constant is found once."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from ...errors import SolveError
from ...forms.variation import Variation

KEPT = 2_000_000
"""Unknowns of all factorisations that are kept at once, of steps of other lengths or at other states."""


class Term:
    """One form with its weights ``[i, j]`` (N + 1, 3) at time i - j in the equation of step i.

    Parameters
    ----------
    form : WeakForm
    weights : (N + 1, 3)
    linear : bool
        Affine in the state.

    Attributes
    ----------
    autonomous : bool
        Does not ask for the time.
    steady, affine : bool
        The tangents in the state, and in the parameter too, depend on neither state, parameter nor time.
    insensitive : bool
        Does not depend on the parameter.
    """

    def __init__(self, form, weights, linear):
        self.form, self.weights, self.linear = form, weights, linear
        zero = np.zeros(form.state_size), np.zeros(form.parameter_size)
        self.autonomous = not form.depends_on_time(*zero)
        self.steady, self.affine = self._constant() if linear and self.autonomous else (False, False)
        self.insensitive = self._insensitive()

    def _insensitive(self):
        """Without a tangent in the parameter, at a random point."""
        rng, form = np.random.default_rng(1), self.form.at(0.0)
        try:
            return form.parameter_tangent(*map(rng.standard_normal, (form.state_size, form.parameter_size))).nnz == 0
        except SolveError:              # undefined for such parameters
            return False

    def _constant(self):
        """Structurally constant, and equal at two random points (which finds out conditions)."""
        rng, form = np.random.default_rng(0), self.form
        u, v, p = rng.standard_normal((3, form.state_size))
        m, n = rng.standard_normal((2, form.parameter_size))
        try:
            second = form.second_derivatives(u, m, p)
            steady = second.um.nnz == 0 and _same(form.tangent(u, m), form.tangent(v, n))
            affine = steady and second.mm.nnz == 0 and _same(form.parameter_tangent(u, m), form.parameter_tangent(v, n))
        except SolveError:              # undefined for such parameters
            return False, False
        return steady, affine

    def place(self, i, j, steady_parameter):
        """Time and experiment that the tangent in the state at time i of experiment j is made at: all that it needs."""
        if not self.linear:
            return i, j
        return (0, 0) if self.steady or (self.autonomous and steady_parameter) else (i, 0)


class Tangents:
    """Tangents of the terms along a trajectory for one parameter; made when asked for and kept.

    Parameters
    ----------
    problem : EvolutionProblem
    m : (n_m,)
    film : (N + 1, n, k), or a dictionary of the states (n, k) at some times
        The trajectory; of linear terms no value is needed for the tangents in the state.
    """

    def __init__(self, problem, m, film):
        self.problem, self.m, self.film = problem, m, film
        self._kept = {}

    def form(self, f, i):
        """Form f at time i, and the parameter there; time -1 is that of the initial velocity."""
        problem, i = self.problem, max(i, 0)
        return problem.terms[f].form.at(problem.times[i]), problem.parameter.at(self.m, i)

    def states(self, i):
        """States (n, k) at time i; at time -1 the initial velocity."""
        return self.problem.before if i < 0 else self.film[i]

    def forget(self, i):
        """Drop what was kept for time i alone; what holds at all times is kept as that of time 0."""
        if i > 0:
            self._kept = {key: found for key, found in self._kept.items() if i not in _times_of(key)}

    def value(self, f, i, u):
        """Covectors (n, k) of form f at time i and u (n, k)."""
        term = self.problem.terms[f]
        if term.linear:
            constant = self._constant(f, i)[:, None]
            return self.state(f, i, 0) @ u + constant if u.any() else constant
        form, m = self.form(f, i)
        return np.stack([form.residual(column, m) for column in u.T], axis=1)

    def _constant(self, f, i):
        """What form f, linear, is at time i where u vanishes, (n,)."""
        term = self.problem.terms[f]
        if term.affine:
            form = term.form.at(self.problem.times[0])
            zero = np.zeros(form.state_size), np.zeros(form.parameter_size)
            constant = self._found(("constant", f), True, lambda: form.residual(*zero))
            tangent = self.parameter(f, i, 0)
            return constant + tangent @ self.problem.parameter.at(self.m, i) if tangent.nnz else constant
        place = 0 if term.autonomous and self.problem.parameter.steady else i

        def make():
            form, m = self.form(f, place)
            return form.residual(np.zeros(form.state_size), m)

        return self._found(("constant", f, place), False, make)

    def state(self, f, i, j):
        """Tangent of form f in the state at time i of experiment j, csr (n, n)."""
        term = self.problem.terms[f]
        i, j = term.place(i, j, self.problem.parameter.steady)
        return self._found(("state", f, i, j), term.steady, lambda: self._state(
            f, np.zeros(term.form.state_size) if term.linear else self.states(i)[:, j], i))

    def _state(self, f, u, i):
        form, m = self.form(f, i)
        return form.tangent(u, m)

    def parameter(self, f, i, j):
        """Tangent of form f in the parameter at that time, csr (n, n_f)."""
        term = self.problem.terms[f]
        if term.insensitive:
            return sp.csr_matrix((term.form.state_size, term.form.parameter_size))
        i, j = (0, 0) if term.affine else (i, j)

        def make():
            form, m = self.form(f, i)
            return form.parameter_tangent(np.zeros(form.state_size) if term.affine else self.states(i)[:, j], m)

        return self._found(("parameter", f, i, j), term.affine, make)

    def variation(self, f):
        """`Variation` of a form whose tangent in the state is the same at all times, at their parameter; or None."""
        term = self.problem.terms[f]
        if not term.linear or not term.autonomous or not self.problem.parameter.steady or term.insensitive:
            return None
        return self._found(("variation", f), False, lambda: None if term.affine else Variation.of(*self.form(f, 0)))

    def at_rest(self, f):
        """Tangent of form f in the parameter where the state vanishes, csr (n, n_f); of forms with a `variation`."""
        def make():
            form, m = self.form(f, 0)
            return form.parameter_tangent(np.zeros(form.state_size), m)

        return self._found(("at rest", f), False, make)

    def second(self, f, i, j, q):
        """Second derivatives of ``q^T F(u, m)``, F form f at that time, q (n,); None where they vanish."""
        if self.problem.terms[f].affine or not q.any():
            return None
        form, m = self.form(f, i)
        return form.second_derivatives(self.states(i)[:, j], m, q)

    def solver(self, i, j):
        """`FreeSolver` of the equation of step i in its own state."""
        problem = self.problem
        parts = [(term.weights[i, 0], f, *term.place(i, j, problem.parameter.steady))
                 for f, term in enumerate(problem.terms) if term.weights[i, 0]]
        steady = all(problem.terms[f].steady for _, f, *_ in parts)
        return self._found(("solver", *parts), steady, lambda: problem.factorize(
            [(weight, self.state(f, i, j)) for weight, f, *_ in parts]))

    def solver_at(self, u, i):
        """The same at u (n,), which no step has reached yet."""
        terms = self.problem.terms
        return self.problem.factorize([(term.weights[i, 0], self._state(f, u, i)) for f, term in enumerate(terms)
                                       if term.weights[i, 0]])

    def _found(self, key, steady, make):
        kept = self.problem.kept if steady else self._kept
        if key not in kept:
            solvers = [each for each in kept if each[0] == "solver"] if key[0] == "solver" else ()
            if len(solvers) * self.problem.size >= KEPT:
                del kept[solvers[0]]
            kept[key] = make()
        return kept[key]


def _times_of(key):
    """Times that something kept belongs to."""
    return [part[2] for part in key[1:]] if key[0] == "solver" else key[2:3]


def _same(one, other):
    return one.nnz == other.nnz and np.array_equal(one.data, other.data)


class JointPattern:
    """Weighted sums of csr matrices of few patterns, always with the union of the patterns met so far."""

    def __init__(self, size):
        self._size, self._met, self._joint = size, [], None

    def sum(self, parts):
        """The sum of ``weight * matrix`` over (weight, matrix), csr."""
        numbers = [self._number(matrix) for _, matrix in parts]
        if self._joint is None:
            self._join()
        keys, indices, indptr, places = self._joint
        data = np.zeros(len(keys))
        for (weight, matrix), number in zip(parts, numbers, strict=True):
            data[places[number]] += weight * matrix.data
        return sp.csr_matrix((data, indices, indptr), shape=(self._size, self._size))

    def _number(self, matrix):
        for number, (indices, indptr) in enumerate(self._met):
            if (indices is matrix.indices and indptr is matrix.indptr) or (
                    np.array_equal(indptr, matrix.indptr) and np.array_equal(indices, matrix.indices)):
                return number
        self._met.append((matrix.indices, matrix.indptr))
        self._joint = None
        return len(self._met) - 1

    def _join(self):
        size = self._size
        rows = [np.repeat(np.arange(size), np.diff(indptr)) * size + indices for indices, indptr in self._met]
        keys = np.unique(np.concatenate(rows))
        indptr = np.searchsorted(keys, np.arange(size + 1) * size)
        self._joint = keys, keys % size, indptr, [np.searchsorted(keys, row) for row in rows]
