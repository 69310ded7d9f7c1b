"""Load steps: displacements and reactions of a specimen, as a camera and a testing machine measure them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from skfem import Basis, ElementVector, Mesh, MeshTri

from ..data.files import read_arrays
from ..data.observation import MatrixObservation
from ..errors import InputError, check_positive
from ..forms.weak_form import WeakForm
from ..pde.stationary import StationaryProblem
from ..spaces.hilbert import HilbertSpace
from .reactions import Reactions


@dataclass(frozen=True, eq=False)
class LoadSteps:
    """What was measured at the nodes of a mesh, each set of constrained nodes with its reaction.

    Parameters
    ----------
    mesh
        Of n nodes in d dimensions, linear.
    displacement
        ``(steps, n, d)``.
    reactions
        ``(steps, r)``: the sum of the internal nodal forces over each set.
    sets
        Component and nodes of each of the r sets. A set moves as a whole: what is given is the mean of the
        displacements of its nodes.

    Raises
    ------
    InputError
        If shapes do not fit, a set is empty, the reactions are not as many as the sets, or a displacement turns a cell
        inside out.
    """

    mesh: Mesh
    displacement: np.ndarray
    reactions: np.ndarray
    sets: tuple

    def __post_init__(self):
        d, n = self.mesh.p.shape
        steps = len(self.displacement)
        if self.displacement.shape != (steps, n, d):
            raise InputError(f"displacement has shape {self.displacement.shape}; (steps, {n}, {d}) is needed")
        if self.reactions.shape != (steps, len(self.sets)):
            raise InputError(f"reactions have shape {self.reactions.shape}; {steps} load steps with {len(self.sets)} "
                             f"constraint sets need {steps, len(self.sets)}")
        for number, (_, nodes) in enumerate(self.sets, 1):
            if len(nodes) == 0:
                raise InputError(f"constraint set {number} has no nodes; number the sets from 1 without gaps")
        for number, u in enumerate(self.states.T, 1):
            gradient = np.moveaxis(np.asarray(self.basis.interpolate(u).grad), (0, 1), (-2, -1))
            if bad := np.count_nonzero(np.linalg.det(gradient + np.eye(d)) <= 0):
                raise InputError(f"displacement of load step {number} turns {bad} of {self.mesh.nelements} cells "
                                 "inside out (det F <= 0); mend it or leave the step out")

    @classmethod
    def read(cls, path) -> LoadSteps:
        """From an ``.npz`` file of a mesh of triangles.

        It holds points (n, 2), triangles (k, 3), displacement (steps, n, 2), reactions (steps, r), and constraint
        (n, 2): a component of a node is free, 0, or belongs to the reaction of that number, from 1. What was imposed
        carries no noise: where there is displacement_exact (steps, n, 2), constrained components are taken from it.
        """
        names = ("points", "triangles", "constraint", "displacement", "reactions")
        found = read_arrays(path, names, ("displacement_exact",))
        points, constraint, displacement = (found[name] for name in ("points", "constraint", "displacement"))
        if points.ndim != 2 or constraint.shape != points.shape or points.shape[1] != 2:
            raise InputError(f"data file {str(path)!r}: points has shape {points.shape} and constraint "
                             f"{constraint.shape}; both are (n, 2)")
        mesh = MeshTri(np.ascontiguousarray(points.T), np.ascontiguousarray(found["triangles"].T.astype(np.int64)))
        exact = found.get("displacement_exact", displacement)
        if displacement.ndim != 3 or exact.shape != displacement.shape or displacement.shape[1:] != points.shape:
            raise InputError(f"data file {str(path)!r}: displacement has shape {displacement.shape}, at {len(points)} "
                             f"points it is (steps, {len(points)}, 2)")
        try:
            return cls(mesh, np.where(constraint > 0, exact, displacement), found["reactions"], _sets(constraint))
        except InputError as error:
            raise InputError(f"data file {str(path)!r}: {error}") from None

    def __len__(self):
        return len(self.reactions)

    def select(self, numbers) -> LoadSteps:
        """Some of the load steps."""
        return replace(self, displacement=self.displacement[numbers], reactions=self.reactions[numbers])

    @cached_property
    def basis(self) -> Basis:
        """Of the displacements on the mesh, linear on each cell and with one quadrature point."""
        return _displacements(self.mesh)

    @property
    def states(self) -> np.ndarray:
        """The displacements as vectors (n d, steps)."""
        return self.displacement.reshape(len(self), -1).T

    @property
    def given(self) -> np.ndarray:
        """Displacement (steps, r) of each set."""
        return np.stack([self.displacement[:, nodes, axis].mean(axis=1) for axis, nodes in self.sets], axis=1)

    def equation(self, residual, laws, mesh=None, guess=None, tolerance: float = 1e-8) -> Reactions:
        """The equation with its reactions, every load step an experiment.

        Parameters
        ----------
        residual, laws
            Of a `WeakForm`.
        mesh
            Its first nodes are those of the measured one; default: that.
        guess
            States (n_u, steps) from which Newton's method starts.
        tolerance
            Of Newton's method.
        """
        basis = self.basis if mesh is None else _displacements(mesh)
        d, inside = self.mesh.dim(), self.prolongation(basis.mesh)
        values, sets = np.zeros((basis.N, len(self))), []
        for (axis, nodes), value in zip(self.sets, self.given.T, strict=True):
            indicator = np.zeros(inside.shape[1])
            indicator[d * nodes + axis] = 1.0
            sets.append(np.flatnonzero(inside @ indicator > 1.0 - 1e-6))
            values[sets[-1]] = value
        problem = StationaryProblem(WeakForm(residual, basis, laws), dirichlet=np.unique(np.concatenate(sets)),
                                    values=values, symmetric=True, tolerance=tolerance, guess=guess)
        return Reactions(problem, sets)

    def prolongation(self, mesh) -> sp.csr_array:
        """Matrix of displacements at the nodes of another mesh, from those at the nodes of the measured one."""
        return HilbertSpace.l2(self.basis).interpolation(mesh.p.T)

    @cached_property
    def _free(self) -> np.ndarray:
        """Components of nodes that are not in a set."""
        d = self.mesh.dim()
        return np.setdiff1d(np.arange(self.basis.N), np.concatenate([d * nodes + axis for axis, nodes in self.sets]))

    def observation(self, equation) -> MatrixObservation:
        """Free displacements of the measured nodes, and the reactions."""
        size = equation.state_size
        rows = np.r_[self._free, np.arange(size - len(self.sets), size)]
        return MatrixObservation(sp.eye_array(size, format="csr")[rows], np.zeros((len(rows), self.mesh.dim())))

    @property
    def values(self) -> np.ndarray:
        """What `observation` observes, (n_obs, steps)."""
        return np.concatenate([self.states[self._free], self.reactions.T])

    def std(self, spread: float, force_error: float) -> np.ndarray:
        """Standard deviations of `values`: of displacements, and of reactions relative to them."""
        check_positive(spread=spread, force_error=force_error)
        states = np.full((len(self._free), len(self)), spread)
        return np.concatenate([states, force_error * np.abs(self.reactions.T)])


def _sets(constraint: np.ndarray) -> tuple:
    """Component and nodes of the sets with the numbers 1, 2, ...; InputError when one is in two components."""
    sets = []
    for number in range(1, int(constraint.max(initial=0)) + 1):
        nodes, axes = np.nonzero(constraint == number)
        if len(set(axes)) > 1:
            raise InputError(f"constraint set {number} has nodes in two components; a reaction has one direction")
        sets.append((int(axes[0]) if len(axes) else 0, nodes))
    return tuple(sets)


def _displacements(mesh) -> Basis:
    return Basis(mesh, ElementVector(mesh.elem()), intorder=1)
