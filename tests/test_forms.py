"""Weak forms: equal to scikit-fem's hand-written forms, and differentiated exactly."""

import numpy as np
import pytest
import skfem as sk
import skfem.helpers as sh
import torch

from fem_ngf import (
    InputError,
    SolveError,
    WeakForm,
    ddot,
    det,
    div,
    dot,
    eye,
    grad,
    inner,
    inv,
    mul,
    prod,
    sym_grad,
    trace,
    transpose,
)

BASES = {
    "interval-P1": lambda: sk.Basis(sk.MeshLine(np.linspace(0, 1, 8) ** 1.5), sk.ElementLineP1(), intorder=4),
    "interval-P2": lambda: sk.Basis(sk.MeshLine(np.linspace(0, 1, 8) ** 1.5), sk.ElementLineP2(), intorder=4),
    "triangle-P1": lambda: sk.Basis(bent(sk.MeshTri().refined(2)), sk.ElementTriP1(), intorder=4),
    "triangle-P2": lambda: sk.Basis(bent(sk.MeshTri().refined(2)), sk.ElementTriP2(), intorder=4),
    "curved-P2": lambda: sk.Basis(sk.MeshTri2.init_circle(1), sk.ElementTriP2(), intorder=4),
    "quad-Q1": lambda: sk.Basis(bent(sk.MeshQuad().refined(2)), sk.ElementQuad1(), intorder=4),
    "quad-Q2": lambda: sk.Basis(bent(sk.MeshQuad().refined(2)), sk.ElementQuad2(), intorder=4),
    "tetrahedron-P1": lambda: sk.Basis(bent(sk.MeshTet().refined(1)), sk.ElementTetP1(), intorder=4),
    "tetrahedron-P2": lambda: sk.Basis(bent(sk.MeshTet().refined(1)), sk.ElementTetP2(), intorder=4),
    "cells-subset": lambda: sk.Basis(sk.MeshTri().refined(3), sk.ElementTriP2(), elements=lambda x: x[0] > 0.5),
    "facets-P2": lambda: sk.FacetBasis(bent(sk.MeshTri().refined(2)), sk.ElementTriP2(), facets=lambda x: x[0] < 1e-9),
    "facets-tetrahedron": lambda: sk.FacetBasis(sk.MeshTet().refined(1), sk.ElementTetP1()),
    "global-element": lambda: sk.Basis(bent(sk.MeshTri().refined(1)), sk.ElementTriArgyris(), intorder=6),
}
LINEAR = {1: sk.ElementLineP1, 2: sk.ElementTriP1, 3: sk.ElementTetP1}


def bent(mesh):
    """The mesh with its inner nodes moved, so that no two elements are alike."""
    p = mesh.p.copy()
    p[0] += 0.07 * np.sin(3 * p[-1]) * p[0] * (1 - p[0])
    return type(mesh)(p, mesh.t)


def parameter_element(basis):
    return sk.ElementQuad1() if isinstance(basis.mesh, sk.MeshQuad) else LINEAR[basis.mesh.dim()]()


def vectors(form, seed=0):
    rng = np.random.default_rng(seed)
    return 0.5 * rng.standard_normal(form.state_size), 0.5 * rng.standard_normal(form.parameter_size)


def assert_equal(ours, theirs):
    difference = ours - theirs
    size = abs(theirs).max()
    assert size > 0 and abs(difference).max() <= 1e-12 * size


