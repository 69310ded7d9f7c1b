r"""The trajectory of an evolution, with its tangent, adjoint and second derivatives.

With the scheme's equations :math:`\Phi_i = \sum_f \sum_j w^f_{ij} F_f(u_{i-j}, m) = 0`, ``K = dF/du`` and
``L = dF/dm`` at one time, the tangent is the linearised recursion and the adjoint its transpose, backwards:

.. math::
    \sum_f \sum_j w^f_{ij} \bigl(K^f_{i-j}\,\delta u_{i-j} + L^f_{i-j}\,\delta m\bigr) = 0, \qquad
    \sum_f (K^f_i)^T q^f_i = -c_i, \quad q^f_i = \sum_j w^f_{i+j,j}\, p_{i+j}.

The derivative is :math:`\sum_i \sum_f (L^f_i)^T q^f_i`; the second derivative of :math:`p^T\Phi` is the sum of those of
:math:`(q^f_i)^T F_f(u_i, m)`, one time each.
"""

from __future__ import annotations

import numpy as np

from ...errors import InputError


class Trajectory:
    """Solution of an evolution for one parameter; it follows the protocol `State`.

    Attributes
    ----------
    m : (n_m,)
    u : (n_u, k)
        All states, one after the other: ``film`` with time and space in one axis.
    film : (N + 1, n, k)
    times : (N + 1,)
    """

    def __init__(self, problem, tangents):
        self.problem, self.m, self.film, self._tangents = problem, tangents.m, tangents.film, tangents
        self.m.setflags(write=False)
        self.film.setflags(write=False)
        self._second = None                       # p and the second derivatives for the p asked for last

    @property
    def u(self):
        """All states (n_u, k)."""
        return self.film.reshape(-1, self.film.shape[2])

    @property
    def times(self):
        """Times (N + 1,)."""
        return self.problem.times

    def tangent(self, dm):
        """Derivative of the trajectory in direction(s) dm.

        Parameters
        ----------
        dm : vector (n_m,) or (n_m, b)

        Returns
        -------
        du : (n_u, k) or (n_u, k, b), zero on the Dirichlet dofs

        Counted as incremental solves; steps before anything changes are not solved.
        """
        dm = np.asarray(dm, dtype=float)
        if dm.ndim not in (1, 2) or dm.shape[0] != self.m.size:
            raise InputError(f"dm has shape {dm.shape}; give ({self.m.size},) or ({self.m.size}, b)")
        problem, k = self.problem, self.film.shape[2]
        du, past = np.zeros((*self.film.shape, *dm.shape[1:])), {}
        for i in range(-1, len(du)):
            if i < 0 and problem.before is None:
                continue
            at = problem.parameter.at(dm, max(i, 0))
            known = [self._parameter(f, i, at) for f in range(len(problem.terms))]
            if i >= 0:
                du[i] = self._solve(i, self._history(i, known, past, (len(du[i]), k, *dm.shape[1:])), "solve",
                                    "incremental")
                known = [self._added(f, i, du[i], part) for f, part in enumerate(known)]
            past[i] = known
            past.pop(i - 2, None)
        problem.evolutions.incremental += du[0, 0].size
        return du.reshape(problem.state_size, *du.shape[2:])

    def _history(self, i, known, past, shape):
        """Right-hand side of the tangent's step i."""
        rhs = np.zeros(shape)
        for f, term in enumerate(self.problem.terms):
            for weight, part in zip(term.weights[i], (known, past.get(i - 1), past.get(i - 2)), strict=True):
                if weight and part[f] is not None:
                    rhs -= weight * part[f]
        return rhs

    def _added(self, f, i, du, known):
        """``K du + L dm`` of form f at time i, None where no later step needs it."""
        if not self.problem.terms[f].weights[i + 1:, 1:].any():
            return None
        moved = self._times(f, i, du)
        return moved if known is None else known + moved

    def adjoint_state(self, covector, kind="adjoint"):
        """Adjoint trajectory p: the transposed recursion, backwards from the covector; zero on the Dirichlet dofs.

        Parameters
        ----------
        covector : (n_u, k) or (n_u, k, b)
        kind : {"adjoint", "incremental"}
            How to count the solves: for a derivative, or inside a Hessian action.

        Returns
        -------
        p : shape of covector
        """
        covector = self._in_time("covector", covector)
        if kind not in ("adjoint", "incremental"):
            raise InputError(f"kind is {kind!r}; choose 'adjoint' or 'incremental'")
        p, evolutions = np.zeros_like(covector), self.problem.evolutions
        for i in reversed(range(len(p))):
            rhs = -covector[i]
            for f in range(len(self.problem.terms)):
                later = self._weighted(f, i, p, range(1, 3))
                if later is not None:
                    rhs = rhs - self._times(f, i, later, transposed=True)
            p[i] = self._solve(i, rhs, "solve_transposed", kind)
        setattr(evolutions, kind, getattr(evolutions, kind) + p[0, 0].size)
        return p.reshape(self.problem.state_size, *p.shape[2:])

    def pull_back(self, p):
        """Covector on m of adjoint trajectories p (n_u, k) or (n_u, k, b), summed over the experiments."""
        p = self._in_time("p", p)
        problem, total = self.problem, np.zeros((self.m.size, *p.shape[3:]))
        for i in range(-1 if problem.before is not None else 0, len(p)):
            for f in range(len(problem.terms)):
                q = self._weighted(f, i, p, range(3))
                for j in range(0 if q is None else q.shape[1]):
                    tangent = self._tangents.parameter(f, i, j)
                    if tangent.nnz:
                        problem.parameter.add(total, tangent.T @ q[:, j], max(i, 0))
        return total

    def adjoint(self, covector, kind="adjoint"):
        """Transpose of `tangent`: covector(s) on u (n_u, k[, b]) to covector(s) on m (n_m[, b])."""
        return self.pull_back(self.adjoint_state(covector, kind))

    def second_order(self, du, dm, p):
        """Second derivative of ``p^T Phi(u, m)`` in direction(s) (du, dm).

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
        film, dm, parameter = self._in_time("du", du), np.asarray(dm, dtype=float), self.problem.parameter
        on_state, on_parameter = np.zeros_like(film), np.zeros_like(dm)
        for i, j, second in self._second_derivatives(self._in_time("p", p)):
            at = parameter.at(dm, max(i, 0))
            if i >= 0:
                on_state[i, :, j] += second.uu @ film[i, :, j] + second.um @ at
                parameter.add(on_parameter, second.um.T @ film[i, :, j] + second.mm @ at, i)
            else:
                parameter.add(on_parameter, second.mm @ at, 0)
        return on_state.reshape(np.shape(du)), on_parameter

    def _second_derivatives(self, p):
        """(time, experiment, `SecondDerivatives`) of ``q^T F`` wherever they do not vanish."""
        if self._second is None or not np.array_equal(self._second[0], p):
            found = []
            for i in range(-1 if self.problem.before is not None else 0, len(p)):
                for f in range(len(self.problem.terms)):
                    q = self._weighted(f, i, p, range(3))
                    for j in range(0 if q is None else q.shape[1]):
                        second = self._tangents.second(f, i, j, q[:, j])
                        if second is not None:
                            found.append((i, j, second))
            self._second = p.copy(), found
        return self._second[1]

    def _weighted(self, f, i, p, delays):
        """``sum_j w_(i+j,j) p_(i+j)`` of form f over the delays j, (n, k[, b]); None where there is no such term."""
        weights = self.problem.terms[f].weights
        parts = [weights[i + j, j] * p[i + j] for j in delays if 0 <= i + j < len(p) and weights[i + j, j]]
        return sum(parts) if parts else None

    def _parameter(self, f, i, dm):
        """``L dm`` of form f at time i, (n, k[, b]); None where the form does not depend on m."""
        tangents = [self._tangents.parameter(f, i, j) for j in range(self.film.shape[2])]
        if not any(tangent.nnz for tangent in tangents):
            return None
        return np.stack([tangent @ dm for tangent in tangents], axis=1)

    def _times(self, f, i, x, transposed=False):
        """``K x`` or ``K^T x`` of form f at time i, x (n, k[, b])."""
        if self.problem.linear:
            matrix = self._tangents.state(f, i, 0)
            return ((matrix.T if transposed else matrix) @ x.reshape(len(x), x[0].size)).reshape(x.shape)
        matrices = [self._tangents.state(f, i, j) for j in range(x.shape[1])]
        return np.stack([(matrix.T if transposed else matrix) @ x[:, j] for j, matrix in enumerate(matrices)], axis=1)

    def _solve(self, i, rhs, method, kind):
        """Solves with the matrix of step i, counted as `kind`; none where there is nothing to solve."""
        if i == 0 and self.problem.first is not None:
            return rhs if method == "solve_transposed" else np.zeros_like(rhs)
        if not rhs.any():
            return np.zeros_like(rhs)
        counts = self.problem.counts
        setattr(counts, kind, getattr(counts, kind) + rhs[0].size)
        if self.problem.linear:
            return getattr(self._tangents.solver(i, 0), method)(rhs)
        return np.stack([getattr(self._tangents.solver(i, j), method)(rhs[:, j]) for j in range(rhs.shape[1])], axis=1)

    def _in_time(self, name, array):
        """An array (n_u, k[, b]) as (N + 1, n, k[, b])."""
        array = np.asarray(array, dtype=float)
        if array.ndim not in (2, 3) or array.shape[:2] != self.u.shape:
            raise InputError(f"{name} has shape {array.shape}; give {self.u.shape}, or one more axis for a block")
        return array.reshape(*self.film.shape, *array.shape[2:])
