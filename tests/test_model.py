"""A model on a mesh: one quadrature, boundary values by names, experiments, several fields."""

import numpy as np
import pytest
import torch
from skfem import Basis, ElementTriP1, ElementTriP2, ElementVector

from fem_ngf import (
    MLP,
    Blocks,
    Evolution,
    GaussianNoise,
    HilbertSpace,
    InputError,
    InverseProblem,
    Measurements,
    Model,
    StationaryProblem,
    StudentNoise,
    TensorSpace,
    Tikhonov,
    TimeSeries,
    WeakForm,
    WholeField,
    ddot,
    div,
    dot,
    grad,
    point_values,
    realize,
    rectangle,
    sym_grad,
    taylor_rate,
    unit_square,
)


def conduction(u, v, m, w):
    return torch.exp(m) * dot(grad(u), grad(v))


def model(**options) -> Model:
    return Model(conduction, ElementTriP2(), ElementTriP1(), **{"linear": True, "definite": True, **options})


def test_the_equation_the_projection_and_the_regularisation_have_one_quadrature():
    discrete = model(dirichlet=0.0, intorder=5).on(unit_square(3))
    np.testing.assert_array_equal(discrete.state.dx, discrete.parameter.dx)
    np.testing.assert_array_equal(discrete.space.weights, discrete.state.dx.ravel())
    np.testing.assert_allclose(discrete.space.mass.toarray(), HilbertSpace.l2(Basis(unit_square(3), ElementTriP1()))
                               .mass.toarray(), atol=1e-15)


def test_the_energy_is_the_one_put_together_by_hand():
    mesh, points, m = unit_square(4), np.array([[0.3, 0.4], [0.7, 0.2]]), np.linspace(-1.0, 1.0, 25)
    measured = Measurements(points, np.array([0.2, 0.9]), np.array([0.1, 0.2]))
    bottom_up = model(dirichlet={"bottom": 0.0, "top": lambda x: 1.0 + x[0]})
    energy = bottom_up.on(mesh).inverse_problem(measured, lambda space: Tikhonov(space.stiffness), 0.3)
    state, parameter = Basis(mesh, ElementTriP2()), Basis(mesh, ElementTriP1())
    values = np.where(state.doflocs[1] > 0.5, 1.0 + state.doflocs[0], 0.0)
    pde = StationaryProblem(WeakForm(conduction, state, ElementTriP1()), dirichlet=state.get_dofs(["bottom", "top"]),
                            values=values, linear=True)
    space = HilbertSpace.l2(parameter)
    by_hand = InverseProblem(pde, point_values(state, points), measured.values, GaussianNoise.from_std(measured.std),
                             Tikhonov(space.stiffness, 0.3), space)
    assert energy(m) == pytest.approx(by_hand(m), rel=1e-12)
    np.testing.assert_allclose(energy.linearize(m).derivative, by_hand.linearize(m).derivative, atol=1e-12)


def test_experiments_fluxes_and_boundary_residuals():
    """u = x by temperatures, by a flux, and by a flux with heat transfer to zero (u = x + 1) at the left."""
    mesh = rectangle((4, 3))
    given = model(dirichlet={"left": 0.0, "right": [1.0, 0.0]}, neumann={"top": [0.0, 1.0]})
    assert given.experiments == 2
    discrete = given.on(mesh)
    u = discrete.solve(lambda x: 0.0 * x[0]).u
    np.testing.assert_allclose(u[:, 0], discrete.state.doflocs[0], atol=1e-12)
    assert u[:, 1].max() > 0.1
    robin = model(neumann={"right": lambda x: 1.0 + 0.0 * x[0]}, boundary={"left": lambda u, v, m, w: w.h_left * u * v},
                  data={"h_left": 1.0}).on(mesh)
    np.testing.assert_allclose(robin.solve(np.zeros(20)).u[:, 0], robin.state.doflocs[0] + 1.0, atol=1e-12)


def test_data_of_the_residual_are_taken_at_the_quadrature_points():
    poisson = Model(lambda u, v, m, w: dot(grad(u), grad(v)) - w.f * v + 0.0 * m * v, ElementTriP2(), ElementTriP1(),
                    dirichlet=lambda x: x[0] ** 2, data={"f": lambda x: -2.0 + 0.0 * x[0]}, linear=True)
    poisson = poisson.on(unit_square(3))
    np.testing.assert_allclose(poisson.solve(lambda x: x[0]).u[:, 0], poisson.state.doflocs[0] ** 2, atol=1e-12)


def test_several_fields_live_in_a_product_space():
    def residual(u, v, fields, w):
        m, f = fields
        return torch.exp(m) * dot(grad(u), grad(v)) - f * v

    both = Model(residual, ElementTriP2(), (ElementTriP1(), ElementTriP1()), dirichlet=0.0, linear=True)
    discrete = both.on(unit_square(3))
    m = discrete.nodal((lambda x: 0.1 * x[0], lambda x: 1.0 + x[1]))
    assert m.shape == (discrete.space.size,) == (32,)
    data = WholeField(discrete.state, np.ones(discrete.state.N))
    energy = discrete.inverse_problem(
        data, lambda space: Blocks(tuple(Tikhonov(part.stiffness) for part in space.spaces), space.sizes))
    assert taylor_rate(energy.as_scipy(), m, np.linspace(-1.0, 1.0, 32)) == pytest.approx(2.0, abs=0.1)


