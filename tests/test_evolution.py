"""Evolutions: orders of convergence, exact discrete derivatives of every scheme and unknown, counts, bad input."""

from itertools import product

import numpy as np
import pytest
import skfem as sk
import torch

from fem_ngf import EvolutionProblem, InputError, Law, SolveError, WeakForm, ddot, dot, grad, inner
from fem_ngf.forms.variation import Variation
from fem_ngf.pde.operator import FreeOperator
from fem_ngf.pde.time import terms
from fem_ngf.pde.time.multistep import steps
from fem_ngf.verify import adjoint_error

METHODS = ("euler", "crank-nicolson", "bdf2", "newmark")
UNEVEN = np.array([0.0, 0.05, 0.12, 0.2, 0.25])
RNG = np.random.default_rng


def basis(refinements=2, element=sk.ElementTriP1):
    return sk.Basis(sk.MeshTri().refined(refinements).with_defaults(), element(), intorder=4)


def forms(state, parameter, *residuals):
    return [WeakForm(residual, state, parameter) for residual in residuals]


def given(t):
    return np.sin(3.0 * t)


# ---- problems: what is unknown, and whether the equation is linear -------------------------------------------------


def coefficient(method="bdf2", **options):
    """A field in the mass and in the equation, data that move in time, two experiments."""
    space = basis()
    mass, form = forms(space, sk.ElementTriP0(), lambda u, v, m, w: torch.exp(0.3 * m) * u * v,
                       lambda u, v, m, w: torch.exp(m) * dot(grad(u), grad(v)) - (1 + w.t) * m * v)
    loads = RNG(1).standard_normal((space.N, 2)) / 20
    options = {"initial": space.doflocs[0], "dirichlet": space.get_dofs("left"), "values": given, **options}
    return EvolutionProblem(mass, form, UNEVEN, method, loads=lambda t: t * loads, linear=True, **options)


def initial_state(method="bdf2"):
    """Transport of an unknown concentration: constant coefficients."""
    space = basis(element=sk.ElementTriP2)
    mass, form, start = forms(space, sk.ElementTriP1(), lambda u, v, m, w: u * v,
                              lambda u, v, m, w: 0.1 * dot(grad(u), grad(v)) + (grad(u)[0] - 0.3 * grad(u)[1]) * v,
                              lambda u, v, m, w: (u - m) * v)
    return EvolutionProblem(mass, form, np.linspace(0, 0.4, 5), method, initial=start, linear=True)


def source(method="bdf2"):
    """A source m(x, t) with nodes in time of its own."""
    space = basis()
    mass, form = forms(space, sk.ElementTriP1(), lambda u, v, m, w: u * v,
                       lambda u, v, m, w: dot(grad(u), grad(v)) - m * v)
    return EvolutionProblem(mass, form, UNEVEN, method, parameter_times=np.array([0.0, 0.1, 0.3]),
                            dirichlet=space.get_dofs(), linear=True)


def several(method="bdf2"):
    """Conductivity, initial state and flux through a part of the boundary m(x, t), all at once; nonlinear."""
    space = basis(1)
    fields = (sk.ElementTriP0(), sk.ElementTriP1(), sk.ElementTriP1())
    mass, form, start = forms(space, fields, lambda u, v, m, w: (u + 0.2 * u**3) * v,
                              lambda u, v, m, w: (1 + m[0] ** 2 + u**2) * dot(grad(u), grad(v)) + m[0] * u**3 * v,
                              lambda u, v, m, w: (u - m[1] ** 2) * v)
    facets = sk.FacetBasis(space.mesh, space.elem, facets=space.mesh.boundaries["right"], intorder=4)
    form = form + WeakForm(lambda u, v, m, w: -(1 + w.t) * torch.exp(m[2]) * v, facets, fields)
    return EvolutionProblem(mass, form, UNEVEN, method, initial=start, parameter_times=(None, None, UNEVEN[::2]),
                            dirichlet=space.get_dofs("left"), values=lambda t: np.array([given(t)] * space.N))


