"""Stationary problems ``R(u, m) = load``: linear and nonlinear, one or several experiments with one parameter.

The solution is the linearisation point: `StationaryProblem.solve` returns a `StationaryState`, whose `tangent` and
`adjoint` are exact for the discrete problem.
"""

from __future__ import annotations

from copy import copy
from functools import partial

import numpy as np

from ..errors import InputError, SolveError, check_counts, check_has, check_positive, real_array
from ..linalg.factorize import TOLERANCE
from ..spaces.sampling import chosen_unknowns
from .newton import newton, norm, tolerated
from .operator import FreeOperator
from .protocol import SolveCounts, checked_block, checked_direction

INCREMENTAL = 1e-8
"""Relative residual at which an iterative solver stops in tangents and in adjoints of Hessian actions: conjugate
gradients in the space of the parameter stop long before. Adjoint identities hold to it, not to rounding."""


class StationaryProblem:
    """Find u with ``R(u, m) = load`` on the free unknowns and given values on the Dirichlet unknowns.

    Parameters
    ----------
    form : WeakForm
    dirichlet : int array, mask, name or list of names, optional
        State dofs with given values, or the boundaries where they are.
    values : float, (n_u,) or (n_u, k)
        Given values; read at the Dirichlet dofs only. Columns are experiments.
    loads : covector(s) (n_u,) or (n_u, k), optional
        Right-hand sides besides those in the form.
    linear : bool
        R is affine in u: k experiments then share one factorisation, and tangents and adjoints use it too.
    symmetric : bool or None
        Whether dR/du is symmetric; None looks at each matrix.
    definite : bool
        dR/du is symmetric positive definite: admits CHOLMOD.
    backend : str
        As for `linalg.factorize`.
    tolerance : float
        Newton: residual relative to that of the start without a warm start.
    max_iterations : int
        Newton steps.
    guess : (n_u,) or (n_u, k), optional
        Measured states, say: where Newton's method starts when the last converged state does not lead to a solution.
        Default: the Dirichlet values alone.

    Raises
    ------
    InputError
        For Dirichlet dofs out of range, shapes that do not fit, or a form that is not linear despite ``linear=True``.
    """

    def __init__(self, form, *, dirichlet=None, values=0.0, loads=None, linear=False, symmetric=None, definite=False,
                 backend="auto", tolerance=1e-12, max_iterations=50, guess=None):
        check_has("form", form, "a WeakForm", "residual", "tangent", "state_size")
        check_positive(tolerance=tolerance)
        check_counts(max_iterations=max_iterations)
        self.form, self.linear, self.counts = form, linear, SolveCounts()
        self.symmetric, self.definite = symmetric, definite
        self.tolerance, self.max_iterations = tolerance, max_iterations
        self.state_size = form.state_size
        self.dirichlet = chosen_unknowns("dirichlet", dirichlet, getattr(form, "state", None), self.state_size)
        self.free = np.setdiff1d(np.arange(self.state_size), self.dirichlet)
        given, loads = columns("values", values, self.state_size), columns("loads", loads, self.state_size)
        self.experiments = max(given.shape[1], loads.shape[1])
        if any(array.shape[1] not in (1, self.experiments) for array in (given, loads)):
            raise InputError(f"values has {given.shape[1]} columns but loads has {loads.shape[1]}; give one column an "
                             "experiment in both, or a single one in one of them")
        self.loads = np.broadcast_to(loads, (self.state_size, self.experiments))
        self.lift = np.zeros((self.state_size, self.experiments))
        self.lift[self.dirichlet] = given[self.dirichlet]
        self.guess = self.lift if guess is None else self._start(guess)
        self.operator = FreeOperator(self.free, points=getattr(form, "state_points", None), symmetric=symmetric,
                                     definite=definite, backend=backend)
        self._checked_linear, self._last = not linear, None

    def __repr__(self):
        kind = "linear" if self.linear else "nonlinear"
        return (f"StationaryProblem({kind}, {self.state_size} state and {self.parameter_size} parameter unknowns, "
                f"{self.experiments} experiment{'s' * (self.experiments > 1)})")

    @property
    def parameter_size(self):
        """Number n_m of parameter unknowns."""
        return self.form.parameter_size

    @property
    def work_per_solve(self):
        """Unknowns n_u of one linear solve."""
        return self.state_size

    def of_experiments(self, chosen):
        """The problem with the experiments numbered `chosen` (int array) only, and counts of its own."""
        other = copy(self)
        other.loads, other.lift, other.guess = (each[:, chosen] for each in (self.loads, self.lift, self.guess))
        other.experiments = len(chosen)
        other.counts, other._last = SolveCounts(), None
        return other

    def assembled_by(self, form, operator):
        """The problem with another form of the same equation, whose tangents `operator` factorises; counts of its own.
        """
        other = copy(self)
        other.form, other.operator, other.counts, other._last = form, operator, SolveCounts(), None
        return other

    def solve(self, m, start=None):
        """Solve for the parameter m (n_m,).

        Parameters
        ----------
        m : vector (n_m,)
        start : StationaryState, (n_u,) or (n_u, k), optional
            Where Newton's method starts. Otherwise it starts from the last converged state, and from the `guess`
            when there is none or when that fails; an experiment that fails so, from the state of the one before, as
            load steps want it. Linear problems need no start. Factorisations of a state that it starts from serve its
            first corrections.

        Returns
        -------
        StationaryState

        Raises
        ------
        SolveError
            When a coefficient overflows, the operator is singular or Newton's method does not converge.
        """
        m = np.array(real_array("m", m))
        if m.shape != (self.parameter_size,):
            raise InputError(f"m has shape {m.shape}; this problem needs ({self.parameter_size},)")
        if not np.all(np.isfinite(m)):
            raise SolveError("m has entries that are not finite")
        if self.linear:
            return self._solve_linear(m)
        if start is not None:
            return self._solve_nonlinear(m, start)
        if self._last is not None:
            try:
                return self._solve_nonlinear(m, self._last)
            except SolveError:
                pass
        return self._solve_nonlinear(m, self.guess)

    def factorize(self, u, m):
        """Factorise dR/du at one experiment's state u (n_u,): a `FreeSolver`."""
        return self.operator.factorize(self.form.tangent(u, m))

    def _solve_linear(self, m):
        at = self.lift[:, 0]
        matrix = self.form.tangent(at, m)
        solver = self.operator.factorize(matrix)
        constant = self.form.residual(at, m) - matrix @ at
        residual = matrix @ self.lift + constant[:, None] - self.loads
        self.counts.forward += self.experiments
        u = self.lift - solver.solve(residual)
        if not self._checked_linear:
            self._check_linear(u[:, 0], m, matrix, constant)
        return StationaryState(self, m, u, (solver,))

    def _check_linear(self, u, m, matrix, constant):
        expected = matrix @ u + constant
        scale = abs(matrix) @ np.abs(u) + np.abs(constant)
        if np.abs(self.form.residual(u, m) - expected).max() > 1e-9 * scale.max():
            raise InputError("linear is True but the form is not linear in the state; pass linear=False")
        self._checked_linear = True

    def _start(self, start):
        u = start.u if isinstance(start, StationaryState) else columns("start", start, self.state_size)
        if u.shape[1] not in (1, self.experiments):
            raise InputError(f"start has {u.shape[1]} columns; give one an experiment ({self.experiments})")
        return np.broadcast_to(u, self.lift.shape)

    def _solve_nonlinear(self, m, start):
        known, start = getattr(start, "known_solvers", None) or [None] * self.experiments, self._start(start)
        columns = []
        for j, solver in enumerate(known):
            try:
                columns.append(self._newton(m, start[:, j], j, solver))
            except SolveError:  # load steps: from the one before
                if j == 0:
                    raise
                columns.append(self._newton(m, columns[-1], j, None))
        self._last = StationaryState(self, m, np.stack(columns, axis=1), None)
        return self._last

    def _newton(self, m, start, experiment, solver):
        """Newton's method for one experiment: u (n_u,); solver: a `FreeSolver` of the start, or None."""
        def residual(u):
            r = self.form.residual(u, m) - self.loads[:, experiment]
            r[self.dirichlet] = 0.0
            return r

        def corrected(solver, r):
            self.counts.forward += 1
            return -solver.solve(r)

        def step(u, r):
            return corrected(self.factorize(u, m), r)

        u = self.lift[:, experiment].copy()
        cold = tolerated(residual, u)
        u[self.free] = start[self.free]
        return newton(residual, step, u, None if cold is None else norm(cold), tolerance=self.tolerance,
                      max_iterations=self.max_iterations, known=solver and partial(corrected, solver),
                      what=f"experiment {experiment}")


