"""Laws of the state: equal to the form with the law written out, and differentiated exactly."""

import numpy as np
import pytest
import skfem as sk
import torch
from test_forms import bent, taylor_rates, vectors

from fem_ngf import (
    FiniteElement,
    HilbertSpace,
    InputError,
    Law,
    Measurements,
    Model,
    SolveError,
    Tikhonov,
    WeakForm,
    dot,
    grad,
    point_values,
    unit_square,
)
from fem_ngf.forms.laws import LocalLaw
from fem_ngf.verify import adjoint_error, verify_energy

STATES = {"P1": sk.ElementTriP1(), "P2": sk.ElementTriP2()}


def state(name):
    return sk.Basis(bent(sk.MeshTri().refined(2)), STATES[name], intorder=4)


def line(element, cells=6, lower=-1.0, upper=2.0, **how):
    """A law of one argument on uneven cells."""
    shares = np.linspace(0.0, 1.0, cells + 1) ** 1.3
    return Law(sk.Basis(sk.MeshLine(lower + (upper - lower) * shares), element), **how)


def plate(element):
    """A law of two arguments on uneven cells, in another order than that of the grid."""
    mesh = sk.MeshQuad.init_tensor(np.array([-1.5, -0.2, 0.3, 2.0]), np.array([-1.0, 0.1, 3.0]))
    return Law(sk.Basis(sk.MeshQuad(mesh.p, mesh.t[:, np.random.default_rng(2).permutation(mesh.t.shape[1])]), element))


def box():
    mesh = sk.MeshHex.init_tensor(np.linspace(-1, 2, 3), np.linspace(-1, 2, 4), np.linspace(-1, 2, 3))
    return Law(sk.Basis(mesh, sk.ElementHex1()))


def smooth(basis):
    """A state whose values and gradients visit several cells of every law and leave none."""
    x, y = basis.doflocs
    return -0.5 + 0.3 * x + 0.45 * x**2 + 0.3 * y**2


def square(u):
    return dot(grad(u), grad(u))


def of_state(u, v, k, w):
    return k(u) * dot(grad(u), grad(v)) + u**3 * v


def of_gradient(u, v, k, w):
    return k(square(u)) * dot(grad(u), grad(v)) + k(u) ** 2 * v


def of_two(u, v, k, w):
    return k(u, square(u)) * v + k(u, w.x[0]) * grad(v)[0]


def of_three(u, v, k, w):
    return k(u, w.x[0], w.x[1]) * (v + grad(v)[1])


def flux(u, v, k, w):
    return dot(k(*grad(u)), grad(v)) + u * v


def cubic(s):
    return 2.0 + 0.5 * s - s**2 + 0.3 * s**3


def surface(s, t):
    return 1.0 + s * t + 0.5 * s**2 * t - t**2


LAWS = {
    "Hermite": (of_state, lambda: line(sk.ElementLineHermite()), cubic),
    "P1": (of_state, lambda: line(sk.ElementLineP1()), lambda s: 2.0 + 0.5 * s),
    "P2": (of_state, lambda: line(sk.ElementLineP2()), lambda s: 2.0 + 0.5 * s - s**2),
    "gradient": (of_gradient, lambda: line(sk.ElementLineHermite()), cubic),
    "Q2": (of_two, lambda: plate(sk.ElementQuad2()), surface),
    "BFS": (of_two, lambda: plate(sk.ElementQuadBFS()), surface),
    "flux": (flux, lambda: plate(sk.ElementVector(sk.ElementQuad2())),
             lambda s, t: torch.stack([surface(s, t), s - 2.0 * t])),
    "box": (of_three, box, lambda s, t, r: 1.0 + s - 2.0 * s * t * r),
}


def interpolant(law, function):
    """Vector of the law that is the function: moments of it, by L2 projection."""
    space = HilbertSpace.l2(sk.Basis(law.basis.mesh, law.basis.elem, intorder=8))
    arguments = [torch.as_tensor(row)[None] for row in space.points.T]
    values = function(*arguments).numpy()
    return space.project(values[0] if values.ndim == 2 else values[:, 0].T)


