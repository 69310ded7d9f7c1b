"""Hilbert spaces against dense linear algebra, exact integrals and rates."""

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse as sp
from skfem import (
    Basis,
    BilinearForm,
    ElementHex1,
    ElementLineP0,
    ElementLineP1,
    ElementLineP2,
    ElementLinePp,
    ElementQuad1,
    ElementQuad2,
    ElementTetP1,
    ElementTetP2,
    ElementTriMini,
    ElementTriP0,
    ElementTriP1,
    ElementTriP2,
    ElementTriRT1,
    ElementVector,
    FacetBasis,
    MeshHex,
    MeshLine,
    MeshQuad,
    MeshTet,
    MeshTri,
)
from skfem.helpers import dot, grad

from fem_ngf import HilbertSpace, InputError, SolveError, unit_square
from fem_ngf.linalg.sobolev import SobolevPower

MESHES = {
    "line": MeshLine().refined(4),
    "triangles": unit_square(4),
    "quads": MeshQuad().refined(2),
    "tetrahedra": MeshTet().refined(1),
    "hexahedra": MeshHex().refined(1),
}
BASES = {
    "line P1": ("line", ElementLineP1), "line P2": ("line", ElementLineP2), "triangle P1": ("triangles", ElementTriP1),
    "triangle P2": ("triangles", ElementTriP2), "bubble": ("triangles", ElementTriMini),
    "quad Q1": ("quads", ElementQuad1), "quad Q2": ("quads", ElementQuad2),
    "tetrahedron P1": ("tetrahedra", ElementTetP1),
    "tetrahedron P2": ("tetrahedra", ElementTetP2), "hexahedron": ("hexahedra", ElementHex1),
}
FACETS = {"left": ("triangles", ElementTriP1), "all": ("triangles", ElementTriP2),
          "faces": ("tetrahedra", ElementTetP1)}
CONSTANTS = {"line P0": ("line", ElementLineP0), "triangle P0": ("triangles", ElementTriP0)}


def basis_of(name):
    if name in FACETS:
        mesh, element = FACETS[name]
        return FacetBasis(MESHES[mesh], element(), facets="left" if name == "left" else None)
    mesh, element = {**BASES, **CONSTANTS}[name]
    return Basis(MESHES[mesh], element())


def random_vectors(space, columns=3):
    vectors = np.random.default_rng(0).standard_normal((space.size, columns))
    vectors[space.fixed] = 0.0
    return vectors


def dense(space):
    """A and M on the free unknowns, from the forms themselves."""
    free = np.ix_(space.free, space.free)
    return space.apply(np.eye(space.size))[free], space.mass.toarray()[free]


# ---- every kind of basis --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*BASES, *FACETS])
@pytest.mark.parametrize("kind", ["l2", "h1", "half", "minus one"])
def test_riesz_inverts_apply(name, kind):
    orders = {"half": 0.5, "minus one": -1.0}
    basis = basis_of(name)
    space = HilbertSpace.sobolev(basis, orders[kind]) if kind in orders else getattr(HilbertSpace, kind)(basis)
    v = random_vectors(space)
    assert np.allclose(space.riesz(space.apply(v)), v, atol=1e-9)
    assert np.allclose(space.riesz(space.apply(v[:, 0])), v[:, 0], atol=1e-9)
    gram = space.gram(v)
    expected = [[space.inner(a, b) for b in v.T] for a in v.T]
    assert np.allclose(gram, expected, rtol=1e-9, atol=1e-11)
    assert np.isclose(space.norm(v[:, 1]) ** 2, gram[1, 1])
    assert np.isclose(space.dual_norm(space.apply(v[:, 1])), space.norm(v[:, 1]))


@pytest.mark.parametrize("name", [*BASES, *FACETS, *CONSTANTS])
def test_project_undoes_evaluate(name):
    space = HilbertSpace.l2(basis_of(name))
    v = random_vectors(space)
    samples = space.evaluate(v)
    assert samples.shape == (len(space.points), 3) == (len(space.weights), 3)
    assert np.allclose(space.project(samples), v, atol=1e-11)
    assert np.allclose(space.project(samples[:, 2]), v[:, 2], atol=1e-11)
    assert np.allclose(samples[:, 0], np.asarray(space.basis.interpolate(v[:, 0])).ravel(), atol=1e-13)


