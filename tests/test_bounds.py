"""Bounds on the unknown, and energies without regularisation: against oracles, and where the searches end."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from problems import SENSORS, inverse_problem, plain_residual, sketched
from scipy.optimize import lsq_linear
from skfem import ElementTriP1, ElementTriP2

from fem_ngf import (
    MLP,
    Bounded,
    Case,
    FiniteElement,
    HilbertSpace,
    Identification,
    InputError,
    Measurements,
    Model,
    NewtonFlow,
    RunOptions,
    SobolevFlow,
    SolveError,
    levels,
    unit_square,
)
from fem_ngf.flows.quadratic_model import QuadraticModel
from fem_ngf.linalg.bounded import bounded_minimiser, held
from fem_ngf.linalg.operators import Matrix
from fem_ngf.verify import verify_flow

RNG = np.random.default_rng
BENCHMARK = Path(__file__).resolve().parents[1] / "benchmarks" / "cell_densities.py"


@pytest.mark.parametrize(("size", "condition"), [(5, 1e1), (40, 1e3), (80, 1e8)])
def test_a_quadratic_function_between_bounds_against_bvls(size, condition):
    """The same least value as scipy's active-set method, and the conditions of Karush, Kuhn and Tucker."""
    generator = RNG(size)
    turn = np.linalg.qr(generator.standard_normal((size, size)))[0]
    root = turn * np.sqrt(np.geomspace(1.0, 1.0 / condition, size))
    matrix, start = root @ root.T, generator.uniform(-0.5, 0.5, size)
    derivative, bounds = matrix @ (2.0 * generator.standard_normal(size)), (np.full(size, -1.0), np.ones(size))
    end = bounded_minimiser(Matrix(matrix), derivative, start, bounds, tolerance=1e-12)
    reference = lsq_linear(root.T, root.T @ start - np.linalg.solve(root, derivative), (-1.0, 1.0), method="bvls").x
    value, least = (derivative @ (v - start) + 0.5 * (v - start) @ matrix @ (v - start) for v in (end, reference))
    assert value <= least + 1e-10 * abs(least) and np.all(np.abs(end) <= 1.0)
    slope = derivative + matrix @ (end - start)
    fixed = held(end, slope, bounds)
    assert 0 < fixed.sum() < size and np.abs(slope[~fixed]).max() < 1e-5 * np.abs(slope).max()


def test_one_sided_and_missing_bounds():
    matrix, derivative = np.diag([1.0, 2.0, 4.0]), np.array([3.0, -6.0, 4.0])
    bounds = np.array([-1.0, -np.inf, -np.inf]), np.full(3, np.inf)
    assert np.allclose(bounded_minimiser(Matrix(matrix), derivative, np.zeros(3), bounds), [-1.0, 3.0, -1.0])


def bounded(bounds=(0.9, 1.4), **how):
    energy, space, truth = inverse_problem(6, residual=plain_residual, truth=lambda x: 1.0 + 0.8 * x[0], **how)
    return replace(energy, bounds=bounds), space, truth


def test_an_energy_is_undefined_outside_its_bounds():
    energy, space, _ = bounded()
    assert energy(np.full(space.size, 1.4)) > 0.0
    with pytest.raises(SolveError, match="outside its bounds"):
        energy(np.full(space.size, 1.41))
    for bad, message in (((1.0, 1.0), "nothing between"), (1.0, "two numbers"), ((0.0, np.ones(3)), "two numbers")):
        with pytest.raises(InputError, match=message):
            replace(energy, bounds=bad)


def test_the_model_keeps_to_the_bounds():
    """Its minimiser, and what nodal values and networks are expected to gain."""
    energy, space, _ = bounded()
    at = energy.linearize(np.full(space.size, 1.0))
    free = QuadraticModel(at.m, at.derivative, sketched(at, RNG(0), 9))
    model = replace(free, bounds=energy.limits)
    assert free.minimiser.max() > 1.4 >= model.minimiser.max()
    assert 0 < model.expected_decrease(None) == -model(model.minimiser) < free.expected_decrease(None)
    assert model.expected_decrease(np.eye(space.size)) == model.expected_decrease(None)


@pytest.mark.search
def test_nodal_values_end_at_the_bounded_minimum():
    """Some are held, the derivative vanishes at the others; without bounds the energy is lower."""
    energy, space, _ = bounded(weight=1e-4)
    flow = NewtonFlow(energy, FiniteElement(space, 5.0), space, tolerance=1e-9)
    iterates = list(flow.run(FiniteElement(space, 5.0).initial()))
    last, (lower, upper) = iterates[-1], energy.limits
    assert last.converged and all(np.all((lower <= each.m) & (each.m <= upper)) for each in iterates)
    at = last.linearization
    fixed = held(last.m, at.derivative, energy.limits)
    assert 0 < fixed.sum() < space.size
    assert np.abs(at.derivative[~fixed]).max() < 1e-3 * np.abs(at.derivative[fixed]).max()
    unbounded = NewtonFlow(replace(energy, bounds=None), FiniteElement(space, 1.2), space)
    assert list(unbounded.run(FiniteElement(space, 1.2).initial()))[-1].value < last.value


