"""Every symmetric operator against its dense matrix: action, inverse, Gram matrix, blocks, fixed unknowns."""

import tracemalloc
from functools import cache

import numpy as np
import pytest
import scipy.sparse as sp
from skfem import Basis, ElementTriP1

from fem_ngf import HilbertSpace, InputError, Matrix, SolveError, unit_square
from fem_ngf.linalg.dense import orthonormalize, symmetric_product
from fem_ngf.linalg.kronecker import Kronecker, KroneckerSum
from fem_ngf.linalg.low_rank import LowRankPlus, nystrom_factor
from fem_ngf.linalg.operators import Actions, BlockDiagonal, Diagonal

SPACE = HilbertSpace.h1(Basis(unit_square(3), ElementTriP1()))
N, MASS, STIFFNESS = SPACE.size, SPACE.mass, SPACE.stiffness
FREE = np.arange(3, N)
Y = np.random.default_rng(0).standard_normal((N, 3))
WEIGHTS = np.linspace(0.5, 2.0, N)
SMALL = np.array([[2.0, 0.5], [0.5, 1.0]])
ONES = np.ones((2, 2))
HALF = HilbertSpace.sobolev(SPACE.basis, 0.5).inner_product


@cache
def cases():
    """Name -> operator and its dense matrix."""
    mass, matrix = MASS.toarray(), (MASS + STIFFNESS).toarray()
    h1, half = Matrix(MASS + STIFFNESS), HALF @ np.eye(N)
    low = LowRankPlus(h1, Y)
    return {
        "sparse": (h1, matrix), "dense": (Matrix(matrix), matrix), "diagonal": (Diagonal(WEIGHTS), np.diag(WEIGHTS)),
        "semi-definite": (Matrix(STIFFNESS, definite=False), STIFFNESS.toarray()),
        "actions": (Actions(N, h1.apply, h1.solve), matrix),
        "power": (HALF, half),
        "kronecker": (Kronecker(Diagonal(WEIGHTS), Matrix(sp.csr_array(SMALL))), np.kron(np.diag(WEIGHTS), SMALL)),
        "kronecker of a dense block": (Kronecker(Diagonal(WEIGHTS), Matrix(SMALL)), np.kron(np.diag(WEIGHTS), SMALL)),
        "kronecker of a power": (Kronecker(Matrix(SMALL), HALF), np.kron(SMALL, half)),
        "sum of kroneckers": (KroneckerSum((Matrix(sp.csr_array(SMALL)), Matrix(sp.csr_array(ONES))),
                                           (h1, Matrix(MASS))), np.kron(SMALL, matrix) + np.kron(ONES, mass)),
        "blocks": (BlockDiagonal((h1, HALF)), np.block([[matrix, 0 * half], [0 * half, half]])),
        "sparse blocks": (BlockDiagonal((h1, Diagonal(WEIGHTS))),
                          np.block([[matrix, 0 * half], [0 * half, np.diag(WEIGHTS)]])),
        "scaled": (3.0 * h1, 3.0 * matrix), "scaled by numpy": (np.float64(0.1) * HALF, 0.1 * half),
        "low rank": (low, matrix + Y @ Y.T), "low rank, scaled": (LowRankPlus(h1, Y, 1e-3), 1e-3 * matrix + Y @ Y.T),
        "low rank, solved": (LowRankPlus(HALF, Y, 2.0, HALF.solve(Y)), 2.0 * half + Y @ Y.T),
        "sum of matrices": (h1 + 2.0 * Matrix(MASS), matrix + 2.0 * mass),
        "sum": (HALF + 0.1 * h1, half + 0.1 * matrix),
        "sum with semi-definite": (Matrix(STIFFNESS, definite=False) + HALF, STIFFNESS.toarray() + half),
    }


@pytest.mark.parametrize("name", cases())
def test_operators_are_their_dense_matrices(name):
    operator, matrix = cases()[name]
    block = np.random.default_rng(1).standard_normal((len(matrix), 4))
    scale = np.abs(matrix @ block).max()
    assert operator.size == len(matrix)
    assert np.allclose(matrix, matrix.T, atol=1e-11 * scale)
    assert np.abs(operator @ block - matrix @ block).max() < 1e-11 * scale
    assert np.abs(operator.apply(block[:, 0]) - matrix @ block[:, 0]).max() < 1e-11 * scale
    gram = operator.gram(block)
    assert np.abs(gram - block.T @ matrix @ block).max() < 1e-11 * np.abs(gram).max()
    if operator.sparse is not None:
        assert np.abs(operator.sparse.toarray() - matrix).max() < 1e-11 * scale
    eigenvalues = np.linalg.eigvalsh(matrix)
    if not operator.definite:
        assert eigenvalues[0] > -1e-12 * eigenvalues[-1]
        with pytest.raises(InputError, match="may be singular"):
            operator.solve(block)
        return
    assert eigenvalues[0] > 0
    exact = np.linalg.solve(matrix, block)
    assert np.abs(operator.solve(block) - exact).max() < 1e-9 * np.abs(exact).max()
    assert np.abs(operator.solve(block[:, 0]) - exact[:, 0]).max() < 1e-9 * np.abs(exact).max()


