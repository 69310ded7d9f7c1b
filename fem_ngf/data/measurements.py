"""Measured data: values at points, or a state as a whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.spatial import cKDTree
from skfem import CellBasis

from ..errors import InputError, checked_times, real_array, shown
from ..linalg.operators import Matrix
from ..output.film import Readings
from ..spaces.locate import interpolation
from ..spaces.matrices import mass_form
from ..spaces.sampling import quadrature_sampling
from .noise import GaussianNoise
from .observation import MatrixObservation, at_times, point_values, whole_field
from .protocol import Noise


@dataclass(frozen=True, eq=False)
class Measurements:
    """Values measured at points.

    Parameters
    ----------
    points
        ``(n, d)``.
    values
        ``(n,)``, or ``(n, k)`` for k experiments.
    std
        Standard deviations: a number, one a point (n,), one an experiment (k,), or of the shape of `values`; None when
        unknown.
    likelihood
        Standard deviations -> noise model; `StudentNoise` and `HuberNoise` shrug off outliers.
    """

    points: np.ndarray
    values: np.ndarray
    std: np.ndarray | None = None
    likelihood: Callable[[np.ndarray], Noise] = GaussianNoise.from_std

    def __post_init__(self):
        points, values = real_array("points", self.points), real_array("values", self.values)
        if points.ndim != 2 or values.ndim not in (1, 2) or len(values) != len(points):
            raise InputError(f"points has shape {points.shape} and values {values.shape}; give points (n, d) and "
                             "values (n,) or (n, k), a row a point")
        if self.std is not None:
            std = real_array("std", self.std)
            std = std[:, None] if std.ndim == 1 and values.ndim == 2 and len(std) == len(values) else std
            try:
                object.__setattr__(self, "std", np.broadcast_to(std, values.shape))
            except ValueError:
                raise InputError(f"std has shape {std.shape}; give a number, one a point, one an experiment, or the "
                                 f"shape of values, {values.shape}") from None

    def __repr__(self):
        return f"Measurements(values {shown(self.values)})"

    def on(self, basis) -> tuple[MatrixObservation, np.ndarray, Noise]:
        """Observation of a state in `basis`, values and noise model: what an `InverseProblem` compares.

        Raises
        ------
        InputError
            If the standard deviations are unknown, or a point lies outside the mesh.
        """
        if self.std is None:
            raise InputError("the measurements have no std; give the standard deviations of their noise")
        return point_values(basis, self.points), self.values, self.likelihood(self.std)


@dataclass(frozen=True, eq=False)
class TimeSeries:
    """Values measured at the same points at several times.

    Parameters
    ----------
    points
        ``(n, d)``.
    times
        ``(T,)``, increasing.
    values
        ``(T, n)``, or ``(T, n, k)`` for k experiments.
    std
        Standard deviations: a number, or of the shape of `values`; None when unknown.
    likelihood
        Standard deviations -> noise model.

    Raises
    ------
    InputError
        If the times do not increase, or shapes do not fit.
    """

    points: np.ndarray
    times: np.ndarray
    values: np.ndarray
    std: np.ndarray | None = None
    likelihood: Callable[[np.ndarray], Noise] = GaussianNoise.from_std

    def __post_init__(self):
        points, values = real_array("points", self.points), real_array("values", self.values)
        times = checked_times(self.times)
        if points.ndim != 2 or values.ndim not in (2, 3) or values.shape[:2] != (len(times), len(points)):
            raise InputError(f"values has shape {values.shape}, points {points.shape} and times {times.shape}; give "
                             "points (n, d), times (T,) and values (T, n) or (T, n, k)")
        std = None if self.std is None else real_array("std", self.std)
        if std is not None and std.shape not in ((), values.shape):
            raise InputError(f"std has shape {std.shape}; give a number, or the shape of values, {values.shape}")
        std = None if std is None else np.broadcast_to(std, values.shape)
        for name, array in (("points", points), ("times", times), ("values", values), ("std", std)):
            object.__setattr__(self, name, array)

    def __repr__(self):
        return f"TimeSeries(values {shown(self.values)})"

    def on(self, basis, times: np.ndarray) -> tuple[MatrixObservation, np.ndarray, Noise]:
        """Observation of an evolution of states in `basis` at `times`, values and noise model, time by time.

        Raises
        ------
        InputError
            If the standard deviations are unknown, or a point or a time lies outside the evolution.
        """
        observation = at_times(point_values(basis, self.points), times, self.times)
        shape = len(self.times) * len(self.points), -1
        values, std = self.values.reshape(shape), self._known_std.reshape(shape)
        return observation, values, self.likelihood(std)

    def readings(self, residual: np.ndarray) -> Readings:
        """Data and prediction for a picture, from the residual ``(T n, k)`` of a linearisation."""
        shape = len(self.times), -1
        values, std = self.values.reshape(shape), self._known_std.reshape(shape)
        return Readings(self.times, values, values + residual.reshape(values.shape), std, residual[0].size)

    @property
    def _known_std(self) -> np.ndarray:
        if self.std is None:
            raise InputError("the time series has no std; give the standard deviations of its noise")
        return self.std


@dataclass(frozen=True, eq=False)
class WholeField:
    r"""A state that was measured as a whole; its misfit is :math:`\frac{\mathrm{scale}}2 \|u - d\|_{L^2}^2`.

    Parameters
    ----------
    basis
        Of the data: the state's on the finest mesh.
    values
        Vector ``(n,)`` or ``(n, k)`` of the data.
    scale
        Factor of the misfit.
    noise_std
        Standard deviations of `values`, zero where they are exact; for the rules that choose a weight.
    """

    basis: Any
    values: np.ndarray
    scale: float = 1.0
    noise_std: np.ndarray | None = None

    def __repr__(self):
        return f"WholeField(values {shown(self.values)}, scale {self.scale:g})"

    def on(self, basis) -> tuple[MatrixObservation, np.ndarray, GaussianNoise]:
        """Observation, data and noise model for a state in `basis`.

        Other meshes than the data's see their L2 projection; the misfit includes the part that their space cannot fit.
        """
        same = basis.mesh is self.basis.mesh
        found = Projection(self.values, 0.0) if same else project_field(self.basis, self.values, basis)
        mass = sp.csr_array(mass_form.assemble(basis))
        return whole_field(basis), found.vector, GaussianNoise.from_matrix(mass, self.scale,
                                                                           self.scale * found.constant)


def nodal_values(basis, points: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Vector ``(n,)`` or ``(n, k)`` of data given at the nodes of `basis`, in any order.

    Raises
    ------
    InputError
        `points` are not exactly the nodes of the basis.
    """
    nodes, points, values = np.asarray(basis.doflocs).T, np.asarray(points, dtype=np.float64), np.asarray(values)
    if points.shape != nodes.shape:
        raise InputError(f"points has shape {points.shape}; the basis has nodes of shape {nodes.shape}; give data at "
                         "every node (another mesh or element?), or use point observations")
    if len(values) != len(points):
        raise InputError(f"values has {len(values)} rows for {len(points)} points")
    distance, index = cKDTree(points).query(nodes)
    spacing = cKDTree(nodes).query(nodes, k=2)[0][:, 1].min() if len(nodes) > 1 else 1.0
    if (far := np.flatnonzero(distance > 1e-3 * spacing)).size:
        raise InputError(f"points: {far.size} of {len(nodes)} nodes of the basis have no data, e.g. the one at "
                         f"{nodes[far[0]].tolist()}; is the mesh another one?")
    if np.unique(index).size < len(nodes):
        raise InputError("points: some nodes of the basis share a point; nodal data need a scalar Lagrange element")
    return values[index].astype(np.float64)