@pytest.mark.parametrize("name", [*BASES, *FACETS])
def test_samples_are_values_at_the_points(name):
    """A function that every element holds, x_0, has the points' first coordinate as samples; weights measure."""
    space = HilbertSpace.l2(basis_of(name))
    linear = space.project(space.points[:, 0])
    assert np.allclose(space.evaluate(linear), space.points[:, 0], atol=1e-12)
    volume = {"left": 1.0, "all": 4.0, "faces": 6.0}.get(name, 1.0)
    assert np.isclose(space.weights.sum(), volume)
    assert np.isclose(space.norm(space.project(np.ones(len(space.points)))) ** 2, volume)


def test_points_go_element_by_element():
    basis = basis_of("triangle P2")
    points = HilbertSpace.l2(basis).points.reshape(basis.mesh.nelements, -1, 2)
    for cell in (0, 7, 31):
        centre = basis.mesh.p[:, basis.mesh.t[:, cell]].mean(axis=1)
        assert np.abs(points[cell] - centre).max() < 0.25


@pytest.mark.parametrize("name", CONSTANTS)
def test_piecewise_constants(name):
    space = HilbertSpace.l2(basis_of(name))
    v = random_vectors(space)
    assert np.allclose(space.riesz(space.apply(v)), v)
    assert np.isclose(space.norm(np.ones(space.size)), 1.0)
    for constructor in (HilbertSpace.h1, lambda basis: HilbertSpace.sobolev(basis, 0.5)):
        with pytest.raises(InputError, match="no gradient"):
            constructor(space.basis)


# ---- the norms are the norms ----------------------------------------------------------------------------------------


def test_h1_norm_of_a_known_function():
    """``x^2`` on (0, 1): ``1/5 + l^2 4/3``, exactly in P2."""
    space = HilbertSpace.h1(Basis(MESHES["line"], ElementLineP2(), intorder=4), length=0.3)
    square = space.project(space.points[:, 0] ** 2)
    assert np.isclose(space.norm(square) ** 2, 0.2 + 0.09 * 4.0 / 3.0)


def test_h1_on_facets_sees_the_tangential_gradient_only():
    """On the left side, ``x + 2 y`` varies like 2 y: norm^2 = int 4 y^2 + 4 l^2."""
    space = HilbertSpace.h1(FacetBasis(MESHES["triangles"], ElementTriP1(), facets="left"), length=0.5)
    x, y = space.basis.doflocs
    v = np.where(np.isin(np.arange(space.size), space.free), x + 2 * y, 0.0)
    assert np.isclose(space.norm(v) ** 2, 4.0 / 3.0 + 1.0)
    assert set(space.free) == set(space.basis.get_dofs("left").all())


def test_h1_seminorm():
    basis = Basis(MESHES["triangles"], ElementTriP1())
    boundary = basis.get_dofs().all()
    space = HilbertSpace.h1_seminorm(basis, fixed=boundary)
    load = np.ones(basis.N)
    v = space.riesz(load)
    assert np.all(v[boundary] == 0.0)
    assert np.allclose((space.stiffness @ v)[space.free], 1.0)
    with pytest.raises(InputError, match="fixed"):
        HilbertSpace.h1_seminorm(basis, fixed=[])


def test_dirichlet_rows():
    """Projection and Riesz map of a space with fixed unknowns are those of the sub-space."""
    basis = Basis(MESHES["triangles"], ElementTriP2())
    fixed = basis.get_dofs("left").all()
    space = HilbertSpace.h1(basis, fixed=fixed)
    free = np.setdiff1d(np.arange(basis.N), fixed)
    g = np.random.default_rng(1).standard_normal(basis.N)
    v = space.riesz(g)
    assert np.all(v[fixed] == 0.0)
    assert np.allclose(v[free], np.linalg.solve(space.matrix.toarray()[np.ix_(free, free)], g[free]))
    samples = np.cos(3 * space.points[:, 0])
    projected = space.project(samples)
    rest = space.evaluate(projected) - samples
    assert np.all(projected[fixed] == 0.0)
    assert np.abs((space.quadrature.matrix.T @ (space.weights * rest))[free]).max() < 1e-14


