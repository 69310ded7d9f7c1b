"""A synthetic tank: a disc with electrodes, two objects, and noisy voltages computed on a finer mesh."""

from __future__ import annotations

import numpy as np
import skfem

from fem_ngf import ElectrodeModel, disk
from tank.files import Measurement, electrode_names
from tank.segmentation import CONDUCTIVE, RESISTIVE, PixelGrid

RADIUS = 0.115  # metres


def tank_mesh(rings: int = 32, electrodes: int = 32, cover: float = 0.5, radius: float = RADIUS) -> skfem.MeshTri:
    """Disc with evenly spaced electrodes, the first from the top on, then counter-clockwise.

    Parameters
    ----------
    rings
        Rings of elements; the boundary has 6 rings facets. Multiples of the number of electrodes make all electrodes
        equally wide, and as wide as on other such meshes.
    cover
        Part of the boundary that is covered by electrodes.
    """
    mesh = disk(radius, radius / rings)
    facets = mesh.boundary_facets()
    middle = mesh.p[:, mesh.facets[:, facets]].mean(axis=1)
    angle = np.arctan2(middle[1], middle[0]) - np.pi / 2
    position = angle * electrodes / (2 * np.pi)  # electrode l covers [l, l + cover)
    number = np.where(position % 1 < cover, np.floor(position).astype(int) % electrodes, -1)
    return mesh.with_boundaries({f"electrode{l + 1}": facets[number == l] for l in range(electrodes)})


def electrode_model(mesh, currents, impedances, element=None) -> ElectrodeModel:
    """The complete electrode model of a tank mesh: state in P2 unless `element` says otherwise, m in P1."""
    state = skfem.CellBasis(mesh, element or skfem.ElementTriP2(), intorder=4)
    parameter = state.with_element(skfem.ElementTriP1())
    return ElectrodeModel(state, parameter, electrode_names(len(currents)), currents, impedances)


def injections(electrodes: int = 32) -> np.ndarray:
    """(L, k): current between neighbours among every second electrode, and from each of those to four fixed ones."""
    sources = np.arange(0, electrodes, 2)
    pairs = list(zip(sources[:-1], sources[1:], strict=True))
    for sink in sources[:: max(1, len(sources) // 4)][:4]:
        pairs += [(source, sink) for source in sources if source != sink]
    currents = np.zeros((electrodes, len(pairs)))
    for column, (source, sink) in enumerate(pairs):
        currents[source, column], currents[sink, column] = 1.5, -1.5
    return currents


def adjacent_differences(electrodes: int = 32) -> np.ndarray:
    """(L, L - 1): U_l - U_(l + 1)."""
    return np.eye(electrodes)[:, :-1] - np.eye(electrodes)[:, 1:]


def two_objects(x) -> np.ndarray:
    """Labels of a resistive disc and a conductive square at points x (2, ...)."""
    labels = np.zeros(np.shape(x)[1:], dtype=np.int64)
    labels[np.hypot(x[0] + 0.045, x[1] - 0.02) < 0.028] = RESISTIVE
    labels[np.maximum(np.abs(x[0] - 0.045), np.abs(x[1] + 0.03)) < 0.022] = CONDUCTIVE
    return labels


def simulate(model: ElectrodeModel, patterns, m, std: float, generator: np.random.Generator) -> Measurement:
    """Measure with noise of `std` times each voltage plus a fifth of that times the largest."""
    state = model.solve(m)
    voltages = (model.observation_matrix(patterns) @ state.u).T
    size = std * (np.abs(voltages) + 0.2 * np.abs(voltages).max())
    return Measurement(voltages + size * generator.standard_normal(voltages.shape), model.currents, patterns)


def synthetic_tank(rings: int = 64, conductivity: float = 0.8, contrast: float = 3.0, noise: float = 5e-4,
                   seed: int = 0, electrodes: int = 32) -> tuple[Measurement, Measurement, np.ndarray]:
    """Measurements of a tank with two objects and of the empty tank, and the true labels.

    Parameters
    ----------
    rings
        Of the mesh on which the voltages are computed; take another one for the reconstruction.
    conductivity
        Of the water.
    contrast
        Departure of log-conductivity in the objects, negative in the resistive one.
    noise
        Relative noise of the voltages.
    seed
        Of the noise.
    electrodes
        How many.

    Returns
    -------
    data, reference : Measurement
    truth : (256, 256) int array
    """
    generator = np.random.default_rng(seed)
    currents, patterns = injections(electrodes), adjacent_differences(electrodes)
    model = electrode_model(tank_mesh(rings, electrodes), currents, 1e-4)
    empty = np.full(model.parameter_size, np.log(conductivity))
    label = two_objects(model.parameter.doflocs)
    filled = empty + contrast * (np.where(label == CONDUCTIVE, 1.0, 0.0) - np.where(label == RESISTIVE, 1.0, 0.0))
    data, reference = (simulate(model, patterns, m, noise, generator) for m in (filled, empty))
    return data, reference, two_objects(PixelGrid(model.parameter, RADIUS).coordinates)
