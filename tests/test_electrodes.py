"""The complete electrode model: series solution, rates, derivatives and adjoints, counts, bad input."""

from dataclasses import replace

import numpy as np
import pytest
from skfem import CellBasis, ElementTriP1, ElementTriP2

from fem_ngf import ElectrodeModel, InputError, SolveError, disk

ELECTRODES = 8
NAMES = tuple(f"electrode{l + 1}" for l in range(ELECTRODES))


def adjacent(number=ELECTRODES):
    """(L, L - 1): current in at one electrode, out at the next."""
    return np.eye(number)[:, :-1] - np.eye(number)[:, 1:]


def tank(rings, electrodes=ELECTRODES, cover=0.5):
    """Disk of radius 1 with evenly spaced electrodes that cover a part of its boundary, from angle 0 on."""
    mesh = disk(1.0, 1.0 / rings)
    facets = mesh.boundary_facets()
    middle = mesh.p[:, mesh.facets[:, facets]].mean(axis=1)
    position = np.arctan2(middle[1], middle[0]) % (2 * np.pi) * electrodes / (2 * np.pi)
    number = np.where(position % 1 < cover, position.astype(int), -1)
    return mesh.with_boundaries({f"electrode{l + 1}": facets[number == l] for l in range(electrodes)})


def model(rings=8, element=None, currents=None, impedances=0.05):
    basis = CellBasis(tank(rings), element or ElementTriP1(), intorder=4)
    currents = adjacent() if currents is None else currents
    return ElectrodeModel(basis, basis.with_element(ElementTriP1()), NAMES, currents, impedances)


def bump(problem):
    x, y = problem.parameter.doflocs
    return 0.8 * np.exp(-8 * ((x - 0.4) ** 2 + y**2)) - 0.6 * np.exp(-8 * (x**2 + (y + 0.4) ** 2))


def gap_voltages(currents, cover=0.5, terms=20000):
    """Mean voltages of the gap model on a unit disk of conductivity one, from its Fourier series.

    The current density of an electrode of half width w at angle a is I / (2 w); its harmonic n gives the potential
    cos(n (t - a)) sin(n w) / (n w pi) I / n, whose mean over another electrode brings in sin(n w) / (n w) again.
    """
    electrodes = len(currents)
    width = cover * np.pi / electrodes
    n = np.arange(1, terms + 1)
    factor = np.sinc(n * width / np.pi) ** 2 / (np.pi * n)
    apart = 2 * np.pi * np.arange(electrodes) / electrodes
    kernel = np.cos(np.outer(apart, n)) @ factor
    index = np.subtract.outer(np.arange(electrodes), np.arange(electrodes)) % electrodes
    return kernel[index] @ currents


def test_large_impedances_give_the_series_solution_of_the_gap_model():
    # with z large the current leaves an electrode evenly: U_l = mean of u on electrode l + z I_l / |e_l|
    impedance, errors = 1e4, []
    for rings in (8, 16, 32):
        problem = model(rings, ElementTriP2(), impedances=impedance)
        voltages = problem.solve(np.zeros(problem.parameter_size)).u[-ELECTRODES:]
        lengths = np.array([contact[-ELECTRODES + l, -ELECTRODES + l] for l, contact in enumerate(problem.contacts)])
        voltages = voltages - impedance * problem.currents / lengths[:, None]
        expected = gap_voltages(problem.currents)
        voltages, expected = (v - v.mean(axis=0) for v in (voltages, expected))
        errors.append(np.abs(voltages - expected).max() / np.abs(expected).max())
    assert errors[-1] < 2e-3
    rates = np.log2(np.array(errors[:-1]) / errors[1:])
    assert np.all(rates > 1.7), (errors, rates)  # straight edges on a circle: second order


def test_small_impedances_converge_under_refinement():
    voltages = [problem.solve(np.zeros(problem.parameter_size)).u[-ELECTRODES:]
                for problem in (model(rings, ElementTriP2(), impedances=1e-2) for rings in (8, 16, 32, 64))]
    steps = [np.abs(b - a).max() for a, b in zip(voltages[:-1], voltages[1:], strict=True)]
    rates = np.log2(np.array(steps[:-1]) / steps[1:])
    assert np.all(rates > 0.9), (steps, rates)  # the flux is singular at the ends of an electrode


