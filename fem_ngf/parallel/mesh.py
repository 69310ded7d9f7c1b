"""One equation on a distributed mesh: each process assembles the cells that it owns, PETSc solves for all.

What grows with the cells is distributed: tables and element matrices of the weak form, tangents, their factorisation or
multigrid. Vectors are whole on every process (8 bytes an unknown): a covector is a sum over the processes, and so is
the product of a vector with a tangent. Everything above the weak form, from the state's adjoint to the search, is
the code for one process.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import InputError
from ..forms.weak_form import SecondDerivatives
from .petsc import PetscOperator
from .team import Team


def share_mesh(energy, team: Team):
    """The energy of an `InverseProblem` with the mesh of its equation distributed over the processes of a team.

    Raises
    ------
    InputError
        If the equation is not a `StationaryProblem` of a weak form, PETSc is not installed, or there are more processes
        than cells.
    """
    problem = getattr(energy, "pde", energy)
    if not (hasattr(problem, "assembled_by") and hasattr(problem.form, "restricted")):
        what = type(problem).__name__
        raise InputError(f"backend 'petsc' distributes the mesh of a StationaryProblem, not of a {what}; leave it out")
    state = problem.form.state
    owners = owners_of_cells(state.mesh, team)
    form = SharedForm(problem.form.restricted(owners == team.rank), team)
    return replace(energy, pde=problem.assembled_by(form, PetscOperator.of(problem, owners, team)))


def owners_of_cells(mesh, team: Team) -> np.ndarray:
    """Number (cells,) of the process that each cell belongs to; compact parts of even sizes.

    Raises
    ------
    InputError
        If there are more processes than cells.
    """
    if team.size > mesh.nelements:
        raise InputError(f"{team.size} processes share a mesh of {mesh.nelements} cells; start as many processes as "
                         "cells at most")
    owners = parted(mesh.p[:, mesh.t].mean(axis=1), team.size)
    team.comm.Bcast(owners, root=0)
    return owners


def parted(points: np.ndarray, count: int) -> np.ndarray:
    """Number (n,) of the part that each point (d, n) belongs to, of `count` compact parts of even sizes.

    Cut across the longest axis in proportion to the number of parts on either side, and so on.
    """
    owners = np.zeros(points.shape[1], dtype=np.int32)
    todo = [(np.arange(len(owners)), 0, count)]
    while todo:
        chosen, first, parts = todo.pop()
        owners[chosen] = first
        if parts > 1:
            longest = np.argmax(np.ptp(points[:, chosen], axis=1))
            order, below = np.argsort(points[longest, chosen], kind="stable"), parts // 2
            left, right = np.split(chosen[order], [round(len(order) * below / parts)])
            todo += [(np.sort(left), first, below), (np.sort(right), first + below, parts - below)]
    return owners


@dataclass(frozen=True, eq=False)
class SharedMatrix:
    """A matrix that is the sum of the processes' sparse parts; products with whole vectors (n,) and blocks (n, k)."""

    local: Any
    team: Team

    def __matmul__(self, vectors: np.ndarray) -> np.ndarray:
        return self.team.summed(self.local @ vectors)

    @property
    def T(self) -> SharedMatrix:
        """The transpose."""
        return replace(self, local=self.local.T)

    def __abs__(self) -> SharedMatrix:
        """Of the parts' entries, a bound of that of the sum."""
        return replace(self, local=abs(self.local))


class SharedForm:
    """A `WeakForm` of which each process assembles its own cells; parameters are the first process's, bit for bit."""

    def __init__(self, local, team: Team):
        self.local, self._team = local, team
        self.state, self.state_points = local.state, local.state_points
        self.state_size, self.parameter_size = local.state_size, local.parameter_size

    def __repr__(self):
        return f"SharedForm({self.local!r} on process {self._team.rank} of {self._team.size})"

    def residual(self, u, m):
        """Covector (n_u,)."""
        m = self._team.same(m)
        return self._team.summed(self._team.agreed(lambda: self.local.residual(u, m)))

    def tangent(self, u, m):
        """dR/du."""
        return self._shared(lambda: self.local.tangent(u, m))

    def parameter_tangent(self, u, m):
        """dR/dm."""
        return self._shared(lambda: self.local.parameter_tangent(u, m))

    def second_derivatives(self, u, m, p):
        """Of ``p^T R``."""
        found = self._team.agreed(lambda: self.local.second_derivatives(u, m, p))
        return SecondDerivatives(*(SharedMatrix(each, self._team) for each in (found.uu, found.um, found.mm)))

    def _shared(self, assemble) -> SharedMatrix:
        return SharedMatrix(self._team.agreed(assemble), self._team)
