"""Users' data files, nodal data, and the projection of whole fields."""

import numpy as np
import pytest
from published import DATA, arrays, needs
from skfem import Basis, BilinearForm, ElementQuad2, ElementTriP1, ElementTriP2, Functional

from fem_ngf import InputError, disk, nodal_values, point_values, project_field, read_measurements, unit_square

FILE = DATA / "hippylib" / "diffusion_n64.npz"
POINTS = np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])
VALUES = np.array([1.0, -2.0, 3.5])


def npz(path, **arrays):
    np.savez(path / "data.npz", **arrays)
    return path / "data.npz"


def csv(path, text):
    (path / "data.csv").write_text(text)
    return path / "data.csv"


@pytest.mark.parametrize("std", [None, 0.1, [0.1, 0.2, 0.3]])
def test_npz(tmp_path, std):
    extra = {} if std is None else {"std": std}
    data = read_measurements(npz(tmp_path, points=POINTS, values=VALUES, gamma=1e-8, **extra), dimension=2)
    assert np.array_equal(data.points, POINTS) and np.array_equal(data.values, VALUES)
    assert data.std is None if std is None else np.array_equal(data.std, np.broadcast_to(std, 3))


def test_npz_of_several_experiments(tmp_path):
    values = np.arange(6.0).reshape(3, 2)
    data = read_measurements(npz(tmp_path, points=POINTS, values=values, std=[0.1, 0.2, 0.3]))
    assert np.array_equal(data.values, values) and np.array_equal(data.std[:, 1], [0.1, 0.2, 0.3])


@pytest.mark.parametrize(("text", "dimension", "std"), [
    ("0.1,0.2,1\n0.3,0.4,-2\n0.5,0.6,3.5\n", None, None),
    ("x,y,value\n0.1,0.2,1\n0.3,0.4,-2\n0.5,0.6,3.5\n", 2, None),
    ("# made by hand\nstd, Value ,y,x,name\n.1,1,.2,.1,7\n.2,-2,.4,.3,8\n\n.3,3.5,.6,.5,9\n", 2, [0.1, 0.2, 0.3]),
    ("0.1,0.2,1,.1\n0.3,0.4,-2,.2\n0.5,0.6,3.5,.3\n", 2, [0.1, 0.2, 0.3]),
    ("\ufeffx,y,value,std\r\n0.1,0.2,1,.1\r\n0.3,0.4,-2,.2\r\n0.5,0.6,3.5,.3\r\n", None, [0.1, 0.2, 0.3]),
])
def test_csv(tmp_path, text, dimension, std):
    data = read_measurements(csv(tmp_path, text), dimension=dimension)
    assert np.array_equal(data.points, POINTS) and np.array_equal(data.values, VALUES)
    assert data.std is None if std is None else np.array_equal(data.std, std)


def test_csv_in_one_and_three_dimensions(tmp_path):
    assert read_measurements(csv(tmp_path, "0.1,1\n0.2,2\n")).points.shape == (2, 1)
    assert read_measurements(csv(tmp_path, "x,y,z,value\n0,0,1,1\n0,1,1,2\n")).points.shape == (2, 3)
    assert read_measurements(csv(tmp_path, "0,0,1,1\n0,1,1,2\n"), dimension=3).values.tolist() == [1, 2]


