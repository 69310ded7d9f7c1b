"""Identified laws: the order of the argument mesh, the case of a plate, and what a report says of a law."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import skfem as sk
from starts import end

from fem_ngf import (
    MLP,
    BeyondLawWarning,
    FiniteElement,
    FrozenEquation,
    GaussianNoise,
    HilbertSpace,
    Identification,
    InverseProblem,
    Law,
    MatrixObservation,
    Measurements,
    Model,
    NewtonFlow,
    Reactions,
    RunOptions,
    StationaryProblem,
    Tikhonov,
    Visited,
    WeakForm,
    dot,
    grad,
    identify,
    law_band,
    law_error,
    quadratic_minimiser,
    unit_square,
    write_law,
)
from fem_ngf.run.loading import load_function
from fem_ngf.run.results import _sensors

CASES = Path(__file__).resolve().parents[1] / "cases"


def plate(element, cells):
    """Heat flows in on the left and out at the bottom: u between 0 and 2.2."""
    arguments = sk.Basis(sk.MeshLine(np.linspace(0.0, 2.2, cells + 1)), element, intorder=6)
    model = Model(lambda u, v, k, w: k(u) * dot(grad(u), grad(v)), sk.ElementTriP2(), Law(arguments),
                  dirichlet={"bottom": 0.0}, neumann={"left": 4.0}, intorder=4)
    return model.on(unit_square(8))


def wavy(s):
    return 1.0 + 0.5 * s[0] + 0.5 * np.sin(2.0 * s[0]) ** 2


@pytest.mark.parametrize("element, finer, order", [(sk.ElementLineP1(), 400, 2.0), (sk.ElementLineP2(), 100, 3.0)],
                         ids=["P1", "P2"])
def test_a_law_is_recovered_with_the_order_of_its_mesh(element, finer, order):
    """From the whole state without noise; the law on a fine mesh is the truth."""
    exact, errors = plate(element, finer).solve(wavy).u, []
    observation = MatrixObservation(sp.eye_array(len(exact), format="csr"), np.zeros((len(exact), 2)))
    for cells in (8, 16, 32):
        discrete = plate(element, cells)
        space = discrete.space
        noise = GaussianNoise.from_std(np.full(exact.shape, 1e-4))
        energy = InverseProblem(discrete.equation, observation, exact, noise, Tikhonov(space.stiffness), space, 1e-8)
        last = end(NewtonFlow(energy, FiniteElement(space, 1.0), space, tolerance=1e-12).run(np.ones(space.size)))
        visited = Visited.at(last.linearization, Law(space.basis)).range[0]
        errors.append(law_error(lambda y, at=last, on=space: on.interpolation(y) @ at.m, lambda y: wavy(y.T), *visited))
    rates = -np.diff(np.log2(errors))
    assert np.all(rates > order - 0.4) and errors[-1] < 1e-3


def folded(g):
    """The gradient (2, n) of a potential, at gradients g (2, n)."""
    return g + 0.3 * np.sin(2.0 * g) + 0.2 * g * g[::-1] ** 2


def membranes(cells):
    """A flux that is bilinear on each cell of [-1.3, 1.3]^2, and five states whose gradients fill the disc in it."""
    axis = np.linspace(-1.3, 1.3, cells + 1)
    law = Law(sk.Basis(sk.MeshQuad.init_tensor(axis, axis), sk.ElementVector(sk.ElementQuad1()), intorder=4))
    state = sk.Basis(unit_square(8), sk.ElementTriP2(), intorder=4)
    loads = [sk.LinearForm(lambda v, w, a=a, b=b: 9.0 * np.sin(np.pi * (a * w.x[0] + b * w.x[1])) * v).assemble(state)
             for a, b in ((1, 1), (2, 0), (0, 2), (2, -2), (2, 2))]
    form = WeakForm(lambda u, v, q, w: dot(q(*grad(u)), grad(v)), state, law)
    problem = StationaryProblem(form, dirichlet=state.get_dofs().all(), loads=np.stack(loads, axis=1))
    return law, problem, HilbertSpace.l2(law.basis, sampling="nodal")


def test_a_flux_is_recovered_with_the_order_of_its_mesh():
    """From whole states without noise, by the equation error.

    Constants and multiples of the turned gradient are free of divergence whatever the state: q(0) = 0 is given, and a
    curl costs.
    """
    _, problem, space = membranes(96)
    exact, errors = problem.solve(space.project(folded(space.points.T).T)).u, []
    curl = sk.BilinearForm(lambda q, r, w: (q.grad[1, 0] - q.grad[0, 1]) * (r.grad[1, 0] - r.grad[0, 1]))
    for cells in (4, 8, 16):
        law, problem, space = membranes(cells)
        start = space.project(space.points)
        equation = FrozenEquation(Reactions(problem, (problem.dirichlet,)), exact, start)
        states = sp.eye_array(equation.state_size, format="csr")[:len(exact)]
        energy = InverseProblem(equation, MatrixObservation(states, np.zeros((len(exact), 2))), exact,
                                GaussianNoise.from_std(np.full(exact.shape, 1e-4)),
                                Tikhonov(1e4 * curl.assemble(law.basis) + 1e-6 * space.mass), space)
        at_rest = np.flatnonzero(np.abs(law.basis.doflocs).max(axis=0) < 1e-9)
        m = quadratic_minimiser(energy.linearize(start), at_rest)
        calls = zip(*(problem.form.visited(u, m)[0] for u in exact.T), strict=True)
        seen = Visited(*(np.concatenate(part) for part in calls), law)
        true, root = folded(seen.arguments.T).T, np.sqrt(seen.weights)[:, None]
        errors.append(np.linalg.norm(root * (law.evaluate(m, seen.arguments) - true)) / np.linalg.norm(root * true))
        assert seen.outside == 0.0
    assert np.all(-np.diff(np.log2(errors)) > 1.8) and errors[-1] < 2e-3


def test_a_rate_of_reaction_is_found():
    """With a monotone network that knows r(0) = 0 within 4.5 %, nearer than with nodal values; both fit the data."""
    problem, ends = load_function(CASES / "reaction_kinetics.py")(cells=8), []
    level = problem.levels[-1]
    space = level.space("h1")
    for ansatz in (problem.ansatz, FiniteElement(space)):
        last = end(NewtonFlow(level.energy, ansatz, space).run(ansatz.initial(np.random.default_rng(0))))
        ends.append((last.value, problem.outcome(last.linearization, None)["law_error"]))
    (network, error), (nodal, nodal_error) = ends
    assert nodal == pytest.approx(84.26, abs=0.1) and nodal_error == pytest.approx(0.054, abs=0.01)
    assert nodal < network < 1.03 * nodal and error < 0.045


@pytest.mark.search
def test_a_monotone_network_continues_a_conductivity_better_than_nodal_values():
    """Five noises: at most 3 % over the visited range, and half the error of nodal values beyond it on average."""
    make = load_function(CASES / "nonlinear_conductivity.py")
    errors = []
    for seed in range(1, 6):
        problem = make(cells=12, noise_seed=seed)
        level = problem.levels[-1]
        space = level.space("h1")
        for ansatz in (problem.ansatz, FiniteElement(space)):
            last = end(NewtonFlow(level.energy, ansatz, space).run(ansatz.initial(np.random.default_rng(0))))
            found = problem.outcome(last.linearization, None)
            errors.append([found["law_error"], found["law_error_beyond"]])
            assert found["law_outside"] == 0.0
    (network, network_beyond), (nodal, nodal_beyond) = np.reshape(errors, (5, 2, 2)).transpose(1, 2, 0)
    assert network.max() < 0.03 and network.mean() < nodal.mean()
    assert network_beyond.mean() < 0.5 * nodal_beyond.mean()


def test_the_band_of_a_law_covers_it():
    """At visited arguments the 95 % band holds the truth in 85 % to 100 % of 60 noises, and is no wider than needed.

    The equation is linearised at the state without noise: an inverse problem that is linear in its law.
    """
    discrete = plate(sk.ElementLineP1(), 12)
    space, problem, truth = discrete.space, discrete.equation, discrete.nodal(wavy)
    exact = problem.solve(truth).u
    equation = FrozenEquation(Reactions(problem, (problem.dirichlet,)), exact, truth)
    sensors = sp.eye_array(equation.state_size, format="csr")[problem.free[::7]]
    values, std, generator = sensors @ equation.solve(truth).u, 0.01, np.random.default_rng(0)
    observation = MatrixObservation(sensors, np.zeros((len(values), 2)))
    noise = GaussianNoise.from_std(std)
    energy = InverseProblem(equation, observation, values, noise, Tikhonov(space.stiffness), space)
    first, last = Visited.at(energy.linearize(truth), Law(space.basis)).range[0]
    y, ratios = np.linspace(first, last, 21)[:, None], []
    for _ in range(60):
        noisy = replace(energy, data=values + std * generator.standard_normal(values.shape))
        m = quadratic_minimiser(noisy.linearize(truth))
        ratios.append((space.interpolation(y) @ (m - truth)) / law_band(noisy.linearize(m))(y))
    assert 0.85 <= np.mean(np.abs(ratios) < 1.96) <= 1.0
    assert 0.5 < np.sqrt(np.mean(np.square(ratios))) < 1.3
    band = law_band(noisy.linearize(m), slope=lambda y: np.full(len(y), 2.0))(np.array([[0.5], [2.2]]))
    hessian = noisy.linearize(m).hessian_action(np.eye(space.size))
    rows = space.interpolation(np.array([[0.5]])).toarray()
    assert band[0] == pytest.approx(2.0 * np.sqrt(rows @ np.linalg.solve(hessian, rows.T))[0, 0], rel=0.05)
    assert band[1] > 3.0 * band[0]


def test_a_law_called_outside_its_mesh_is_reported(tmp_path):
    discrete = plate(sk.ElementLineP1(), 8)
    space, law = discrete.space, Law(discrete.space.basis)
    energy = discrete.inverse_problem(Everything(), lambda space: Tikhonov(space.stiffness))
    seen = Visited.at(energy.linearize(np.full(space.size, 2.0)), law)
    assert seen.outside == 0.0 and seen.range[0, 1] < 1.7
    assert _sensors(energy.linearize(np.full(space.size, 2.0))) is None  # no place among the arguments
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert seen.summary()["law_outside"] == 0.0
    hot = Visited.at(energy.linearize(np.full(space.size, 0.5)), law)
    expected = np.average(hot.arguments[:, 0] > 2.2, weights=hot.weights)
    with pytest.warns(BeyondLawWarning, match=r"outside its mesh \[0, 2.2\] at"):
        assert hot.summary()["law_outside"] == pytest.approx(expected) and expected > 0.05
    write_law(tmp_path / "law.png", lambda y: y[:, 0], hot, band=lambda y: 0.1 + y[:, 0])
    assert (tmp_path / "law.png").read_bytes()[:4] == b"\x89PNG"
    table = np.genfromtxt(tmp_path / "law.csv", delimiter=",", names=True)
    assert np.allclose(table["std"], 0.1 + table["law"]) and np.isnan(table["truth"]).all()
    assert set(table["visited"]) == {0.0, 1.0} and table["argument"][-1] == pytest.approx(hot.range[0, 1])


class Everything:
    """All unknowns of the state, measured as zero."""

    def on(self, basis):
        observation = MatrixObservation(sp.eye_array(basis.N, format="csr"), basis.doflocs.T)
        return observation, np.zeros((basis.N, 1)), GaussianNoise.from_std(np.ones((basis.N, 1)))


def test_nodal_values_start_from_the_function_that_the_network_starts_from():
    """A flux of zero, the constant start, makes the equation singular."""
    problem = load_function(CASES / "flux_law.py")(cells=4)
    first = [next(iter(Identification.of(problem, RunOptions.merged(problem.defaults, options)).stages())).iterate
             for options in ({}, {"ansatz": "finite-element"})]
    assert first[1].value == pytest.approx(first[0].value, rel=1e-8) and isinstance(first[1].ansatz, FiniteElement)


def test_identify_tells_of_laws_that_the_states_leave():
    model = plate(sk.ElementLineP1(), 8)
    points = np.array([[0.1, 0.9], [0.5, 0.5], [0.9, 0.9]])
    energy = model.inverse_problem(Measurements(points, np.array([11.0, 5.0, 6.0]), 0.1),
                                   lambda space: Tikhonov(space.stiffness))
    with pytest.warns(BeyondLawWarning, match=r"law 1 is called by the states outside its mesh \[0, 2.2\] at"):
        identify(energy, MLP((1, 3, 1), start=0.3), iterations=1)
