"""Model meshes, and files in several formats with their names."""

from pathlib import Path

import meshio
import numpy as np
import pytest
from published import DATA, arrays, needs
from skfem import Basis, ElementTetP1, ElementTriP1, ElementTriP2, FacetBasis, Functional, MeshQuad2, MeshTet2, MeshTri2

from fem_ngf import (
    InputError,
    boundary,
    disk,
    halvings,
    interval,
    l_shape,
    read_mesh,
    rectangle,
    subdomain,
    unit_cube,
    unit_square,
    without,
)

ROOT = Path(__file__).parents[1]
FILE = DATA / "hippylib" / "subsurface_n64.npz"
PLATE = ROOT / "meshes" / "perforated_plate.msh"


@Functional
def one(w):
    return 1.0 + 0.0 * w.x[0]


def centroids(points, cells):
    return {tuple(row) for row in np.round(points[cells].mean(axis=1), 9)}


def test_unit_square_has_the_right_diagonal():
    mesh = unit_square(3)
    corners = mesh.p[:, mesh.t]
    edges = np.concatenate([corners[:, j] - corners[:, i] for i, j in ((0, 1), (1, 2), (0, 2))], axis=1)
    diagonals = edges[:, np.abs(edges).min(axis=0) > 1e-12]
    assert mesh.nelements == 18 and diagonals.shape == (2, 18)
    assert np.all(diagonals[0] * diagonals[1] > 0)  # from lower left to upper right


@needs(FILE)
def test_unit_square_is_hippylibs_mesh():
    mesh, data = unit_square(64), arrays(FILE)
    assert centroids(mesh.p.T, mesh.t.T) == centroids(data["vertices"], data["cells"])


@pytest.mark.parametrize(("mesh", "element", "volume", "sides"), [
    (rectangle((4, 3), (0, 0), (2, 1)), ElementTriP1(), 2.0, {"left": 1, "right": 1, "bottom": 2, "top": 2}),
    (l_shape(2), ElementTriP1(), 3.0, {"left": 2, "bottom": 2, "right": 1, "top": 1, "reentrant": 2}),
    (without(unit_square(4), [((0.25, 0.5), (0.5, 0.75)), ((0.5, 0.75), (0.25, 0.5))], "rims"), ElementTriP1(), 0.875,
     {"left": 1, "right": 1, "bottom": 1, "top": 1, "rims": 2}),
    (unit_cube(2), ElementTetP1(), 1.0, dict.fromkeys(["left", "right", "bottom", "top", "front", "back"], 1)),
])
def test_volumes_and_boundary_measures(mesh, element, volume, sides):
    assert one.assemble(Basis(mesh, element)) == pytest.approx(volume, rel=1e-13)
    assert set(mesh.boundaries) == set(sides)
    for name, measure in sides.items():
        assert one.assemble(FacetBasis(mesh, element, facets=boundary(mesh, name))) == pytest.approx(measure, rel=1e-13)


def test_interval_names_its_ends():
    mesh = interval(5, -1.0, 2.0)
    assert mesh.p[0, mesh.facets[0, boundary(mesh, "left")]] == [-1.0]
    assert mesh.p[0, mesh.facets[0, boundary(mesh, "right")]] == [2.0]


def test_disk_area_converges_at_rate_two_and_cells_are_even():
    area = [one.assemble(Basis(disk(2.0, size, (3.0, 1.0)), ElementTriP1())) for size in (0.2, 0.1)]
    error = 4 * np.pi - np.array(area)
    assert np.log2(error[0] / error[1]) == pytest.approx(2.0, abs=0.01)
    mesh = disk(1.0, 0.1)
    edges = np.linalg.norm(mesh.p[:, mesh.facets[0]] - mesh.p[:, mesh.facets[1]], axis=0)
    assert mesh.is_valid() and 0.099 < edges.min() and edges.max() < 0.15
    assert np.allclose(np.linalg.norm(mesh.p[:, mesh.facets[:, boundary(mesh, "circle")]], axis=0), 1.0)


