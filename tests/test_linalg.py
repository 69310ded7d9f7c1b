"""Sparse and dense solvers against dense numpy, and how they fail."""

import warnings
from importlib.util import find_spec

import numpy as np
import pytest
import scipy.sparse as sp
import skfem as sk
from skfem.models.poisson import laplace, mass

from fem_ngf import InputError, SolveError
from fem_ngf.linalg.backends import MANY, choose_backend, graph_dimension
from fem_ngf.linalg.cg import pcg
from fem_ngf.linalg.dense import damped_solve
from fem_ngf.linalg.factorize import factorize
from fem_ngf.linalg.multigrid import Multigrid
from fem_ngf.linalg.ordering import _separator, nested_dissection


def poisson(refinements=4, element=None):
    basis = sk.Basis(sk.MeshTri().refined(refinements), element or sk.ElementTriP2())
    free = basis.complement_dofs(basis.get_dofs())
    return laplace.assemble(basis)[free][:, free], basis.doflocs[:, free]


def convection(matrix):
    """An unsymmetric matrix with the same pattern."""
    other = matrix.copy()
    other.data = other.data * (1 + 0.3 * np.random.default_rng(0).standard_normal(other.nnz))
    return other + 5 * sp.eye(matrix.shape[0])


BACKENDS = [pytest.param(name, marks=pytest.mark.skipif(find_spec(module) is None, reason=f"{module} not installed"))
            for name, module in (("superlu", "scipy"), ("cholmod", "sksparse"), ("pardiso", "pypardiso"),
                                 ("amg", "pyamg"))]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("columns", [(), (1,), (3,)])
def test_definite_systems(backend, columns):
    matrix, _ = poisson()
    x = np.random.default_rng(0).standard_normal((matrix.shape[0], *columns))
    solver = factorize(matrix, symmetric=True, definite=True, backend=backend)
    for found in (solver.solve(matrix @ x), solver.solve_transposed(matrix @ x)):
        assert found.shape == x.shape and np.abs(found - x).max() < 1e-8


@pytest.mark.parametrize("backend", [b for b in BACKENDS if b.values[0] in ("superlu", "pardiso")])
@pytest.mark.parametrize("kind", ["indefinite", "unsymmetric"])
def test_general_systems_and_their_transposes(backend, kind):
    matrix, _ = poisson()
    matrix = matrix - 70 * sp.eye(matrix.shape[0]) * 1e-3 if kind == "indefinite" else convection(matrix)
    x = np.random.default_rng(0).standard_normal((matrix.shape[0], 2))
    solver = factorize(matrix, symmetric=kind == "indefinite", backend=backend)
    assert np.abs(solver.solve(matrix @ x) - x).max() < 1e-8
    assert np.abs(solver.solve_transposed(matrix.T @ x) - x).max() < 1e-8


@pytest.mark.parametrize("options", [{"points": True}, {"ordering": True}])
@pytest.mark.parametrize("symmetric", [True, False])
def test_orderings_do_not_change_the_solution(options, symmetric):
    matrix, points = poisson()
    matrix = matrix if symmetric else convection(matrix)
    plain = factorize(matrix, symmetric=symmetric)
    given = {"points": points} if "points" in options else {"ordering": plain.ordering}
    rhs = np.random.default_rng(0).standard_normal((matrix.shape[0], 2))
    other = factorize(matrix, symmetric=symmetric, **given)
    assert np.abs(other.solve(rhs) - plain.solve(rhs)).max() < 1e-10 * np.abs(plain.solve(rhs)).max()
    transposed = plain.solve_transposed(rhs)
    assert np.abs(other.solve_transposed(rhs) - transposed).max() < 1e-10 * np.abs(transposed).max()


@pytest.mark.parametrize("mesh, element", [(sk.MeshTri.init_tensor(*2 * [np.linspace(0, 1, 65)]), sk.ElementTriP2()),
                                           (sk.MeshTet().refined(3), sk.ElementTetP2())])
