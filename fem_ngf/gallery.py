"""Data for model problems: which meshes to use, what is measured, and seeded noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch

from .data.files import read_measurements, read_time_series
from .data.measurements import Measurements, TimeSeries, WholeField, nodal_values
from .data.observation import point_values, time_weights
from .errors import InputError, check_counts, check_memory
from .meshes import boundary, check_cells
from .model import Model
from .pde.stationary import StationaryProblem
from .pde.time.checkpointed import CheckpointedEvolution


def halvings(mesh: Callable, cells: int, smallest: int = 12, factor: int = 2) -> dict[str, object]:
    """Meshes of a continuation by their names, coarse to fine.

    Parameters
    ----------
    mesh
        Number of cells a side -> mesh: `unit_square`, `unit_cube`.
    cells
        Cells a side of the finest mesh; each coarser one has this number divided by `factor`.
    smallest
        Fewest cells a side of a coarser mesh.

    Examples
    --------
    >>> from fem_ngf import halvings, unit_square
    >>> list(halvings(unit_square, 64)), list(halvings(unit_square, 20))
    (['16 x 16', '32 x 32', '64 x 64'], ['20 x 20'])
    """
    check_counts(cells=cells, smallest=smallest, factor=factor)
    if cells < 2:
        raise InputError(f"cells is {cells}; the mesh needs 2 a side at least")
    if factor < 2:
        raise InputError(f"factor is {factor}; it must be 2 at least")
    numbers = [cells]
    while smallest <= (coarser := -(-numbers[0] // factor)) < numbers[0]:
        numbers.insert(0, coarser)
    meshes = [mesh(n) for n in reversed(numbers)][::-1]  # the finest first: it may be refused
    return {" x ".join([str(n)] * made.dim()): made for n, made in zip(numbers, meshes, strict=True)}


def refinements(mesh, times: int) -> dict[str, object]:
    """A mesh and its refinements by their names, coarse to fine."""
    if times < 0:
        raise InputError(f"refinements is {times}; it must not be negative")
    check_cells(mesh.nelements * 2 ** (mesh.dim() * times))
    meshes = [mesh]
    for _ in range(times):
        meshes.append(meshes[-1].refined())
    return {f"{each.nelements} cells": each for each in meshes}


def noise_generator(noise_seed: int) -> np.random.Generator:
    """Generator of synthetic noise."""
    if noise_seed < 0:
        raise InputError(f"noise_seed is {noise_seed}; it must not be negative")
    return np.random.default_rng(noise_seed)


def grid_points(numbers: tuple[int, ...], lower: tuple[float, ...], upper: tuple[float, ...]) -> np.ndarray:
    """Points ``(n, d)`` of a regular grid of `numbers` points a direction, from corner to corner."""
    for number in numbers:
        check_counts(sensors=number)
    check_memory(f"a grid of {' x '.join(map(str, numbers))} points", math.prod(numbers), 1000)
    axes = [np.linspace(a, b, n) if n > 1 else np.array([0.5 * (a + b)])
            for a, b, n in zip(lower, upper, numbers, strict=True)]
    return np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=1)


def boundary_points(mesh, names: Iterable[str]) -> np.ndarray:
    """Vertices ``(n, d)`` of a mesh on the boundaries of these names, sorted by their coordinates."""
    facets = np.concatenate([boundary(mesh, name) for name in names])
    return np.unique(mesh.p[:, np.unique(mesh.facets[:, facets])].T, axis=0)


def bounding_box(mesh) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Lower and upper corner of a mesh, the box of a network on it."""
    return tuple(map(float, mesh.p.min(axis=1))), tuple(map(float, mesh.p.max(axis=1)))


def manufactured(state: Callable, conductivity: Callable | None = None) -> tuple[Callable, Callable]:
    r"""A state that one chooses, and the source :math:`f = -\nabla\cdot(\kappa\nabla u)` that belongs to it.

    Parameters
    ----------
    state, conductivity
        u and kappa (default: one) as functions of points x (d, ...) in torch.

    Returns
    -------
    state, source
        The same state, and the source by automatic differentiation, as functions of numpy points (d, ...).

    Examples
    --------
    >>> import numpy as np, torch
    >>> from fem_ngf import manufactured
    >>> state, source = manufactured(lambda x: x[0] * torch.sin(x[1]), lambda x: 1.0 + x[0])
    >>> x = np.array([[0.5], [2.0]])
    >>> bool(np.allclose(source(x), (x[0] + x[0] ** 2 - 1.0) * np.sin(x[1])))
    True
    """

    def source(x: np.ndarray) -> np.ndarray:
        at = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        (flux,) = torch.autograd.grad(state(at).sum(), at, create_graph=True)
        flux = flux if conductivity is None else conductivity(at) * flux
        slopes = [torch.autograd.grad(row.sum(), at, retain_graph=True)[0][i] for i, row in enumerate(flux)]
        return -torch.stack(slopes).sum(0).numpy()

    return lambda x: state(torch.as_tensor(x, dtype=torch.float64)).numpy(), source


def ricker(frequency: float) -> Callable[[float], float]:
    """Ricker's wavelet over time, with the peak of its spectrum at `frequency`; 2e-5 of it lies before t = 0."""
    def pulse(t: float) -> float:
        phase = (np.pi * (frequency * t - 1.2)) ** 2
        return (1.0 - 2.0 * phase) * np.exp(-phase)

    return pulse


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