def test_plate_keeps_its_names():
    mesh = read_mesh(PLATE)
    assert 2000 <= mesh.nelements <= 4000 and set(mesh.boundaries) == {"left", "right", "bottom", "top", "holes"}
    assert set(mesh.subdomains) == {"plate"} and len(subdomain(mesh, "plate")) == mesh.nelements
    circles = [(0.35, 0.70, 0.10), (0.40, 0.27, 0.13), (0.85, 0.50, 0.14), (1.20, 0.80, 0.08), (1.25, 0.22, 0.10),
               (1.62, 0.62, 0.12), (1.75, 0.20, 0.07)]
    middle = mesh.p[:, mesh.facets[:, boundary(mesh, "holes")]].mean(axis=1)
    sides = [np.sum(np.hypot(middle[0] - x, middle[1] - y) < 1.05 * r) for x, y, r in circles]
    holes = sum(n / 2 * r**2 * np.sin(2 * np.pi / n) for n, (_, _, r) in zip(sides, circles, strict=True))
    assert min(sides) >= 15 and sum(sides) == middle.shape[1]
    assert one.assemble(Basis(mesh, ElementTriP1())) == pytest.approx(2 - holes, rel=1e-6)
    every = np.concatenate([boundary(mesh, name) for name in mesh.boundaries])
    assert np.array_equal(np.sort(every), mesh.boundary_facets())


@pytest.mark.parametrize("suffix", [".vtu", ".xdmf", ".msh"])
def test_scikit_fem_files_read_back(tmp_path, suffix, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mesh = unit_square(3).with_subdomains({"core": lambda x: x[0] < 0.5})
    mesh.save(f"square{suffix}")
    back = read_mesh(f"square{suffix}")
    assert centroids(back.p.T, back.t.T) == centroids(mesh.p.T, mesh.t.T)
    assert set(back.boundaries) == set(mesh.boundaries) and len(back.subdomains["core"]) == len(mesh.subdomains["core"])
    assert np.allclose(back.p[0, back.facets[:, boundary(back, "left")]], 0.0)


def gmsh_square(path, *, quadratic: bool, bulge: float = 0.0, version: str = "4.1"):
    """Two triangles with named sides, as gmsh writes them; the upper side may be curved."""
    points = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [.5, 0, 0], [1, .5, 0], [.5, 1 + bulge, 0],
                       [0, .5, 0], [.5, .5, 0]], dtype=float)
    triangles, lines = [[0, 1, 2, 4, 5, 8], [0, 2, 3, 8, 6, 7]], [[0, 1, 4], [2, 3, 6]]
    if not quadratic:
        points, triangles, lines = points[:4], [row[:3] for row in triangles], [row[:2] for row in lines]
    kinds = ("line3", "triangle6") if quadratic else ("line", "triangle")
    tags = [np.array([1, 2]), np.array([1, 1])]  # number 1 is a side and, in another dimension, a subdomain
    names = {"floor": np.array([1, 1]), "ceiling": np.array([2, 1]), "all": np.array([1, 2])}
    mesh = meshio.Mesh(points, [(kinds[0], np.array(lines)), (kinds[1], np.array(triangles))], field_data=names,
                       cell_data={"gmsh:physical": tags, "gmsh:geometrical": tags})
    meshio.write(path, mesh, file_format="gmsh22" if version == "2.2" else "gmsh", binary=False)
    return path


@pytest.mark.parametrize("quadratic", [False, True])
def test_gmsh_2_2_names_survive_linear_and_quadratic(tmp_path, quadratic):
    mesh = read_mesh(gmsh_square(tmp_path / "a.msh", quadratic=quadratic, version="2.2"))
    assert set(mesh.boundaries) == {"floor", "ceiling"} and np.array_equal(np.sort(subdomain(mesh, "all")), [0, 1])
    assert np.allclose(mesh.p[1, mesh.facets[:, boundary(mesh, "ceiling")]], 1.0)
    assert mesh.nvertices == 4 and mesh.affine  # straight sides: no reason for a quadratic mesh


def test_curved_sides_survive(tmp_path):
    mesh = read_mesh(gmsh_square(tmp_path / "a.msh", quadratic=True, bulge=0.3, version="2.2"))
    assert isinstance(mesh, MeshTri2) and set(mesh.boundaries) == {"floor", "ceiling"}
    assert one.assemble(Basis(mesh, ElementTriP2(), intorder=6)) == pytest.approx(1 + 0.3 * 2 / 3, rel=1e-12)