@dataclass(frozen=True, eq=False)
class Projection:
    r"""L2 projection :math:`\Pi d` of a function d on a coarser space.

    For u in the coarse space
    :math:`\frac12\|u - d\|^2 = \frac12\|u - \Pi d\|^2 + \frac12(\|d\|^2 - \|\Pi d\|^2)`.

    Parameters
    ----------
    vector
        Coefficients ``(n_coarse,)`` or ``(n_coarse, k)`` of the projection.
    constant
        The last term, summed over the k functions.
    """

    vector: np.ndarray
    constant: float


def project_field(fine_basis, vector: np.ndarray, coarse_basis) -> Projection:
    """L2 projection of a finite-element function on the space of another mesh.

    The product of both spaces' functions is integrated on the fine mesh: exact
    where that mesh is a refinement of the coarse one, a quadrature otherwise.
    Parts of the fine mesh outside the coarse one (curved boundaries) use the
    nearest points of it.

    Parameters
    ----------
    fine_basis, coarse_basis
        scikit-fem bases of scalar elements on cells.
    vector
        ``(n_fine,)`` or ``(n_fine, k)``.
    """
    vector = np.asarray(vector, dtype=np.float64)
    if len(vector) != fine_basis.N:
        raise InputError(f"vector has {len(vector)} rows; the fine basis has {fine_basis.N} unknowns")
    order = fine_basis.elem.maxdeg + max(fine_basis.elem.maxdeg, coarse_basis.elem.maxdeg)
    fine = quadrature_sampling(CellBasis(fine_basis.mesh, fine_basis.elem, intorder=order))
    coarse = interpolation(coarse_basis, fine.points)
    samples = fine.matrix @ vector
    weighted = (samples.T * fine.weights).T
    moments = coarse.T @ weighted
    mass = mass_form.assemble(CellBasis(coarse_basis.mesh, coarse_basis.elem, intorder=2 * coarse_basis.elem.maxdeg))
    projected = Matrix(mass.tocsr()).solve(moments)
    return Projection(projected, 0.5 * float(np.sum(samples * weighted) - np.sum(projected * moments)))