def test_user_forms_and_matrices():
    basis = Basis(MESHES["triangles"], ElementTriP1())

    def form(u, v, w):
        return 2.0 * u * v + (1.0 + w.x[0]) * dot(grad(u), grad(v))

    by_form, v = HilbertSpace.from_form(basis, form), np.linspace(-1.0, 1.0, basis.N)
    matrix = BilinearForm(form).assemble(basis)
    by_matrix = HilbertSpace.from_matrix(basis, matrix)
    assert np.isclose(by_form.norm(v) ** 2, v @ (matrix @ v))
    assert np.isclose(by_matrix.norm(v), by_form.norm(v))
    coefficient = HilbertSpace.from_form(basis, lambda u, v, w: w.k * u * v, k=basis.interpolate(3.0 + 0 * v))
    assert np.allclose(coefficient.apply(v), 3.0 * coefficient.mass @ v)
    other = by_form.with_inner_product(HilbertSpace.l2(basis).inner_product)
    assert np.isclose(other.norm(v) ** 2, v @ (other.mass @ v))


# ---- fractional orders ----------------------------------------------------------------------------------------------

ORDERS = [-2.0, -1.7, -1.0, -0.5, -0.1, 0.0, 0.3, 0.5, 1.0, 1.25, 1.9, 2.0]


def spectral_matrices(space, s, length):
    """``M V diag(lambda^s) V^T M`` and its inverse from the dense generalised eigen-decomposition."""
    free = np.ix_(space.free, space.free)
    mass = space.mass.toarray()[free]
    eigenvalues, vectors = scipy.linalg.eigh(mass + length**2 * space.stiffness.toarray()[free], mass)
    return mass @ (vectors * eigenvalues**s) @ vectors.T @ mass, (vectors * eigenvalues**-s) @ vectors.T


@pytest.mark.parametrize("s", ORDERS)
@pytest.mark.parametrize("limit", [800, 0], ids=["dense", "rational"])
@pytest.mark.parametrize("case", ["line P2", "triangle P2", "left", "fixed"])
def test_fractional_orders_equal_the_spectral_definition(case, s, limit):
    length = 0.7
    basis = basis_of("triangle P1" if case == "fixed" else case)
    fixed = basis.get_dofs("left").all() if case == "fixed" else []
    space = HilbertSpace.sobolev(basis, s, length, fixed=fixed)
    energy = sp.csr_array(space.mass + length**2 * space.stiffness)
    space = space.with_inner_product(SobolevPower(space.mass, energy, s, space.free, dense_limit=limit))
    expected, inverse = spectral_matrices(space, s, length)
    assert np.abs(dense(space)[0] - expected).max() < 1e-10 * np.abs(expected).max()
    g = np.random.default_rng(0).standard_normal((space.size, 2))
    solved = inverse @ g[space.free]
    assert np.abs(space.riesz(g)[space.free] - solved).max() < 1e-9 * np.abs(solved).max()
    assert np.all(space.riesz(g)[space.fixed] == 0.0)


def test_a_space_beyond_the_dense_limit():
    """2,401 unknowns: the rational branch satisfies the semigroup law and the integer orders."""
    basis = Basis(MeshTri.init_tensor(*[np.linspace(0, 1, 49)] * 2), ElementTriP1())
    half, one = HilbertSpace.sobolev(basis, 0.5), HilbertSpace.h1(basis)
    v = np.cos(np.arange(basis.N))
    assert basis.N > half.inner_product.dense_limit
    twice = half.apply(half.project_moments(half.apply(v)))
    assert np.linalg.norm(twice - one.apply(v)) < 1e-9 * np.linalg.norm(one.apply(v))
    assert np.linalg.norm(half.riesz(half.apply(v)) - v) < 1e-8 * np.linalg.norm(v)
    dual = HilbertSpace.sobolev(basis, -1.0)
    assert np.isclose(dual.norm(v), one.dual_norm(one.mass @ v))


# ---- rates ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", ["quadrature", "nodal"])
def test_interpolation_rates(sampling):
    """P1 in two dimensions: order 2 in L2 and order 1 in H1."""
    errors = []
    for refinements in (3, 4, 5):
        mesh = MeshTri().refined(refinements)
        space = HilbertSpace.l2(Basis(mesh, ElementTriP1(), intorder=5), sampling=sampling)
        v = space.project(np.sin(3 * space.points[:, 0]) * np.cos(2 * space.points[:, 1]))
        field, x = space.basis.interpolate(v), space.basis.global_coordinates()
        exact = np.sin(3 * x[0]) * np.cos(2 * x[1])
        slope = np.array([3 * np.cos(3 * x[0]) * np.cos(2 * x[1]), -2 * np.sin(3 * x[0]) * np.sin(2 * x[1])])
        square = [(np.asarray(field) - exact) ** 2, ((field.grad - slope) ** 2).sum(axis=0)]
        errors.append([np.sqrt(np.sum(part * space.basis.dx)) for part in square])
    rates = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))[-1]
    assert np.allclose(rates, [2.0, 1.0], atol=0.05)