@pytest.mark.parametrize(("source", "kind"), [
    (MeshTri2.init_circle(1), "triangle6"), (MeshTet2.init_ball(1), "tetra10"),
    (MeshQuad2.from_mesh(unit_square(2, "quad")), "quad9"),
])
def test_quadratic_meshes_read_back(tmp_path, source, kind):
    if kind == "quad9":
        source.doflocs[1] += 0.1 * np.sin(np.pi * source.doflocs[0])
    source.save(tmp_path / "curved.vtu")
    mesh = read_mesh(tmp_path / "curved.vtu")
    assert type(mesh) is type(source)
    volume = [one.assemble(Basis(m, m.elem(), intorder=6)) for m in (mesh, source)]
    assert volume[0] == pytest.approx(volume[1], rel=1e-12)


def write(path, points, cells):
    meshio.write(path, meshio.Mesh(np.asarray(points, dtype=float), cells))
    return path


SQUARE = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]


@pytest.mark.parametrize(("make", "message"), [
    (lambda d: d / "nothing.msh", "does not exist"),
    (lambda d: write(d / "a.vtu", SQUARE, [("vertex", np.array([[0], [1]]))]), "no cells"),
    (lambda d: write(d / "a.vtu", SQUARE, [("triangle", np.array([[0, 1, 1], [0, 2, 3]]))]), "1 cells without volume"),
    (lambda d: write(d / "a.vtu", np.zeros((4, 3)), [("quad", np.array([[0, 1, 2, 3]]))]), "1 cells without volume"),
    (lambda d: write(d / "a.vtu", SQUARE, [("triangle", np.array([[0, 1, 2], [2, 0, 1]]))]), "more than once"),
    (lambda d: write(d / "a.vtu", SQUARE, [("triangle", np.array([[0, 1, 2], [0, 2, 9]]))]), "it does not have"),
    (lambda d: write(d / "a.vtu", [*SQUARE, [2, 0, 0]],
                     [("quad", np.array([[0, 1, 2, 3]])), ("triangle", np.array([[1, 4, 2]]))]), "mixes cells"),
    (lambda d: write(d / "a.vtu", [[0, 0, 0], [1, 0, 0], [1, 1, 1]], [("triangle", np.array([[0, 1, 2]]))]),
     "not flat"),
    (lambda d: write(d / "a.vtu", [[0, 0, 0], [1, 0, 0], [np.nan, 1, 0]], [("triangle", np.array([[0, 1, 2]]))]),
     "not finite"),
    (lambda d: write(d / "a.vtu", np.eye(5, 3), [("pyramid", np.array([[0, 1, 2, 3, 4]]))]),
     "unsupported type: pyramid"),
])
def test_bad_files_are_one_clear_line(tmp_path, make, message):
    with pytest.raises(InputError, match=message) as error:
        read_mesh(make(tmp_path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["text.msh", "text.vtu", "text.xyz"])
def test_files_that_do_not_parse(tmp_path, name, capsys):
    (tmp_path / name).write_text("this is not a mesh\n")
    with pytest.raises(InputError, match="cannot be read") as error:
        read_mesh(tmp_path / name)
    printed = capsys.readouterr()
    assert "\n" not in str(error.value) and printed.out + printed.err == ""


def test_halvings_end():
    assert list(halvings(unit_square, 8, smallest=1)) == ["1 x 1", "2 x 2", "4 x 4", "8 x 8"]


def test_unknown_names_list_the_known_ones():
    mesh = unit_square(2)
    with pytest.raises(InputError, match="unknown boundary 'lid'; known: bottom, left, right, top"):
        boundary(mesh, "lid")
    with pytest.raises(InputError, match="no named subdomain"):
        subdomain(mesh, "core")


@pytest.mark.parametrize("call", [
    lambda: unit_square(0), lambda: unit_square(2.5), lambda: rectangle((2, 2), (0, 0), (0, 1)),
    lambda: unit_square(2, kind="hexagon"), lambda: unit_cube(2, kind="pyramid"), lambda: disk(1.0, 2.0),
    lambda: disk(-1.0), lambda: interval(3, 1.0, 0.0), lambda: l_shape(0),
])
def test_bad_arguments(call):
    with pytest.raises(InputError):
        call()