def equilibrium(method="bdf2"):
    """An evolution out of a stationary state that depends on the unknown too; two experiments, nonlinear."""
    space = basis(1)

    def residual(u, v, m, w):
        return torch.exp(m) * dot(grad(u), grad(v)) + u**3 * v - v

    mass, form, start = forms(space, sk.ElementTriP1(), lambda u, v, m, w: (1 + m**2) * u * v, residual, residual)
    loads = np.outer(np.ones(space.N) / space.N, [1.0, 3.0])
    return EvolutionProblem(mass, form, UNEVEN, method, initial=start, dirichlet=space.get_dofs("left"),
                            loads=lambda t: (t > 0) * loads)


def cooling(method="bdf2"):
    """A law of the state in the equation (on one cell, so that it is smooth); nothing moves at the start."""
    space = basis(1)
    law = Law(sk.Basis(sk.MeshLine([0.0, 2.0]), sk.ElementLineHermite(), intorder=4))
    mass, form = forms(space, law, lambda u, v, m, w: u * v, lambda u, v, m, w: torch.exp(m(u)) * dot(grad(u), grad(v)))
    side = sk.FacetBasis(space.mesh, space.elem, facets=space.mesh.boundaries["left"], intorder=4)
    form = form + WeakForm(lambda u, v, m, w: 2 * u * v, side, law)
    return EvolutionProblem(mass, form, UNEVEN, method, initial=1.5)


def membrane():
    """Newmark with damping and an initial velocity, and a density in front of both; two experiments."""
    space = basis()
    density, damping, form = forms(space, sk.ElementTriP1(), lambda u, v, m, w: torch.exp(m) * u * v,
                                   lambda u, v, m, w: (1 + m**2) * u * v,
                                   lambda u, v, m, w: torch.exp(-m) * dot(grad(u), grad(v)) + u * v)
    velocity = np.stack([space.doflocs[0], space.doflocs[1] ** 2], axis=1)
    return EvolutionProblem(density, form, UNEVEN, "newmark", damping=damping, velocity=velocity, initial=0.3,
                            dirichlet=space.get_dofs("left"), values=0.3, linear=True)


def plate():
    """A vector state."""
    space = sk.Basis(sk.MeshTri().refined(1).with_defaults(), sk.ElementVector(sk.ElementTriP2()), intorder=4)
    mass, form = forms(space, sk.ElementTriP1(), lambda u, v, m, w: dot(u, v),
                       lambda u, v, m, w: torch.exp(m) * ddot(grad(u), grad(v)) - v[1])
    return EvolutionProblem(mass, form, UNEVEN, "crank-nicolson", dirichlet=space.get_dofs("left"), linear=True)


UNKNOWNS = {f.__name__: f for f in (coefficient, initial_state, source, several, equilibrium, cooling)}
PROBLEMS = {f"{name}, {method}": lambda make=UNKNOWNS[name], method=method: make(method)
            for name, method in product(UNKNOWNS, METHODS)} | {"membrane": membrane, "plate": plate}


@pytest.fixture(params=PROBLEMS)
def problem(request):
    return PROBLEMS[request.param]()


def directions(problem):
    return 0.3 * RNG(0).standard_normal((3, problem.parameter_size))


# ---- derivatives: the general oracle of states is in test_protocols.py ----------------------------------------------


def test_derivatives_are_those_of_the_scheme(problem):
    """Taylor rates 2 of value and derivative, 3 with second order, and the adjoint identity."""
    m, dm, _ = directions(problem)
    state = problem.solve(m)
    weights = RNG(7).standard_normal(state.u.shape)
    assert adjoint_error(state, dm, weights) < 1e-12

    def value(m):
        return 0.5 * np.sum(weights * problem.solve(m).u ** 2)

    p, du = state.adjoint_state(weights * state.u), state.tangent(dm)
    on_state, on_parameter = state.second_order(du, dm, p)
    slope = dm @ state.pull_back(p)
    curvature = dm @ (state.adjoint(weights * du + on_state, kind="incremental") + on_parameter)
    sizes = 0.5 ** np.arange(4, 7)
    first = np.array([value(m + h * dm) for h in sizes]) - value(m) - sizes * slope
    second = first - 0.5 * sizes**2 * curvature
    for remainder, rate in ((first, 2.0), (second, 3.0)):
        rates = -np.diff(np.log2(np.abs(remainder)))
        exact = np.abs(remainder).max() < 1e-12 * abs(value(m))
        assert exact or abs(2 * rates[1] - rates[0] - rate) < 0.02  # extrapolated to vanishing steps


