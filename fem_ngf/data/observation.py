"""Observations: sparse matrices on the state, and where points lie in a mesh."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from skfem import Basis, ElementLineP1, LinearForm, MeshLine

from ..errors import InputError, check_has, checked_times, real_array
from ..meshes import boundary, subdomain
from ..spaces.locate import interpolation, locate


@dataclass(frozen=True, eq=False)
class MatrixObservation:
    """A linear map from the state to what is measured.

    Parameters
    ----------
    matrix
        ``(n_obs, n_u)``.
    points
        ``(n_obs, d)``: where each observation is made; None where that has no meaning.
    """

    matrix: sp.csr_array
    points: np.ndarray | None = None

    def __repr__(self):
        return f"MatrixObservation({self.shape[0]} values of {self.shape[1]} unknowns)"

    @property
    def shape(self) -> tuple[int, int]:
        """``(n_obs, n_u)``."""
        return self.matrix.shape

    @property
    def size(self) -> int:
        """Number of observations of one experiment."""
        return self.matrix.shape[0]

    def __call__(self, u: np.ndarray) -> np.ndarray:
        """``(n_u, ...) -> (n_obs, ...)``."""
        return _times(self.matrix, u, "u")

    def transpose(self, r: np.ndarray) -> np.ndarray:
        """Covector ``(n_u, ...)`` of what weighs the observations by `r` ``(n_obs, ...)``."""
        return _times(self.matrix.T, r, "r")


def _times(matrix, array: np.ndarray, name: str) -> np.ndarray:
    array = real_array(name, array)
    if array.ndim == 0 or array.shape[0] != matrix.shape[1]:
        raise InputError(f"{name} has shape {array.shape}; the observation expects ({matrix.shape[1]}, ...)")
    columns = array.reshape(array.shape[0], -1)
    return (matrix @ columns).reshape(matrix.shape[0], *array.shape[1:])


def whole_field(basis) -> MatrixObservation:
    """Every coefficient of the state; combine with the mass matrix for an L2 misfit."""
    return MatrixObservation(sp.eye_array(basis.N, format="csr"), np.asarray(basis.doflocs).T)


def point_values(basis, points: np.ndarray) -> MatrixObservation:
    """Values of the state at `points` ``(n, d)``; a vector state gives all first components, then all second ones.

    Raises
    ------
    InputError
        A point lies outside the mesh (the first few are named), or is not finite.
    """
    points = _checked_points(basis.mesh, points)
    places = locate(basis.mesh, points)
    if (outside := np.flatnonzero(places.distance > 0)).size:
        some = ", ".join(f"{i} at ({', '.join(f'{x:.6g}' for x in points[i])})" for i in outside[:3])
        raise InputError(f"points: {outside.size} of {len(points)} lie outside the mesh: {some}; "
                         "remove them or use a mesh that contains them")
    matrix, count = interpolation(basis, points, places), len(points)
    components = matrix.shape[0] // count
    by_component = np.arange(matrix.shape[0]).reshape(count, components).T.ravel()
    return MatrixObservation(sp.csr_array(matrix[by_component]), np.tile(points, (components, 1)))


def as_function(basis, vector: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The scalar function with coefficients `vector` ``(n,)``, of points x ``(d, ...)`` in its mesh."""
    return lambda x: point_values(basis, np.reshape(x, (len(x), -1)).T)(vector).reshape(np.shape(x)[1:])


def at_times(observation: MatrixObservation, times: np.ndarray, when: np.ndarray) -> MatrixObservation:
    """What one state is observed by, at several times of a trajectory ``(N + 1) n_u``, which is linear in between.

    Parameters
    ----------
    observation
        Of one state, n_obs values.
    times
        ``(N + 1,)`` of the trajectory.
    when
        ``(T,)`` of the observations: T times n_obs values, time by time.

    Raises
    ------
    InputError
        If an observation is before the first or after the last state.
    """
    check_has("observation", observation, "an observation of one state, such as point_values", "matrix", "points")
    hats = time_weights(times, when)
    points = None if observation.points is None else np.tile(observation.points, (len(when), 1))
    return MatrixObservation(sp.csr_array(sp.kron(hats, observation.matrix, format="csr")), points)


def time_weights(times: np.ndarray, when: np.ndarray) -> sp.csr_array:
    """Weights (T, N + 1) that interpolate a trajectory at `times` (N + 1,) linearly at times `when` (T,).

    Raises
    ------
    InputError
        If one of these is before the first or after the last state, or there is none.
    """
    times, when = checked_times(times, least=2), real_array("when", when)
    if when.ndim != 1 or not when.size:
        raise InputError(f"when has shape {when.shape}; give times (T,), one at least")
    slack = 1e-12 * (times[-1] - times[0])
    outside = np.flatnonzero(~((when >= times[0] - slack) & (when <= times[-1] + slack)))
    if outside.size:
        raise InputError(f"{outside.size} of {len(when)} observations lie outside the evolution's times, e.g. t = "
                         f"{when[outside[0]]:g}; these run from {times[0]:g} to {times[-1]:g}")
    hats = sp.csr_array(interpolation(Basis(MeshLine(times), ElementLineP1()), when[:, None]))
    hats.data[np.abs(hats.data) < 1e-12] = 0.0  # rounding of the times
    hats.eliminate_zeros()
    return hats


def subdomain_averages(basis, names) -> MatrixObservation:
    """Mean of the state over each of the named subdomains."""
    names = list(names) if isinstance(names, Iterable) and not isinstance(names, str) else [names]
    rows = []
    for name in names:
        part = basis.with_elements(subdomain(basis.mesh, name))
        rows.append(_shape_integral.assemble(part) / part.dx.sum())
    return MatrixObservation(sp.csr_array(np.array(rows)))


def boundary_trace(basis, name: str | Iterable[str]) -> MatrixObservation:
    """Coefficients of the state on a named boundary, or on several, in increasing order."""
    dofs = np.sort(basis.get_dofs(boundary(basis.mesh, name)).flatten())
    matrix = sp.csr_array((np.ones(dofs.size), (np.arange(dofs.size), dofs)), shape=(dofs.size, basis.N))
    return MatrixObservation(matrix, np.asarray(basis.doflocs).T[dofs])


@LinearForm
def _shape_integral(v, w):
    return v


def _checked_points(mesh, points) -> np.ndarray:
    points = real_array("points", points)
    if points.ndim != 2 or points.shape[1] != mesh.dim() or len(points) == 0:
        turned = "; are they transposed?" if points.ndim == 2 and points.shape[0] == mesh.dim() else ""
        raise InputError(f"points has shape {points.shape}; a {mesh.dim()}-D mesh needs (n, {mesh.dim()}) with n >= 1"
                         f"{turned}")
    if not np.isfinite(points).all():
        raise InputError(f"points has {np.sum(~np.isfinite(points).all(axis=1))} rows that are not finite")
    return points