@pytest.mark.parametrize("element", STATES)
@pytest.mark.parametrize("name", LAWS)
def test_a_law_equals_the_form_with_the_law_written_out(name, element):
    residual, made, function = LAWS[name]
    basis, law = state(element), made()
    form = WeakForm(residual, basis, law)
    plain = WeakForm(lambda u, v, m, w: residual(u, v, lambda *y: function(*(torch.as_tensor(a.value if hasattr(
        a, "value") else a) for a in y)), w), basis, sk.ElementTriP0())
    u, m, zero = smooth(basis), interpolant(law, function), np.zeros(plain.parameter_size)
    p = np.random.default_rng(1).standard_normal(form.state_size)
    for ours, theirs in [(form.residual(u, m), plain.residual(u, zero)), (form.tangent(u, m), plain.tangent(u, zero)),
                         (form.second_derivatives(u, m, p).uu, plain.second_derivatives(u, zero, p).uu)]:
        assert abs(ours - theirs).max() <= 1e-10 * abs(theirs).max()
    assert np.ptp(form.visited(u, m)[0][0], axis=0).max() > 0.6


@pytest.mark.parametrize("element", STATES)
@pytest.mark.parametrize("name", LAWS)
def test_taylor_rates(name, element):
    residual, made, function = LAWS[name]
    law, basis = made(), state(element)
    form = WeakForm(residual, basis, law)
    rates = taylor_rates(form, (smooth(basis), interpolant(law, function)), scale=0.02)
    assert np.all(np.abs(rates - 2.0) < 0.03)


def test_a_residual_that_is_linear_in_its_law_is_its_parameter_tangent():
    """For any coefficients, on cells and on facets, where a law is called with what is not smooth across its cells."""
    facets = sk.FacetBasis(bent(sk.MeshTri().refined(2)), sk.ElementTriP2(), intorder=4)
    vector = sk.Basis(bent(sk.MeshTri().refined(1)), sk.ElementVector(sk.ElementTriP2()), intorder=4)
    curved = sk.Basis(sk.MeshTri2.init_circle(1), sk.ElementTriP2(), intorder=4)
    laws = [(facets, line(sk.ElementLineHermite()), lambda u, v, k, w: k(u) * v + k(w.x[0]) * dot(grad(v), w.n)),
            (curved, line(sk.ElementLineP2()), lambda u, v, k, w: k(u) * dot(grad(u), grad(v))),
            (vector, plate(sk.ElementQuad1()), lambda u, v, k, w: k(*u) * (grad(u) * grad(v)).sum((0, 1)) + v[1])]
    for basis, law, residual in laws:
        form = WeakForm(residual, basis, law)
        u, m = vectors(form)
        expected = form.residual(u, m) - form.residual(u, 0 * m)
        assert np.abs(form.parameter_tangent(u, m) @ m - expected).max() <= 1e-12 * np.abs(expected).max()


def test_laws_beside_fields_and_other_laws():
    basis = state("P2")
    form = WeakForm(lambda u, v, m, w: m[0] * m[1](u) * dot(grad(u), grad(v)) + m[2](square(u), u) * m[1](m[0]) * v,
                    basis, (sk.ElementTriP1(), line(sk.ElementLineHermite()), plate(sk.ElementQuadBFS())))
    u = smooth(basis)
    field = 0.5 + 0.1 * np.arange(basis.with_element(sk.ElementTriP1()).N) / 25
    parts = [interpolant(law(), function) for _, law, function in (LAWS["Hermite"], LAWS["BFS"])]
    assert np.abs(taylor_rates(form, (u, np.concatenate([field, *parts])), scale=0.02) - 2.0).max() < 0.03
    with pytest.raises(InputError, match="cannot be added"):
        form + WeakForm(of_state, basis, line(sk.ElementLineP1()))
    (one, weights), (two, _) = form.visited(u, np.concatenate([field, *parts]))
    assert one.shape == (2 * basis.dx.size, 1) and two.shape == (basis.dx.size, 2)
    assert weights.sum() == pytest.approx(2 * basis.dx.sum())


