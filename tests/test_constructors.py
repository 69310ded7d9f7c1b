"""What is put together must fit: wrong residuals, unknowns, boundaries and data are named when they meet."""

import re

import numpy as np
import pytest
import skfem.helpers
import torch
from problems import inverse_problem
from skfem import Basis, ElementTriP1, ElementTriP2

from fem_ngf import (
    MLP,
    BoundaryLift,
    GaussianNoise,
    HilbertSpace,
    HuberNoise,
    InputError,
    Level,
    Measurements,
    Model,
    NewtonFlow,
    StationaryProblem,
    StudentNoise,
    TangentSpace,
    TimeSeries,
    TorchModule,
    TotalVariation,
    Transformed,
    WeakForm,
    WholeField,
    boundary_trace,
    disk,
    dot,
    draw,
    grad,
    grid_points,
    halvings,
    identify,
    rectangle,
    refinements,
    unit_cube,
    unit_square,
)
from fem_ngf.ansatz.checks import placed

MESH = unit_square(4)
STATE = Basis(MESH, ElementTriP2())


def solved(residual, **data):
    form = WeakForm(residual, STATE, ElementTriP1(), **data)
    return StationaryProblem(form, dirichlet="left", linear=True).solve(np.zeros(25)).u


# ---- residuals -------------------------------------------------------------------------------------------------------


def diffusion(u, v, m, w):
    return torch.exp(m) * dot(grad(u), grad(v)) - v


RESIDUALS = {
    "lacks its factor v": lambda u, v, m, w: torch.exp(m) * dot(grad(u), grad(v)) - 1.0,
    "lacks its factor v or grad": lambda u, v, m, w: dot(grad(u), grad(v)) - torch.where(w.x[0] > 0.9, 1.0, 0.0),
    "not linear": lambda u, v, m, w: torch.exp(m) * dot(grad(u), grad(v)) - v * v,
    "not linear in": lambda u, v, m, w: dot(grad(u), grad(v)) - torch.abs(v),
    "is complex": lambda u, v, m, w: dot(grad(u), grad(v)) - 1j * v,
    "float32": lambda u, v, m, w: (dot(grad(u), grad(v)) - v).float(),
    "or of skfem.helpers": lambda u, v, m, w: torch.exp(m) * skfem.helpers.dot(skfem.helpers.grad(u), grad(v)) - v,
    "function of numpy": lambda u, v, m, w: np.exp(m) * dot(grad(u), grad(v)) - v,
    "numpy": lambda u, v, m, w: skfem.helpers.dot(skfem.helpers.grad(u), skfem.helpers.grad(v)) - v,
    "returned a NoneType": lambda u, v, m, w: None,
    "one number a point": lambda u, v, m, w: grad(u) * v,
}


@pytest.mark.parametrize("message", RESIDUALS)
def test_a_residual_that_is_none_is_named_at_its_first_assembly(message):
    with pytest.raises(InputError, match=message):
        solved(RESIDUALS[message])


def test_a_residual_on_a_boundary_is_checked_too():
    facets = skfem.FacetBasis(MESH, ElementTriP2(), facets="right")
    form = WeakForm(diffusion, STATE, ElementTriP1()) + WeakForm(lambda u, v, m, w: u - 1.0, facets, ElementTriP1())
    with pytest.raises(InputError, match="lacks its factor v"):
        form.residual(np.zeros(form.state_size), np.zeros(25))


def test_a_residual_that_is_not_finite_is_checked_where_it_is():
    form = WeakForm(lambda u, v, m, w: torch.log(m) * dot(grad(u), grad(v)) - 1.0, STATE, ElementTriP1())
    with pytest.raises(Exception, match="not finite"):
        form.residual(np.zeros(STATE.N), -np.ones(25))
    with pytest.raises(InputError, match="lacks"):
        form.residual(np.zeros(STATE.N), np.ones(25))


def test_large_terms_that_cancel_are_linear():
    u = solved(lambda u, v, m, w: 1e7 * v + torch.exp(m) * dot(grad(u), grad(v)) - (1e7 + 1.0) * v)
    np.testing.assert_allclose(u, solved(diffusion), atol=1e-8)


