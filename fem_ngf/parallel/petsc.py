"""PETSc's solvers for a matrix that the processes have in parts (package petsc4py).

By default conjugate gradients with algebraic multigrid where the matrix is definite, and MUMPS's factorisation where it
is not, or where they fail. PETSc's own options (the environment's PETSC_OPTIONS) override that.

References
----------
S. Balay et al., PETSc/TAO users manual, Argonne National Laboratory ANL-21/39; L. Dalcin et al., Parallel distributed
computing using Python, Advances in Water Resources 34 (2011).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import SolveError
from ..linalg.factorize import FAIL_ABOVE, TOLERANCE
from ..pde.operator import FreePattern
from .team import Team

ITERATIONS = 500


@dataclass(frozen=True, eq=False)
class PetscOperator:
    """Factorises tangents (n_u, n_u) of which each process has a part, on the unknowns without a Dirichlet condition.

    PETSc numbers the free unknowns by process: an unknown belongs to the first process with a cell that touches it.

    Parameters
    ----------
    free
        Free unknowns in PETSc's order.
    counts
        How many of them each process has.
    numbers
        PETSc's number (n_u,) of each unknown, -1 at Dirichlet unknowns.
    symmetric, definite
        What is known of the tangents; None looks at the processes' parts.
    """

    free: np.ndarray
    counts: np.ndarray
    numbers: np.ndarray
    symmetric: bool | None
    definite: bool
    team: Team
    patterns: dict

    @classmethod
    def of(cls, problem, owners: np.ndarray, team: Team) -> PetscOperator:
        """For a `StationaryProblem` whose cells have these owners (cells,)."""
        state, size = problem.form.state, problem.state_size
        first = np.full(size, team.size)
        for rank in reversed(range(team.size)):
            first[state.dofs.element_dofs[:, owners == rank]] = rank
        free = problem.free[np.argsort(first[problem.free], kind="stable")]
        numbers = np.full(size, -1, dtype=np.int32)
        numbers[free] = np.arange(len(free))
        return cls(free, np.bincount(first[free], minlength=team.size)[:team.size], numbers,
                   problem.symmetric, problem.definite, team, {})

    @property
    def mine(self) -> np.ndarray:
        """This process's unknowns, in PETSc's order."""
        start = int(self.counts[:self.team.rank].sum())
        return self.free[start:start + int(self.counts[self.team.rank])]

    def factorize(self, matrix) -> PetscSolver:
        """Set up a solver for a `SharedMatrix`."""
        from petsc4py import PETSc

        local, comm = matrix.local, self.team.comm
        if "local" not in self.patterns or not self.patterns["local"].fits(local):
            touched = np.flatnonzero(np.diff(local.indptr))
            self.patterns["local"] = FreePattern.of(local, touched[self.numbers[touched] >= 0])
        pattern = self.patterns["local"]
        block, size = pattern.block(local), (int(self.counts[self.team.rank]), len(self.free))
        symmetric = self.definite or self.symmetric
        if symmetric is None:
            symmetric = self.team.comm.allreduce(int(not pattern.is_symmetric(block))) == 0
        part = PETSc.Mat().createAIJ(block.shape, csr=(block.indptr, block.indices, block.data), comm=PETSc.COMM_SELF)
        rows = PETSc.LGMap().create(self.numbers[pattern.free], comm=comm)
        whole = PETSc.Mat().createIS((size, size), rows, rows, comm=comm)
        whole.setISLocalMat(part)
        whole.assemble()
        assembled = whole.convert("aij")
        assembled.setOption(PETSc.Mat.Option.SPD if self.definite else PETSc.Mat.Option.SYMMETRIC, symmetric)
        return PetscSolver(self, assembled, symmetric, {})


@dataclass(frozen=True, eq=False)
class PetscSolver:
    """Solves with an assembled tangent, zero at Dirichlet unknowns: covectors (n_u, ...) to vectors (n_u, ...)."""

    operator: PetscOperator
    matrix: Any
    symmetric: bool
    solvers: dict

    @property
    def exact(self) -> bool:
        """Whether it solves to rounding, whatever the tolerance."""
        return self._solver.getType() == "preonly"

    def solve(self, covector, tolerance=TOLERANCE):
        """``K^-1`` on the free unknowns."""
        return self._each(covector, False, tolerance)

    def solve_transposed(self, covector, tolerance=TOLERANCE):
        """``K^-T`` on the free unknowns."""
        return self._each(covector, not self.symmetric, tolerance)

    def _each(self, covector, transposed, tolerance):
        operator, result = self.operator, np.zeros_like(covector)
        rows = covector[operator.mine]
        columns = rows.reshape(len(rows), -1)
        found = self._together(columns) if self.exact and not transposed and columns.shape[1] > 1 else None
        if found is None:
            found = np.empty_like(columns)
            for j, column in enumerate(columns.T):
                found[:, j] = self._solved(column, transposed, tolerance)
        result[operator.free] = operator.team.joined(found, operator.counts).reshape(-1, *covector.shape[1:])
        return result

    def _together(self, columns):
        """All columns by the factorisation at once; None where it cannot do that, or did it poorly."""
        from petsc4py import PETSc

        team, sizes = self.operator.team, (self.matrix.getSizes()[0], (None, columns.shape[1]))
        rhs, x = (PETSc.Mat().createDense(sizes, comm=team.comm) for _ in range(2))
        for each, values in ((rhs, columns), (x, 0.0)):
            each.setUp()
            each.getDenseArray()[:] = values
            each.assemble()
        try:
            self._solver.setUp()
            self._solver.getPC().getFactorMatrix().matSolve(rhs, x)
            residual = self.matrix.matMult(x).getDenseArray() - columns
        except PETSc.Error:
            return None
        top, bottom = team.summed(np.stack([(array**2).sum(axis=0) for array in (residual, columns)]))
        return x.getDenseArray().copy() if (top <= FAIL_ABOVE**2 * bottom).all() else None

    def _solved(self, column, transposed, tolerance):
        """One right-hand side, by the factorisation from where the other solver has failed once."""
        from petsc4py import PETSc

        rhs, x = self.matrix.createVecs()
        rhs.setArray(column)
        size = rhs.norm()
        if not np.isfinite(size):
            raise SolveError("a right-hand side has entries that are not finite")
        solver = self._solver
        solver.setTolerances(rtol=tolerance, atol=1e-300, max_it=ITERATIONS)
        try:
            (solver.solveTranspose if transposed else solver.solve)(rhs, x)
            image = rhs.duplicate()
            (self.matrix.multTranspose if transposed else self.matrix.mult)(x, image)
            image.axpy(-1.0, rhs)
            error = image.norm() / size if size > 0 else 0.0
        except PETSc.Error:
            error = np.inf
        if solver.getConvergedReason() >= 0 and error <= FAIL_ABOVE:
            return x.getArray().copy()
        if "direct" in self.solvers:
            raise SolveError(f"linear solve failed (PETSc, {solver.getType()}): relative residual {error:.1e}; the "
                             "matrix is singular, nearly so, or has entries that are not finite")
        self.solvers["direct"] = self._factorization()
        return self._solved(column, transposed, tolerance)

    @property
    def _solver(self):
        if not self.solvers:
            kind = "iterative" if self.operator.definite else "direct"
            self.solvers[kind] = self._iteration() if self.operator.definite else self._factorization()
            self.solvers[kind].setFromOptions()
        return self.solvers.get("direct") or self.solvers["iterative"]

    def _iteration(self):
        from petsc4py import PETSc

        solver = self._made("cg", "hypre" if PETSc.Sys.hasExternalPackage("hypre") else "gamg")
        solver.setNormType(PETSc.KSP.NormType.UNPRECONDITIONED)
        return solver

    def _factorization(self):
        solver = self._made("preonly", "cholesky" if self.symmetric else "lu")
        solver.getPC().setFactorSolverType("mumps")
        return solver

    def _made(self, kind, preconditioner):
        from petsc4py import PETSc

        solver = PETSc.KSP().create(self.operator.team.comm)
        solver.setOperators(self.matrix)
        solver.setType(kind)
        solver.getPC().setType(preconditioner)
        return solver
