"""Exports equal the finite-element functions they were made from, read back with the vtk package."""

import re
from dataclasses import replace

import matplotlib.text
import meshio
import numpy as np
import pytest
import skfem

from fem_ngf import Film, InputError, Readings, write_fields, write_film
from fem_ngf.output.nodes import nodal_mesh
from fem_ngf.output.plots import convergence_figure, field_figure, film_figure, png, readings_figure
from fem_ngf.output.surfaces import midplane, triangles
from fem_ngf.output.vtk import write_parts, write_series

vtk_io = pytest.importorskip("vtkmodules.vtkIOXML", reason="needs the vtk package", exc_type=ImportError)

TRIANGLES = skfem.MeshTri().refined(3)
CELLS = {
    "line P1": (skfem.MeshLine().refined(4), skfem.ElementLineP1()),
    "line P2": (skfem.MeshLine().refined(4), skfem.ElementLineP2()),
    "triangle P1": (TRIANGLES, skfem.ElementTriP1()),
    "triangle P2": (TRIANGLES, skfem.ElementTriP2()),
    "tetrahedron P1": (skfem.MeshTet().refined(2), skfem.ElementTetP1()),
    "tetrahedron P2": (skfem.MeshTet().refined(2), skfem.ElementTetP2()),
    "quadrilateral Q1": (skfem.MeshQuad().refined(3), skfem.ElementQuad1()),
    "quadrilateral Q2": (skfem.MeshQuad().refined(3), skfem.ElementQuad2()),
    "hexahedron Q1": (skfem.MeshHex().refined(2), skfem.ElementHex1()),
    "hexahedron Q2": (skfem.MeshHex().refined(2), skfem.ElementHex2()),
    "discontinuous triangle P1": (TRIANGLES, skfem.ElementDG(skfem.ElementTriP1())),
}


def read(path):
    reader = vtk_io.vtkXMLUnstructuredGridReader()
    reader.SetFileName(str(path))
    reader.Update()
    return reader.GetOutput()


def probe(grid, points, name):
    """Values of a field of a vtk grid at points (k, d)."""
    from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkCommonDataModel import vtkPolyData
    from vtkmodules.vtkFiltersCore import vtkProbeFilter

    cloud = vtkPoints()
    cloud.SetData(numpy_to_vtk(np.pad(points, ((0, 0), (0, 3 - points.shape[1]))), deep=True))
    where = vtkPolyData()
    where.SetPoints(cloud)
    probes = vtkProbeFilter()
    probes.SetInputData(where)
    probes.SetSourceData(grid)
    probes.ComputeToleranceOff()  # the default one takes the polynomial of a neighbouring cell
    probes.SetTolerance(1e-14)
    probes.Update()
    found = probes.GetOutput().GetPointData()
    assert vtk_to_numpy(found.GetArray("vtkValidPointMask")).all()
    return vtk_to_numpy(found.GetArray(name))


def random_values(grid, name, number):
    """Random points ``(number, 3)`` inside the cells of a vtk grid, and VTK's values of a field there.

    The points are drawn in the cells' own coordinates: VTK's search for the
    cell and the coordinates of a given point is accurate to 1e-5 only in quadratic tetrahedra.
    """
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkCommonCore import reference

    field, generator = vtk_to_numpy(grid.GetPointData().GetArray(name)), np.random.default_rng(1)
    points, values = np.zeros((number, 3)), np.zeros(number)
    for i, number_of_cell in enumerate(generator.integers(grid.GetNumberOfCells(), size=number)):
        cell = grid.GetCell(number_of_cell)
        weights = [0.0] * cell.GetNumberOfPoints()
        place = generator.dirichlet(np.ones(4))[:3]  # inside every reference cell
        cell.EvaluateLocation(reference(0), place, points[i], weights)
        values[i] = weights @ field[[cell.GetPointId(k) for k in range(len(weights))]]
    return points, values


@pytest.mark.parametrize("name", CELLS)
def test_vtk_cells_have_the_values_of_the_function(name, tmp_path):
    mesh, element = CELLS[name]
    basis = skfem.Basis(mesh, element)
    vector = np.random.default_rng(0).standard_normal(basis.N)
    (path,) = write_fields(tmp_path / "fields.pvd", {"u": (basis, vector)})
    points, values = random_values(read(path), "u", 1000)
    expected = basis.probes(points[:, : mesh.p.shape[0]].T) @ vector
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["triangle P1", "triangle P2", "quadrilateral Q1", "quadrilateral Q2"])
def test_vtk_probes_the_function_that_was_written(name, tmp_path):
    mesh, element = CELLS[name]
    basis = skfem.Basis(mesh, element)
    generator = np.random.default_rng(0)
    vector, points = generator.standard_normal(basis.N), generator.uniform(0.01, 0.99, (2, 1000))
    (path,) = write_fields(tmp_path / "fields.pvd", {"u": (basis, vector)})
    np.testing.assert_allclose(probe(read(path), points.T, "u"), basis.probes(points) @ vector, rtol=0, atol=1e-10)