def point_data(data: Path | None, points: np.ndarray, truth: Callable, model: Model, mesh, *, noise: float, seed: int,
               start=None) -> Measurements:
    """Measurements of a state at points: of a file, or synthetic.

    Parameters
    ----------
    data
        File for `read_measurements`, or None.
    points
        ``(n, d)`` of the synthetic measurements.
    truth
        The true parameter, as for `Discretization.nodal`.
    model, mesh
        Whose state is measured without a file; take a finer mesh than that of the identification.
    noise, seed
        See `noisy`. For a file without standard deviations `noise` supplies them.
    start
        Of Newton's method for the true state.

    Raises
    ------
    InputError
        If the file cannot be used.
    """
    if data is None:
        true = model.on(mesh)
        return Measurements(points, *noisy(point_values(true.state, points)(true.solve(truth, start).u), noise, seed))
    found = read_measurements(data, dimension=mesh.dim())
    values, std = _of_experiments(found, (len(found.points),), data, model, noise, seed)
    return Measurements(found.points, values, std)


def time_data(data: Path | None, points: np.ndarray, times: np.ndarray, truth: Callable, model: Model, mesh, *,
              noise: float, seed: int) -> TimeSeries:
    """Time series of an evolution at points: of a file, or synthetic.

    Parameters
    ----------
    data
        File for `read_time_series`, or None.
    points, times
        ``(n, d)`` and ``(T,)`` of the synthetic measurements.
    truth, model, mesh
        As for `point_data`; let the model take shorter steps too.
    noise, seed
        See `noisy`, with one standard deviation for all times of an experiment.

    Raises
    ------
    InputError
        If the file cannot be used.
    """
    if data is None:
        true = model.on(mesh)
        if isinstance(true.equation, StationaryProblem):
            raise InputError("time_data is for a model with an evolution; this one is stationary, use point_data")
        seen = CheckpointedEvolution(true.equation, point_values(true.state, points),
                                     time_weights(true.equation.times, times), snapshots=1)  # no trajectory is kept
        values, std = (each.reshape(len(times), len(points), -1)
                       for each in noisy(seen.solve(true.nodal(truth)).u, noise, seed))
        return TimeSeries(points, times, values, std)
    found = read_time_series(data, dimension=mesh.dim())
    values, std = _of_experiments(found, (len(found.times), len(found.points)), data, model, noise, seed)
    return TimeSeries(found.points, found.times, values, std)


def field_data(data: Path | None, basis, truth: Callable, model: Model, *, noise: float, seed: int,
               exact=()) -> WholeField | Measurements:
    """Measurements of a whole state: of a file, which may have sensors instead, or synthetic.

    Parameters
    ----------
    data
        File for `read_measurements`, or None. Values at exactly the nodes of `basis` are the whole field; values at
        other points need their standard deviations.
    basis
        Of the state on the finest mesh.
    truth, model
        As for `point_data`. Without a file the state is that of `model` on this mesh refined, where its element must
        have the nodes of `basis`: the linear one for a `basis` of the quadratic.
    noise, seed
        Standard deviation relative to the largest value, and seed of the synthetic noise.
    exact
        Unknowns whose values carry no noise: those on a Dirichlet boundary.

    Raises
    ------
    InputError
        If the file cannot be used.
    """
    if data is None:
        true = model.on(basis.mesh.refined())
        u = true.solve(truth).u[:, 0]
        values, clean = (nodal_values(basis, true.state.doflocs.T, each) for each in (noisy(u, noise, seed)[0], u))
        values[exact] = clean[exact]
        return WholeField(basis, values, noise_std=_std(basis, noise * np.abs(u).max(), exact))
    found = read_measurements(data, dimension=basis.mesh.dim())
    if found.values.ndim > 1:
        raise InputError(f"data file {str(data)!r} has values of shape {found.values.shape}; this case has one "
                         "experiment")
    try:
        values = nodal_values(basis, found.points, found.values)
    except InputError:
        if found.std is not None:
            return found
        raise InputError(f"data file {str(data)!r} has no std, and its points are not the {basis.N} nodes of the state "
                         "on the finest mesh; add std to use them as sensors, or give the cells of its mesh") from None
    std = noise * np.abs(values).max() if found.std is None else nodal_values(basis, found.points, found.std)
    return WholeField(basis, values, noise_std=_std(basis, std, exact))


def _of_experiments(found, shape: tuple[int, ...], data: Path, model: Model, noise: float, seed: int):
    """Values and standard deviations (*shape, k) of a file, which must have the k experiments of the model."""
    values = found.values.reshape(*shape, -1)
    if values.shape[-1] != model.experiments:
        raise InputError(f"data file {str(data)!r} has values of {values.shape[-1]} experiments; this case has "
                         f"{model.experiments}")
    std = noisy(values.reshape(-1, model.experiments), noise, seed)[1] if found.std is None else found.std
    return values, std.reshape(values.shape)


def _std(basis, std, exact) -> np.ndarray:
    """Standard deviations (n,), zero at exact values."""
    everywhere = np.full(basis.N, std)
    everywhere[exact] = 0.0
    return everywhere
