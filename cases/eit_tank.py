r"""Electrical impedance tomography of a water tank, measured or synthetic: what lies in the water, and where?

Currents are injected through electrodes on the wall and voltages measured at them. With the complete electrode model

.. math::
    -\nabla\cdot(\sigma \nabla u) = 0, \qquad u + z_l \sigma \partial_n u = U_l \text{ and }
    \int_{e_l} \sigma \partial_n u = I_l \text{ on electrode } l, \qquad \sum_l U_l = 0,

the unknown w is the departure of the log-conductivity from that of the empty tank, bounded by beta:

.. math::
    \log\sigma = \log\sigma_0 + \beta\tanh(w/\beta), \qquad
    \min_w \sum_{ij} \rho\Bigl(\frac{U_{ij}(\sigma) - U_{ij}(\sigma_0) - (d_{ij} - d^0_{ij})}{s_{ij}}\Bigr)
    + \tfrac12 \|w\|^2_{C^{-1}}.

Data d of the tank, data d0 of the empty tank: differences cancel most of what the model does not know. The constant
sigma_0 and the contact impedances z are fitted to d0. The standard deviations s are those of the instrument (0.05 % of
each voltage + 0.01 % of the largest) times a factor that the data tell (`noise_factor`); rho is Student's, with four
degrees of freedom, or the square. C is a bilaplacian prior with pointwise standard deviation `spread` and length scale
`correlation`. In the end w is cut at a fraction of its extremes into water, resistive and conductive.

Without `data` the tank is synthetic, and its voltages are computed on a finer mesh.

References
----------
M. Räsänen et al., Kuopio Tomography Challenge 2023: data, score, and the levels at which electrodes are missing.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from skfem import CellBasis, ElementTriP0, ElementTriP1, ElementTriP2

from fem_ngf import (
    MLP,
    Case,
    ElectrodeModel,
    GaussianNoise,
    HilbertSpace,
    InputError,
    InverseProblem,
    Level,
    StudentNoise,
    laplace,
    main,
)
from tank import score
from tank.calibration import calibrate
from tank.difference import DifferenceModel
from tank.files import Measurement, electrode_names, read_measurement, read_tank, read_truth
from tank.segmentation import PixelGrid, segment
from tank.smoothness import smoothness
from tank.synthetic import synthetic_tank, tank_mesh
from tank.voltage_noise import noise_factor, standard_deviation

RANK = 100  # eigenpairs of the Laplace approximation
OUTLINE = 0.55  # fraction of a class's extreme at which it is cut out
TYPICAL_IMPEDANCE = 1e-4  # start and prior centre of the calibration
FLOW = {"iterations": 40, "stagnation": 3e-3}
NAMES = ("water", "resistive", "conductive")


def case(data: Path | None = None, reference: Path | None = None, mesh: Path | None = None, level: int = 1,
         truth: Path | None = None, spread: float = 0.25, correlation: float = 0.04, bound: float = 4.0,
         robust: bool = True, outliers: float = 0.0, neurons: int = 24) -> Case:
    """Conductivity of a water tank from voltages at its electrodes.

    Parameters
    ----------
    data, reference, mesh
        Files of the challenge: the target, the empty tank, the mesh. Without them the tank is synthetic.
    level
        1 to 7; level l does without electrodes 1..2(l - 1).
    truth
        File with the true labels, for the score.
    spread
        Standard deviation of the prior of w; smaller is smoother.
    correlation
        Length scale of the prior, in metres.
    bound
        Largest departure beta of the log-conductivity.
    robust
        Student's noise model, which shrugs off outliers; otherwise the normal one.
    outliers
        Fraction of the target's voltages that is replaced by values drawn from all over their range: a trial of
        robustness.
    neurons
        Of each of the two hidden layers.
    """
    found = problem(data, reference, mesh, level, truth, spread, correlation, bound, robust, outliers)
    parameter = found.energy.space.basis

    cells = parameter.with_element(ElementTriP0())

    def fields(at):
        """Contrast with its standard deviation (Laplace approximation), conductivity, segmentation, true labels."""
        contrast, at_cells = found.contrast(at.m), found.grid.at_cells
        spread_of_w = np.sqrt(laplace(at, rank=RANK).pointwise_variance())
        labels = {} if found.labels is None else {"true_labels": (cells, at_cells(found.labels))}
        return {"log_contrast": (parameter, contrast),
                "standard_deviation": (parameter, found.energy.pde.slope(at.m) * spread_of_w),
                "conductivity": (parameter, found.background * np.exp(contrast)),
                "segmentation": (cells, at_cells(segment(found.image(at.m), OUTLINE))), **labels}

    def outcome(at, folder: Path) -> dict:
        """Write ``segmentation.npy``; return the score and what the data told about themselves."""
        labels = segment(found.image(at.m), OUTLINE)
        np.save(folder / "segmentation.npy", labels)
        return {"score": None if found.labels is None else score(found.labels, labels), "level": level,
                "background": found.background, "noise_factor": found.factor,
                "pixels": {name: int(np.sum(labels == label)) for label, name in enumerate(NAMES)}}

    return Case("eit_tank", (Level("tank", found.energy, parameter, fields=fields),), network(found.radius, neurons),
                length=correlation, defaults={"sampling": "nodal", "iterations": FLOW["iterations"],
                                              "stagnation": FLOW["stagnation"]},
                tuning={"worth": 0.05}, outcome=outcome, title="Electrical impedance tomography of a water tank")


@dataclass(frozen=True, eq=False)
class Problem:
    """The energy of w, and how to look at w.

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
    """

    energy: InverseProblem
    grid: PixelGrid
    labels: np.ndarray | None
    factor: float

    @property
    def radius(self) -> float:
        """Of the tank."""
        return self.grid.half

    @property
    def background(self) -> float:
        """Conductivity of the empty tank."""
        return float(np.exp(self.energy.pde.reference[0]))

    def contrast(self, w) -> np.ndarray:
        """log(sigma / sigma_0) (n_m,)."""
        return self.energy.pde.log_conductivity(w) - self.energy.pde.reference

    def image(self, w) -> np.ndarray:
        """`contrast` at the pixels."""
        return self.grid.image(self.contrast(w))


def problem(data=None, reference=None, mesh=None, level=1, truth=None, spread=0.25, correlation=0.04, bound=4.0,
            robust=True, outliers=0.0) -> Problem:
    """Read or simulate the data, calibrate, and set up the energy; parameters as in `case`."""
    target, empty, tank, labels = _measured(data, reference, mesh, truth)
    target.check_same_tank(empty)
    target, empty = _with_outliers(target, outliers).at_level(level), empty.at_level(level)
    names, count = electrode_names(len(empty.currents)), len(tank.boundaries or {})
    if not set(names) <= set(tank.boundaries or {}):
        raise InputError(f"mesh: has {count} named boundaries; the data need the electrodes 1 to {len(names)}")
    state = CellBasis(tank, ElementTriP2(), intorder=4)
    parameter = state.with_element(ElementTriP1())
    empty_tank = calibrate(ElectrodeModel(state, parameter, names, empty.currents, TYPICAL_IMPEDANCE), empty)
    model = ElectrodeModel(state, parameter, names, target.currents, empty_tank.impedances)
    change = Measurement(target.voltages - empty.voltages, target.currents, target.patterns)
    std = standard_deviation(target.voltages)
    factor = noise_factor(change, std)
    std = (std * factor).reshape(-1, 1)
    reference_m = np.full(parameter.N, np.log(empty_tank.conductivity))
    difference = DifferenceModel(model, target.patterns, reference_m, bound)
    energy = InverseProblem(difference, difference.everything, change.voltages.reshape(-1, 1),
                            StudentNoise(std) if robust else GaussianNoise.from_std(std),
                            smoothness(parameter, correlation, spread), HilbertSpace.l2(parameter))
    return Problem(energy, PixelGrid(parameter, round(float(np.hypot(*tank.p).max()), 4)), labels, factor)


def network(radius: float, neurons: int = 24) -> MLP:
    """The neural unknown."""
    return MLP((2, neurons, neurons, 1), box=((-radius, -radius), (radius, radius)))


def nodal_space(energy) -> HilbertSpace:
    """The space that a run of this case uses by default."""
    return HilbertSpace.h1(energy.space.basis, 0.04, sampling="nodal")


def _measured(data, reference, mesh, truth):
    """Target, empty tank, mesh and labels (or None)."""
    given = [name for name, path in (("data", data), ("reference", reference), ("mesh", mesh)) if path is not None]
    if not given:
        if truth is not None:
            raise InputError("truth: belongs to measured data; give data, reference and mesh as well")
        target, empty, labels = synthetic_tank()
        return target, empty, tank_mesh(), labels
    if len(given) < 3:
        missing = sorted({"data", "reference", "mesh"} - set(given))
        raise InputError(f"{missing[0]}: is missing; measured data need data, reference and mesh")
    return read_measurement(data), read_measurement(reference), read_tank(mesh), truth and read_truth(truth)


def _with_outliers(target: Measurement, fraction: float) -> Measurement:
    """A fraction of the voltages replaced by values drawn evenly from their range (always the same ones)."""
    if not 0 <= fraction < 0.5:
        raise InputError(f"outliers is {fraction}; it must be a fraction below one half")
    generator = np.random.default_rng(0)
    voltages = target.voltages.copy()
    chosen = generator.random(voltages.shape) < fraction
    voltages[chosen] = generator.uniform(voltages.min(), voltages.max(), chosen.sum())
    return Measurement(voltages, target.currents, target.patterns)


if __name__ == "__main__":
    main(case)