def test_state_obeys_the_model():
    problem = model(element=ElementTriP2())
    state = problem.solve(bump(problem))
    voltages = state.u[-ELECTRODES:]
    assert np.abs(voltages.sum(axis=0)).max() < 1e-12
    potential = np.vstack([state.u[:-ELECTRODES], voltages])
    for l, contact in enumerate(problem.contacts):  # integral of (U_l - u)/z_l is the current
        current = (contact @ potential)[problem.state.N + l] / problem.impedances[l]
        assert np.allclose(current, problem.currents[l], atol=1e-10)
    scaled = problem.solve(bump(problem) + np.log(2.0))
    far = replace(problem, impedances=problem.impedances / 2).solve(bump(problem) + np.log(2.0))
    assert np.allclose(far.u, state.u / 2, atol=1e-11)  # sigma -> 2 sigma, z -> z/2: u -> u/2
    assert not np.allclose(scaled.u, state.u / 2, atol=1e-4)


def test_reciprocity():
    problem = model()
    resistance = problem.solve(bump(problem)).u[-ELECTRODES:].T @ problem.currents
    assert np.abs(resistance - resistance.T).max() < 1e-12


def test_adjoints_of_voltages_alone_cost_no_further_solve():
    """They are combinations of the fields of all patterns, and equal what a block with other covectors gives."""
    rng = np.random.default_rng(0)
    problem = model(currents=adjacent())
    state = problem.solve(bump(problem))
    voltages = rng.standard_normal(state.u.shape)
    voltages[:problem.state.N] = 0.0
    before = problem.counts.total
    alone = state.adjoint(voltages)
    assert problem.counts.total == before
    block = np.stack([rng.standard_normal(state.u.shape), voltages], axis=2)
    assert np.allclose(state.adjoint(block)[:, 1], alone, atol=1e-10)


def test_sensitivities_by_adjoint_fields_equal_finite_differences():
    problem = model(element=ElementTriP2(), currents=adjacent()[:, :3])
    m = bump(problem)
    state = problem.solve(m)
    jacobian, upper = state.sensitivity(chunk=37), np.triu_indices(ELECTRODES - 1)
    for node in (0, 40, 150, problem.parameter_size - 1):
        step = np.zeros_like(m)
        step[node] = 1e-4
        difference = (problem.solve(m + step).resistance() - problem.solve(m - step).resistance())[upper] / 2e-4
        assert np.abs(jacobian[:, node] - difference).max() < 1e-5 * np.abs(jacobian).max()
    patterns = problem.patterns[0]
    assert np.allclose(patterns @ state.resistance() @ patterns.T @ problem.currents, state.u[-ELECTRODES:], atol=1e-11)


def test_only_independent_patterns_are_solved_for():
    rng = np.random.default_rng(2)
    problem = model(currents=adjacent()[:, :3] @ rng.standard_normal((3, 20)))
    state = problem.solve(bump(problem))
    assert problem.counts.as_dict()["forward"] == 3
    measured = problem.observation_matrix(adjacent()).T @ rng.standard_normal((ELECTRODES - 1, 20))
    state.adjoint(measured)
    state.adjoint(measured)
    assert problem.counts.adjoint == ELECTRODES - 1 - 3
    state.tangent(bump(problem))
    assert problem.counts.incremental == 3


def test_impedance_of_one_electrode_matters():
    problem = model()
    other = replace(problem, impedances=np.r_[np.full(ELECTRODES - 1, 0.05), 0.5])
    change = (other.solve(bump(problem)).u - problem.solve(bump(problem)).u)[-ELECTRODES:]
    change -= change[3]  # the mean voltage is zero, so all voltages move when one does
    assert np.abs(change[-1]).max() > 100 * np.abs(change[1:6]).max()


def test_bad_input():
    problem = model()
    with pytest.raises(InputError, match="electrode9"):
        replace(problem, electrodes=NAMES[:-1] + ("electrode9",))
    with pytest.raises(InputError, match="all zero"):
        replace(problem, currents=np.zeros((ELECTRODES, 2)))
    with pytest.raises(InputError, match="sum to zero"):
        replace(problem, currents=np.eye(ELECTRODES))
    with pytest.raises(InputError, match="not finite"):
        replace(problem, currents=np.full((ELECTRODES, 1), np.nan))
    with pytest.raises(InputError, match="rows"):
        replace(problem, currents=adjacent(6))
    with pytest.raises(InputError, match="positive"):
        replace(problem, impedances=0.0)
    with pytest.raises(InputError, match="quadrature"):
        replace(problem, parameter=CellBasis(problem.state.mesh, ElementTriP1(), intorder=1))
    with pytest.raises(InputError, match="m: expected"):
        problem.solve(np.zeros(3))
    with pytest.raises(SolveError, match="overflow"):
        problem.solve(np.full(problem.parameter_size, 1e4))