@pytest.mark.parametrize("continuation, expected", [("linear", lambda s: 4.0 + 4.0 * (s - 2.0)),
                                                    ("constant", lambda s: 4.0 + 0.0 * s)])
def test_continuation_beyond_the_mesh(continuation, expected):
    """Of s^2 on [-1, 2]; its derivative in the state is that of the continuation."""
    law = line(sk.ElementLineP2(), continuation=continuation)
    basis = state("P2")
    form = WeakForm(lambda u, v, k, w: k(u) * v, basis, law)
    m, p = interpolant(law, lambda s: s**2), np.ones(basis.N)
    u = 2.0 + basis.doflocs[0]
    plain = WeakForm(lambda u, v, m, w: expected(u.value) * v, basis, sk.ElementTriP0())
    zero = np.zeros(plain.parameter_size)
    assert np.allclose(form.residual(u, m), plain.residual(u, zero), atol=1e-13)
    assert abs(form.tangent(u, m) - plain.tangent(u, zero)).max() < 1e-12
    assert abs(form.second_derivatives(u, m, p).uu).max() < 1e-12
    law = plate(sk.ElementQuadBFS())
    both = WeakForm(lambda u, v, k, w: k(u, 3.0 * u) * v, basis, law)
    assert np.abs(taylor_rates(both, (0.9 + u, interpolant(law, surface)), 0.02) - 2.0).max() < 0.03


def problem(element, pieces):
    """``-div(k(u) grad u) = 10`` with sensors, on a law's space."""
    law = line(element, pieces, -0.5, 2.5)
    model = Model(lambda u, v, k, w: k(u) * dot(grad(u), grad(v)) - 10.0 * v, sk.ElementTriP2(), law,
                  dirichlet={"left": 0.0, "right": lambda x: x[1]}, intorder=4)
    discrete = model.on(unit_square(6))
    points = np.random.default_rng(3).uniform(0.1, 0.9, (12, 2))
    m = interpolant(law, lambda s: 1.0 + s**2)
    exact = point_values(discrete.state, points)(discrete.solve(m).u)
    return discrete.inverse_problem(Measurements(points, exact, np.full(exact.shape, 0.01)),
                                    lambda space: Tikhonov(space.stiffness), 1e-3), discrete.space, m


@pytest.mark.parametrize("element, pieces", [(sk.ElementLineHermite(), 8), (sk.ElementLineP2(), 1)],
                         ids=["Hermite", "P2"])
def test_an_inverse_problem_for_a_law(element, pieces):
    """Adjoint identity to rounding; derivative and both Hessians of the reduced functional.

    Between the cells of a law its slope must be continuous for that.
    """
    energy, space, m = problem(element, pieces)
    linearization = energy.linearize(1.1 * m)
    rng = np.random.default_rng(0)
    assert adjoint_error(linearization.state, rng.standard_normal(space.size),
                         rng.standard_normal(linearization.state.u.shape)) < 1e-11
    rates = verify_energy(energy, FiniteElement(space), 1.1 * m, space, rng)
    assert all(check.passed for check in rates), "\n".join(map(str, rates))


def failed(energy, space, m, seed):
    checks = verify_energy(energy, FiniteElement(space), 1.1 * m, space, np.random.default_rng(seed))
    return [str(check) for check in checks if not check.passed]


@pytest.mark.parametrize("pieces", [2, 7, 40])
def test_no_false_alarm_where_slopes_jump(pieces):
    """On uneven cells, of which few or many are crossed along the directions, by few quadrature points."""
    assert [failed(*problem(sk.ElementLineP1(), pieces), seed) for seed in range(2)] == [[], []]