@pytest.mark.parametrize("name", BASES)
def test_scalar_forms_equal_scikit_fem(name):
    """All four kinds of coupling (values and gradients of test and trial functions), with data and coordinates."""
    basis = BASES[name]()
    other = basis.with_element(parameter_element(basis))
    speed = np.random.default_rng(1).standard_normal(basis.dx.shape)

    def residual(u, v, m, w):
        flux = torch.exp(m) * dot(grad(u), grad(v)) + w.speed * grad(u)[0] * v + w.x[0] * u * grad(v)[0]
        return flux + m * u**2 * v + w.h * v + grad(m)[0] * u * v

    def derivative(du, v, w):
        flux = np.exp(w.m) * sh.dot(sh.grad(du), sh.grad(v)) + w.speed * sh.grad(du)[0] * v
        flux = flux + w.x[0] * du * sh.grad(v)[0]
        return flux + 2 * w.m * w.u * du * v + sh.grad(w.m)[0] * du * v

    def parameter_derivative(dm, v, w):
        flux = np.exp(w.m) * dm * sh.dot(sh.grad(w.u), sh.grad(v))
        return flux + dm * w.u**2 * v + sh.grad(dm)[0] * w.u * v

    def value(v, w):
        flux = np.exp(w.m) * sh.dot(sh.grad(w.u), sh.grad(v)) + w.speed * sh.grad(w.u)[0] * v
        flux = flux + w.x[0] * w.u * sh.grad(v)[0]
        return flux + w.m * w.u**2 * v + w.h * v + sh.grad(w.m)[0] * w.u * v

    form = WeakForm(residual, basis, other, speed=speed.ravel())
    u, m = vectors(form)
    fields = {"u": basis.interpolate(u), "m": other.interpolate(m), "speed": speed}
    assert_equal(form.tangent(u, m), sk.BilinearForm(derivative).assemble(basis, **fields))
    assert_equal(form.parameter_tangent(u, m), sk.BilinearForm(parameter_derivative).assemble(other, basis, **fields))
    assert_equal(form.residual(u, m), sk.LinearForm(value).assemble(basis, **fields))


@pytest.mark.parametrize("mesh, element", [
    (sk.MeshTri().refined(2), sk.ElementTriP1()), (sk.MeshTri().refined(1), sk.ElementTriP2()),
    (sk.MeshQuad().refined(2), sk.ElementQuad1()), (sk.MeshTet().refined(1), sk.ElementTetP1()),
    (sk.MeshTet(), sk.ElementTetP2())], ids=["triangle-P1", "triangle-P2", "quad", "tetrahedron-P1", "tetrahedron-P2"])
def test_vector_elements_equal_scikit_fem(mesh, element):
    basis = sk.Basis(bent(mesh), sk.ElementVector(element), intorder=4)
    other = basis.with_element(element)

    def residual(u, v, m, w):
        stress = 2 * torch.exp(m) * sym_grad(u) + eye(m * div(u), u.shape[0])
        return ddot(stress, sym_grad(v)) + dot(u, v) + mul(grad(u), w.x)[0] * v[1]

    def derivative(u, v, w):
        stress = 2 * np.exp(w.m) * sh.sym_grad(u) + sh.eye(w.m * sh.div(u), u.shape[0])
        return sh.ddot(stress, sh.sym_grad(v)) + sh.dot(u, v) + sh.mul(sh.grad(u), w.x)[0] * v[1]

    form = WeakForm(residual, basis, element)
    u, m = vectors(form)
    expected = sk.BilinearForm(derivative).assemble(basis, m=other.interpolate(m))
    assert_equal(form.tangent(u, m), expected)
    assert_equal(form.residual(u, m), expected @ u)


def test_sum_over_cells_and_facets_equals_scikit_fem():
    mesh = bent(sk.MeshTri().refined(3)).with_boundaries({"left": lambda x: x[0] < 1e-9})
    cells = sk.Basis(mesh, sk.ElementTriP2())
    left = sk.FacetBasis(mesh, sk.ElementTriP2(), facets="left")
    p0 = cells.with_element(sk.ElementTriP0())
    form = (WeakForm(lambda u, v, m, w: m * dot(grad(u), grad(v)), cells, p0)
            + WeakForm(lambda u, v, m, w: 3 * u * v + m * dot(grad(u), w.n) * v, left, sk.ElementTriP0()))
    u, m = vectors(form)
    m = m + 2
    inside = sk.BilinearForm(lambda u, v, w: w.m * sh.dot(sh.grad(u), sh.grad(v))).assemble(cells, m=p0.interpolate(m))
    robin = sk.BilinearForm(lambda u, v, w: 3 * u * v + w.m * sh.dot(sh.grad(u), w.n) * v)
    outside = robin.assemble(left, m=left.with_element(sk.ElementTriP0()).interpolate(m))
    assert_equal(form.tangent(u, m), inside + outside)
    assert_equal(form.residual(u, m), (inside + outside) @ u)
    assert taylor_rates(form, (u, m)).min() > 1.9


