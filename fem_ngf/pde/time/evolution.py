r"""Evolutions ``d/dt B(u, m) + R(u, m, t) = load`` and ``d2/dt2 B(u, m) + d/dt D(u, m) + R(u, m, t) = load``.

The discrete scheme is the equation: `EvolutionProblem.solve` returns a `Trajectory`, whose `tangent`, `adjoint` and
`second_order` are exact for it.
"""

from __future__ import annotations

import numpy as np

from ...errors import InputError, SolveError, check_counts, check_has, check_positive, checked_times, real_array
from ...spaces.sampling import chosen_unknowns
from ..newton import newton, norm
from ..operator import FreeOperator
from ..protocol import SolveCounts
from ..stationary import columns
from .multistep import multistep
from .parameter import ParameterInTime
from .terms import JointPattern, Tangents, Term
from .trajectory import Trajectory


class EvolutionProblem:
    """Find the trajectory u(t_0), ..., u(t_N) of a scheme in time.

    Parameters
    ----------
    mass : WeakForm
        ``B``: what is derived in time, ``u * v`` say; it may depend on the parameter, and nonlinearly on the state.
    form : WeakForm
        ``R``, which finds the time as ``w.t``.
    times : (N + 1,)
        Any increasing sequence.
    method : {"euler", "crank-nicolson", "bdf2", "newmark"}
        See `multistep`; Newmark's takes the second derivative of B in time.
    initial : float, (n,), (n, k) or WeakForm
        The initial state; or an equation for it, with the same parameters: ``(u - m) * v`` for an unknown initial
        state, the stationary equation for an evolution out of equilibrium.
    velocity : float, (n,) or (n, k)
        Newmark: the initial velocity.
    damping : WeakForm, optional
        Newmark: ``D``.
    parameter_times : (n_t,), or a tuple of them and None, optional
        Fields m(x, t): the nodes in time between which the parameter is linear; m is then (n_t, n_f) flattened. With
        several fields a tuple has one entry a field, None for those that are constant in time.
    dirichlet : int array, optional
        State dofs with given values, at all times.
    values, loads : float, (n,), (n, k), or functions t -> one of these
        Given values, read at the Dirichlet dofs only, and right-hand sides besides those in the form.
    linear : bool
        All forms are affine in u: experiments then share factorisations, and so do steps of equal length where the
        coefficients are constant in time. A form that asks for ``w.t`` is assembled at every time: a known source
        that changes is cheaper among the loads.
    symmetric, definite, backend, tolerance, max_iterations
        As for `StationaryProblem`, of the matrix of a step.

    Attributes
    ----------
    counts : SolveCounts
        Solves with the matrix of a step; one for an initial state that has an equation.
    evolutions : SolveCounts
        The same in whole trajectories.

    Raises
    ------
    InputError
        For times that do not increase, steps for which the scheme is unstable, shapes that do not fit, or a form that
        is not linear despite ``linear=True``.

    Examples
    --------
    The heat equation with an unknown initial state.

    >>> import numpy as np
    >>> import skfem
    >>> from fem_ngf import EvolutionProblem, WeakForm, dot, grad
    >>> basis = skfem.Basis(skfem.MeshTri().refined(2), skfem.ElementTriP1())
    >>> mass = WeakForm(lambda u, v, m, w: u * v, basis, basis)
    >>> heat = WeakForm(lambda u, v, m, w: dot(grad(u), grad(v)), basis, basis)
    >>> start = WeakForm(lambda u, v, m, w: (u - m) * v, basis, basis)
    >>> problem = EvolutionProblem(mass, heat, np.linspace(0, 0.1, 6), initial=start, linear=True)
    >>> film = problem.solve(np.cos(np.pi * basis.doflocs[0])).film
    >>> film.shape
    (6, 25, 1)
    """

    def __init__(self, mass, form, times, method="euler", *, initial=0.0, velocity=None, damping=None,
                 parameter_times=None, dirichlet=None, values=0.0, loads=0.0, linear=False, symmetric=None,
                 definite=False, backend="auto", tolerance=1e-12, max_iterations=50):
        check_positive(tolerance=tolerance)
        check_counts(max_iterations=max_iterations)
        self.times, self.linear = checked_times(times, least=2), linear
        self.counts, self.evolutions, self.kept = SolveCounts(), SolveCounts(), {}
        self.tolerance, self.max_iterations = tolerance, max_iterations
        self._check_forms(mass, form, method, initial, velocity, damping)
        self.terms = self._terms(mass, damping, form, initial, multistep(self.times, method))
        self.size = form.state_size
        self.parameter = ParameterInTime.of(form, parameter_times, self.times)
        self.dirichlet = chosen_unknowns("dirichlet", dirichlet, getattr(form, "state", None), self.size)
        self._given, self._loads = self._in_time("values", values), self._in_time("loads", loads)
        first = None if hasattr(initial, "residual") else columns("initial", initial, self.size)
        before = columns("velocity", velocity, self.size) if method == "newmark" else None
        self.experiments = self._experiments(first, before)
        self.first, self.before = (None if each is None else np.broadcast_to(each, (self.size, self.experiments))
                                   for each in (first, before))
        self._joint = JointPattern(self.size)
        self._operator = FreeOperator(np.setdiff1d(np.arange(self.size), self.dirichlet), points=form.state_points,
                                      symmetric=symmetric, definite=definite, backend=backend)
        self._checked_linear, self._factorized = not linear, (None, None)

    @staticmethod
    def _check_forms(mass, form, method, initial, velocity, damping):
        forms = [("mass", mass), ("form", form)] + ([] if damping is None else [("damping", damping)])
        for name, each in forms:
            check_has(name, each, "a WeakForm", "residual", "tangent", "parameter_sizes", "depends_on_time")
        for name, each in (("damping", damping), ("velocity", velocity)):
            if each is not None and method != "newmark":
                raise InputError(f"{name} is for method 'newmark', whose equation has two derivatives in time; this is "
                                 f"{method!r}")
        sizes = form.state_size, form.parameter_sizes
        for name, each in (("mass", mass), ("damping", damping), ("initial", initial)):
            found = (each.state_size, each.parameter_sizes) if hasattr(each, "residual") else sizes
            if found != sizes:
                raise InputError(f"{name} has (state size, parameter sizes) {found} and form {sizes}; use the same "
                                 "elements on the same mesh in both")

    def _terms(self, mass, damping, form, initial, weights):
        """The last one is that of the form, which the loads belong to; the initial equation is that of step 0."""
        terms = [Term(mass, weights.mass, self.linear)]
        if damping is not None:
            terms.append(Term(damping, weights.damping, self.linear))
        if hasattr(initial, "residual"):
            at_start = np.zeros_like(weights.mass)
            at_start[0, 0] = 1.0
            terms.append(Term(initial, at_start, self.linear))
        return (*terms, Term(form, weights.residual, self.linear))

    def _in_time(self, name, given):
        """What a function of time, or a constant, is at each time: i -> (n, 1 or k)."""
        if not callable(given):
            constant = columns(name, given, self.size)
            return lambda i: constant
        return lambda i: columns(name, given(self.times[i]), self.size)

    def _experiments(self, first, before):
        given = {"values": self._given(0), "loads": self._loads(0), "initial": first, "velocity": before}
        widths = {name: array.shape[1] for name, array in given.items() if array is not None}
        most = max(widths.values())
        for name, width in widths.items():
            if width not in (1, most):
                raise InputError(f"{name} has {width} columns but there are {most} experiments; give one column an "
                                 "experiment, or a single one")
        return most

    @property
    def form(self):
        """The form ``R``."""
        return self.terms[-1].form

    @property
    def state_size(self):
        """Number n_u = (N + 1) n of unknowns of a trajectory."""
        return len(self.times) * self.size

    @property
    def parameter_size(self):
        """Number n_m of parameter unknowns."""
        return self.parameter.size

    @property
    def work_per_solve(self):
        """Unknowns n of the solve of one step."""
        return self.size

    def factorize(self, parts):
        """Factorise the sum of ``weight * matrix``: a `FreeSolver`; that of the last one where the sum is the same."""
        matrix = self._joint.sum(parts)
        data, solver = self._factorized
        if solver is None or not np.array_equal(data, matrix.data):
            solver = self._operator.factorize(matrix)
            self._factorized = matrix.data, solver
        return solver

    def solve(self, m, start=None):
        """The trajectory for a parameter.

        Parameters
        ----------
        m : (n_m,)
        start : Trajectory or (n_u, k), optional
            Where Newton's method starts in each step; otherwise at the step before.

        Returns
        -------
        Trajectory

        Raises
        ------
        SolveError
            When a coefficient overflows, a step's matrix is singular or Newton's method does not converge.
        """
        m = np.array(real_array("m", m))
        if m.shape != (self.parameter_size,):
            raise InputError(f"m has shape {m.shape}; this problem needs ({self.parameter_size},)")
        if not np.isfinite(m).all():
            raise SolveError("m has entries that are not finite")
        film = np.zeros((len(self.times), self.size, self.experiments))
        tangents = Tangents(self, m, film)
        guesses = None if start is None else self._guesses(start, film.shape)
        for i in range(len(self.times)):
            film[i] = self.step(i, tangents, None if guesses is None else guesses[i])
        self.evolutions.forward += self.experiments
        if not self._checked_linear:
            self._check_linear(tangents)
        return Trajectory(self, tangents)

    @staticmethod
    def _guesses(start, shape):
        """States (N + 1, n, k) of a trajectory, or of an array of all of them."""
        guesses = real_array("start", getattr(start, "u", start))
        if guesses.size != np.prod(shape):
            raise InputError(f"start has shape {guesses.shape}; give a trajectory, or ({shape[0] * shape[1]}, "
                             f"{shape[2]}) values")
        return guesses.reshape(shape)

    def step(self, i, tangents, guess=None):
        """The state (n, k) at time i from those at the two times before, as many as the scheme asks for.

        Parameters
        ----------
        i : int
        tangents : Tangents
            Its film has the states before.
        guess : (n, k), optional
            Start of Newton's method; the state before if not given.
        """
        u = np.zeros((self.size, self.experiments))
        if i == 0 and self.first is not None:
            u[:] = self.first
        u[self.dirichlet] = self._given(i)[self.dirichlet]
        if i == 0 and self.first is not None:
            return u
        rhs = self._history(i, tangents)
        if not self.linear:
            guess = guess if guess is not None else tangents.film[i - 1] if i else u
            return np.stack([self._newton(i, u[:, j], rhs[:, j], guess[:, j], tangents)
                             for j in range(self.experiments)], axis=1)
        for f, term in enumerate(self.terms):
            if term.weights[i, 0]:
                rhs -= term.weights[i, 0] * tangents.value(f, i, u)
        self.counts.forward += self.experiments
        return u + tangents.solver(i, 0).solve(rhs)

    def _history(self, i, tangents):
        """Right-hand side (n, k) of step i: its loads, and what is known from the steps before."""
        rhs = np.zeros((self.size, self.experiments))
        for j, weight in enumerate(self.terms[-1].weights[i]):
            if weight:
                rhs += weight * self._loads(i - j)
        for f, term in enumerate(self.terms):
            for j in (1, 2):
                if term.weights[i, j]:
                    rhs -= term.weights[i, j] * tangents.value(f, i - j, tangents.states(i - j))
        return rhs

    def _newton(self, i, lift, rhs, guess, tangents):
        """Newton's method for the state (n,) at time i; its tolerance is relative to the largest of the terms."""
        used = [(term.weights[i, 0], *tangents.form(f, i)) for f, term in enumerate(self.terms) if term.weights[i, 0]]

        def parts(u):
            return [weight * form.residual(u, m) for weight, form, m in used]

        def residual(u):
            r = sum(at_start if u is start else parts(u)) - rhs
            r[self.dirichlet] = 0.0
            return r

        def step(u, r):
            correction = -tangents.solver_at(u, i).solve(r)
            self.counts.forward += 1
            return correction

        start = guess.copy()
        start[self.dirichlet] = lift[self.dirichlet]
        at_start = parts(start)
        reference = max(norm(part) for part in (rhs, *at_start))
        return newton(residual, step, start, reference or 1.0, tolerance=self.tolerance,
                      max_iterations=self.max_iterations, what=f"at time {self.times[i]:g}")

    def _check_linear(self, tangents):
        """Whether each form is where the trajectory ends what its tangent at the start says."""
        last, u = len(self.times) - 1, tangents.film[-1, :, 0]
        for f, term in enumerate(self.terms):
            i = 0 if term.weights[0, 0] else last
            form, m = tangents.form(f, i)
            found, expected = form.residual(u, m), tangents.value(f, i, u[:, None])[:, 0]
            scale = np.abs(tangents.state(f, i, 0)) @ np.abs(u) + np.abs(found)
            if np.abs(found - expected).max() > 1e-9 * scale.max():
                raise InputError("linear is True but a form is not linear in the state; pass linear=False")
        self._checked_linear = True