@pytest.mark.parametrize(("variable", "share"), [("law", 5e-3), ("argument", 0.05)])
def test_verify_finds_wrong_derivatives_where_slopes_jump(variable, share, monkeypatch):
    """Values are right, and a small share of the derivative in the law's coefficients, or in its argument, is missing.
    """
    right = LocalLaw._continued

    def wrong(self, polynomial, y, cells):
        part = ((polynomial, [each.detach() for each in y]) if variable == "law" else (polynomial.detach(), y))
        missing = right(self, *part, cells)
        return right(self, polynomial, y, cells) - share * (missing - missing.detach())

    monkeypatch.setattr(LocalLaw, "_continued", wrong)
    found = failed(*problem(sk.ElementLineP1(), 7), 0)
    assert [name for name in found if name.startswith("FAILED  integral of the energy")]


def test_bad_input_is_named():
    basis, law = state("P1"), line(sk.ElementLineP1())
    m, u = np.ones(law.basis.N), np.ones(basis.N)
    for residual, match in [(lambda u, v, k, w: k(u, u) * v, "law of 1 arguments was called with 2"),
                            (lambda u, v, k, w: k(grad(u)) * v, "one number a point")]:
        with pytest.raises(InputError, match=match):
            WeakForm(residual, basis, law).residual(u, m)
    with pytest.raises(InputError, match="called a field like a law"):
        WeakForm(of_state, basis, basis).residual(u, u)
    with pytest.raises(InputError, match="give a Basis on a MeshLine"):
        Law(basis)
    with pytest.raises(InputError, match="continuation is 'flat'"):
        line(sk.ElementLineP1(), continuation="flat")
    with pytest.raises(InputError, match="no tensor grid"):
        WeakForm(of_two, basis, Law(sk.Basis(bent(sk.MeshQuad().refined(1)), sk.ElementQuad1())))
    with pytest.raises(SolveError, match="not finite"):
        WeakForm(lambda u, v, k, w: k(torch.log(-u)) * v, basis, law).residual(u, m)


@pytest.mark.parametrize(("mesh", "element", "smooth"), [
    (sk.MeshLine(np.array([0.0, 0.5, 2.0, 3.0])), sk.ElementLineP1(), False),
    (sk.MeshLine(np.array([0.0, 0.5, 2.0, 3.0])), sk.ElementLineP2(), False),
    (sk.MeshLine(np.array([0.0, 0.5, 2.0, 3.0])), sk.ElementLineHermite(), True),
    (sk.MeshLine(), sk.ElementLineP1(), True),
    (sk.MeshQuad.init_tensor(np.array([0.0, 1.0, 3.0]), np.array([0.0, 2.0, 3.0])), sk.ElementQuadBFS(), True),
    (sk.MeshQuad.init_tensor(np.array([0.0, 1.0, 3.0]), np.array([0.0, 2.0])), sk.ElementQuad2(), False),
], ids=["P1", "P2", "Hermite", "one cell", "BFS", "Q2"])
def test_slopes_that_jump_are_known(mesh, element, smooth):
    assert Law(sk.Basis(mesh, element)).smooth is smooth


@pytest.mark.parametrize("used", [lambda k: k * 2.0, lambda k: 1.0 - k, lambda k: torch.exp(k)],
                         ids=["times", "minus", "torch"])
def test_a_law_used_like_a_field_is_named(used):
    arguments = sk.Basis(sk.MeshLine(np.linspace(0.0, 1.0, 3)), sk.ElementLineP1())
    state = sk.Basis(sk.MeshTri(), sk.ElementTriP1())
    form = WeakForm(lambda u, v, k, w: used(k) * dot(grad(u), grad(v)), state, Law(arguments))
    with pytest.raises(InputError, match="used a law like a field"):
        form.residual(np.zeros(state.N), np.zeros(3))
