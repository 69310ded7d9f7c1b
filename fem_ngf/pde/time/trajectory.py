"""The trajectory of an evolution, with its tangent, adjoint and second derivatives.

The second derivative of the scheme, weighted by an adjoint trajectory, is the sum of those of ``q^T F(u_i, m)``, one
time each, with the weights q of `Recursion`.
"""

from __future__ import annotations

import numpy as np

from ..protocol import checked_block, checked_direction
from .recursion import PullBack, Recursion


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
        self.problem, self.m, self.film = problem, tangents.m, tangents.film
        self.m.setflags(write=False)
        self.film.setflags(write=False)
        self._recursion = Recursion(problem, tangents)
        self._second = None                       # p and the second derivatives for the p asked for last

    @property
    def u(self):
        """All states (n_u, k)."""
        return self.film.reshape(-1, self.film.shape[2])

    @property
    def times(self):
        """Times (N + 1,)."""
        return self.problem.times

    def frames(self, numbers):
        """States (len(numbers), n, k) at the times of these numbers."""
        return self.film[numbers]

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
        dm = checked_direction(dm, self.m.size)
        du = np.zeros((*self.film.shape, *dm.shape[1:]))
        for i, moved in self._recursion.tangent(dm):
            du[i] = moved
        return du.reshape(self.problem.state_size, *du.shape[2:])

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
        self.problem.evolutions.add(kind, covector[0, 0].size)
        p = np.zeros_like(covector)
        for i in reversed(range(len(p))):
            p[i] = self._recursion.adjoint_step(i, covector[i], p, kind)
        return p.reshape(self.problem.state_size, *p.shape[2:])

    def pull_back(self, p):
        """Covector on m of adjoint trajectories p (n_u, k) or (n_u, k, b), summed over the experiments."""
        p = self._in_time("p", p)
        total = PullBack(self._recursion, p.shape[3:])
        for i in reversed(self._recursion.times):
            total.add(i, p)
        return total.covector

    def adjoint(self, covector, kind="adjoint"):
        """Transpose of `tangent`: covector(s) on u (n_u, k[, b]) to covector(s) on m (n_m[, b])."""
        return self.pull_back(self.adjoint_state(covector, kind))

    def second_order(self, du, dm, p):
        """Second derivative of ``p^T Phi(u, m)`` in direction(s) (du, dm), Phi the equations of all steps.

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
        film, dm = self._in_time("du", du), np.asarray(dm, dtype=float)
        on_state, on_parameter = np.zeros_like(film), np.zeros_like(dm)
        for i, j, second in self._second_derivatives(self._in_time("p", p)):
            if i < 0:
                self._recursion.bend(i, second, None, dm, on_parameter)
            else:
                on_state[i, :, j] += self._recursion.bend(i, second, film[i, :, j], dm, on_parameter)
        return on_state.reshape(np.shape(du)), on_parameter

    def _second_derivatives(self, p):
        """(time, experiment, `SecondDerivatives`) of ``q^T F`` wherever they do not vanish, from the last time on."""
        if self._second is None or not np.array_equal(self._second[0], p):
            self._second = p.copy(), [(i, *found) for i in reversed(self._recursion.times)
                                      for found in self._recursion.second_derivatives(i, p)]
        return self._second[1]

    def _in_time(self, name, array):
        """An array (n_u, k[, b]) as (N + 1, n, k[, b])."""
        array = checked_block(name, array, self.u.shape)
        return array.reshape(*self.film.shape, *array.shape[2:])