def test_vector_elements_take_functions_with_components():
    """A vector unknown by its values, and a bar under tension held by sliding supports: u = (x, -nu y)."""
    nu = 0.3

    def elastic(u, v, m, w):  # plane stress with Young's modulus one
        strain, trace = sym_grad(u), nu / (1.0 - nu**2) * div(u) * div(v)
        return ddot(strain, sym_grad(v)) / (1.0 + nu) + trace + 0.0 * m * div(v)

    bar = Model(elastic, ElementVector(ElementTriP2()), ElementTriP1(), linear=True,
                dirichlet={"left": lambda x: np.stack([0.0 * x[0], -nu * x[1]])},
                neumann={"right": lambda x: np.stack([1.0 + 0.0 * x[0], 0.0 * x[0]])}).on(unit_square(3))
    u, x = bar.solve(lambda x: 0.0).u[:, 0], bar.state.doflocs
    np.testing.assert_allclose(u[::2], x[0, ::2], atol=1e-12)
    np.testing.assert_allclose(u[1::2], -nu * x[1, ::2], atol=1e-12)

    wind = Model(lambda u, v, m, w: dot(grad(u), grad(v)) + dot(m, grad(u)) * v - v, ElementTriP2(),
                 ElementVector(ElementTriP1()), dirichlet=0.0, linear=True).on(unit_square(3))
    m = wind.nodal(lambda x: np.stack([x[0], 2.0 * x[1]]))
    points = wind.space.points
    np.testing.assert_allclose(wind.space.evaluate(m), points * [1.0, 2.0], atol=1e-12)
    assert np.all(wind.nodal(lambda x: 3.0) == 3.0)


def test_an_evolution_takes_functions_of_space_and_time():
    """u = x + t has u_t - lap u = 1, a flux of 1 on the right and values on the left; a second experiment has zeros."""
    equation = Model(lambda u, v, m, w: dot(grad(u), grad(v)) - m * v, ElementTriP1(), ElementTriP1(), linear=True,
                     dirichlet={"left": [lambda x, t: x[0] + t, 0.0]},
                     neumann={"right": [lambda x, t: 1.0 + 0.0 * t, 0.0]},
                     evolution=Evolution(lambda u, v, m, w: u * v, np.array([0.5, 0.6, 0.8]),
                                         initial=[lambda x: x[0] + 0.5, 0.0]))
    discrete = equation.on(unit_square(3))
    film = discrete.solve(lambda x: 1.0).film
    assert equation.experiments == 2 and film.shape == (3, 16, 2)
    np.testing.assert_allclose(film[..., 0], discrete.state.doflocs[0] + np.array([[0.5], [0.6], [0.8]]), atol=1e-12)
    series = TimeSeries(np.array([[0.3, 0.4]]), np.array([0.55, 0.8]), np.zeros((2, 1, 2)), np.ones((2, 1, 2)))
    energy = discrete.inverse_problem(series, lambda space: Tikhonov(space.mass))
    residual = energy.linearize(discrete.nodal(lambda x: 1.0)).residual
    np.testing.assert_allclose(residual[:, 0], [0.85, 1.1], atol=1e-12)
    assert taylor_rate(energy.as_scipy(), np.ones(16), np.linspace(-1.0, 1.0, 16)) == pytest.approx(2.0, abs=0.1)


def test_outliers_are_a_matter_of_the_likelihood():
    measured = Measurements(np.array([[0.5, 0.5]]), np.array([9.0]), np.array([0.1]), StudentNoise)
    energy = model(dirichlet=1.0).on(unit_square(2)).inverse_problem(measured, lambda space: Tikhonov(space.stiffness))
    assert energy(np.zeros(9)) == pytest.approx(2.5 * np.log1p(80.0**2 / 4))


def test_bad_input_is_named():
    mesh, measured = unit_square(2), Measurements(np.array([[0.5, 0.5]]), np.array([1.0]))
    with pytest.raises(InputError, match="'lid'; known: bottom"):
        model(dirichlet={"lid": 0.0}).on(mesh)
    with pytest.raises(InputError, match="2 experiments, another one of 3"):
        model(dirichlet={"left": [0.0, 1.0], "right": [0.0, 1.0, 2.0]}).on(mesh)
    with pytest.raises(InputError, match=r"values of shape \(2, 9\) at 9 points; this element needs \(9,\)"):
        model(dirichlet=0.0).on(mesh).nodal(lambda x: x)
    with pytest.raises(InputError, match="the state is a vector; give a function"):
        Model(conduction, ElementVector(ElementTriP1()), ElementTriP1(), neumann={"left": 1.0}).on(mesh)
    with pytest.raises(InputError, match="the ansatz has 2 outputs and the unknown 1 components"):
        realize(MLP((2, 3, 2)), MLP((2, 3, 2)).initial(np.random.default_rng(0)), model().on(mesh).space)
    with pytest.raises(InputError, match="have no std"):
        model(dirichlet=0.0).on(mesh).inverse_problem(measured, lambda space: Tikhonov(space))


def test_a_parameter_that_moves_lives_in_space_and_time():
    """A source that grows in time, on coarser steps than the equation's: nodal values, the state, what is refused."""
    times, nodes = np.linspace(0.0, 1.0, 9), np.array([0.0, 0.25, 1.0])
    evolution = Evolution(lambda u, v, m, w: u * v, times, "crank-nicolson", parameter_times=nodes)
    model = Model(lambda u, v, m, w: -m * v, ElementTriP1(), ElementTriP1(), linear=True, evolution=evolution)
    discrete = model.on(unit_square(2))
    assert isinstance(discrete.space, TensorSpace) and discrete.space.size == 3 * 9
    assert np.array_equal(discrete.nodal(lambda x: x[2]), np.repeat(nodes, 9))
    film = discrete.solve(lambda x: 2.0 * x[2]).film
    assert np.allclose(film[:, :, 0], times[:, None] ** 2, atol=1e-12)
    with pytest.raises(InputError, match="parameter_times is for one field"):
        Model(lambda u, v, m, w: u * v, ElementTriP1(), (ElementTriP1(), ElementTriP1()), evolution=evolution)