NAN = np.array([1.0, np.nan, 2.0])
BAD_FILES = [
    (lambda d: d / "none.npz", "does not exist"),
    (lambda d: d, "is no file"),
    (lambda d: npz(d), "lacks points and values; it has nothing"),
    (lambda d: npz(d, points=POINTS, values=VALUES + 1j), "cannot be read as .npz: values is complex"),
    (lambda d: d.joinpath("a.txt").write_text("1") and d / "a.txt", "suffix '.txt'; give .npz or .csv"),
    (lambda d: d.joinpath("a.npz").write_text("1,2") and d / "a.npz", "cannot be read as .npz"),
    (lambda d: d.joinpath("a.npz").write_bytes(b"PK\x03\x04 cut off") and d / "a.npz", "cannot be read as .npz"),
    (lambda d: npz(d, points=POINTS), "lacks values; it has points"),
    (lambda d: npz(d, points=POINTS, values=np.array(["a", "b", "c"])), "cannot be read"),
    (lambda d: npz(d, points=POINTS, values=np.array([{}, 1, 2], dtype=object)), "cannot be read"),
    (lambda d: npz(d, points=POINTS[:, 0], values=VALUES), r"points has shape \(3,\)"),
    (lambda d: npz(d, points=np.zeros((0, 2)), values=[]), r"points has shape \(0, 2\)"),
    (lambda d: npz(d, points=POINTS, values=VALUES[:2]), r"values has shape \(2,\) for 3 points"),
    (lambda d: npz(d, points=POINTS, values=NAN), "values has 1 rows that are not finite, the first is row 1"),
    (lambda d: npz(d, points=POINTS * NAN[:, None], values=VALUES), "points has 1 rows that are not finite"),
    (lambda d: npz(d, points=POINTS, values=VALUES, std=NAN), "std has 1 rows that are not finite"),
    (lambda d: npz(d, points=POINTS, values=VALUES, std=[0.1, 0.0, -1]), "std has 2 values that are not positive"),
    (lambda d: npz(d, points=POINTS, values=VALUES, std=[0.1, 0.2]), r"std has shape \(2,\)"),
    (lambda d: npz(d, points=POINTS[[0, 1, 0]], values=VALUES), r"1 points are duplicates, e.g. \[0.1, 0.2\]"),
    (lambda d: npz(d, points=np.ones((1, 3)), values=[1.0]), "points have 3 coordinates; the problem has 2"),
    (lambda d: csv(d, ""), "no rows of numbers"), (lambda d: csv(d, "x,y,value\n"), "no rows of numbers"),
    (lambda d: csv(d, "x,y,value\n1,2,3\n1,oops,3\n"), "line 3: '1,oops,3' is not 3 numbers"),
    (lambda d: csv(d, "x,y,value\n1,2,3\n1,2\n"), "line 3: '1,2' is not 3 numbers"),
    (lambda d: csv(d, "x,y,u\n1,2,3\n"), "lacks column value; it has x, y, u"),
    (lambda d: csv(d, "x,x,value\n1,2,3\n"), "repeats a column name"),
    (lambda d: csv(d, "1,2,3,4,5,6\n"), "6 columns; it needs"),
    (lambda d: d.joinpath("a.csv").write_bytes(b"\xff\xfe\x00") and d / "a.csv", "is not text"),
]


@pytest.mark.parametrize(("make", "message"), BAD_FILES)
def test_bad_files_are_one_clear_line(tmp_path, make, message):
    with pytest.raises(InputError, match=message) as error:
        read_measurements(make(tmp_path), dimension=2)
    assert "\n" not in str(error.value)


def test_ambiguous_csv(tmp_path):
    with pytest.raises(InputError, match="four columns and no header"):
        read_measurements(csv(tmp_path, "1,2,3,4\n"))


def test_nodal_values_undo_a_permutation():
    basis = Basis(unit_square(5), ElementTriP2())
    order = np.random.default_rng(0).permutation(basis.N)
    exact = np.stack([np.sin(basis.doflocs[0]), basis.doflocs[1]], axis=1)
    points = basis.doflocs.T[order] + 1e-12
    assert np.array_equal(nodal_values(basis, points, exact[order]), exact)


def test_nodal_values_refuse_other_meshes():
    basis = Basis(unit_square(4), ElementTriP1())
    nodes = basis.doflocs.T
    with pytest.raises(InputError, match=r"points has shape \(16, 2\)"):
        nodal_values(basis, Basis(unit_square(3), ElementTriP1()).doflocs.T, np.zeros(16))
    moved = nodes.copy()
    moved[7] += 0.01
    with pytest.raises(InputError, match="1 of 25 nodes of the basis have no data"):
        nodal_values(basis, moved, np.zeros(25))
    with pytest.raises(InputError, match="values has 24 rows"):
        nodal_values(basis, nodes, np.zeros(24))