ADJOINT_STEPS = {  # as docs/theory.md writes them: what (M, D, K)^T act on, of p at three times, steps h and ratios w
    "euler": lambda p, h, w: (p[0] - p[1], 0 * p[0], h[0] * p[0]),
    "crank-nicolson": lambda p, h, w: (p[0] - p[1], 0 * p[0], (h[0] * p[0] + h[1] * p[1]) / 2),
    "bdf2": lambda p, h, w: ((1 + 2 * w[0]) / (1 + w[0]) * p[0] - (1 + w[1]) * p[1] + w[2] ** 2 / (1 + w[2]) * p[2],
                             0 * p[0], h[0] * p[0]),
    "newmark": lambda p, h, w: ((p[0] - p[1]) / h[0] - (p[1] - p[2]) / h[1], (p[0] - p[2]) / 2,
                                (h[0] * (p[0] + p[1]) + h[1] * (p[1] + p[2])) / 4),
}


@pytest.mark.parametrize("method", METHODS)
def test_adjoint_steps_are_those_of_the_theory(method):
    problem = membrane() if method == "newmark" else cooling(method)
    m, last = directions(problem)[0], len(UNEVEN) - 1
    state = problem.solve(m)
    covector = RNG(3).standard_normal(state.film.shape)
    p = np.zeros((len(UNEVEN) + 2, *state.film.shape[1:]))
    p[:-2] = state.adjoint_state(covector.reshape(state.u.shape)).reshape(state.film.shape)
    h = np.append(np.nan, np.diff(UNEVEN))
    h = np.append(h, [h[last]] * 2)                                   # of steps that are not there: of no weight
    free = np.setdiff1d(np.arange(problem.size), problem.dirichlet)
    for i in range(2, len(UNEVEN)):
        ratios = h[i:i + 3] / h[i - 1:i + 2]
        used = ADJOINT_STEPS[method](p[i:i + 3], h[i:i + 3], ratios)
        forms = [problem.terms[0].form, problem.terms[1].form if method == "newmark" else None, problem.form]
        parts = [form.at(UNEVEN[i]).tangent(state.film[i, :, 0], m).T @ q for form, q in zip(forms, used, strict=True)
                 if form is not None]
        largest = max(np.abs(part).max() for part in parts)
        assert np.abs((sum(parts) + covector[i])[free]).max() < 1e-12 * largest


def test_initial_and_dirichlet_values_are_met():
    problem = coefficient()
    state = problem.solve(directions(problem)[0])
    assert np.allclose(state.film[:, problem.dirichlet], given(UNEVEN)[:, None, None])
    free = np.setdiff1d(np.arange(problem.size), problem.dirichlet)
    assert np.array_equal(state.film[0, free, 0], basis().doflocs[0][free])
    assert not state.tangent(directions(problem)[1])[:problem.size].any()


def test_unknown_initial_state_is_the_parameter_where_both_have_one_element():
    space = basis()
    mass, form, start = forms(space, space, lambda u, v, m, w: u * v, lambda u, v, m, w: dot(grad(u), grad(v)),
                              lambda u, v, m, w: (u - m) * v)
    m = RNG(0).standard_normal(space.N)
    film = EvolutionProblem(mass, form, UNEVEN, initial=start, linear=True).solve(m).film
    assert np.allclose(film[0, :, 0], m, rtol=1e-11, atol=1e-11)
    assert np.allclose(mass.residual(film[-1, :, 0], m).sum(), mass.residual(m, m).sum())  # no flux: mass is kept