@pytest.mark.parametrize("value", [1j, np.full(STATE.nelems * STATE.X.shape[1], 1j), "one", None])
def test_data_of_a_residual_are_real(value):
    with pytest.raises(InputError, match="'f'"):
        WeakForm(lambda u, v, m, w: dot(grad(u), grad(v)) - w.f * v, STATE, ElementTriP1(), f=value)


# ---- boundaries and masks --------------------------------------------------------------------------------------------


def test_unknowns_are_chosen_by_name_number_or_mask():
    form, numbers = WeakForm(diffusion, STATE, ElementTriP1()), STATE.get_dofs({"left", "top"}).all()
    mask = np.isin(np.arange(STATE.N), numbers)
    for given in (["left", "top"], numbers, mask, STATE.get_dofs(["left", "top"]), ("top", "left")):
        assert np.array_equal(StationaryProblem(form, dirichlet=given).dirichlet, np.unique(numbers))
        assert np.array_equal(HilbertSpace.l2(STATE, fixed=given).fixed, np.unique(numbers))
    model = Model(diffusion, ElementTriP2(), ElementTriP1(), dirichlet=["left", "top"]).on(MESH)
    assert np.array_equal(model.equation.dirichlet, np.unique(numbers))
    assert boundary_trace(STATE, ["left", "top"]).size == len(np.unique(numbers))


@pytest.mark.parametrize(("given", "message"), [
    ("lift", "unknown boundary 'lift'; known: bottom, left"), ([True, False], "mask of shape"), ([0.5], "float64"),
    ([-1], "-1..-1"), ([STATE.N], "numbers of unknowns"), (["left", 3], "give numbers of unknowns"), ([1j], "complex")])
def test_unknowns_that_are_none_are_named(given, message):
    for build in (lambda: StationaryProblem(WeakForm(diffusion, STATE, ElementTriP1()), dirichlet=given),
                  lambda: HilbertSpace.l2(STATE, fixed=given)):
        with pytest.raises(InputError, match=message):
            build()


def test_an_element_is_not_its_class():
    with pytest.raises(InputError, match=r"state is the class ElementTriP2; give .*ElementTriP1\(\)"):
        Model(diffusion, ElementTriP2, ElementTriP1())


# ---- noise -----------------------------------------------------------------------------------------------------------


def test_one_standard_deviation_an_experiment():
    points, values, std = np.random.default_rng(0).uniform(size=(5, 2)), np.ones((5, 3)), np.array([1.0, 2.0, 4.0])
    full = GaussianNoise.from_std(np.tile(std, (5, 1)))
    assert GaussianNoise.from_std(std[None]).value(values) == full.value(values)
    assert np.array_equal(Measurements(points, values, std).std, np.tile(std, (5, 1)))
    assert np.array_equal(Measurements(points, values, np.arange(1, 6)).std, np.tile(np.arange(1, 6), (3, 1)).T)
    assert Measurements(points, values[:, 0], 2.0).std.shape == (5,)
    for wrong in (np.ones(4), np.ones((3, 5)), 1j):
        with pytest.raises(InputError, match="std"):
            Measurements(points, values, wrong)


# ---- unknowns --------------------------------------------------------------------------------------------------------

UNKNOWNS = {
    "TorchModule": lambda: torch.nn.Linear(2, 1),
    "2 outputs": lambda: MLP((2, 3, 2)), "3 inputs": lambda: MLP((3, 3, 1)),
    "has no inputs": lambda: np.ones(3), "leave the network's box": lambda: MLP((2, 3, 1), box=((0, 0), (0.5, 0.5))),
    "hardly fill": lambda: Transformed(MLP((2, 3, 1), box=((0, 0), (1e3, 1e3))), "softplus"),
}


@pytest.mark.parametrize("message", UNKNOWNS)
def test_an_unknown_that_does_not_fit_its_space_is_named(message):
    energy, space, _ = inverse_problem(4)
    with pytest.raises(InputError, match=message):
        NewtonFlow(energy, UNKNOWNS[message](), space).start(np.zeros(13))


