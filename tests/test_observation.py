"""Where points lie, what is observed there, and the adjoint identity."""

import numpy as np
import pytest
from skfem import (
    Basis,
    BilinearForm,
    ElementHex1,
    ElementLineP2,
    ElementQuad2,
    ElementTetP2,
    ElementTriP1,
    ElementTriP2,
    ElementVector,
    MeshQuad,
    MeshTri2,
)

from fem_ngf import (
    InputError,
    boundary_trace,
    disk,
    interval,
    l_shape,
    point_values,
    subdomain_averages,
    unit_cube,
    unit_square,
    whole_field,
)
from fem_ngf.spaces.locate import interpolation, locate

HALVES = unit_square(4).with_subdomains({"west": lambda x: x[0] < 0.5, "south": lambda x: x[1] < 0.25})


def skewed_quads():
    mesh = MeshQuad().refined(2)
    points = mesh.p.copy()
    inner = mesh.interior_nodes()
    points[:, inner] += 0.05 * np.random.default_rng(0).standard_normal((2, len(inner)))
    return MeshQuad(points, mesh.t)


@pytest.mark.parametrize(("mesh", "element"), [
    (interval(7), ElementLineP2()), (unit_square(6), ElementTriP2()), (unit_square(5, "quad"), ElementQuad2()),
    (skewed_quads(), ElementQuad2()), (unit_cube(2), ElementTetP2()), (unit_cube(2, "hexahedron"), ElementHex1()),
    (MeshTri2.init_circle(2), ElementTriP2()), (l_shape(3), ElementTriP1()),
    (unit_square(3), ElementVector(ElementTriP2())),
])
def test_quadrature_points_are_found_and_evaluated(mesh, element):
    basis = Basis(mesh, element)
    points = np.asarray(basis.global_coordinates()).reshape(mesh.dim(), -1).T
    assert np.array_equal(locate(mesh, points).cells, np.repeat(np.arange(mesh.nelements), basis.dx.shape[1]))
    u = np.random.default_rng(1).standard_normal(basis.N)
    assert np.abs(point_values(basis, points)(u) - np.asarray(basis.interpolate(u)).ravel()).max() < 1e-12


def test_every_node_is_inside_its_mesh():
    for mesh in (unit_square(9), disk(0.115, 0.02), unit_cube(3), skewed_quads()):
        cells = locate(mesh, mesh.p.T).cells
        assert all(node in mesh.t[:, cell] for node, cell in enumerate(cells))


def test_long_thin_cells_whose_centres_are_far_away():
    points = np.array([[0, 0], [1, 0], [1, 1], [0, 1], *[[0.0, y] for y in np.linspace(0.01, 0.99, 60)]]).T
    mesh = unit_square(1)
    for y in points[1, 4:]:  # many small cells at the left end
        mesh = mesh.refined(np.array([locate(mesh, np.array([[1e-6, y]])).cells[0]]))
    queries = np.random.default_rng(2).random((500, 2))
    places = locate(mesh, queries)
    local = mesh.mapping().invF(queries.T[:, :, None], tind=places.cells)[:, :, 0]
    assert np.all(places.distance == 0.0) and min(local.min(), 1 - local.sum(axis=0).max()) > -1e-9
    assert np.array_equal(local, places.reference)


def test_points_outside_are_named():
    basis = Basis(unit_square(4), ElementTriP1())
    points = np.array([[0.5, 0.5], [1.5, 0.2], [0.3, -1e-3], [1.0, 1.0], [7.0, 8.0], [9.0, 9.0]])
    with pytest.raises(InputError, match=r"4 of 6 lie outside the mesh: 1 at \(1.5, 0.2\), 2 at .*, 4 at \(7, 8\);"):
        point_values(basis, points)
    assert np.array_equal(locate(basis.mesh, points).distance > 0, [False, True, True, False, True, True])
    hole = Basis(l_shape(3), ElementTriP1())
    with pytest.raises(InputError, match="1 of 1 lie outside"):
        point_values(hole, np.array([[0.5, 0.5]]))
    nearest = np.array([[1.1, 1.0]])
    assert locate(basis.mesh, nearest).distance == pytest.approx([0.1])
    assert interpolation(basis, nearest) @ (basis.doflocs[0] + 2.0 * basis.doflocs[1]) == pytest.approx([3.0])


@pytest.mark.parametrize("points", [np.zeros(2), np.zeros((0, 2)), np.zeros((3, 3)), np.array([[0.1, np.nan]])])
def test_bad_points(points):
    with pytest.raises(InputError, match="points has"):
        point_values(Basis(unit_square(2), ElementTriP1()), points)


@pytest.mark.parametrize("observe", [
    whole_field, lambda b: point_values(b, np.random.default_rng(3).random((11, 2))),
    lambda b: subdomain_averages(b, ["west", "south"]), lambda b: boundary_trace(b, "top"),
])
@pytest.mark.parametrize("shape", [(), (3,), (3, 2)])
def test_adjoint_identity(observe, shape):
    basis = Basis(HALVES, ElementTriP2())
    observation = observe(basis)
    generator = np.random.default_rng(4)
    u, r = generator.standard_normal((basis.N, *shape)), generator.standard_normal((observation.shape[0], *shape))
    left, right = np.sum(observation(u) * r), np.sum(u * observation.transpose(r))
    assert observation(u).shape == r.shape and abs(left - right) <= 1e-13 * np.linalg.norm(u) * np.linalg.norm(r)


def test_averages_traces_and_nodes():
    basis = Basis(HALVES, ElementTriP2())
    u = basis.doflocs[0] ** 2 + basis.doflocs[1]
    assert subdomain_averages(basis, ["west", "south"])(u) == pytest.approx([1 / 12 + 1 / 2, 1 / 3 + 1 / 8], rel=1e-12)
    trace = boundary_trace(basis, "right")
    assert trace(u) == pytest.approx(1 + trace.points[:, 1]) and np.allclose(trace.points[:, 0], 1.0)
    assert whole_field(basis)(u) is not u and np.array_equal(whole_field(basis)(u), u)


def test_unknown_names_and_shapes():
    basis = Basis(HALVES, ElementTriP1())
    with pytest.raises(InputError, match="unknown boundary 'lid'; known: bottom"):
        boundary_trace(basis, "lid")
    with pytest.raises(InputError, match="unknown subdomain 'north'; known: south, west"):
        subdomain_averages(basis, ["west", "north"])
    with pytest.raises(InputError, match=r"u has shape \(3,\)"):
        whole_field(basis)(np.zeros(3))


def test_point_values_converge_at_rate_two():
    points = np.random.default_rng(6).random((50, 2))
    exact = np.sin(3 * points[:, 0]) * np.exp(points[:, 1])
    errors = []
    for n in (16, 32):
        basis = Basis(unit_square(n), ElementTriP1())
        values = point_values(basis, points)(np.sin(3 * basis.doflocs[0]) * np.exp(basis.doflocs[1]))
        errors.append(np.linalg.norm(values - exact))
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.3)


def test_mass_matrix_oracle_of_the_whole_field():
    basis = Basis(HALVES, ElementTriP1())
    mass = BilinearForm(lambda u, v, w: u * v).assemble(basis)
    ones = whole_field(basis)(np.ones(basis.N))
    assert ones @ mass @ ones == pytest.approx(1.0, rel=1e-13)