@pytest.mark.parametrize("method", METHODS)
def test_linear_and_nonlinear_marching_agree(method):
    linear = coefficient(method)
    other = coefficient(method)
    other.linear = False
    for term in other.terms:
        term.linear = term.steady = term.affine = False
    m, dm, _ = directions(linear)
    one, two = linear.solve(m), other.solve(m)
    assert np.allclose(one.u, two.u, rtol=1e-10, atol=1e-12)
    assert np.allclose(one.tangent(dm), two.tangent(dm), rtol=1e-9, atol=1e-11)
    again = other.solve(m, start=one)
    assert np.allclose(again.u, one.u, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("element", [sk.ElementTriP2(), sk.ElementVector(sk.ElementTriP1())])
def test_variation_is_the_parameter_tangent_at_any_state(element):
    """Cells and facets, several fields, states of one and of two components."""
    space = sk.Basis(sk.MeshTri().refined(1).with_defaults(), element, intorder=4)
    facets = sk.FacetBasis(space.mesh, element, facets=space.mesh.boundaries["left"], intorder=4)
    fields = (sk.ElementTriP1(), sk.ElementTriP0())
    form = WeakForm(lambda u, v, m, w: torch.exp(m[0]) * inner(grad(u), grad(v)) + m[1] ** 2 * inner(v, 0.0 * u + 1.0),
                    space, fields)
    form = form + WeakForm(lambda u, v, m, w: m[0] * m[1] * inner(u, v), facets, fields)
    m, dm = RNG(0).standard_normal((2, form.parameter_size))
    u, p = RNG(1).standard_normal((form.state_size, 4)), RNG(2).standard_normal((form.state_size, 4, 3))
    variation, rest = Variation.of(form, m), form.parameter_tangent(0.0 * u[:, 0], m)
    tangents = [form.parameter_tangent(column, m) - rest for column in u.T]
    moved = np.stack([tangent @ dm for tangent in tangents], axis=1)
    assert np.allclose(variation.along(dm) @ u, moved, rtol=1e-11, atol=1e-12 * np.abs(moved).max())
    expected = sum(tangent.T @ p[:, j] for j, tangent in enumerate(tangents))
    found = variation.pull_back(variation.products(p, u))
    assert np.allclose(found, expected, rtol=1e-11, atol=1e-12 * np.abs(expected).max())


# ---- orders of convergence ------------------------------------------------------------------------------------------


def exact(t, x):
    return np.exp(-t) * (1.0 + x)


def evolution(method, times):
    """u = exp(-t) (1 + x), of which only the scheme in time is in error.

    It solves (u + u^3)_t - u_xx + u + 3 u^3 = 0, and u_tt + 2 u_t - u_xx + u + 3 u^3 = 3 exp(-3t) (1 + x)^3.
    """
    space = sk.Basis(sk.MeshLine(np.linspace(0, 1, 3)), sk.ElementLineP1(), intorder=6)
    mass, first, second, linear, damping = forms(
        space, sk.ElementLineP0(), lambda u, v, m, w: (u + u**3) * v,
        lambda u, v, m, w: dot(grad(u), grad(v)) + (u + 3 * u**3) * v,
        lambda u, v, m, w: dot(grad(u), grad(v)) + (u + 3 * u**3 - 3 * torch.exp(-3 * w.t) * (1 + w.x[0]) ** 3) * v,
        lambda u, v, m, w: u * v, lambda u, v, m, w: 2 * u * v)
    x = space.doflocs[0]
    ends = np.where(x == 1, 1.0, 0.0) - np.where(x == 0, 1.0, 0.0)  # the flux through both of them
    data = {"initial": exact(0.0, x), "loads": lambda t: np.exp(-t) * ends}
    if method == "newmark":
        return x, EvolutionProblem(linear, second, times, method, velocity=-exact(0.0, x), damping=damping, **data)
    return x, EvolutionProblem(mass, first, times, method, **data)


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("crank-nicolson", 2), ("bdf2", 2), ("newmark", 2)])
@pytest.mark.parametrize("uneven", [0.0, 0.7])
def test_order_of_convergence(method, order, uneven):
    errors = []
    for count in (20, 40) if uneven else (10, 20):
        t = np.linspace(0, 1, count + 1)
        t += uneven * np.sin(2 * np.pi * t) / (2 * np.pi)
        x, problem = evolution(method, t)
        near = exact(t[:, None], x).reshape(-1, 1)  # where Newton's method starts, so that it takes fewer steps
        film = problem.solve(np.zeros(problem.parameter_size), near).film
        errors.append(np.abs(film[-1, :, 0] - exact(1.0, x)).max())
    assert abs(np.log2(errors[0] / errors[1]) - order) < 0.1, errors