def test_nested_dissection_has_less_fill_than_minimum_degree(mesh, element):
    basis = sk.Basis(mesh, element, intorder=2)
    matrix = mass.assemble(basis).tocsr()
    order = nested_dissection(matrix, basis.doflocs)
    assert np.array_equal(np.sort(order), np.arange(basis.N))
    options = {"diag_pivot_thresh": 0.0, "options": {"SymmetricMode": True}}
    minimum_degree = sp.linalg.splu(matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", **options).nnz
    dissected = sp.linalg.splu(matrix[order][:, order].tocsc(), permc_spec="NATURAL", **options).nnz
    assert dissected < 0.85 * minimum_degree


def test_separators_leave_no_connection():
    matrix, points = poisson(3)
    graph = matrix.tocoo()
    side = (points[0] > 0.4).astype(np.int8)
    side[_separator(graph.row, graph.col, side)] = 2
    assert not np.any((side[graph.row] == 0) & (side[graph.col] == 1))
    assert 0 < np.count_nonzero(side == 2) < 40


@pytest.mark.parametrize("backend", BACKENDS[1:3])
def test_wrong_claims_are_refused(backend):
    matrix, _ = poisson(3)
    with pytest.raises(SolveError):
        factorize(-matrix, symmetric=True, definite=True, backend=backend)


def test_singular_and_broken_matrices_are_refused():
    basis = sk.Basis(sk.MeshTri().refined(3), sk.ElementTriP1())
    neumann = laplace.assemble(basis)
    for symmetric in (True, False):
        with pytest.raises(SolveError, match="singular"):
            factorize(neumann, symmetric=symmetric)
        with pytest.raises(SolveError, match="singular"):
            factorize(sp.csr_matrix((4, 4)), symmetric=symmetric)
    broken = neumann.copy()
    broken.data[3] = np.nan
    with pytest.raises(SolveError, match="not finite"):
        factorize(broken)
    matrix, _ = poisson(2)
    with pytest.raises(SolveError, match="relative residual"):
        factorize(matrix).solve(np.full(matrix.shape[0], np.inf))
    tiny = factorize(1e-30 * matrix, symmetric=True)
    assert np.allclose(tiny.solve(1e-30 * (matrix @ np.ones(matrix.shape[0]))), 1.0)


@pytest.mark.parametrize("size", [1e-250, 1e250])
def test_the_check_for_singular_matrices_does_not_depend_on_units(size):
    regular = sp.csc_array(np.array([[2.0, 1.0], [1.0, 3.0]]))
    assert factorize(size * regular).matrix.shape == (2, 2)
    with pytest.raises(SolveError, match="singular"):
        factorize(size * sp.csc_array(np.array([[1.0, 1.0], [1.0, 1.0 + 1e-15]])))


def test_a_poor_solve_is_refined_or_refused():
    matrix, _ = poisson(2)
    good = factorize(matrix)
    for error, outcome in ((1e-6, "refined"), (0.5, "refused")):
        def sloppy(rhs, transposed, tolerance, error=error):
            return (1 + error) * good.raw_solve(rhs, transposed, tolerance)

        solver = type(good)(matrix, "sloppy", False, sloppy)
        rhs = np.ones(matrix.shape[0])
        if outcome == "refined":
            assert np.linalg.norm(matrix @ solver.solve(rhs) - rhs) < 1e-10 * np.linalg.norm(rhs)
        else:
            with pytest.raises(SolveError, match="relative residual"):
                solver.solve(rhs)


def test_bad_input_is_named():
    matrix, _ = poisson(2)
    with pytest.raises(InputError, match="square"):
        factorize(matrix[:3])
    with pytest.raises(InputError, match="backend is 'umfpack'"):
        factorize(matrix, backend="umfpack")
    with pytest.raises(InputError, match="rhs has shape"):
        factorize(matrix).solve(np.ones(3))
    if find_spec("sksparse") is None:
        with pytest.raises(InputError, match="needs the package 'sksparse'"):
            factorize(matrix, definite=True, backend="cholmod")


def cube(cells=17, element=None, dimension=3):
    line = np.linspace(0, 1, cells + 1)
    mesh = (sk.MeshTri if dimension == 2 else sk.MeshTet).init_tensor(*dimension * [line])
    basis = sk.Basis(mesh, element or sk.ElementTetP1())
    free = basis.complement_dofs(basis.get_dofs())
    return tuple(form.assemble(basis)[free][:, free].tocsr() for form in (laplace, mass))


@pytest.mark.parametrize("dimension, cells, element", [(2, 70, sk.ElementTriP1()), (2, 40, sk.ElementTriP2()),
                                                       (3, 17, sk.ElementTetP1()), (3, 9, sk.ElementTetP2())])
def test_matrices_know_the_dimension_of_their_mesh(dimension, cells, element):
    for matrix in cube(cells, element, dimension):
        assert matrix.shape[0] > MANY
        assert abs(graph_dimension(matrix) - dimension) < (0.3 if dimension == 2 else 0.6)
        assert choose_backend("auto", matrix, True) == ("superlu" if dimension == 2 else "amg")


def test_iterative_solves_in_space_equal_factorisations_and_stop_where_told():
    stiffness, matrix = cube()
    drift = sp.diags_array([np.ones(stiffness.shape[0] - 1)], offsets=[1]).tocsr()
    rhs = np.random.default_rng(0).standard_normal((stiffness.shape[0], 18))
    for each, symmetric in ((stiffness, True), (matrix, True),
                            (stiffness + 0.02 * drift, False)):
        solver = factorize(each, symmetric=symmetric, definite=symmetric, backend="auto" if symmetric else "amg")
        assert solver.backend == "amg" and (solver.spare or not symmetric)
        few = rhs if symmetric else rhs[:, :2]
        for transposed, solve in ((each, solver.solve), (each.T, solver.solve_transposed)):
            exact, loose = solve(few), solve(few, 1e-6)
            assert np.abs(solve(few[:, 0]) - exact[:, 0]).max() < 1e-9 * np.abs(exact).max()
            for x, bound in ((exact, 1e-11), (loose, 1.1e-6)):
                assert (np.linalg.norm(transposed @ x - few, axis=0) < bound * np.linalg.norm(few, axis=0)).all()
            assert np.abs(loose - exact).max() > 1e-11 * np.abs(exact).max()


def test_a_mass_needs_no_coarse_levels():
    stiffness, matrix = cube()
    assert Multigrid.of(matrix).levels == () and len(Multigrid.of(stiffness).levels) > 1


def test_factorisations_take_over_where_multigrid_fails(monkeypatch):
    stiffness, matrix = cube()
    indefinite = (stiffness - 60.0 * matrix).tocsr()
    monkeypatch.setattr("fem_ngf.linalg.backends.MANY_GENERAL", MANY)
    solver = factorize(indefinite, symmetric=True)
    rhs = np.ones(stiffness.shape[0])
    assert solver.backend != "amg" or solver.spare
    assert np.linalg.norm(indefinite @ solver.solve(rhs) - rhs) < 1e-9 * np.linalg.norm(rhs)
    with pytest.raises(SolveError):
        factorize(indefinite, symmetric=True, backend="amg").solve(rhs)


def spd(n=30, seed=0):
    factor = np.random.default_rng(seed).standard_normal((n, n))
    return factor @ factor.T + 0.1 * np.eye(n)


def test_pcg_solves_and_reports():
    A, b = spd(), np.random.default_rng(1).standard_normal(30)
    exact = np.linalg.solve(A, b)
    result = pcg(lambda x: A @ x, b, preconditioner=lambda r: r / np.diag(A), tolerance=1e-12, max_iterations=200)
    assert result.reason == "residual" and np.abs(result.x - exact).max() < 1e-8
    assert result.model == pytest.approx(0.5 * exact @ A @ exact - b @ exact, rel=1e-10)
    perfect = pcg(lambda x: A @ x, b, preconditioner=lambda r: np.linalg.solve(A, r))
    assert perfect.iterations == 1 and np.allclose(perfect.x, exact)
    short = pcg(lambda x: A @ x, b, max_iterations=3)
    assert (short.reason, short.iterations) == ("maximum", 3)


def test_pcg_stops_when_told():
    A, b, seen = spd(), np.ones(30), []

    def stop(step):
        seen.append(step)
        return step.decreases[-1] < 0.1 * sum(step.decreases) / step.iteration

    result = pcg(lambda x: A @ x, b, stop=stop, tolerance=0.0)
    assert result.reason == "stop" and result.iterations == len(seen)
    for step in seen:
        assert step.model == pytest.approx(0.5 * step.x @ A @ step.x - b @ step.x, rel=1e-9)
    assert pcg(lambda x: A @ x, 0 * b).iterations == 0


def test_pcg_meets_negative_curvature():
    A = np.diag([1.0, 2.0, -1.0])
    result = pcg(lambda x: A @ x, np.array([1.0, 1.0, 0.1]))
    assert result.reason == "negative curvature"
    assert np.array([1.0, 1.0, 0.1]) @ result.x > 0
    first = pcg(lambda x: -x, np.ones(3))
    assert first.reason == "negative curvature" and np.array_equal(first.x, np.ones(3))
    with pytest.raises(SolveError, match="not finite"):
        pcg(lambda x: x * np.nan, np.ones(3))


def test_damped_solve():
    G, b = spd(), np.random.default_rng(1).standard_normal((30, 2))
    diagonal = np.linspace(1, 2, 30)
    assert np.allclose(damped_solve(G, b, 0.5), np.linalg.solve(G + 0.5 * np.eye(30), b))
    assert np.allclose(damped_solve(G, b[:, 0], diagonal), np.linalg.solve(G + np.diag(diagonal), b[:, 0]))
    flat = np.random.default_rng(2).standard_normal((30, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        low_rank = damped_solve(flat @ flat.T - 1e-16 * np.eye(30), flat @ np.ones(4))
    assert np.allclose(low_rank, np.linalg.pinv(flat @ flat.T) @ flat @ np.ones(4), atol=1e-6)
    with pytest.raises(SolveError, match="not finite"):
        damped_solve(G * np.nan, b)
