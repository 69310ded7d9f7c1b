"""The report of a run: what it says, and that a browser shows all of it."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from skfem import Basis, ElementTriP1, ElementVector, MeshTri

from fem_ngf.output.plots import field_figure
from fem_ngf.output.prose import as_html
from fem_ngf.output.residuals import Residuals, residuals_figure
from fem_ngf.run.cli import command

SOURCE = Path(__file__).with_name("small_case.py")
BROWSER = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
ABOUT = r'''r"""A plate & its conductivity.

.. math::
    -\nabla\cdot(e^m \nabla u) = 1

.. raw:: html

   <script>alert(1)</script>
"""
'''
LOOK = """<script>window.onload = () => {
  const wide = [...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > innerWidth + 1);
  const cut = [...document.querySelectorAll("*")].filter(e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0 &&
    getComputedStyle(e).overflowX !== "visible");
  document.body.innerHTML = "<pre>" + JSON.stringify({
    images: [...document.images].map(i => i.complete && i.naturalWidth > 0),
    formulas: document.querySelectorAll("math").length, wide: wide.map(e => e.tagName), cut: cut.map(e => e.tagName),
    across: document.documentElement.scrollWidth - innerWidth,
  }) + "</pre>"; }</script>"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of a case that says all that a report can show."""
    where = tmp_path_factory.mktemp("report")
    text = SOURCE.read_text().partition('"""\n\n')[2]
    text = text.replace('title="Small diffusion problem"', 'units={"m": "log S/m", "x": "km"}')
    (where / "case.py").write_text(ABOUT + text)
    words = ["run", str(where / "case.py"), "--cells", "8", "--iterations", "4", "--gamma", "1e0", "--sensors", "6"]
    words += ["--control", "--grow", "--start-width", "1", "--out", str(where / "a run"), "--quiet"]
    assert command(words) == 0
    return where / "a run"


def test_a_report_says_what_was_done(folder):
    page, found = (folder / "report.html").read_text(), json.loads((folder / "summary.json").read_text())
    head, body = page.split("<h2>Problem</h2>")
    assert f"--out &#39;{folder}&#39; --quiet</pre>" in head and found["status"] in head
    assert "A plate &amp; its conductivity." in body and "<math" in body and "<script" not in page
    assert "<td>sensors</td><td>6</td><td>8</td><td>user</td>" in body and "gamma" not in body  # 1e0 is the default
    assert "iterations" in body and "<td>grow</td><td>True</td><td>None</td><td>user</td>" in body
    assert found["expected_misfit"] == 18 and "noise alone would leave 18 = N/2" in body
    assert re.search(r"<td>unknown</td><td>MLP 2-\d+-1, sine</td>", body)
    assert "||m - truth|| / ||truth||" in body and body.count("<abbr title=") >= 4


def test_nodal_values_are_the_control(folder):
    found, page = json.loads((folder / "summary.json").read_text()), (folder / "report.html").read_text()
    control = found["control"]
    assert control["energy"] <= found["energy"] * (1 + 1e-6) and control["pde_solves"] > 0
    assert control["relative_gap"] == pytest.approx(found["energy"] / control["energy"] - 1.0)
    assert f"the network ends {control['relative_gap']:+.2%} from it" in page
    assert command(["report", str(folder)]) == 0
    assert json.loads((folder / "summary.json").read_text())["control"] == control


@pytest.mark.skipif(BROWSER is None, reason="needs chromium")
@pytest.mark.parametrize("width", [1200, 760])
def test_a_browser_shows_all_of_it(folder, tmp_path, width):
    page = tmp_path / "page.html"
    page.write_text((folder / "report.html").read_text().replace("</body>", LOOK + "</body>"))
    words = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'user'}",
             "--hide-scrollbars", f"--window-size={width},900", "--enable-logging=stderr",
             "--virtual-time-budget=5000", "--dump-dom", f"file://{page}"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert ":CONSOLE" not in done.stderr
    seen = json.loads(re.search(r"<pre>(\{.*?\})</pre>", done.stdout)[1])
    assert len(seen["images"]) == 3 and all(seen["images"]) and seen["formulas"] >= 1
    assert seen["wide"] == [] and seen["cut"] == [] and seen["across"] <= 0


def test_a_case_is_told_in_formulas_and_nothing_else_gets_in(tmp_path):
    (tmp_path / "secret").write_text("secret")
    page = as_html(f"Find :math:`m`, `x <y\n\n.. include:: {tmp_path / 'secret'}\n\n.. math:: \\foo{{x}}\n\n"
                   ".. raw:: html\n\n   <b>x</b>")
    assert "<math" in page and "\\foo{x}" in page and "&lt;y" in page
    assert "secret" not in page and "<b>" not in page


def test_residuals_leave_out_what_is_exact_or_missing():
    std = np.array([[1.0, 0.5], [0.0, np.inf], [2.0, 2.0]])
    found = Residuals.of(np.zeros((3, 2)), np.array([[1.0, 1.0], [9.0, 9.0], [1.0, -1.0]]), std)
    assert found.scaled.tolist() == [1.0, 2.0, 0.5, -0.5] and found.experiment.tolist() == [0, 1, 0, 1]
    alone = Residuals.of(np.zeros((4, 1)), np.full((4, 1), 3.0), None)
    assert np.allclose(alone.scaled, 1.0)
    titles = [axes.get_title() for axes in residuals_figure(found).axes]
    assert titles == ["prediction over data", "residuals in standard deviations", "their distribution"]


def test_fields_have_units_and_sensors():
    basis = Basis(MeshTri().refined(2), ElementTriP1())
    fields = {"m": (basis, basis.doflocs[0]), "truth": (basis, basis.doflocs[1]), "u": (basis, basis.doflocs[1])}
    figure = field_figure(fields, units={"m": "log S/m", "x": "km"}, sensors=np.array([[0.2, 0.3], [0.5, 0.5]]))
    shown = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in shown] == ["m [log S/m]", "truth [log S/m]", "u"]
    assert [len(axes.lines) for axes in shown] == [1, 0, 0] and shown[0].get_xlabel() == "[km]"


def test_vectors_share_the_colours_of_their_lengths():
    basis = Basis(MeshTri().refined(2), ElementVector(ElementTriP1()))
    m, truth = np.full(basis.N, -1.0), np.full(basis.N, 2.0)
    figure = field_figure({"m": (basis, m), "truth": (basis, truth), "error": (basis, m - truth)})
    limits = [axes.collections[0].get_clim() for axes in figure.axes if axes.get_title()]
    assert limits[:2] == 2 * [(0.0, pytest.approx(8**0.5))] and limits[2][0] > 0