def model_forms():
    """Nonlinear forms of several shapes, with every mixed second derivative present."""
    tri = sk.Basis(bent(sk.MeshTri().refined(2)), sk.ElementTriP2(), intorder=4)
    quad = sk.Basis(bent(sk.MeshQuad().refined(2)), sk.ElementQuad1(), intorder=4)
    vector = sk.Basis(bent(sk.MeshTri().refined(1)), sk.ElementVector(sk.ElementTriP1()), intorder=4)
    facets = sk.FacetBasis(sk.MeshTri().refined(2), sk.ElementTriP1(), intorder=4)

    def scalar(u, v, m, w):
        return torch.exp(m * u) * dot(grad(u), grad(v)) + torch.sin(u) * m**2 * v + dot(grad(m), grad(v)) * u**2

    def two_fields(u, v, m, w):
        a, c = m
        return torch.exp(a) * (1 + c**2) * dot(grad(u), grad(v)) + a * c * u**3 * v

    def elastic(u, v, m, w):
        deformation = grad(u) + eye(torch.ones_like(m), 2)
        jacobian = det(deformation)
        stress = torch.exp(m) * (deformation - transpose(inv(deformation))) + torch.log(jacobian) * deformation
        return ddot(stress, grad(v))

    yield "scalar", WeakForm(scalar, tri, sk.ElementTriP1())
    yield "quad", WeakForm(scalar, quad, sk.ElementQuad1())
    yield "two fields", WeakForm(two_fields, tri, (sk.ElementTriP1(), sk.ElementTriP0()))
    yield "elastic", WeakForm(elastic, vector, sk.ElementTriP1())
    yield "facets", WeakForm(scalar, facets, facets)


FORMS = dict(model_forms())


def taylor_rates(form, at, scale=1.0):
    """Rates of the remainders of R in u, R in m, and of the derivatives of p^T R in u and m."""
    u, m = at
    rng = np.random.default_rng(5)
    p, du, dm = (scale * rng.standard_normal(n) for n in (form.state_size, form.state_size, form.parameter_size))
    second = form.second_derivatives(u, m, p)

    def gradient(u, m):
        return np.concatenate([form.tangent(u, m).T @ p, form.parameter_tangent(u, m).T @ p])

    slopes = [(lambda t: form.residual(u + t * du, m), form.tangent(u, m) @ du),
              (lambda t: form.residual(u, m + t * dm), form.parameter_tangent(u, m) @ dm),
              (lambda t: gradient(u + t * du, m), np.concatenate([second.uu @ du, second.um.T @ du])),
              (lambda t: gradient(u, m + t * dm), np.concatenate([second.um @ dm, second.mm @ dm]))]
    rates = []
    for function, slope in slopes:
        errors = [np.linalg.norm(function(t) - function(0.0) - t * slope) for t in (1e-3, 5e-4)]
        exact = errors[0] <= 1e-13 * np.linalg.norm(function(0.0))
        rates.append(2.0 if exact else np.log2(errors[0] / errors[1]))
    return np.array(rates)


@pytest.mark.parametrize("name", FORMS)
def test_taylor_rates(name):
    form = FORMS[name]
    u, m = vectors(form)
    rates = taylor_rates(form, (0.1 * u, m), scale=0.3)
    assert np.all(np.abs(rates - 2.0) < 0.02)


def test_second_derivatives_are_symmetric_and_structural_zeros_empty():
    form = FORMS["two fields"]
    u, m = vectors(form)
    second = form.second_derivatives(u, m, u[::-1].copy())
    assert abs(second.uu - second.uu.T).max() <= 1e-14 * abs(second.uu).max()
    assert abs(second.mm - second.mm.T).max() <= 1e-14 * abs(second.mm).max()
    basis = sk.Basis(sk.MeshTri().refined(1), sk.ElementTriP1())
    linear = WeakForm(lambda u, v, m, w: m * dot(grad(u), grad(v)), basis, sk.ElementTriP0())
    second = linear.second_derivatives(*vectors(linear), np.ones(basis.N))
    assert second.uu.nnz == 0 and second.mm.nnz == 0 and second.um.nnz > 0