@needs(FILE)
def test_published_nodal_data():
    state, parameter = (Basis(unit_square(64), element) for element in (ElementTriP2(), ElementTriP1()))
    data, measured = arrays(FILE), read_measurements(FILE, dimension=2)
    u = nodal_values(state, measured.points, measured.values)
    m = nodal_values(parameter, data["truth_points"], data["truth_values"])
    assert u.shape == (16641,) and np.array_equal(np.sort(u), np.sort(data["values"]))
    radius = np.linalg.norm(parameter.doflocs - 0.5, axis=0)
    assert np.allclose(m[radius < 0.19], np.log(2)) and np.allclose(m[radius > 0.21], np.log(9))


@Functional
def squared_difference(w):
    return 0.5 * (w.u - w.d) ** 2


@pytest.mark.parametrize(("fine_element", "coarse_element", "kind"), [
    (ElementTriP2(), ElementTriP2(), "triangle"), (ElementTriP1(), ElementTriP2(), "triangle"),
    (ElementTriP2(), ElementTriP1(), "triangle"), (ElementQuad2(), ElementQuad2(), "quad"),
])
def test_coarse_and_fine_misfits_agree(fine_element, coarse_element, kind):
    """1/2 |u_c - d|^2 on the fine mesh is the coarse misfit plus the constant, for nested meshes exactly."""
    fine = Basis(unit_square(8, kind), fine_element, intorder=8)
    coarse = Basis(unit_square(4, kind), coarse_element)
    generator = np.random.default_rng(1)
    d, u = generator.standard_normal(fine.N), generator.standard_normal(coarse.N)
    projection = project_field(fine, d, coarse)
    mass = BilinearForm(lambda u, v, w: u * v).assemble(coarse)
    r = u - projection.vector
    samples = point_values(coarse, fine.global_coordinates().reshape(2, -1).T)(u).reshape(fine.dx.shape)
    exact = squared_difference.assemble(fine, u=samples, d=fine.interpolate(d))
    assert 0.5 * r @ mass @ r + projection.constant == pytest.approx(exact, rel=1e-12)


def test_projection_reproduces_the_coarse_space_and_takes_columns():
    fine, coarse = Basis(unit_square(6), ElementTriP2()), Basis(unit_square(3), ElementTriP2())
    exact = np.stack([coarse.doflocs[0] ** 2 - coarse.doflocs[1], coarse.doflocs[0] * coarse.doflocs[1]], axis=1)
    d = np.stack([fine.doflocs[0] ** 2 - fine.doflocs[1], fine.doflocs[0] * fine.doflocs[1]], axis=1)
    projection = project_field(fine, d, coarse)
    assert np.abs(projection.vector - exact).max() < 1e-12 and abs(projection.constant) < 1e-14


@pytest.mark.parametrize("meshes", [(unit_square(21), unit_square), (disk(1.0, 0.05), lambda n: disk(1.0, 1 / n))])
def test_projection_onto_meshes_that_are_not_nested(meshes):
    mesh, coarser = meshes
    fine = Basis(mesh, ElementTriP2())
    d = np.sin(3 * fine.doflocs[0]) * np.cos(2 * fine.doflocs[1])
    errors = []
    for n in (4, 8):
        coarse = Basis(coarser(n), ElementTriP1())
        vector = project_field(fine, d, coarse).vector
        errors.append(np.abs(vector - np.sin(3 * coarse.doflocs[0]) * np.cos(2 * coarse.doflocs[1])).max())
    assert errors[1] < 0.4 * errors[0]


def test_projection_checks_its_vector():
    basis = Basis(unit_square(2), ElementTriP1())
    with pytest.raises(InputError, match="vector has 3 rows; the fine basis has 9"):
        project_field(basis, np.zeros(3), basis)
