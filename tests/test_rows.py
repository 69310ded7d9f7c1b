"""Tangent vectors that are never stored, against those that are."""

from dataclasses import replace

import numpy as np
import pytest
import skfem as sk

from fem_ngf import MLP, HilbertSpace, InputError, unit_square
from fem_ngf.flows.curvature import Curvature
from fem_ngf.linalg.ordering import bisected
from fem_ngf.spaces import hilbert
from fem_ngf.tangent import rows
from fem_ngf.tangent.rows import TangentRows, tangents
from fem_ngf.tangent.tangent_space import tangent_vectors


@pytest.fixture(params=["P2", "vector"])
def case(request, monkeypatch):
    """Network, parameters and a space of several patches, some of its unknowns fixed."""
    monkeypatch.setattr(hilbert, "PATCH", 20)
    element = sk.ElementTriP2() if request.param == "P2" else sk.ElementVector(sk.ElementTriP1())
    basis = sk.Basis(unit_square(8), element, intorder=4)
    space = HilbertSpace.h1(basis, fixed=basis.get_dofs("left"), sampling="nodal")
    ansatz = MLP((2, 5, space.components), output_scale=1.0)
    return ansatz, ansatz.initial(np.random.default_rng(0)), space


def test_products_are_those_of_the_stored_vectors(case):
    stored, made = tangent_vectors(*case), TangentRows(*case)
    theta, space = case[1:]
    covector = np.random.default_rng(1).standard_normal(space.size)
    assert made.shape == stored.shape and len(space.patches) > 3
    for found, expected in ((made @ theta, stored @ theta), (made.T @ covector, stored.T @ covector),
                            (np.asarray(made), stored)):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13 * np.abs(expected).max())
    with pytest.raises(InputError, match="one"):
        made.T @ stored


def test_the_gram_matrix_of_a_curvature_is_that_of_the_stored_vectors(case):
    space = case[2]
    factor = np.random.default_rng(2).standard_normal((space.size, 3))
    for metric in (space.inner_product, HilbertSpace.sobolev(space.basis, 0.5).inner_product):
        curvature = Curvature(metric, factor, 0.5)
        expected = curvature.gram(tangent_vectors(*case))
        np.testing.assert_allclose(curvature.gram(TangentRows(*case)), expected, rtol=0,
                                   atol=1e-13 * np.abs(expected).max())


def test_only_large_vectors_at_nodes_are_not_stored(case, monkeypatch):
    ansatz, theta, space = case
    assert isinstance(tangents(ansatz, theta, space), np.ndarray)
    monkeypatch.setattr(rows, "STORED", 10)
    assert isinstance(tangents(ansatz, theta, space), TangentRows)
    quadrature = HilbertSpace.l2(space.basis)
    assert quadrature.patches is None and isinstance(tangents(ansatz, theta, quadrature), np.ndarray)


def test_on_a_coarser_mesh_the_gram_matrix_is_that_of_interpolants(monkeypatch):
    """Exactly, and to second order that of the fine mesh; products with the vectors stay what they are."""
    monkeypatch.setattr(rows, "STORED", 10)
    bases = [sk.Basis(unit_square(n), sk.ElementTriP1()) for n in (8, 16, 32)]
    half, quarter, fine = (HilbertSpace.h1(basis, fixed=basis.get_dofs("left"), sampling="nodal") for basis in bases)
    ansatz = MLP((2, 5, 1), output_scale=1.0)
    theta, factor = ansatz.initial(np.random.default_rng(0)), np.sin(4 * fine.nodes)
    curvature, errors = Curvature(fine.inner_product, factor), []
    exact = curvature.gram(TangentRows(ansatz, theta, fine))
    for coarse in (half, quarter):
        space = replace(fine, coarse=coarse)
        interpolated = space.prolongation @ tangent_vectors(ansatz, theta, coarse)
        found, vectors = curvature.gram(tangents(ansatz, theta, space)), tangents(ansatz, theta, space)
        np.testing.assert_allclose(found, curvature.gram(interpolated), rtol=0, atol=1e-12 * np.abs(found).max())
        np.testing.assert_array_equal(vectors @ theta, TangentRows(ansatz, theta, fine) @ theta)
        errors.append(np.abs(found - exact).max())
    assert errors[1] < 0.35 * errors[0] < 0.05 * np.abs(exact).max()


def test_parts_of_points_are_compact_and_complete():
    points = np.random.default_rng(0).uniform(size=(3, 1000))
    parts = bisected(points, 130)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(1000)) and len(parts) == 8
    assert max(map(len, parts)) <= 130
    assert max(np.ptp(points[:, part], axis=1).max() for part in parts) <= 0.6
    assert [list(part) for part in bisected(points[:, :3], 5)] == [[0, 1, 2]]
