"""Tank tomography: reader, noise, calibration, difference model, segmentation, score, and the measured targets."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from published import DATA, needs
from scipy.signal import convolve2d
from skfem import CellBasis, ElementTriP1

from fem_ngf import (
    FiniteElement,
    GaussianNoise,
    HilbertSpace,
    Identification,
    InputError,
    InverseProblem,
    NewtonFlow,
    RunOptions,
    StudentNoise,
    bilaplacian,
    taylor_rate,
)
from fem_ngf.run.loading import load_function
from tank.calibration import calibrate
from tank.difference import DifferenceModel
from tank.files import Measurement, electrode_names, read_measurement, read_tank, read_truth
from tank.score import C1, C2, score, similarity
from tank.segmentation import CONDUCTIVE, RESISTIVE, PixelGrid, segment
from tank.smoothness import smoothness
from tank.synthetic import (
    RADIUS,
    adjacent_differences,
    electrode_model,
    injections,
    simulate,
    synthetic_tank,
    tank_mesh,
    two_objects,
)
from tank.voltage_noise import noise_factor, robust_scale, standard_deviation

FOLDER = DATA / "ktc2023"
measured = needs(FOLDER)
ELECTRODES = 16


@cache
def small_tank():
    return synthetic_tank(rings=32, electrodes=ELECTRODES)


@cache
def small_model():
    return electrode_model(tank_mesh(16, ELECTRODES), injections(ELECTRODES), 1e-4, ElementTriP1())


# ---- measurements ----------------------------------------------------------------------------------------------------


def write_challenge(folder, mesh, measurement):
    """The files of the challenge, with small unsigned integers as it stores them."""
    edges = np.empty((1, measurement.currents.shape[0]), dtype=object)
    for l, name in enumerate(electrode_names(edges.size)):
        edges[0, l] = mesh.facets[:, mesh.boundaries[name]].T.astype(np.uint8 if mesh.nvertices < 256 else np.uint16)
    scipy.io.savemat(folder / "mesh.mat", {"g": mesh.p.T, "H": mesh.t.T.astype(np.uint16), "elfaces": edges})
    scipy.io.savemat(folder / "data.mat", {"Uel": measurement.voltages.reshape(-1, 1), "Inj": measurement.currents,
                                           "Mpat": measurement.patterns.astype(np.int16)})
    scipy.io.savemat(folder / "true.mat", {"truth": np.eye(256, dtype=np.uint8)})


def test_reads_the_files_of_the_challenge(tmp_path):
    data, mesh = small_tank()[0], tank_mesh(16, ELECTRODES)
    write_challenge(tmp_path, mesh, data)
    found, tank = read_measurement(tmp_path / "data.mat"), read_tank(tmp_path / "mesh.mat")
    for name in ("voltages", "currents", "patterns"):
        assert np.array_equal(getattr(found, name), getattr(data, name))
    assert np.array_equal(tank.p, mesh.p)
    for name in electrode_names(ELECTRODES):
        ends, expected = (m.p[:, m.facets[:, m.boundaries[name]]].mean(axis=1) for m in (tank, mesh))
        assert np.allclose(np.sort(ends), np.sort(expected))
    assert np.array_equal(read_truth(tmp_path / "true.mat"), np.eye(256))


def test_levels_drop_all_data_that_touch_the_missing_electrodes():
    data = small_tank()[0]
    level = data.at_level(3)
    assert not level.currents[:4].any() and not level.patterns[:4].any()
    assert level.currents.shape[1] == np.count_nonzero(~data.currents[:4].any(axis=0))
    assert level.patterns.shape[1] == ELECTRODES - 1 - 4
    assert np.isin(level.voltages, data.voltages).all()
    assert data.at_level(1).voltages.shape == data.voltages.shape


def test_bad_data_are_named(tmp_path):
    data, reference, _ = small_tank()
    with pytest.raises(InputError, match="voltages: expected"):
        replace(data, voltages=data.voltages[:-1])
    with pytest.raises(InputError, match="1 values are NaN"):
        replace(data, voltages=np.where(data.voltages == data.voltages.max(), np.nan, data.voltages))
    with pytest.raises(InputError, match="all zero"):
        replace(data, currents=0 * data.currents)
    with pytest.raises(InputError, match="patterns: .* NaN"):
        replace(data, patterns=np.where(data.patterns == data.patterns.max(), np.nan, data.patterns))
    with pytest.raises(InputError, match="reference: its currents"):
        data.check_same_tank(replace(reference, currents=-reference.currents))
    data.check_same_tank(reference)
    with pytest.raises(InputError, match="level"):
        data.at_level(8)
    (tmp_path / "text.mat").write_text("no MATLAB file")
    with pytest.raises(InputError, match="text.mat: cannot be read"):
        read_measurement(tmp_path / "text.mat")
    with pytest.raises(InputError, match="no such file"):
        read_measurement(tmp_path / "missing.mat")
    scipy.io.savemat(tmp_path / "other.mat", {"x": 1})
    with pytest.raises(InputError, match="Uel or Uelref"):
        read_measurement(tmp_path / "other.mat")
    for labels in (np.zeros((128, 128)), np.full((256, 256), 0.5)):
        scipy.io.savemat(tmp_path / "truth.mat", {"truth": labels})
        with pytest.raises(InputError, match="truth must be an image of 256 x 256 labels"):
            read_truth(tmp_path / "truth.mat")
    mesh = tank_mesh(16, ELECTRODES)
    interior = np.setdiff1d(np.arange(mesh.nfacets), mesh.boundary_facets())
    write_challenge(tmp_path, mesh.with_boundaries({"electrode3": interior[:2]}), data)
    with pytest.raises(InputError, match="electrode 3 is not on the boundary"):
        read_tank(tmp_path / "mesh.mat")


# ---- noise and calibration -------------------------------------------------------------------------------------------


def test_noise_factor_is_found_with_and_without_outliers():
    model, rng = small_model(), np.random.default_rng(3)
    clean = simulate(model, adjacent_differences(ELECTRODES), np.zeros(model.parameter_size), 0.0, rng)
    std = standard_deviation(clean.voltages)
    noisy = clean.voltages + 5.0 * std * rng.standard_normal(std.shape)
    assert abs(noise_factor(replace(clean, voltages=noisy), std) / 5.0 - 1) < 0.15
    outliers = noisy + (rng.random(std.shape) < 0.01) * rng.standard_normal(std.shape)
    assert abs(noise_factor(replace(clean, voltages=outliers), std) / 5.0 - 1) < 0.2
    few = Measurement(clean.voltages[:3], clean.currents[:, :3], clean.patterns)
    assert noise_factor(few, std[:3]) == 1.0  # nothing is redundant


def test_noise_of_the_instrument():
    std = standard_deviation(np.array([[-2.0, 0.0], [1.0, 0.5]]))
    assert np.allclose(std, [[1.2e-3, 2e-4], [7e-4, 4.5e-4]])
    assert abs(robust_scale(np.random.default_rng(0).standard_normal(20000)) - 1) < 0.02


def test_calibration_finds_conductivity_and_impedances():
    rng = np.random.default_rng(4)
    impedances = 1e-4 * np.exp(rng.standard_normal(ELECTRODES))
    model = small_model()
    truth = replace(model, impedances=impedances)
    reference = simulate(truth, adjacent_differences(ELECTRODES), np.full(model.parameter_size, np.log(0.7)), 1e-5, rng)
    found = calibrate(model, reference)
    assert abs(found.conductivity / 0.7 - 1) < 1e-4
    driven = np.flatnonzero(model.currents.any(axis=1))
    assert np.abs(np.log(found.impedances / impedances))[driven].max() < 0.02
    assert found.factor == 1.0
    for strange in (-reference.voltages, 0 * reference.voltages):
        with pytest.raises(InputError, match="reference: its voltages are zero or have the opposite sign"):
            calibrate(model, replace(reference, voltages=strange))


# ---- the difference model --------------------------------------------------------------------------------------------


def difference_energy(bound=3.0):
    model = small_model()
    data, reference, _ = small_tank()
    problem = DifferenceModel(model, data.patterns, np.full(model.parameter_size, np.log(0.8)), bound)
    measured = (data.voltages - reference.voltages).reshape(-1, 1)
    std = standard_deviation(data.voltages).reshape(-1, 1)
    parameter = model.parameter
    prior, noise = bilaplacian(parameter, 0.01, 10.0), StudentNoise(3 * std)
    return InverseProblem(problem, problem.everything, measured, noise, prior, HilbertSpace.l2(parameter))


@pytest.mark.parametrize("bound", [2.0, None])
def test_difference_model_equals_the_electrode_model(bound):
    problem = difference_energy(bound).pde
    w = two_objects(problem.electrodes.parameter.doflocs) * 1.0
    state, model = problem.solve(w), problem.electrodes
    observe = model.observation_matrix(problem.patterns)
    after, before = (observe @ model.solve(m).u for m in (problem.log_conductivity(w), problem.reference))
    assert np.allclose(state.u[:, 0], (after - before).T.ravel(), atol=1e-11)


@pytest.mark.parametrize("bound", [2.0, None])
def test_difference_model_tangent_adjoint_and_taylor(bound):
    rng = np.random.default_rng(5)
    energy = difference_energy(bound)
    problem = energy.pde
    w = 0.5 * two_objects(problem.electrodes.parameter.doflocs)
    dw, covector = rng.standard_normal((problem.parameter_size, 2)), rng.standard_normal((energy.data.size, 1))
    state = problem.solve(w)
    du = state.tangent(dw)
    assert np.allclose(np.einsum("nkb,nk->b", du, covector), state.adjoint(covector) @ dw, rtol=1e-10)
    step = du[:, :, 0]
    differences = [(problem.solve(w + h * dw[:, 0]).u - state.u) / h for h in (1e-3, 5e-4)]
    errors = [np.abs(d - step).max() for d in differences]
    assert 1.8 < errors[0] / errors[1] < 2.2
    before = problem.counts.total
    state.tangent(dw), state.adjoint(covector)
    assert problem.counts.total == before  # products with the sensitivities: no solve
    assert abs(taylor_rate(energy.as_scipy(), w, 0.1 * dw[:, 0]) - 2.0) < 0.05


def test_bound_holds():
    problem = difference_energy(2.0).pde
    m = problem.log_conductivity(np.linspace(-50, 50, problem.parameter_size))
    assert np.abs(m - problem.reference).max() <= 2.0
    with pytest.raises(InputError, match="bound"):
        replace(problem, bound=-1.0)


def test_smoothness_is_a_prior_of_the_stated_size():
    parameter = small_model().parameter
    prior = smoothness(parameter, 0.02, 0.5)
    rng = np.random.default_rng(7)
    v, w = rng.standard_normal((2, parameter.N))
    assert abs(prior.derivative(v) @ w - prior.derivative(w) @ v) < 1e-9 * abs(prior.derivative(v) @ v)
    assert np.allclose(prior.hessian(v).solve(prior.hessian(v) @ w), w, atol=1e-7)
    assert abs(taylor_rate(lambda m: (prior.value(m), prior.derivative(m)), v, w) - 2.0) < 0.05
    centre = np.argmin(np.hypot(*parameter.doflocs))
    unit = np.eye(parameter.N)[centre]
    assert abs(np.sqrt(prior.hessian(v).solve(unit)[centre]) / 0.5 - 1) < 0.05
    with pytest.raises(InputError, match="spread"):
        smoothness(parameter, 0.02, 0.0)


def small_reconstruction(voltages, noise_of=StudentNoise):
    """Score of a nodal reconstruction of the small synthetic tank."""
    data, reference, labels = small_tank()
    model = small_model()
    tank = calibrate(model, reference)
    model = replace(model, impedances=tank.impedances)
    empty = np.full(model.parameter_size, np.log(tank.conductivity))
    problem = DifferenceModel(model, data.patterns, empty, 4.0)
    change = replace(data, voltages=voltages - reference.voltages)
    std = standard_deviation(voltages)
    noise = noise_of((std * max(2.0, noise_factor(change, std))).reshape(-1, 1))
    space = HilbertSpace.l2(model.parameter, sampling="nodal")
    energy = InverseProblem(problem, problem.everything, change.voltages.reshape(-1, 1), noise,
                            smoothness(model.parameter, 0.04, 0.25), space)
    flow = NewtonFlow(energy, FiniteElement(space, 0.0), space)
    *_, iterate = flow.run(np.zeros(space.size))
    contrast = problem.log_conductivity(iterate.m) - empty
    return score(labels, segment(PixelGrid(model.parameter, RADIUS).image(contrast), 0.55))


def test_synthetic_tank_is_reconstructed_also_with_outliers():
    voltages, rng = small_tank()[0].voltages, np.random.default_rng(8)
    clean = small_reconstruction(voltages)
    anywhere = rng.uniform(voltages.min(), voltages.max(), voltages.shape)
    spoilt = np.where(rng.random(voltages.shape) < 0.01, anywhere, voltages)
    assert clean > 0.7
    assert small_reconstruction(spoilt) > clean - 0.05
    assert small_reconstruction(spoilt, GaussianNoise.from_std) < clean - 0.05


# ---- segmentation and score ------------------------------------------------------------------------------------------


def test_pixels_have_the_orientation_of_the_truth():
    grid = PixelGrid(CellBasis(tank_mesh(16, ELECTRODES), ElementTriP1()), RADIUS, size=64)
    x, y = grid.basis.doflocs
    image = grid.image(2 * x - 3 * y)
    assert np.allclose(image[grid.inside], (2 * grid.coordinates[0] - 3 * grid.coordinates[1])[grid.inside], atol=1e-3)
    assert grid.coordinates[1][0, 0] > 0 > grid.coordinates[0][0, 0]  # top left: y > 0, x < 0
    assert np.isclose(np.diff(grid.coordinates[0][0])[0], 2 * RADIUS / 64) and not image[~grid.inside].any()


def blurred(x, y, width=0.2):
    grid = np.linspace(-1, 1, 100)
    return np.exp(-((grid[None] - x) ** 2 + (grid[:, None] - y) ** 2) / (2 * width**2))


def test_segmentation_with_two_one_and_no_classes():
    both = 2.0 * blurred(0.4, 0.2) - 3.0 * blurred(-0.5, -0.3)
    labels = segment(both)
    assert labels[60, 70] == CONDUCTIVE and labels[35, 25] == RESISTIVE and labels[0, 99] == 0
    assert np.array_equal(segment(-both) == CONDUCTIVE, labels == RESISTIVE)
    artefact = 2.0 * blurred(0.4, 0.2) - 0.2 * blurred(-0.5, -0.3)
    assert set(np.unique(segment(artefact))) == {0, CONDUCTIVE}
    assert not segment(np.zeros((20, 20))).any()
    speck = both + 1.5 * blurred(-0.6, 0.8, 0.03)
    assert np.array_equal(segment(speck), labels)
    with pytest.raises(InputError, match="image"):
        segment(np.full((3, 3), np.nan))


def test_score_properties():
    truth = two_objects(PixelGrid(None, RADIUS, 64).coordinates)
    other = np.roll(truth, 5, axis=1)
    assert abs(score(truth, truth) - 1.0) < 1e-12
    assert abs(score(truth, other) - score(other, truth)) < 1e-12
    assert abs(score(truth, other) - score(truth[::-1], other[::-1])) < 1e-10
    assert score(truth, np.zeros_like(truth)) < score(truth, other) < 1
    with pytest.raises(InputError, match="same image"):
        score(truth, other[1:])


def test_similarity_equals_direct_convolution():
    rng = np.random.default_rng(6)
    truth, found = rng.random((2, 21, 21)) < 0.4
    radius = 4
    offsets = np.arange(-2 * radius, 2 * radius + 1)
    window = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * radius**2))

    def mean(image):
        return convolve2d(image, window, mode="same") / convolve2d(np.ones((21, 21)), window, mode="same")

    t, r = truth.astype(float), found.astype(float)
    mt, mr = mean(t), mean(r)
    st, sr, both = mean(t * t) - mt**2, mean(r * r) - mr**2, mean(t * r) - mt * mr
    direct = (2 * mt * mr + C1) * (2 * both + C2) / ((mt**2 + mr**2 + C1) * (st + sr + C2))
    assert abs(similarity(truth, found, radius) - direct.mean()) < 1e-12


@measured
def test_measured_files():
    tank, reference = read_tank(FOLDER / "Mesh_dense.mat"), read_measurement(FOLDER / "ref.mat")
    data, truth = read_measurement(FOLDER / "data1.mat"), read_truth(FOLDER / "true1.mat")
    data.check_same_tank(reference)
    assert data.voltages.shape == (76, 31) and truth.shape == (256, 256)
    assert tank.nelements == 7337 and len(tank.boundaries["electrode32"]) == 3
    middle = tank.p[:, tank.facets[:, tank.boundaries["electrode1"]]].mean(axis=(1, 2))
    assert abs(middle[0]) < 1e-6 and middle[1] > 0.11  # the first electrode is at the top


@measured
@pytest.mark.slow
@pytest.mark.parametrize("target", [1, 2])
def test_measured_targets_are_found(target, tmp_path):
    case = load_function(Path(__file__).parents[1] / "cases" / "eit_tank.py")(
        data=FOLDER / f"data{target}.mat", reference=FOLDER / "ref.mat", mesh=FOLDER / "Mesh_dense.mat",
        truth=FOLDER / f"true{target}.mat")
    *_, stage = Identification.of(case, RunOptions.merged(case.defaults, {"ansatz": "finite-element"})).stages()
    assert case.outcome(stage.iterate.linearization, tmp_path)["score"] > 0.85