@pytest.mark.parametrize(("make", "dense"), [
    (lambda a: a, lambda a: a), (lambda a: 2.0 * a, lambda a: 2.0 * a),
    (lambda a: LowRankPlus(a, Y), lambda a: a + Y @ Y.T),
    (lambda a: BlockDiagonal((a, Diagonal(WEIGHTS))), lambda a: a),
    (lambda a: a + HALF, lambda a: a + HALF @ np.eye(N)),
], ids=["matrix", "scaled", "low rank", "blocks", "sum"])
def test_fixed_unknowns_stay_zero(make, dense):
    """On the free unknowns the inverse is that of the free block."""
    operator, matrix = make(Matrix(MASS + STIFFNESS, FREE)), dense((MASS + STIFFNESS).toarray())
    g = np.random.default_rng(2).standard_normal(operator.size)
    solved = operator.solve(g)
    assert np.all(solved[:3] == 0.0)
    assert np.allclose(solved[FREE], np.linalg.solve(matrix[np.ix_(FREE, FREE)], g[FREE]))


def test_gram_matrices_of_many_columns():
    """More than a block of them, and not a multiple."""
    operator, matrix = cases()["sum of kroneckers"]
    vectors = np.random.default_rng(5).standard_normal((len(matrix), 600))
    assert np.allclose(operator.gram(vectors), vectors.T @ matrix @ vectors, rtol=1e-11, atol=1e-9)


def test_fixed_unknowns_of_both_variables_stay_zero():
    """Of Kronecker products and their sums, on the unknowns that are free in both variables."""
    outer, inner, time = Matrix(sp.csr_array(MASS), FREE), Matrix(MASS + STIFFNESS, FREE), sp.csr_array(STIFFNESS)
    free = (FREE[:, None] * N + FREE).ravel()
    g = np.random.default_rng(3).standard_normal((N * N, 2))
    for operator, matrix in (
            (Kronecker(outer, inner), sp.kron(MASS, MASS + STIFFNESS)),
            (KroneckerSum((outer, Matrix(time)), (inner, Matrix(MASS))),
             sp.kron(MASS, MASS + STIFFNESS) + sp.kron(STIFFNESS, MASS))):
        solved = operator.solve(g)
        assert np.all(np.delete(solved, free, axis=0) == 0.0)
        assert np.allclose(solved[free], np.linalg.solve(matrix.toarray()[np.ix_(free, free)], g[free]))


def test_bad_operators():
    with pytest.raises(InputError, match="inner have 2 and 16 unknowns"):
        KroneckerSum((Matrix(MASS), Matrix(MASS)), (Matrix(SMALL), Matrix(MASS)))
    with pytest.raises(InputError, match="operators of 16 and 2 unknowns"):
        Matrix(MASS) + Matrix(SMALL)
    with pytest.raises(InputError, match=r"matrix is \(16, 3\)"):
        Matrix(Y)
    with pytest.raises(InputError, match="no sparse matrix"):
        HALF.sparse_matrix()
    with pytest.raises(InputError, match="inner_product has 2 unknowns and basis has 16"):
        SPACE.with_inner_product(Matrix(SMALL))
    with pytest.raises(SolveError, match="points coincide"):
        Matrix(np.ones((3, 3))).solve(np.ones(3))


# ---- orthonormal bases and low-rank factors -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sparse", "power", "low rank"])
def test_orthonormal_bases(name):
    """Each column adds what is not there already, down to nearly dependent ones."""
    metric, matrix = cases()[name]
    rng = np.random.default_rng(0)
    first = orthonormalize(rng.standard_normal((N, 5)), metric)
    assert np.allclose(first.T @ matrix @ first, np.eye(5), atol=1e-11)
    assert orthonormalize(first @ rng.standard_normal((5, 3)), metric, first).shape[1] == 0
    second = orthonormalize(np.column_stack([first[:, :2], rng.standard_normal((N, 2))]), metric, first)
    both = np.column_stack([first, second])
    assert second.shape[1] == 2 and np.allclose(both.T @ matrix @ both, np.eye(7), atol=1e-10)
    close = first[:, [0, 0]] + np.column_stack([np.zeros(N), 1e-8 * second[:, 0]])
    assert orthonormalize(close, metric).shape[1] == 2 and orthonormalize(close, metric, tolerance=1e-6).shape[1] == 1


@pytest.mark.parametrize("k", [3, 600, 1025])
def test_symmetric_product(k):
    left = np.random.default_rng(0).standard_normal((7, k))
    right = np.diag(np.arange(1.0, 8.0)) @ left
    product = symmetric_product(left, right)
    assert np.allclose(product, left.T @ right, atol=1e-12)
    assert np.abs(product - product.T).max() < 1e-12


def test_nystrom_factors():
    """Exact on the span, below the operator, nothing where the operator is nothing."""
    root = np.random.default_rng(3).standard_normal((N, 6))
    hessian, vectors = root @ root.T, np.random.default_rng(4).standard_normal((N, 4))
    factor = nystrom_factor(vectors, hessian @ vectors)
    assert np.allclose(factor @ (factor.T @ vectors), hessian @ vectors)
    assert np.linalg.eigvalsh(hessian - factor @ factor.T)[0] > -1e-10
    for empty in (nystrom_factor(vectors, 0.0 * vectors), nystrom_factor(vectors[:, :0], vectors[:, :0])):
        assert empty.shape == (N, 0)


def test_gram_matrices_of_many_large_vectors_take_no_second_array_of_their_size():
    n, k = 30_000, 300
    bands = [-np.ones(n - 1), 3 * np.ones(n), -np.ones(n - 1)]
    matrix = Matrix(sp.diags_array(bands, offsets=[-1, 0, 1], format="csr"))
    vectors = np.random.default_rng(0).standard_normal((n, k))
    tracemalloc.start()
    gram = matrix.gram(vectors)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.7 * vectors.nbytes
    some = np.arange(0, k, 50)
    exact = vectors[:, some].T @ (matrix @ vectors[:, some])
    assert np.allclose(gram[np.ix_(some, some)], exact, rtol=1e-12, atol=1e-9)
    assert np.array_equal(gram, gram.T)