@pytest.mark.search
def test_a_network_keeps_the_bounds_without_being_told():
    """Three starts end within 3 % of the bounded nodal minimum."""
    energy, space, _ = bounded(weight=1e-4)
    nodal = list(NewtonFlow(energy, FiniteElement(space, 1.0), space).run(np.ones(space.size)))[-1].value
    for seed in range(3):
        network = MLP((2, 10, 1), start=1.1)
        flow = NewtonFlow(energy, network, space)
        last = list(flow.run(network.initial(RNG(seed))))[-1]
        assert flow.ansatz == Bounded(network, 0.9, 1.4) and 0.9 <= last.m.min() and last.m.max() <= 1.4
        assert nodal * (1.0 - 1e-3) < last.value < 1.03 * nodal


def test_what_does_not_keep_bounds_says_so():
    energy, space, _ = bounded()
    for ansatz in (MLP((2, 4, 1), start=1.0), FiniteElement(space, 1.0)):
        with pytest.raises(InputError, match="SobolevFlow does not keep"):
            SobolevFlow(energy, ansatz, space).start(ansatz.initial(RNG(0)))
    network = Bounded(MLP((2, 4, 1), start=1.0), 0.9, 1.4)
    assert SobolevFlow(energy, network, space.nodal_twin).start(network.initial(RNG(0))).value > 0.0
    with pytest.raises(InputError, match="two finite numbers"):
        NewtonFlow(replace(energy, bounds=(0.5, np.inf)), MLP((2, 4, 1)), space)


def test_a_case_has_its_bounds_on_every_mesh():
    """And its network, which grows from few neurons, is bounded on each."""
    model = Model(plain_residual, ElementTriP2(), ElementTriP1(), dirichlet=0.0, linear=True)
    data = Measurements(SENSORS, np.full(len(SENSORS), 0.05), np.full(len(SENSORS), 1e-3))
    case = Case("bounded", levels(model, {"3": unit_square(3), "6": unit_square(6)}, data, bounds=(0.5, 2.0)),
                MLP((2, 8, 1), start=1.0))
    flows = Identification.of(case, RunOptions(flow="newton", start_width=8)).continuation.flows
    assert [flow.energy.bounds for flow in flows] == [(0.5, 2.0)] * 2 and flows[0].energy.weight == 0.0
    assert all(flow.ansatz.upper == 2.0 and flow.ansatz.inner.widths == (2, 8, 1) for flow in flows)


def test_derivatives_are_verified_next_to_the_bounds():
    energy, space, _ = bounded((0.999, 1.001))
    for ansatz in (Bounded(MLP((2, 4, 1), start=1.0), 0.999, 1.001), FiniteElement(space, 1.0)):
        assert all(check.passed for check in verify_flow(NewtonFlow(energy, ansatz, space), RNG(0)))


# ---- no regularisation ----------------------------------------------------------------------------------------------


def test_without_regularisation_the_base_is_the_inner_product_of_the_space():
    """Scaled with the energy and the range of the unknown, so that neither unit matters."""
    energy, space, truth = inverse_problem(6, sensors=False, weight=1e-3)
    free = replace(energy, weight=0.0)
    at = free.linearize(truth)
    assert at.terms["regularization"] == 0.0
    v = RNG(0).standard_normal(space.size)
    ratio = at.preconditioner.apply(v) / space.apply(v)
    assert np.allclose(ratio, ratio[0]) and ratio[0] == pytest.approx(1e-4 * at.value / max(
        space.norm(truth), space.norm(np.ones(space.size))) ** 2)
    wide = replace(free, bounds=(-10.0, 10.0)).linearize(truth).preconditioner
    assert np.allclose(wide.apply(v), 1e-4 * at.value / space.norm(np.full(space.size, 20.0)) ** 2 * space.apply(v))
    with pytest.raises(InputError, match="weight"):
        replace(energy, weight=-1.0)


@pytest.mark.search
def test_data_determine_the_unknown():
    """Whole-field data without noise to speak of: nodal values and networks find it without regularisation."""
    energy, space, truth = inverse_problem(5, sensors=False, fraction=1e-6)
    free, plain = replace(energy, weight=0.0), HilbertSpace.l2(space.basis)
    for ansatz, least in ((FiniteElement(space), 0.02), (MLP((2, 12, 1)), 0.2)):
        last = list(NewtonFlow(free, ansatz, space).run(ansatz.initial(RNG(0))))[-1]
        assert plain.norm(last.m - truth) < least * plain.norm(truth)


@pytest.mark.search
def test_cell_densities_between_bounds():
    """Mosaic's recovery on 8 x 4 cells: at most 1 % above scipy's bounded Gauss-Newton method."""
    spec = importlib.util.spec_from_file_location("cell_densities", BENCHMARK)
    study = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(study)
    energy = study.problem((8, 4, 1))
    reference = study.trust_region(energy)
    ansatz = FiniteElement(energy.space, study.START)
    last = study.searched(energy, ansatz, ansatz.initial())
    assert last.converged and reference * (1.0 - 1e-3) < last.value < 1.01 * reference
    assert last.value < 1e-3 * last.start_value and 1e-3 <= last.m.min() <= last.m.max() <= 1.0