def test_newmark_keeps_the_energy_of_a_wave():
    """Average acceleration is the trapezoidal rule: without damping (u_t, u_t) + (grad u, grad u) stays."""
    space = basis()
    mass, form = forms(space, sk.ElementTriP0(), lambda u, v, m, w: u * v, lambda u, v, m, w: dot(grad(u), grad(v)))
    u0 = np.cos(np.pi * space.doflocs[0])
    problem = EvolutionProblem(mass, form, np.linspace(0, 2, 41), "newmark", initial=u0, linear=True)
    m = np.zeros(problem.parameter_size)
    film, matrices = problem.solve(m).film[..., 0], [each.tangent(u0, m) for each in (mass, form)]
    speed, middle = np.diff(film, axis=0) / 0.05, 0.5 * (film[1:] + film[:-1])
    energy = sum(np.einsum("ti,ti->t", part @ matrix, part)
                 for part, matrix in zip((speed, middle), matrices, strict=True))
    assert np.ptp(energy) < 1e-12 * energy.max()


# ---- cost ----------------------------------------------------------------------------------------------------------


def test_constant_coefficients_share_one_factorisation(monkeypatch):
    problem = initial_state("euler")
    made = []
    monkeypatch.setattr(problem, "factorize", lambda parts: made.append(1) or type(problem).factorize(problem, parts))
    m, dm, _ = directions(problem)
    for vector in (m, dm):
        state = problem.solve(vector)
        state.adjoint(state.u)
        state.tangent(dm)
    assert len(made) == 2  # that of the initial state and that of every step
    assert problem.counts.as_dict() == {"forward": 10, "adjoint": 10, "incremental": 10, "total": 30}
    assert problem.evolutions.as_dict() == {"forward": 2, "adjoint": 2, "incremental": 2, "total": 6}
    state.tangent(np.stack([m, dm], axis=1))
    assert problem.counts.incremental == 20 and problem.evolutions.incremental == 4


def test_a_source_that_moves_does_not_make_new_factorisations(monkeypatch):
    """The form asks for the time, but its matrix stays: one factorisation, as with the source among the loads."""
    space = basis()
    mass, form, plain = forms(space, sk.ElementTriP0(), lambda u, v, m, w: u * v,
                              lambda u, v, m, w: torch.exp(m) * dot(grad(u), grad(v)) - torch.sin(w.t) * v,
                              lambda u, v, m, w: torch.exp(m) * dot(grad(u), grad(v)))
    ones = mass.residual(np.ones(space.N), np.zeros(plain.parameter_size))
    moving, loaded = (EvolutionProblem(mass, each, np.linspace(0, 1, 9), "crank-nicolson", linear=True, loads=loads)
                      for each, loads in ((form, 0.0), (plain, lambda t: np.sin(t) * ones)))
    made, factorize = [], FreeOperator.factorize
    monkeypatch.setattr(FreeOperator, "factorize", lambda *args: made.append(1) or factorize(*args))
    m = RNG(0).standard_normal(form.parameter_size)
    assert np.allclose(moving.solve(m).u, loaded.solve(m).u, rtol=1e-12, atol=1e-14) and len(made) == 2


def test_few_factorisations_are_kept(monkeypatch):
    """Steps of many lengths: what is not kept is made again, and nothing changes."""
    found = []
    for kept in (terms.KEPT, 1):
        monkeypatch.setattr(terms, "KEPT", kept)
        problem = coefficient("bdf2")
        m, dm, _ = directions(problem)
        state = problem.solve(m)
        covector = RNG(0).standard_normal(state.u.shape)
        found.append((state.u, state.tangent(dm), state.adjoint(covector)))
        assert sum(key[0] == "solver" for key in state._recursion.tangents._kept) == (1 if kept == 1 else 4)
    assert all(np.array_equal(one, other) for one, other in zip(*found, strict=True))