def test_fields_of_all_degrees_share_a_file(tmp_path):
    """Also continuous ones beside a discontinuous one; meshio reads what they were."""
    x = TRIANGLES.p[:, TRIANGLES.t].mean(axis=1)
    elements = {"m": skfem.ElementTriP1(), "cell": skfem.ElementTriP0(), "u": skfem.ElementTriP2(),
                "q": skfem.ElementVector(skfem.ElementTriP1()), "jump": skfem.ElementDG(skfem.ElementTriP1())}
    bases = {name: skfem.Basis(TRIANGLES, element) for name, element in elements.items()}
    fields = {"m": (bases["m"], bases["m"].doflocs[0]), "cell": (bases["cell"], x[1]),
              "u": (bases["u"], bases["u"].doflocs[1] ** 2), "q": (bases["q"], bases["q"].project(lambda x: x[::-1]))}
    jumps = np.zeros(bases["jump"].N)
    jumps[bases["jump"].element_dofs] = np.arange(TRIANGLES.nelements) % 2
    for more in ({}, {"jump": (bases["jump"], jumps)}):
        (path,) = write_fields(tmp_path / "fields.pvd", fields | more, notes=["case: test", "unit of m: <log S/m>"])
        assert re.findall(r'file="([^"]+)"', (tmp_path / "fields.pvd").read_text()) == [path.name]
        found = meshio.read(path)
        px, py, _ = found.points.T
        assert np.allclose(found.point_data["m"], px) and np.allclose(found.point_data["u"], py**2)
        assert np.allclose(found.point_data["q"], np.stack([py, px, 0 * px], axis=1), atol=1e-12)
        assert np.allclose(found.cell_data["cell"][0], x[1])
        assert set(found.field_data) == {"case: test", "unit of m: <log S/m>"}
        assert read(path).GetFieldData().HasArray("unit of m: <log S/m>")
        assert len(px) == (6 * TRIANGLES.nelements if more else bases["u"].N)
    sides = found.point_data["jump"][found.cells_dict["triangle6"]]
    assert np.allclose(sides, np.arange(len(sides))[:, None] % 2)


def test_another_mesh_is_another_part(tmp_path):
    one, other = (skfem.Basis(mesh, skfem.ElementTriP1()) for mesh in (TRIANGLES, skfem.MeshTri()))
    fields = {"m": (one, one.doflocs[0]), "law of q": (other, other.doflocs[1]), "u": (one, one.doflocs[1])}
    paths = write_fields(tmp_path / "fields.pvd", fields)
    assert [path.name for path in paths] == ["fields_m.vtu", "fields_law_of_q.vtu"]
    assert [set(meshio.read(path).point_data) for path in paths] == [{"m", "u"}, {"law of q"}]
    assert re.findall(r'file="([^"]+)"', (tmp_path / "fields.pvd").read_text()) == [path.name for path in paths]


def test_vectors_have_three_components(tmp_path):
    basis = skfem.Basis(TRIANGLES, skfem.ElementVector(skfem.ElementTriP2()))
    vector = basis.project(lambda x: np.array([x[0] * x[1], x[1] ** 2]))
    (path,) = write_fields(tmp_path / "fields.pvd", {"q": (basis, vector)})
    np.testing.assert_allclose(probe(read(path), np.array([[0.4, 0.6]]), "q"), [[0.24, 0.36, 0.0]], atol=1e-10)


def test_a_series_lists_every_time(tmp_path):
    basis = skfem.Basis(TRIANGLES, skfem.ElementTriP1())
    series = [(time, write_parts(tmp_path, f"fields_{time}", {"m": (basis, np.full(basis.N, float(time)))}))
              for time in range(3)]
    write_series(tmp_path / "fields.pvd", series)
    index = (tmp_path / "fields.pvd").read_text()
    assert re.findall(r'timestep="(\d)"', index) == ["0", "1", "2"]
    assert probe(read(series[2][1][0]), np.array([[0.5, 0.5]]), "m")[0] == pytest.approx(2.0)
    assert not list(tmp_path.glob(".*"))
    write_series(tmp_path / "late.pvd", [(100000.25 + i / 4, series[0][1]) for i in range(3)])
    assert len(set(re.findall(r'timestep="(.*?)"', (tmp_path / "late.pvd").read_text()))) == 3