def test_patterns_are_fixed():
    form = FORMS["scalar"]
    u, m = vectors(form)
    one, other = form.tangent(u, m), form.tangent(0 * u, 0 * m)
    assert np.array_equal(one.indices, other.indices) and np.array_equal(one.indptr, other.indptr)
    assert one.has_canonical_format


def test_vector_data_and_numbers():
    basis = sk.Basis(sk.MeshTri().refined(2), sk.ElementTriP1())
    wind = np.random.default_rng(0).standard_normal((basis.dx.size, 2))
    form = WeakForm(lambda u, v, m, w: w.scale * dot(w.wind, grad(u)) * v, basis, sk.ElementTriP0(),
                    wind=wind, scale=2.0)
    u, m = vectors(form)
    field = wind.T.reshape(2, *basis.dx.shape)
    expected = sk.BilinearForm(lambda u, v, w: 2 * sh.dot(w.wind, sh.grad(u)) * v).assemble(basis, wind=field)
    assert_equal(form.tangent(u, m), expected)


def test_helpers_equal_numpy():
    a, b = torch.as_tensor(np.random.default_rng(0).standard_normal((2, 3, 3, 5, 4)))
    first = np.moveaxis(a.numpy(), (0, 1), (-2, -1))
    assert np.allclose(det(a), np.linalg.det(first))
    assert np.allclose(np.moveaxis(inv(a).numpy(), (0, 1), (-2, -1)), np.linalg.inv(first))
    assert np.allclose(inner(a, b), ddot(a, b)) and np.allclose(trace(mul(a, transpose(b))), ddot(a, b))
    assert np.allclose(ddot(prod(a[0], b[0]), prod(a[0], b[0])), dot(a[0], a[0]) * dot(b[0], b[0]))


def test_overflow_is_a_solve_error():
    basis = sk.Basis(sk.MeshTri().refined(1), sk.ElementTriP1())
    form = WeakForm(lambda u, v, m, w: torch.exp(m) * dot(grad(u), grad(v)), basis, basis)
    u, m = vectors(form)
    for call in (form.tangent, form.residual, form.parameter_tangent):
        with pytest.raises(SolveError, match="not finite"):
            call(u, m + 800)


def test_bad_input_is_named():
    mesh = sk.MeshTri().refined(1)
    basis = sk.Basis(mesh, sk.ElementTriP1(), intorder=2)

    def residual(u, v, m, w):
        return m * dot(grad(u), grad(v))

    with pytest.raises(InputError, match="other quadrature points"):
        WeakForm(residual, basis, sk.Basis(mesh, sk.ElementTriP1(), intorder=4))
    with pytest.raises(InputError, match="parameter is a str"):
        WeakForm(residual, basis, "P1")
    with pytest.raises(InputError, match="data 'f' has shape"):
        WeakForm(residual, basis, basis, f=np.ones(3))
    with pytest.raises(InputError, match="composite|Composite"):
        WeakForm(residual, basis.with_element(sk.ElementTriP1() * sk.ElementTriP1()), basis)
    form = WeakForm(residual, basis, basis)
    with pytest.raises(InputError, match="u has shape"):
        form.tangent(np.ones(3), np.ones(form.parameter_size))
    with pytest.raises(InputError, match="cannot be added"):
        form + WeakForm(residual, basis.with_element(sk.ElementTriP2()), basis)
    u, m = vectors(form)
    with pytest.raises(InputError, match="numpy"):
        WeakForm(lambda u, v, m, w: sh.dot(u, u) * v, basis, basis).tangent(u, m)
    with pytest.raises(InputError, match="dot, ddot or trace"):
        WeakForm(lambda u, v, m, w: m * grad(u) * grad(v), basis, basis).tangent(u, m)
    with pytest.raises(AttributeError, match="w.f is unknown"):
        WeakForm(lambda u, v, m, w: w.f * v, basis, basis).residual(u, m)