def test_nodal_sampling_interpolates():
    basis = Basis(MESHES["triangles"], ElementTriP2())
    space = HilbertSpace.h1(basis, sampling="nodal")
    v = space.project(np.exp(space.points[:, 0]))
    assert np.allclose(v, np.exp(basis.doflocs[0]))
    assert np.allclose(space.evaluate(v), v)
    assert np.isclose(space.weights.sum(), 1.0)
    twin = HilbertSpace.h1(basis)
    assert np.isclose(twin.norm(v), space.norm(v))


def test_many_columns_agree_with_one_by_one():
    space = HilbertSpace.h1(Basis(MESHES["triangles"], ElementTriP1()))
    samples = np.random.default_rng(0).standard_normal((len(space.points), 40))
    block = space.project(samples)
    assert np.allclose(block, np.column_stack([space.project(column) for column in samples.T]), atol=1e-13)


# ---- bad input ------------------------------------------------------------------------------------------------------

P1 = Basis(MESHES["triangles"], ElementTriP1())
BAD = {
    "length is 1e\\+200; it must be a positive number": lambda: HilbertSpace.h1(P1, 1e200),
    "length is -1": lambda: HilbertSpace.h1(P1, -1.0),
    "length is nan": lambda: HilbertSpace.sobolev(P1, 1.0, float("nan")),
    r"s = 2.5 is outside": lambda: HilbertSpace.sobolev(P1, 2.5),
    "s = nan is outside": lambda: HilbertSpace.sobolev(P1, float("nan")),
    "fixed holds": lambda: HilbertSpace.l2(P1, fixed=[0, P1.N]),
    r"matrix has shape \(3, 3\)": lambda: HilbertSpace.from_matrix(P1, sp.eye_array(3)),
    "sampling is 'random'": lambda: HilbertSpace.l2(P1, sampling="random"),
    "nodal sampling needs a Lagrange element": lambda: HilbertSpace.l2(
        Basis(MESHES["triangles"], ElementTriMini()), sampling="nodal"),
    "nodal sampling needs": lambda: HilbertSpace.l2(Basis(MESHES["line"], ElementLinePp(3)), sampling="nodal"),
    "neither scalar nor vector": lambda: HilbertSpace.l2(Basis(MESHES["triangles"], ElementTriP1() * ElementTriP1())),
    "has no gradient": lambda: HilbertSpace.h1(Basis(MESHES["triangles"], ElementTriRT1())),
    r"vector has shape \(3,\)": lambda: HilbertSpace.l2(P1).evaluate(np.zeros(3)),
    r"samples has shape \(3,\)": lambda: HilbertSpace.l2(P1).project(np.zeros(3)),
    r"covector has shape \(3,\)": lambda: HilbertSpace.l2(P1).riesz(np.zeros(3)),
    r"vectors has shape \(3, 2\)": lambda: HilbertSpace.l2(P1).gram(np.zeros((3, 2))),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input(message):
    with pytest.raises(InputError, match=message):
        BAD[message]()


def test_not_finite_samples_are_a_failed_solve():
    space = HilbertSpace.l2(P1)
    with pytest.raises(SolveError):
        space.project(np.full(len(space.points), np.nan))
    with pytest.raises(SolveError):
        space.riesz(np.full(space.size, np.inf))


@pytest.mark.parametrize("element", [ElementTriP2(), ElementVector(ElementTriP1())])
def test_matrices_of_many_cells_are_assembled_in_parts(element, monkeypatch):
    basis = Basis(MeshTri().refined(3), element, intorder=4, elements=np.arange(3, 120))
    whole = HilbertSpace.h1(basis)
    monkeypatch.setattr("fem_ngf.spaces.matrices.ENTRIES", 11 * basis.Nbfun**2)  # in eleven parts
    parts = HilbertSpace.h1(basis)
    for one, other in ((whole.matrix, parts.matrix), (whole.mass, parts.mass)):
        assert abs(one - other).max() < 1e-15
    assert abs(whole.stiffness - parts.stiffness).max() < 1e-14