@pytest.mark.parametrize("build", [
    lambda: unit_square(10**6), lambda: unit_cube(10**4), lambda: MLP((2, 10**6, 10**6, 1)), lambda: disk(1.0, 1e-7),
    lambda: refinements(MESH, 20), lambda: grid_points((10**6, 10**6), (0, 0), (1, 1)), lambda: unit_square(10**400),
    lambda: halvings(unit_square, 10**7),
    lambda: TangentSpace.at(MLP((2, 10**6, 1)), np.zeros(4 * 10**6 + 1), HilbertSpace.l2(STATE))])
def test_absurd_sizes_are_refused_before_they_are_built(build):
    with pytest.raises(InputError, match="GiB of memory; this machine has"):
        build()


def test_the_default_box_follows_the_points_where_it_must():
    network = MLP((2, 3, 1))
    for upper in (1e3, 1e-3):
        points = HilbertSpace.l2(Basis(rectangle((3, 3), (0.0, 0.0), (upper, upper)), ElementTriP1())).nodal_twin.points
        for ansatz in (network, Transformed(network, "exp"), BoundaryLift(network, lambda x: x[:, 0])):
            found = placed(ansatz, points)
            assert getattr(found, "inner", found).box == ((0.0, 0.0), (upper, upper))
    inside = np.array([[0.0, 0.2], [0.7, 0.4]])
    given, module = MLP((2, 3, 1), box=((0.0, 0.0), (2.0, 2.0))), TorchModule(torch.nn.Linear(2, 1), inputs=2)
    assert placed(network, inside) is network and placed(given, 10 * inside) is given
    assert placed(module, 10 * inside) is module


# ---- what a reader sees ----------------------------------------------------------------------------------------------


def test_values_are_shown_in_one_line_and_found_in_one_call():
    """Everything that a notebook may print; the network ends near nodal values, and the control is counted apart."""
    energy, space, _ = inverse_problem(4)
    seen = []
    found = identify(energy, MLP((2, 6, 1)), control=True, observe=seen.append, iterations=12)
    flow = NewtonFlow(energy, MLP((2, 6, 1)), space)
    shown = [energy, space, flow, found, found.iterate, found.iterate.linearization, energy.pde, energy.pde.form,
             energy.observation, energy.regularization, space.inner_product, Level("4 x 4", energy, space.basis),
             energy.noise, energy.pde.solve(np.zeros(space.size)), HuberNoise(np.ones(900)), StudentNoise(2.0),
             Measurements(np.zeros((900, 2)), np.zeros(900), 1.0), WholeField(space.basis, np.zeros(900)),
             TimeSeries(np.zeros((90, 2)), np.arange(9.0), np.zeros((9, 90))), TotalVariation(space.basis, 1.0, 0.1),
             Model(diffusion, ElementTriP2(), ElementTriP1())]
    for value in shown:
        assert "\n" not in repr(value) and " at 0x" not in repr(value) and len(repr(value)) < 700, type(value)
    assert re.fullmatch(r"Iterate\(step \d+, energy \S+, gradient norm \S+, 25 parameters, \d+ PDE solves, \w+: .*\)",
                        repr(found.iterate))
    assert seen[-1] is found.iterate and len(seen) in (found.iterate.step + 1, found.iterate.step + 2)
    assert -1e-6 < found.excess < 0.1 and found.control.parameters == space.size
    table = found._repr_html_()
    assert f"<td>{found.control.value:.8g}</td>" in table and table.count("<tr>") == 3
    alone = identify(energy, MLP((2, 6, 1)), iterations=1)
    assert np.isnan(alone.excess) and alone._repr_html_().count("<tr>") == 2


def test_a_function_is_drawn():
    space = HilbertSpace.h1(Basis(MESH, ElementTriP1()))
    for where in (space, space.basis):
        figure = draw(where, np.arange(25.0), "temperature")
        assert [axes.get_title() for axes in figure.axes][0] == "temperature"
    with pytest.raises(InputError, match="vector has 3 unknowns and space has 25"):
        draw(space, np.ones(3))