def test_steps_before_the_first_change_and_after_the_last_datum_cost_nothing():
    problem = source("euler")
    state = problem.solve(np.zeros(problem.parameter_size))
    dm = np.zeros((3, problem.parameter_size // 3))
    dm[2] = 1.0  # vanishes up to t = 0.1
    state.tangent(dm.ravel())
    assert problem.counts.incremental == 3
    covector = np.zeros_like(state.film)
    covector[2] = 1.0
    state.adjoint_state(covector.reshape(state.u.shape))
    assert problem.counts.adjoint == 2


def test_steps_of_equal_length_are_equal():
    times = np.concatenate([np.linspace(0, 1, 11), 1 + 0.25 * np.arange(1, 5)])
    assert len(set(np.diff(times))) > 2 and len(set(steps(times))) == 2
    assert np.allclose(steps(times), np.diff(times), rtol=1e-12)


# ---- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("change", "message"), [
    ({"times": [0.0, 0.2, 0.1]}, "times must increase; entry 2 is 0.1 after 0.2"),
    ({"times": [0.0, np.nan]}, "times has 1 entries that are not finite"),
    ({"times": [0.0]}, r"times has shape \(1,\); it needs \(T,\) with T >= 2"),
    ({"times": [0.0, 0.1, 0.4], "method": "bdf2"}, "step 2 is 3 times as long .* BDF2 is unstable"),
    ({"times": "soon"}, "times "), ({"tolerance": 0.0}, "tolerance is 0.0"), ({"damping": 3.0}, "damping is a float"),
    ({"method": "leapfrog"}, "method is 'leapfrog'; choose 'euler'"),
    ({"initial": np.zeros(3)}, r"initial has shape \(3,\)"),
    ({"initial": np.zeros((25, 2)), "loads": np.zeros((25, 3))}, "initial has 2 columns but there are 3 experiments"),
    ({"values": lambda t: np.nan}, "values has entries that are not finite"),
    ({"velocity": 0.0}, "velocity is for method 'newmark'"),
    ({"parameter_times": [0.0, 0.1]}, "parameter_times run from 0 to 0.1; they must cover the times, 0 to 0.25"),
    ({"parameter_times": (None, None)}, "parameter_times has 2 entries for 1 fields"),
])
def test_bad_input_is_named_in_one_line(change, message):
    space = basis()
    mass, form = forms(space, space, lambda u, v, m, w: u * v, lambda u, v, m, w: dot(grad(u), grad(v)))
    with pytest.raises(InputError, match=message) as caught:
        EvolutionProblem(mass, form, **{"times": UNEVEN, **change})
    assert "\n" not in str(caught.value)


def test_other_failures_are_named():
    space = basis()
    mass, form = forms(space, space, lambda u, v, m, w: u * v, lambda u, v, m, w: torch.exp(m) * u**2 * v - v)
    with pytest.raises(InputError, match="not linear in the state"):
        EvolutionProblem(mass, form, UNEVEN, initial=1.0, linear=True).solve(np.zeros(space.N))
    problem = EvolutionProblem(mass, form, UNEVEN, initial=1.0)
    with pytest.raises(InputError, match="m has shape"):
        problem.solve(np.zeros(3))
    with pytest.raises(SolveError):
        problem.solve(np.full(space.N, 1e4))
    with pytest.raises(InputError, match="start has shape"):
        problem.solve(np.zeros(space.N), start=np.zeros(3))
    with pytest.raises(InputError, match="mass has"):
        EvolutionProblem(*forms(basis(1), sk.ElementTriP1(), lambda u, v, m, w: u * v), form, UNEVEN)
    state = problem.solve(np.zeros(space.N))
    with pytest.raises(InputError, match="covector has shape"):
        state.adjoint(np.zeros(3))
    with pytest.raises(InputError, match="kind is 'new'"):
        state.adjoint(state.u, kind="new")