def film(times=4):
    """A field that changes, another of the same name as its truth, one that stays; two sensors."""
    basis, t = skfem.Basis(TRIANGLES, skfem.ElementTriP1()), np.linspace(0.0, 0.3, times)
    m = t[:, None] * basis.doflocs[0]
    return Film(t, {"m": (basis, m), "truth": (basis, 3.0 * m), "k": (basis, basis.doflocs[1])},
                Readings(t, np.ones((times, 2)), np.zeros((times, 2)), np.array([0.5, 1.0]) * np.ones((times, 2))))


def test_a_film_is_a_series_in_time(tmp_path):
    shown = film()
    paths = write_film(tmp_path / "fields.pvd", shown, "fields_1")
    index = (tmp_path / "fields.pvd").read_text()
    assert np.allclose([float(t) for t in re.findall(r'timestep="([^"]*)"', index)], shown.times)
    assert re.findall(r'file="([^"]*)"', index) == [path.name for path in paths] == [
        f"fields_1_t{i}.vtu" for i in range(4)]
    for path, t in zip(paths, shown.times, strict=True):
        grid, x = read(path), np.array([[0.5, 0.25]])
        assert [probe(grid, x, name)[0] for name in ("m", "truth", "k")] == pytest.approx([0.5 * t, 1.5 * t, 0.25])


def test_a_mesh_on_which_nothing_moves_is_written_once(tmp_path):
    law = skfem.Basis(skfem.MeshLine(), skfem.ElementLineP1())
    shown = film(3)
    shown = Film(shown.times, {**shown.fields, "law": (law, law.doflocs[0])})
    paths = write_film(tmp_path / "fields.pvd", shown, "fields", ["case: test"])
    assert [path.name for path in paths] == ["fields_still.vtu", *(f"fields_t{i}.vtu" for i in range(3))]
    listed = re.findall(r'timestep="([^"]*)" part="(\d)" file="([^"]*)"', (tmp_path / "fields.pvd").read_text())
    assert [name for _, part, name in listed if part == "1"] == 3 * ["fields_still.vtu"] and len(listed) == 6
    assert all("case: test" in meshio.read(path).field_data for path in paths)


def test_a_film_has_a_strip_a_field_in_colours_of_its_own():
    figure = film_figure(film(), "strip", frames=2)
    assert [axes.get_title() for axes in figure.axes if axes.get_title()] == [
        "m, t = 0.2", "m, t = 0.3", "truth, t = 0.2", "truth, t = 0.3"]
    assert {axes.collections[0].get_clim() for axes in figure.axes if axes.get_title()} == {(0.0, 0.3 * 3.0)}
    readings = readings_figure(film().readings)
    assert [axes.get_title()[:8] for axes in readings.axes] == ["sensor 0", "sensor 1"]
    assert "4 squared" in readings.axes[0].get_title()
    measured = film_figure(film(), frames=1, units={"m": "W", "t": "h"})
    titles = [axes.get_title() for axes in measured.axes if axes.get_title()]
    assert titles == ["m [W], t = 0.3 h", "truth [W], t = 0.3 h"]
    shots = readings_figure(replace(film().readings, experiments=2))
    assert [axes.get_title()[:22] for axes in shots.axes] == ["sensor 0, experiment 1", "sensor 0, experiment 2"]


def test_a_film_of_many_experiments_shows_the_first_ones():
    (basis, vectors), times = film().fields["m"], film().times
    figure = film_figure(Film(times, {f"state_{j}": (basis, (j + 1) * vectors) for j in range(6)}), "shots", frames=3)
    titled = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert len(titled) == 12 and titled[-1].startswith("state_3") and len(figure.axes) == 12 + 4  # a bar a strip
    assert figure.get_suptitle() == "shots (4 of 6 fields)"


def test_a_film_needs_a_frame_for_every_time():
    basis = skfem.Basis(TRIANGLES, skfem.ElementTriP1())
    with pytest.raises(InputError, match=r"field 'u' of a film has shape \(3, 81\); 2 times of 81 unknowns"):
        Film(np.array([0.0, 1.0]), {"u": (basis, np.zeros((3, 81)))})


def test_a_vector_of_the_wrong_length_is_an_input_error(tmp_path):
    basis = skfem.Basis(TRIANGLES, skfem.ElementTriP1())
    with pytest.raises(InputError, match=r"shape \(3,\).*81 unknowns"):
        write_fields(tmp_path / "fields.pvd", {"m": (basis, np.zeros(3))})


def test_a_boundary_field_is_an_input_error(tmp_path):
    basis = skfem.FacetBasis(TRIANGLES, skfem.ElementTriP1())
    with pytest.raises(InputError, match="'flux'"):
        write_fields(tmp_path / "fields.pvd", {"flux": (basis, np.zeros(basis.N))})


