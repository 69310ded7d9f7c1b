"""Functionals: values by hand, derivatives by Taylor's formula."""

import numpy as np
import pytest
import skfem as sk
import skfem.helpers as sh
import torch

from fem_ngf import Functional, InputError, SolveError, ddot, dot, grad


def rate(function, slope):
    errors = [np.linalg.norm(function(t) - function(0.0) - t * slope) for t in (1e-3, 5e-4)]
    return np.log2(errors[0] / errors[1])


def functionals():
    tri = sk.Basis(sk.MeshTri().refined(3), sk.ElementTriP1(), intorder=3)
    quad = sk.Basis(sk.MeshQuad().refined(2), sk.ElementQuad2(), intorder=4)
    vector = sk.Basis(sk.MeshTet().refined(1), sk.ElementVector(sk.ElementTetP1()), intorder=3)
    facets = sk.FacetBasis(sk.MeshTri().refined(3), sk.ElementTriP1(), intorder=3)
    yield "total variation", Functional(lambda m, w: torch.sqrt(dot(grad(m), grad(m)) + 1e-2), tri)
    yield "Ritz", Functional(lambda m, w: dot(grad(m), grad(m)) + torch.cosh(m) - w.x[0] * m, quad)
    yield "vector", Functional(lambda m, w: (1 + ddot(grad(m), grad(m))) ** 1.5 + dot(m, m) ** 2, vector)
    yield "two fields", Functional(lambda m, w: torch.exp(m[0]) * m[1] ** 2 + dot(grad(m[0]), grad(m[0])) * m[1],
                                   (tri, sk.ElementTriP0()))
    yield "boundary", Functional(lambda m, w: m**4 + dot(grad(m), w.n) ** 2, facets)
    yield "cells and boundary", (Functional(lambda m, w: torch.exp(m), tri)
                                 + Functional(lambda m, w: m**4 + dot(grad(m), w.n) ** 2, facets))


CASES = dict(functionals())


@pytest.mark.parametrize("name", CASES)
def test_taylor_rates(name):
    functional = CASES[name]
    rng = np.random.default_rng(0)
    m, dm = rng.standard_normal((2, functional.size))
    hessian = functional.hessian(m)
    assert rate(lambda t: functional.value(m + t * dm), functional.derivative(m) @ dm) == pytest.approx(2, abs=0.02)
    assert rate(lambda t: functional.derivative(m + t * dm), hessian @ dm) == pytest.approx(2, abs=0.02)
    assert abs(hessian - hessian.T).max() <= 1e-13 * abs(hessian).max()


def test_dirichlet_energy_equals_scikit_fem():
    basis = sk.Basis(sk.MeshTri().refined(3), sk.ElementTriP2())
    matrix = sk.BilinearForm(lambda u, v, w: (1 + w.x[0]) * sh.dot(sh.grad(u), sh.grad(v))).assemble(basis)
    functional = Functional(lambda m, w: 0.5 * (1 + w.x[0]) * dot(grad(m), grad(m)), basis)
    m = np.random.default_rng(0).standard_normal(basis.N)
    assert functional.value(m) == pytest.approx(0.5 * m @ matrix @ m, rel=1e-13)
    assert np.allclose(functional.derivative(m), matrix @ m, rtol=0, atol=1e-12)
    assert abs(functional.hessian(m) - matrix).max() < 1e-12


def test_a_linear_functional_has_an_empty_hessian():
    basis = sk.Basis(sk.MeshTri(), sk.ElementTriP1())
    functional = Functional(lambda m, w: 3 * m, basis)
    assert functional.hessian(np.ones(basis.N)).nnz == 0
    assert functional.derivative(np.zeros(basis.N)).sum() == pytest.approx(3.0)


def test_failures_are_named():
    basis = sk.Basis(sk.MeshTri(), sk.ElementTriP1())
    functional = Functional(lambda m, w: torch.log(m), basis)
    with pytest.raises(SolveError, match="not finite"):
        functional.value(-np.ones(basis.N))
    with pytest.raises(InputError, match="m has shape"):
        functional.value(np.ones(2))
    with pytest.raises(InputError, match="cannot be added"):
        functional + Functional(lambda m, w: m, basis.with_element(sk.ElementTriP2()))
