"""The reduced functional: derivatives by Taylor, Hessians by differences, solves by counting."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import scipy.optimize
from problems import bump, inverse_problem, parameter_space, plain_residual, reaction_residual
from skfem import Basis, ElementTriP0, ElementTriP2

from fem_ngf import (
    FiniteElement,
    GaussianNoise,
    HilbertSpace,
    HuberNoise,
    InputError,
    InverseProblem,
    NewtonFlow,
    SolveError,
    StationaryProblem,
    StudentNoise,
    SumOf,
    Tikhonov,
    TotalVariation,
    WeakForm,
    bilaplacian,
    point_values,
    taylor_rate,
    unit_square,
)
from fem_ngf.verify import smooth_direction, symmetry_error

KINDS = {
    "linear": {},
    "three experiments": {"experiments": 3},
    "nonlinear": {"residual": reaction_residual, "linear": False, "experiments": 2},
    "positive coefficient": {"residual": plain_residual, "truth": lambda x: 1.0 + x[0] * x[1]},
    "whole field": {"sensors": False},
    "student": {"noise": StudentNoise, "experiments": 2},
    "huber": {"noise": HuberNoise},
}


def regularized(name):
    energy, space, m = inverse_problem(6)
    basis = space.basis
    regularization = {
        "variation": lambda: TotalVariation(basis, 0.5, 0.1),
        "h1 norm": lambda: Tikhonov(space, 0.3, mean=0.1),
        "fractional": lambda: Tikhonov(HilbertSpace.sobolev(basis, 1.5), 0.3),
        "sum": lambda: SumOf((Tikhonov(space.mass, 0.2), TotalVariation(basis, 0.5, 0.1))),
        "prior": lambda: bilaplacian(basis, 0.1, 1.0),
    }[name]()
    return replace(energy, regularization=regularization), space, m


REGULARIZATIONS = ["variation", "h1 norm", "fractional", "sum", "prior"]


def problem(name):
    return regularized(name) if name in REGULARIZATIONS else inverse_problem(6, **KINDS[name])


def place(name):
    """Energy, space, a parameter that is no solution, and two smooth directions."""
    energy, space, m = problem(name)
    generator = np.random.default_rng(2)
    v, w = (smooth_direction(space, generator, 0.3) for _ in range(2))
    return energy, space, 0.7 * m + 0.2, v, w


@pytest.mark.parametrize("name", [*KINDS, *REGULARIZATIONS])
def test_taylor_rate_of_the_value(name):
    energy, _, m, v, _ = place(name)
    assert abs(taylor_rate(energy.as_scipy(), m, v) - 2.0) <= 0.02


@pytest.mark.parametrize("name", [*KINDS, *REGULARIZATIONS])
def test_newton_hessian_is_the_derivative_of_the_derivative(name):
    energy, _, m, v, w = place(name)

    def slope(m):
        here = energy.linearize(m)
        return here.derivative @ w, here.hessian_action(w, "newton")

    assert abs(taylor_rate(slope, m, v) - 2.0) <= 0.02
    ahead, behind = (energy.linearize(m + step * v).derivative for step in (1e-4, -1e-4))
    action = energy.linearize(m).hessian_action(v, "newton")
    assert np.linalg.norm((ahead - behind) / 2e-4 - action) < 1e-5 * np.linalg.norm(action)


@pytest.mark.parametrize("name", [*KINDS, *REGULARIZATIONS])
def test_hessians_are_symmetric_and_gauss_newton_is_positive(name):
    energy, space, m, v, w = place(name)
    here = energy.linearize(m)
    for kind in ("gauss-newton", "newton"):
        assert symmetry_error(here, v, w, kind) < 1e-10
    matrix = np.column_stack([here.hessian_action(e) for e in np.eye(space.size)])
    eigenvalues = np.linalg.eigvalsh(0.5 * (matrix + matrix.T))
    assert eigenvalues[0] > -1e-10 * eigenvalues[-1]


@pytest.mark.parametrize("name", ["linear", "three experiments", "whole field"])
def test_gauss_newton_is_the_sensitivity_squared(name):
    """``H = J^T P J + R`` with J by differences of the observations."""
    energy, space, m, v, w = place(name)

    def observed(m):
        return energy.observation(energy.pde.solve(m).u)

    jv, jw = ((observed(m + 1e-5 * d) - observed(m - 1e-5 * d)) / 2e-5 for d in (v, w))
    expected = np.sum(jw * energy.noise.derivative(jv)) + w @ (energy.regularization.hessian(m) @ v)
    assert np.isclose(w @ energy.linearize(m).hessian_action(v), expected, rtol=1e-7)


@pytest.mark.parametrize("name", ["linear", "three experiments", "nonlinear", "student"])
def test_the_hessians_agree_where_the_data_fit(name):
    """Without a residual the second derivatives of the state do not matter."""
    energy, space, m, v, _ = place(name)
    energy = replace(energy, data=energy.observation(energy.pde.solve(m).u))
    here = energy.linearize(m)
    gauss, full = here.hessian_action(v), here.hessian_action(v, "newton")
    assert np.linalg.norm(gauss - full) < 1e-8 * np.linalg.norm(full)


def test_terms_add_up_and_are_the_formula():
    energy, space, m, _, _ = place("three experiments")
    here = energy.linearize(m)
    residual = energy.observation(here.state.u) - energy.data
    std = 1.0 / np.sqrt(energy.noise.precision[0] if energy.noise.precision.ndim == 1 else energy.noise.precision)
    assert np.isclose(here.terms["misfit"], 0.5 * np.sum((residual / np.ravel(std)[0]) ** 2))
    assert np.isclose(here.terms["regularization"], energy.regularization.value(m))
    assert here.value == sum(here.terms.values()) == energy(m)
    assert set(here.terms) == {"misfit", "regularization"}


# ---- what it costs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("experiments", [1, 3])
def test_solves_are_counted_exactly(experiments):
    energy, space, m = inverse_problem(6, experiments=experiments)
    before = energy.counts.copy()
    here = energy.linearize(m)
    assert (energy.counts - before).as_dict() == {
        "forward": experiments, "adjoint": 0, "incremental": 0, "total": experiments}
    assert here.derivative is here.derivative and here.adjoint is here.adjoint
    assert (energy.counts - before).adjoint == experiments
    here.hessian_action(m)
    assert (energy.counts - before).incremental == 2 * experiments
    here.hessian_action(m, "newton")
    here.misfit_action(m, "newton")
    spent = energy.counts - before
    assert (spent.forward, spent.adjoint, spent.incremental) == (experiments, experiments, 6 * experiments)
    assert energy.work_per_solve == energy.pde.state_size == 169
    energy(m)
    assert (energy.counts - before).forward == 2 * experiments


def test_newton_needs_the_adjoint_once():
    energy, space, m = inverse_problem(6)
    here, before = energy.linearize(m), energy.counts.copy()
    here.hessian_action(m, "newton")
    assert (energy.counts - before).as_dict() == {"forward": 0, "adjoint": 1, "incremental": 2, "total": 3}


# ---- with scipy -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["linear", "student"])
def test_scipy_and_gauss_newton_find_the_same_minimum(name):
    energy, space, _ = problem(name)
    start = np.zeros(space.size)
    result = scipy.optimize.minimize(energy.as_scipy(), start, jac=True, method="L-BFGS-B",
                                     options={"maxiter": 3000, "maxfun": 6000, "ftol": 1e-15, "gtol": 1e-7,
                                              "maxcor": 60})
    flow = NewtonFlow(energy, FiniteElement(space), space, tolerance=1e-12)
    *_, last = flow.run(start)
    assert last.converged
    assert np.isclose(last.value, result.fun, rtol=1e-7)
    assert last.value <= result.fun * (1.0 + 1e-10)
    assert space.norm(last.m - result.x) < 1e-2 * space.norm(last.m)


def test_the_parameter_is_not_touched():
    energy, space, m = inverse_problem(4)
    mine = m.copy()
    here = energy.linearize(mine)
    value, derivative = energy.as_scipy()(mine)
    mine += 1.0
    assert np.array_equal(energy.linearize(m).derivative, derivative)
    assert np.array_equal(here.derivative, derivative)
    assert np.isclose(here.value, value)


# ---- the preconditioner ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["linear", *REGULARIZATIONS])
def test_preconditioner_is_positive_definite_and_close_to_the_regularization(name):
    energy, space, m, v, _ = place(name)
    preconditioner = energy.linearize(m).preconditioner
    g = np.column_stack([v, np.cos(np.arange(len(v)))])
    solved = np.column_stack([preconditioner.solve(column) for column in g.T])
    assert np.all(np.linalg.eigvalsh(g.T @ solved) > 0)
    assert np.allclose(preconditioner.apply(solved[:, 0]), g[:, 0], atol=1e-8 * np.abs(g).max())


def test_piecewise_constant_parameters():
    """They have no stiffness: the regularisation is a weighted mass."""
    parameter = Basis(unit_square(4), ElementTriP0(), intorder=4)
    state = parameter.with_element(ElementTriP2())
    space = HilbertSpace.l2(parameter)
    form = WeakForm(plain_residual, state, parameter)
    pde = StationaryProblem(form, dirichlet=state.get_dofs().all(), linear=True)
    observation = point_values(state, np.array([[0.3, 0.3], [0.6, 0.4], [0.5, 0.8]]))
    data = observation(pde.solve(np.full(space.size, 2.0)).u)
    regularization = Tikhonov(space.mass, 1e-2, 1.0)
    energy = InverseProblem(pde, observation, data, GaussianNoise.from_std(1e-3), regularization, space)
    flow = NewtonFlow(energy, FiniteElement(space), space)
    *_, last = flow.run(np.ones(space.size))
    assert last.converged and last.value < 1e-2 * last.start_value


# ---- failures -------------------------------------------------------------------------------------------------------


def test_failures_are_solve_errors():
    energy, space, m = inverse_problem(4, residual=plain_residual, truth=lambda x: 1.0 + 0 * x[0])
    for bad in (np.full(space.size, np.nan), np.full(space.size, np.inf), np.zeros(space.size)):
        with pytest.raises(SolveError):
            energy.linearize(bad)
    energy, space, m = inverse_problem(4)
    with pytest.raises(SolveError):
        energy.linearize(np.full(space.size, 800.0))


BAD = {
    r"data have shape \(8, 1\)": lambda e: replace(e, data=e.data[:-1]),
    r"data have shape \(9, 2\)": lambda e: replace(e, data=np.column_stack([e.data, e.data])),
    "data contain 2 values": lambda e: replace(e, data=np.where(np.arange(9) < 2, np.nan, e.data[:, 0])),
    r"m has shape \(3,\)": lambda e: e.linearize(np.zeros(3)),
    "kind is 'exact'": lambda e: e.linearize(np.zeros(25)).hessian_action(np.zeros(25), "exact"),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input(message):
    with pytest.raises(InputError, match=message):
        BAD[message](inverse_problem(4)[0])


def test_the_data_do_determine_the_parameter():
    """Data of the truth without noise: the misfit is zero there, and the minimiser is near."""
    energy, space, truth = inverse_problem(8, sensors=False, fraction=1e-4, weight=1e-6)
    *_, last = NewtonFlow(energy, FiniteElement(space), space).run(np.zeros(space.size))
    l2 = HilbertSpace.l2(space.basis)
    assert l2.norm(last.m - truth) < 0.05 * l2.norm(truth)
    assert np.allclose(truth, bump(parameter_space(8).basis.doflocs))


@dataclass(frozen=True)
class Doubled:
    """What the protocol of an observation asks, and nothing else."""

    matrix: object
    shape = property(lambda self: self.matrix.shape)

    def __call__(self, u):
        return 2.0 * (self.matrix @ u.reshape(len(u), -1)).reshape(-1, *u.shape[1:])

    def transpose(self, r):
        return 2.0 * (self.matrix.T @ r.reshape(len(r), -1)).reshape(-1, *r.shape[1:])


def test_any_observation_of_the_protocol():
    energy, _, m = inverse_problem(6)
    own = replace(energy, observation=Doubled(energy.observation.matrix), data=2.0 * energy.data)
    ours, theirs = (each.linearize(m + 0.1) for each in (own, energy))
    assert np.allclose(ours.derivative - ours.regularization_derivative,
                       4.0 * (theirs.derivative - theirs.regularization_derivative))