def areas(points, cells):
    """Areas of triangles with corners ``points[cells]``."""
    edges = points[cells][:, 1:] - points[cells][:, :1]
    return 0.5 * np.abs(edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0])


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("mesh", [TRIANGLES, skfem.MeshQuad().refined(2)], ids=["triangles", "quadrilaterals"])
def test_the_triangles_of_a_picture_cover_the_domain(mesh, order):
    nodes = nodal_mesh(mesh, order)
    assert areas(nodes.points, triangles(nodes)).sum() == pytest.approx(1.0)


@pytest.mark.parametrize("mesh", [skfem.MeshTet().refined(2), skfem.MeshHex().refined(2)], ids=["tets", "hexes"])
def test_the_cut_of_a_solid_has_the_values_of_a_linear_function(mesh):
    nodes = nodal_mesh(mesh, 1)
    points, cells, values = midplane(nodes, nodes.points @ [1.0, 2.0, 4.0])
    assert areas(points, cells).sum() == pytest.approx(1.0)
    np.testing.assert_allclose(values, points @ [1.0, 2.0] + 4.0 * 0.513, atol=1e-7)


def test_every_kind_of_field_has_a_picture():
    line, solid = skfem.Basis(skfem.MeshLine().refined(3), skfem.ElementLineP2()), skfem.MeshTet().refined(1)
    bases = [line, skfem.Basis(solid, skfem.ElementTetP1()), skfem.Basis(TRIANGLES, skfem.ElementTriP0()),
             skfem.Basis(TRIANGLES, skfem.ElementVector(skfem.ElementTriP2()))]
    fields = {f"f{i}": (basis, np.arange(basis.N, dtype=float)) for i, basis in enumerate(bases)}
    figure = field_figure(fields, "all")
    assert [axes.get_title() for axes in figure.axes if axes.get_title()] == list(fields)
    assert png(figure).startswith(b"\x89PNG")


def test_dollars_that_enclose_no_formula_are_shown():
    basis = skfem.Basis(TRIANGLES, skfem.ElementTriP1())
    units = {"f": r"$\mathrm{m}^2$", "x": "$ a $^$"}
    figure = field_figure({"f": (basis, basis.doflocs[0])}, r"$\nosuch{x}$", units)
    assert png(figure).startswith(b"\x89PNG")
    shown = {text.get_text(): text.get_parse_math() for text in figure.findobj(matplotlib.text.Text)}
    assert not shown[r"$\nosuch{x}$"] and not shown["[$ a $^$]"] and shown[r"f [$\mathrm{m}^2$]"]


def test_the_truth_and_the_result_share_their_colours():
    basis = skfem.Basis(TRIANGLES, skfem.ElementTriP1())
    m, truth = basis.doflocs[0], 3.0 * basis.doflocs[1]
    figure = field_figure({"m": (basis, m), "truth": (basis, truth), "error": (basis, m - truth)})
    limits = [axes.collections[0].get_clim() for axes in figure.axes if axes.get_title()]
    assert limits == [(0.0, 3.0), (0.0, 3.0), (-3.0, 3.0)]


def test_convergence_has_a_line_per_mesh():
    rows = [{"level": i // 2, "mesh": f"mesh {i // 2}", "pde_work": i, "cpu_seconds": 0.1 * i,
             "pde_solves": i, "energy": 1.0 / (i + 1),
             "gradient_norm": 0.0, "certificate": "", "alignment": "" if i == 0 else 0.5, "kappa": 0.9,
             "fit": "" if i == 0 else 0.01, "parameters": 10 * i, "step": i,
             "event": "grew 10 -> 20 parameters" if i == 2 else ""} for i in range(4)]
    figure = convergence_figure(rows)
    titles = ["energy", "gradient norm", "alignment", "kappa", "fit", "parameters"]
    assert [axes.get_title() for axes in figure.axes] == titles
    assert [len(axes.lines) for axes in figure.axes] == [2, 2, 2, 2, 2, 3]
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "linear", "linear", "linear", "log", "linear"]
    assert list(figure.axes[-1].lines[-1].get_xdata()) == [2, 2]
    seldom = convergence_figure([{**row, "kappa": "" if row["step"] < 3 else 0.9} for row in rows])
    assert [axes.get_title() for axes in seldom.axes] == ["energy" if title == "kappa" else title for title in titles]
    with_certificate = [{**row, "gradient_norm": 1.0, "certificate": 2.0} for row in rows]
    assert [len(axes.lines) for axes in convergence_figure(with_certificate).axes] == [2, 4, 2, 2, 2, 3]
