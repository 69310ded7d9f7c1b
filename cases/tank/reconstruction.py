"""The energy of difference imaging, from files or a synthetic tank, and how to look at its unknown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from skfem import CellBasis, ElementTriP0, ElementTriP1, ElementTriP2

from fem_ngf import ElectrodeModel, GaussianNoise, HilbertSpace, InputError, InverseProblem, StudentNoise, laplace
from tank.calibration import calibrate
from tank.difference import DifferenceModel
from tank.files import Measurement, electrode_names, read_measurement, read_tank, read_truth
from tank.score import score
from tank.segmentation import PixelGrid, segment
from tank.smoothness import smoothness
from tank.synthetic import synthetic_tank, tank_mesh
from tank.voltage_noise import noise_factor, standard_deviation

RANK = 100  # eigenpairs of the Laplace approximation
OUTLINE = 0.55  # fraction of a class's extreme at which it is cut out
TYPICAL_IMPEDANCE = 1e-4  # start and prior centre of the calibration
NAMES = ("water", "resistive", "conductive")


@dataclass(frozen=True, eq=False)
class Tank:
    """A target and the empty tank, measured.

    Parameters
    ----------
    target, empty
        With all electrodes.
    mesh
        With a boundary an electrode.
    labels
        True labels (256, 256), or None.
    """

    target: Measurement
    empty: Measurement
    mesh: object
    labels: np.ndarray | None

    def with_outliers(self, fraction: float) -> Tank:
        """A fraction of the target's voltages replaced by values drawn evenly from their range (always the same)."""
        if not 0 <= fraction < 0.5:
            raise InputError(f"outliers is {fraction}; it must be a fraction below one half")
        generator, voltages = np.random.default_rng(0), self.target.voltages.copy()
        chosen = generator.random(voltages.shape) < fraction
        voltages[chosen] = generator.uniform(voltages.min(), voltages.max(), chosen.sum())
        target = Measurement(voltages, self.target.currents, self.target.patterns)
        return Tank(target, self.empty, self.mesh, self.labels)


def measured_tank(data=None, reference=None, mesh=None, truth=None) -> Tank:
    """The tank of the files, or the synthetic one when there are none."""
    given = {"data": data, "reference": reference, "mesh": mesh}
    missing = [name for name, path in given.items() if path is None]
    if len(missing) == 3:
        if truth is not None:
            raise InputError("truth: belongs to measured data; give data, reference and mesh as well")
        target, empty, labels = synthetic_tank()
        return Tank(target, empty, tank_mesh(), labels)
    if missing:
        raise InputError(f"{missing[0]}: is missing; measured data need data, reference and mesh")
    target, empty = read_measurement(data), read_measurement(reference)
    target.check_same_tank(empty)
    return Tank(target, empty, read_tank(mesh), truth and read_truth(truth))


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """The energy of the unknown w, and how to look at w.

    Parameters
    ----------
    energy
        On the nodes of the mesh.
    grid
        The pixels.
    labels
        True labels (256, 256), or None.
    factor
        How much larger than the instrument's the noise is.
    level
        Difficulty of the data, see `Measurement.at_level`.
    """

    energy: InverseProblem
    grid: PixelGrid
    labels: np.ndarray | None
    factor: float
    level: int

    @property
    def background(self) -> float:
        """Conductivity of the empty tank."""
        return float(np.exp(self.energy.pde.reference[0]))

    def contrast(self, w) -> np.ndarray:
        """log(sigma / sigma_0) (n_m,)."""
        return self.energy.pde.log_conductivity(w) - self.energy.pde.reference

    def segmentation(self, w) -> np.ndarray:
        """Labels (256, 256)."""
        return segment(self.grid.image(self.contrast(w)), OUTLINE)

    def fields(self, at) -> dict:
        """Contrast with its standard deviation (Laplace approximation), conductivity, segmentation, true labels."""
        nodes, contrast = self.energy.space.basis, self.contrast(at.m)
        images = {"segmentation": self.segmentation(at.m), "true_labels": self.labels}
        cells = nodes.with_element(ElementTriP0())
        deviation = self.energy.pde.slope(at.m) * np.sqrt(laplace(at, rank=RANK).pointwise_variance())
        return {"log_contrast": (nodes, contrast), "standard_deviation": (nodes, deviation),
                "conductivity": (nodes, self.background * np.exp(contrast)),
                **{name: (cells, self.grid.at_cells(image)) for name, image in images.items() if image is not None}}

    def outcome(self, at, folder: Path) -> dict:
        """Write ``segmentation.npy``; return the score and what the data told about themselves."""
        labels = self.segmentation(at.m)
        np.save(folder / "segmentation.npy", labels)
        found = None if self.labels is None else score(self.labels, labels)
        return {"level": self.level, "score": found, "background": self.background, "noise_factor": self.factor,
                "pixels": {name: int(np.sum(labels == label)) for label, name in enumerate(NAMES)}}


def reconstruction(measured: Tank, level: int, spread: float, correlation: float, bound: float,
                   robust: bool) -> Reconstruction:
    """Calibrate, estimate the noise and set up the energy.

    Parameters
    ----------
    measured
        The target and the empty tank.
    level
        Difficulty, see `Measurement.at_level`.
    spread, correlation
        Of the prior, see `smoothness`.
    bound
        See `DifferenceModel`.
    robust
        Student's noise model instead of the normal one.
    """
    target, empty, mesh = measured.target.at_level(level), measured.empty.at_level(level), measured.mesh
    names, boundaries = electrode_names(len(empty.currents)), mesh.boundaries or {}
    if not set(names) <= set(boundaries):
        raise InputError(f"mesh: has {len(boundaries)} named boundaries; the data need the electrodes 1 to "
                         f"{len(names)}")
    state = CellBasis(mesh, ElementTriP2(), intorder=4)
    parameter = state.with_element(ElementTriP1())
    water = calibrate(ElectrodeModel(state, parameter, names, empty.currents, TYPICAL_IMPEDANCE), empty)
    electrodes = ElectrodeModel(state, parameter, names, target.currents, water.impedances)
    model = DifferenceModel(electrodes, target.patterns, np.full(parameter.N, np.log(water.conductivity)), bound)
    change = Measurement(target.voltages - empty.voltages, target.currents, target.patterns)
    std = standard_deviation(target.voltages)
    factor = noise_factor(change, std)
    noise = (StudentNoise if robust else GaussianNoise.from_std)((std * factor).reshape(-1, 1))
    energy = InverseProblem(model, model.everything, change.voltages.reshape(-1, 1), noise,
                            smoothness(parameter, correlation, spread), HilbertSpace.l2(parameter))
    return Reconstruction(energy, PixelGrid(parameter, round(float(np.hypot(*mesh.p).max()), 4)), measured.labels,
                          factor, level)