class StationaryState:
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
        self._second = None                       # p and the second derivatives of p^T R, for the p asked for last

    def __repr__(self):
        return f"StationaryState({self.u.shape[0]} unknowns, {self.u.shape[1]} experiments)"

    @property
    def solvers(self):
        """Factorisations of dR/du: one shared by all experiments (linear problems) or one an experiment."""
        if self._solvers is None:
            self.factorize(self.problem.form.tangent(column, self.m) for column in self.u.T)
        return self._solvers

    @property
    def known_solvers(self):
        """The factorisations, one an experiment, if they have been made; else None."""
        return self._solvers

    def factorize(self, tangents):
        """Make the `solvers` of dR/du of each experiment, csr (n_u, n_u), which somebody has assembled."""
        self._solvers = tuple(map(self.problem.operator.factorize, tangents))

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
        dm = checked_direction(dm, self.m.size)
        rhs = -np.stack([matrix @ dm for matrix in self.parameter_tangents], axis=1)
        self.problem.counts.incremental += rhs[0].size
        return self._solve(rhs, "solve", INCREMENTAL)

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
        covector = checked_block("covector", covector, self.u.shape)
        self.problem.counts.add(kind, covector[0].size)
        return self._solve(-covector, "solve_transposed", INCREMENTAL if kind == "incremental" else TOLERANCE)

    def pull_back(self, p):
        """Covector on m of adjoint state(s) p (n_u, k) or (n_u, k, b): the sum over experiments of (dR/dm)^T p."""
        p = checked_block("p", p, self.u.shape)
        return sum(matrix.T @ p[:, j] for j, matrix in enumerate(self.parameter_tangents))

    def adjoint(self, covector, kind="adjoint"):
        """Transpose of `tangent`: covector(s) on u (n_u, k[, b]) to covector(s) on m (n_m[, b])."""
        return self.pull_back(self.adjoint_state(covector, kind))

    def second_order(self, du, dm, p):
        """Second derivative of ``p^T R(u, m)`` in direction(s) (du, dm).

        Parameters
        ----------
        du : (n_u, k) or (n_u, k, b)
        dm : vector (n_m,) or (n_m, b)
        p : (n_u, k)

        Returns
        -------
        on_state, on_parameter : covectors of the shapes of du and dm

        No solve. The matrices of the last p are kept: the actions of one Hessian share them.
        """
        seconds = self._second_derivatives(checked_block("p", p, self.u.shape))
        du, dm = np.asarray(du), np.asarray(dm)
        on_state = np.stack([second.uu @ du[:, j] + second.um @ dm for j, second in enumerate(seconds)], axis=1)
        return on_state, sum(second.um.T @ du[:, j] + second.mm @ dm for j, second in enumerate(seconds))

    def _second_derivatives(self, p):
        """One `SecondDerivatives` of ``p_j^T R(u_j, m)`` an experiment."""
        if self._second is None or not np.array_equal(self._second[0], p):
            form, columns = self.problem.form, range(p.shape[1])
            self._second = p.copy(), [form.second_derivatives(self.u[:, j], self.m, p[:, j]) for j in columns]
        return self._second[1]

    @property
    def inexactness(self):
        """To what adjoint identities hold: zero (rounding) for factorisations."""
        return 0.0 if all(solver.exact for solver in self.solvers) else INCREMENTAL

    def _solve(self, rhs, method, tolerance):
        if len(self.solvers) == 1:
            return getattr(self.solvers[0], method)(rhs, tolerance)
        columns = (getattr(solver, method)(rhs[:, j], tolerance) for j, solver in enumerate(self.solvers))
        return np.stack(list(columns), axis=1)


def columns(name, array, size):
    """(n_u, k) from None, a number, (n_u,) or (n_u, k)."""
    array = real_array(name, 0.0 if array is None else array)
    if not np.all(np.isfinite(array)):
        raise InputError(f"{name} has entries that are not finite; mend the data")
    if array.ndim == 0:
        return np.full((size, 1), float(array))
    if array.ndim not in (1, 2) or array.shape[0] != size:
        raise InputError(f"{name} has shape {array.shape}; give a number, ({size},) or ({size}, k)")
    return array.reshape(size, -1)
