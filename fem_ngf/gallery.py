"""Data for model problems: which meshes to use, what is measured, and seeded noise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from .data.measurements import Measurements, Projection, project_field, read_measurements
from .data.noise import GaussianNoise
from .data.observation import Observation, point_values, whole_field
from .energies.inverse_problem import InverseProblem
from .errors import InputError
from .spaces.hilbert import HilbertSpace


def halvings(cells: int, smallest: int = 12) -> tuple[int, ...]:
    """Numbers of cells a side of a sequence of meshes, coarse to fine: ``cells`` halved while at least `smallest`.

    Examples
    --------
    >>> halvings(64), halvings(20)
    ((16, 32, 64), (20,))
    """
    if cells < 2:
        raise InputError(f"cells is {cells}; the mesh needs 2 a side at least")
    return (*halvings((cells + 1) // 2, smallest), cells) if (cells + 1) // 2 >= smallest else (cells,)


def check_positive(**numbers: float) -> None:
    """Raise an `InputError` that names the first argument which is not a positive number."""
    for name, value in numbers.items():
        if not (np.isfinite(value) and value > 0):
            raise InputError(f"{name} is {value}; it must be a positive number")


def noise_generator(noise_seed: int) -> np.random.Generator:
    """Generator of synthetic noise."""
    if noise_seed < 0:
        raise InputError(f"noise_seed is {noise_seed}; it must not be negative")
    return np.random.default_rng(noise_seed)


def grid_points(numbers: tuple[int, ...], lower: tuple[float, ...], upper: tuple[float, ...]) -> np.ndarray:
    """Points ``(n, d)`` of a regular grid of `numbers` points a direction, from corner to corner."""
    if min(numbers) < 1:
        raise InputError(f"sensors is {min(numbers)}; it must be 1 at least")
    axes = [np.linspace(a, b, n) if n > 1 else np.array([0.5 * (a + b)])
            for a, b, n in zip(lower, upper, numbers, strict=True)]
    return np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=1)


def bounding_box(mesh) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Lower and upper corner of a mesh, the box of a network on it."""
    return tuple(map(float, mesh.p.min(axis=1))), tuple(map(float, mesh.p.max(axis=1)))


def noisy(values: np.ndarray, level: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Values with independent normal noise.

    Parameters
    ----------
    values
        ``(n,)``, or ``(n, k)`` for k experiments.
    level
        Standard deviation relative to each experiment's largest absolute value.
    seed
        Of the noise.

    Returns
    -------
    values, std
        Noisy values and the standard deviations, of the shape of `values`. At level zero the values are exact
        and the standard deviations are those of a level of 1e-3, so that a misfit can be weighted.
    """
    if not (np.isfinite(level) and level >= 0):
        raise InputError(f"noise is {level}; it must be a number that is not negative")
    scale = np.abs(values).max(axis=0)
    noise = level * scale * noise_generator(seed).standard_normal(values.shape)
    return values + noise, np.broadcast_to((level or 1e-3) * scale, values.shape).copy()


def whole_fields(bases, values: np.ndarray, scale: float = 1.0) -> list[tuple[Observation, np.ndarray, GaussianNoise]]:
    r"""L2 misfit :math:`\frac{\mathrm{scale}}2 \|u - d\|^2` of whole-field data on every mesh.

    Parameters
    ----------
    bases
        Of the state, coarse to fine; the coarser meshes see the L2 projection of the data.
    values
        Data as a vector of the finest basis.
    scale
        Factor of the misfit.

    Returns
    -------
    list of (observation, data, noise)
        One a mesh, the misfit of each including the part of the data that its space cannot fit.
    """
    projections = [*(project_field(bases[-1], values, basis) for basis in bases[:-1]), Projection(values, 0.0)]
    masses = [HilbertSpace.l2(basis).mass for basis in bases]
    return [(whole_field(basis), found.vector, GaussianNoise.from_matrix(mass, scale, scale * found.constant))
            for basis, mass, found in zip(bases, masses, projections, strict=True)]


def point_data(data: Path | None, dimension: int, points: np.ndarray, solve: Callable, *, noise: float, seed: int,
               experiments: int = 1) -> Measurements:
    """Measurements of a state at points: of a file, or synthetic.

    Parameters
    ----------
    data
        File for `read_measurements`, or None.
    dimension
        Number of coordinates.
    points
        ``(n, d)`` of the synthetic measurements.
    solve
        ``() -> (basis, u)``: the true state ``(n_u, k)``; called only without a file.
    noise, seed
        See `noisy`. For a file without standard deviations `noise` supplies them.
    experiments
        Number k of experiments that a file must have.

    Raises
    ------
    InputError
        If the file cannot be used.
    """
    if data is None:
        basis, u = solve()
        return Measurements(points, *noisy(point_values(basis, points)(u), noise, seed))
    found = read_measurements(data, dimension=dimension)
    values = found.values.reshape(len(found.points), -1)
    if values.shape[1] != experiments:
        raise InputError(f"data file {str(data)!r} has values of {values.shape[1]} experiments; this case has "
                         f"{experiments}")
    std = noisy(values, noise, seed)[1] if found.std is None else found.std.reshape(values.shape)
    return Measurements(found.points, values, std)


def sensor_problem(pde, basis, measured: Measurements, regularization, space: HilbertSpace) -> InverseProblem:
    """Inverse problem of point measurements with independent normal noise.

    Parameters
    ----------
    pde, basis
        Equation, and basis of its state.
    measured
        With standard deviations.
    regularization, space
        Of the parameter, see `InverseProblem`.
    """
    observation, noise = point_values(basis, measured.points), GaussianNoise.from_std(measured.std)
    return InverseProblem(pde, observation, measured.values, noise, regularization, space)
