"""The command line: what it writes, what it prints, and what it says to bad input."""

import csv
import io
import json
import os
import re
import subprocess
import sys
import typing
from functools import partial
from pathlib import Path

import meshio
import numpy as np
import pytest

import tank.synthetic
from fem_ngf import InputError, NaturalGradientFlow, NewtonFlow, ParameterDescent, RunOptions, SobolevFlow
from fem_ngf.run.arguments import parse
from fem_ngf.run.cli import command
from fem_ngf.run.history import COLUMNS

CASE = str(Path(__file__).with_name("small_case.py"))
ROOT = Path(__file__).parents[1]
QUICK = ["--cells", "4", "--iterations", "2"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run directory."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert command(["run", CASE, "--out", str(folder), "--quiet"]) == 0
    return folder


def history(folder):
    return list(csv.DictReader(io.StringIO((folder / "history.csv").read_text())))


def program(*words, folder):
    """Python with the given words, as a process of its own."""
    return subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, timeout=120,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})


# ---- a run directory -----------------------------------------------------------------------------------------------


def test_a_run_directory_is_complete(finished):
    names = {path.name for path in finished.iterdir()}
    assert {"summary.json", "history.csv", "checkpoint.pt", "fields.pvd", "report.html", "picture.png"} <= names
    assert not [name for name in names if name.startswith(".")]
    assert (finished / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_history_and_summary_agree(finished):
    summary = json.loads((finished / "summary.json").read_text())
    rows = history(finished)
    assert tuple(rows[0])[: len(COLUMNS)] == COLUMNS
    last = rows[-1]
    assert float(last["energy"]) == summary["energy"]
    assert float(last["energy"]) == pytest.approx(float(last["misfit"]) + float(last["regularization"]), rel=1e-14)
    assert int(last["pde_solves"]) == summary["pde_solves"]["total"] == sum(
        summary["pde_solves"][kind] for kind in ("forward", "adjoint", "incremental"))
    work = sum(level["total"] * level["state_unknowns"] for level in summary["pde_solves_per_level"])
    assert summary["pde_work"] == pytest.approx(work / summary["pde_solves_per_level"][-1]["state_unknowns"])
    for name in ("pde_solves", "pde_work", "cpu_seconds"):
        values = [float(row[name]) for row in rows]
        assert values == sorted(values)
    assert [row["mesh"] for row in rows] == sorted([row["mesh"] for row in rows])
    assert summary["parameters"] == int(last["parameters"]) >= 33  # 8 neurons, and what has grown
    assert summary["stop_reason"] and summary["seed"] == 0 and summary["versions"]["torch"]


def test_relative_error_is_the_l2_error_of_the_exported_field(finished):
    summary = json.loads((finished / "summary.json").read_text())
    fields = meshio.read(finished / "fields_1.vtu")
    cells = fields.cells_dict["triangle6"][:, :3]  # the state is quadratic, and what is linear lies on its cells
    corners = fields.points[cells][:, :, :2]
    edges = corners[:, 1:] - corners[:, :1]
    area = 0.5 * np.abs(np.linalg.det(edges))

    def norm(name):  # exact for linear functions: the edges' midpoints
        values = fields.point_data[name][cells]
        middles = 0.5 * (values + np.roll(values, 1, axis=1))
        return np.sqrt((area[:, None] / 3 * middles**2).sum())

    assert summary["relative_error"] == pytest.approx(norm("error") / norm("truth"), rel=1e-10)


def test_the_report_stands_alone(finished):
    page = (finished / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 3
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert "Small diffusion problem" in page and "<h2>Problem</h2>" in page


def test_report_writes_the_files_of_a_checkpoint_again(finished, tmp_path, capsys):
    before = json.loads((finished / "summary.json").read_text())
    (finished / "report.html").unlink()
    assert command(["report", str(finished)]) == 0
    assert (finished / "report.html").exists()
    assert json.loads((finished / "summary.json").read_text())["energy"] == before["energy"]


def test_the_live_table_has_a_line_per_row(tmp_path, capsys):
    assert command(["run", CASE, *QUICK, "--bare", "--out", str(tmp_path / "run")]) == 0
    out = capsys.readouterr().out
    rows = (tmp_path / "run" / "history.csv").read_text().splitlines()[1:]
    assert len(re.findall(r"^ +\d+ \d x \d", out, re.MULTILINE)) == len(rows)
    assert "iterations exhausted" in out and "fields.pvd" in out and "\x1b" not in out


def test_a_case_file_is_a_program(tmp_path):
    """``python case.py --flags`` and ``fem-ngf run case.py --flags`` are the same."""
    words = [*QUICK, "--quiet", "--bare", "--out"]
    done = program(CASE, *words, str(tmp_path / "a"), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert command(["run", CASE, *words, str(tmp_path / "b")]) == 0
    energies = [json.loads((tmp_path / name / "summary.json").read_text())["energy"] for name in "ab"]
    assert energies[0] == pytest.approx(energies[1], rel=1e-12)


@pytest.mark.search
def test_random_growth_is_the_control(tmp_path, capsys):
    words = ["run", CASE, "--grow", "--start-width", "1", "--max-parameters", "40", "--levels", "1", "--cells", "4"]
    words += ["--iterations", "9", "--quiet", "--bare"]
    first = {}
    for name, more in (("random", ["--growth", "random"]), ("greedy", [])):
        assert command([*words, *more, "--out", str(tmp_path / name)]) == 0
        rows = history(tmp_path / name)
        assert 5 < int(rows[-1]["parameters"]) <= 40
        first[name] = next(row for row in rows if "grew" in row["event"])
    assert first["random"]["step"] == first["greedy"]["step"] and first["random"]["event"] != first["greedy"]["event"]


@pytest.mark.search
def test_neurons_are_added_and_survive_a_resume(tmp_path, capsys):
    words = ["run", CASE, "--grow", "--start-width", "2", "--levels", "1", "--quiet", "--bare"]
    assert command([*words, "--iterations", "8", "--out", str(tmp_path / "long")]) == 0
    rows = history(tmp_path / "long")
    added = next(int(row["step"]) for row in rows if "grew" in row["event"])
    assert command([*words, "--iterations", str(added + 1), "--out", str(tmp_path / "short")]) == 0
    assert command(["resume", str(tmp_path / "short"), "--iterations", "8", "--quiet"]) == 0
    again = history(tmp_path / "short")
    grown, grown_again = ([row["event"].partition(";")[0] for row in each if "grew" in row["event"]]
                          for each in (rows, again))
    assert grown == grown_again and len(again) == len(rows)
    assert float(again[-1]["energy"]) == pytest.approx(float(rows[-1]["energy"]), rel=1e-10)


def test_an_earlier_run_is_replaced(tmp_path, capsys):
    folder = tmp_path / "run"
    assert command(["run", CASE, *QUICK, "--bare", "--quiet", "--out", str(folder)]) == 0
    (folder / "report.html").write_text("of an earlier run")
    assert command(["run", CASE, *QUICK, "--bare", "--quiet", "--levels", "1", "--out", str(folder)]) == 0
    assert not (folder / "report.html").exists()
    assert len(json.loads((folder / "summary.json").read_text())["pde_solves_per_level"]) == 1


# ---- other commands ------------------------------------------------------------------------------------------------


def test_help_lists_the_parameters_of_the_case_and_the_options(capsys):
    with pytest.raises(SystemExit, match="0"):
        command(["run", CASE, "--help"])
    out = capsys.readouterr().out
    flags = set(re.findall(r"--([a-z-]+)", out))
    assert {"cells", "sensors", "gamma"} <= flags
    assert {name.replace("_", "-") for name in RunOptions.__dataclass_fields__} <= flags
    assert "Standard deviation of the noise." in out


def test_help_begins_with_the_problem_and_tells_the_defaults(capsys):
    with pytest.raises(SystemExit, match="0"):
        command(["run", str(ROOT / "cases" / "block_3d.py"), "--help"])
    out = capsys.readouterr().out
    assert re.search(r"tetrahedra.*\nparameters of the case:.*\nnetwork:.*\nsearch:.*\noutput:", out, re.DOTALL)
    lines = " ".join(out.split())
    assert re.search(r"--sampling {quadrature,nodal} [^-]*-[^-]* \(default: nodal\)", lines)  # of the case
    assert re.search(r"--alpha NUMBER [^-]* \(default: 40.0\)", lines)
    assert re.search(r"--metric TEXT [^(]*\(h0.5, h-1\)[^(]* \(default: h1\)", lines)


def test_help_tells_what_the_flows_do_without_a_flag():
    said = " ".join(RunOptions.__doc__.split())
    assert {SobolevFlow.iterations, NaturalGradientFlow.iterations, ParameterDescent.iterations} == {200}
    assert f"{NewtonFlow.iterations} of flow newton, 200 of the others" in said
    assert f"without the flag {NewtonFlow.tolerance:.0e}".replace("e-0", "e-") in said
    assert (SobolevFlow.tolerance, NaturalGradientFlow.tolerance, ParameterDescent.tolerance) == (1e-6, 1e-6, 1e-8)
    assert "(1e-6; of gradient-descent, adam and lbfgs 1e-8)" in said and not hasattr(NewtonFlow, "stagnation")
    assert "1e-8 of natural-gradient, never of the others" in said
    assert (NaturalGradientFlow.stagnation, SobolevFlow.stagnation, ParameterDescent.stagnation) == (1e-8, 0.0, 0.0)
    assert f"relative to the step; {SobolevFlow.accuracy} without it" in said
    assert (NaturalGradientFlow.method, SobolevFlow.discretization) == ("euler", "retracted")


@pytest.mark.parametrize(("words", "code"), [
    (["--help"], 0), (["run", CASE, "--help"], 0), (["run", CASE, "--cels", "4"], 2), (["compare", CASE, "--flow"], 2),
    (["verify", CASE, "--levels", "0"], 2), (["run", "nowhere.py"], 2), (["identify"], 2)], ids=str)
def test_nothing_heavy_is_imported_for_help_and_wrong_flags(words, code, tmp_path):
    script = ("import sys; from fem_ngf.run.cli import command\ntry: code = command(sys.argv[1:])\n"
              "except SystemExit as end: code = end.code\n"
              "print(sorted({'numpy', 'torch', 'scipy', 'skfem', 'matplotlib'} & set(sys.modules)))\nsys.exit(code)")
    done = program("-c", script, *words, folder=tmp_path)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (code, "[]")


def test_the_cases_of_the_package_are_listed_and_found_by_name(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command(["cases"]) == 0
    listed = dict(re.findall(r"^(\w+) +(\S.*)$", capfd.readouterr().out, re.MULTILINE))
    assert {path.stem for path in (ROOT / "cases").glob("*.py")} <= set(listed)
    assert listed["diffusion"] == "Log-diffusivity of the unit square from a noisy state."
    words = ["--cells", "4", "--iterations", "1", "--quiet", "--bare", "--out", "x"]
    assert command(["run", "diffusion", *words, "--nodal"]) == 0
    assert json.loads((tmp_path / "x" / "summary.json").read_text())["settings"]["ansatz"] == "finite-element"
    assert command(["resume", "x"]) == 0
    assert command(["run", "difusion"]) == 2 and "did you mean diffusion?" in capfd.readouterr().err
    assert command(["cases", "all"]) == 2


def test_the_shape_of_the_network_is_an_option(tmp_path, capfd):
    words = ["run", CASE, "--cells", "4", "--iterations", "1", "--quiet", "--bare", "--no-grow"]
    for flags, network in ((["--depth", "3"], "MLP 2-6-6-6-1, sine"), (["--activation", "tanh"], "MLP 2-6-1, tanh"),
                           (["--width", "4", "--depth", "2"], "MLP 2-4-4-1, sine")):
        assert command([*words, *flags, "--out", str(tmp_path / flags[-1])]) == 0
        assert json.loads((tmp_path / flags[-1] / "summary.json").read_text())["network"] == network
    for flags, told in ((["--depth", "0"], "it must be 1 at least"), (["--depth", "2", "--nodal"], "nodal values"),
                        (["--activation", "step"], "choose one of tanh"), (["--control", "--nodal"], "nodal values")):
        assert command([*words[:-1], *flags, "--out", str(tmp_path / "x")]) == 2
        assert told in capfd.readouterr().err
    assert command(["run", "gradient_field", "--cells", "4", "--depth", "2", "--out", str(tmp_path / "x")]) == 2
    assert "the network of this case is a GradNetC" in capfd.readouterr().err


def test_the_sobolev_flow_is_followed_for_a_given_time(tmp_path, capsys):
    """In either discretisation, with steps of a given length; the history has the time and what was lost on the way."""
    for discretization in ("projected", "retracted"):
        folder = tmp_path / discretization
        assert command(["run", CASE, "--cells", "4", "--levels", "1", "--flow", "sobolev", "--step-length", "1e-6",
                        "--discretization", discretization, "--duration", "3e-6", "--out", str(folder), "--bare"]) == 0
        rows, summary = history(folder), json.loads((folder / "summary.json").read_text())
        assert [float(row["time"]) for row in rows] == pytest.approx([0.0, 1e-6, 2e-6, 3e-6])
        assert float(rows[-1]["deviation"]) > 0.0 and float(rows[-1]["energy"]) < float(rows[0]["energy"])
        assert summary["status"] == "exhausted" and summary["expected_decrease"] > 0.0


def test_what_a_case_prefers_for_one_flow_does_not_bind_another():
    prefers = {"flow": "sobolev", "step_length": 0.1, "discretization": "projected", "trigger": "alignment",
               "grow": True}
    options = RunOptions.merged(prefers, {"flow": "newton"})
    assert options.step_length is None and options.discretization is None and options.trigger == "either"
    assert RunOptions.merged({**prefers, "trigger": "either"}, {}).step_length == 0.1
    with pytest.raises(InputError, match="step_length 0.2 is for flow 'sobolev'"):
        RunOptions.merged(prefers, {"flow": "newton", "step_length": 0.2})


def test_a_new_case_runs_as_it_is(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command(["new", "plate"]) == 0
    text = (tmp_path / "plate.py").read_text()
    assert "my_case" not in text and text.count("\n") < 60
    assert command(["run", "plate.py", "--cells", "8", "--iterations", "3", "--bare"]) == 0
    out = capfd.readouterr().out
    assert re.search(r"CPU s at most$", out, re.MULTILINE) and re.search(r" \+\d+ (s|min|h)$", out, re.MULTILINE)
    assert json.loads((tmp_path / "runs" / "plate" / "summary.json").read_text())["relative_error"] < 0.5
    for name in ("plate", "3x", "a b", "../x", "", "x" * 300, "class", "numpy", "json"):
        assert command(["new", name]) == 2
    assert (tmp_path / "plate.py").read_text() == text and command(["new"]) == 2


def flagged(a: int, box: tuple[float, float] = (0.0, 1.0), names: tuple[str, ...] = (), kind: typing.Literal[0, 1] = 1,
            file: Path | None = Path("x"), fast: bool = True, seed: int = 3):
    """Parameters of every kind.

    Parameters
    ----------
    a, box
        Two at once, in 100 % of the cases.
    """


def test_parameters_of_every_kind():
    words = ["--a", "-3", "--box", "-1e-3", "2", "--names", "u", "v", "--kind", "0", "--file", "None", "--no-fast"]
    arguments, given = parse(flagged, [*words, "--start_width=2"], "prog")
    assert arguments == {"a": -3, "box": (-1e-3, 2.0), "names": ("u", "v"), "kind": 0, "file": None, "fast": False,
                         "seed": 3}
    assert given == {"seed": 3, "start_width": 2}
    assert parse(flagged, ["--a=1"], "prog")[0]["file"] == Path("x")


@pytest.mark.parametrize(("words", "culprit"), [
    ([], "--a must be given"), (["--a", "1.5"], "--a is '1.5'; give an integer"), (["--a", "1", "2"], "flag 2"),
    (["--a=1", "--box", "1"], "--box is '1'; give a number a number"), (["--a=1", "--kind=2"], "choose one of 0, 1"),
    (["--a=1", "--filee=x"], "did you mean --file"), (["--a=1", "--fast=3"], "--fast")])
def test_wrong_flags_are_named(words, culprit):
    with pytest.raises(InputError, match=culprit):
        parse(flagged, words, "prog")


def test_kappa_is_computed_at_the_end_of_a_mesh_or_on_request(tmp_path, capsys):
    for name, flags in (("ends", []), ("all", ["--kappa"])):
        assert command(["run", CASE, *QUICK, *flags, "--bare", "--quiet", "--out", str(tmp_path / name)]) == 0
    ends, everywhere = history(tmp_path / "ends"), history(tmp_path / "all")
    last = [i for i, row in enumerate(ends) if i + 1 == len(ends) or row["mesh"] != ends[i + 1]["mesh"]]
    assert [i for i, row in enumerate(ends) if row["kappa"]] == last
    assert all(0 < float(row["kappa"]) <= 1 for row in everywhere)
    assert [everywhere[i]["kappa"] for i in last] == [ends[i]["kappa"] for i in last]


def test_verify_judges_a_case(capsys):
    assert command(["verify", CASE, "--cells", "4"]) == 0
    assert "all 11 checks passed" in capsys.readouterr().out


SMALL = {
    "advection_diffusion": [], "benchmark_8x8": [], "block_3d": ["--cells", "4"], "conductivity": ["--cells", "10"],
    "diffusion": ["--cells", "8"],
    "heat_source": ["--cells", "4", "--steps", "6", "--sensors", "4", "--readings", "5"],
    "eit_tank": [], "fit_1d": ["--cells", "32"], "gradient_field": ["--cells", "8"], "ritz_2d": ["--cells", "8"],
    "nonlinear_conductivity": ["--cells", "4", "--sensors", "4"],
    "flux_law": ["--cells", "3", "--sensors", "3", "--law-cells", "1"],
    "hyperelastic": ["--cells", "6", "--steps", "1", "--refinements", "0", "--stretch", "0.1", "--no-grow",
                     "--alpha", "1e4", "--spread", "1e-4", "--force-error", "1e-3"],
    "nonlinear_heat": ["--cells", "3", "--steps", "2"], "reaction_kinetics": ["--cells", "4", "--sensors", "4"],
    "wave_speed": ["--cells", "4", "--steps", "8", "--number", "2", "--receivers", "5", "--frequency", "1"],
    "parametric_diffusion": ["--cells", "6", "--snapshots", "20", "--rank", "5"], "source": ["--cells", "8"],
    "perforated_plate": ["--refinements", "0"], "reaction": ["--cells", "8"], "subsurface": ["--cells", "8"],
}


@pytest.fixture
def small_tank(monkeypatch):
    """The synthetic tank of `eit_tank.py` with eight electrodes on a coarse mesh."""
    monkeypatch.setattr(tank.synthetic, "synthetic_tank", partial(tank.synthetic.synthetic_tank, 16, electrodes=8))
    monkeypatch.setattr(tank.synthetic, "tank_mesh", partial(tank.synthetic.tank_mesh, 8, 8))


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "cases").glob("*.py")))
def test_every_case_verifies(name, small_tank, capsys):
    """By the derivatives that the case's own direction uses."""
    assert command(["verify", str(ROOT / "cases" / f"{name}.py"), *SMALL.get(name, [])]) == 0
    out = capsys.readouterr().out
    assert "no exact Hessian" in out if name == "eit_tank" else "symmetry of the newton Hessian" in out


def test_a_law_whose_slope_jumps_has_no_rates(tmp_path, capsys):
    """Piecewise linear laws have no second derivative: integrals stand in for the rates."""
    text = (ROOT / "cases" / "nonlinear_conductivity.py").read_text()
    law = tmp_path / "law.py"
    law.write_text(text.replace("ElementLineHermite", "ElementLineP1"))
    assert command(["verify", str(law), "--cells", "6"]) == 0
    out = capsys.readouterr().out
    assert "passed  integral of the energy (no rate: the slope of a law jumps)" in out


def test_verify_fails_for_a_wrong_derivative(tmp_path, capsys):
    wrong = tmp_path / "wrong.py"
    wrong.write_text(Path(CASE).read_text().replace("torch.exp(m) *", "(m.detach() + 2.0) *"))
    assert command(["verify", str(wrong), "--cells", "4"]) == 1
    assert "FAILED" in capsys.readouterr().out


@pytest.mark.search
def test_compare_tabulates_all_methods(tmp_path, capsys):
    folder = tmp_path / "compare"
    assert command(["compare", CASE, *QUICK, "--budget", "20", "--out", str(folder)]) == 0
    content = json.loads((folder / "compare.json").read_text())
    results = {result["method"]: result for result in content["results"]}
    assert len(results) == 11 and not any("failed" in result for result in results.values())
    best = min(result["energy"] for result in results.values())
    for name, result in results.items():
        assert result["above_best"] == pytest.approx(result["energy"] / best - 1)
        fine = [row for row in content["histories"][name] if row["mesh"] == "4 x 4"]
        reached = [row["pde_solves"] for row in fine if row["energy"] <= 1.1 * best]
        assert result["pde_solves_within_0.1"] == (reached[0] if reached else None)
    assert all(name in (folder / "compare.md").read_text() for name in results)


# ---- bad input -----------------------------------------------------------------------------------------------------

SENSORS = np.array([[0.3, 0.4], [0.6, 0.5]])


def npz(**arrays):
    """Writes a data file and gives the flag that names it."""

    def flags(folder):
        np.savez(folder / "data.npz", **arrays)
        return ["run", CASE, "--data", str(folder / "data.npz")]

    return flags


def script(text):
    """A case file with the given text."""

    def flags(folder):
        (folder / "case.py").write_text(text)
        return ["run", str(folder / "case.py")]

    return flags


def file(name, content, flag):
    """A file with the given content, and the case with a flag that names it."""

    def flags(folder):
        (folder / name).write_bytes(content)
        return ["run", CASE, flag, str(folder / name)]

    return flags


def given(*words):
    return lambda folder: ["run", CASE, *words]


def plain(*words):
    return lambda folder: [word.replace("FOLDER", str(folder)) for word in words]


def damaged(folder):
    (folder / "checkpoint.pt").write_bytes(b"PK\x03\x04 half a checkpoint")
    return ["resume", str(folder)]


def occupied(folder):
    (folder / "out").mkdir()
    (folder / "out" / "thesis.tex").write_text("keep me")
    return given("--out", str(folder / "out"))(folder)


BAD = {
    "no such command": (plain("identify", CASE), "'identify'"),
    "command without a case": (plain("run"), "CASE.py"),
    "case file missing": (plain("run", "nowhere.py"), "nowhere.py does not exist"),
    "case file is a directory": (plain("run", "FOLDER"), "is no file"),
    "case file is not Python": (plain("run", str(ROOT / "pyproject.toml")), "must end in .py"),
    "case file without a case": (script("x = 1\n"), "no function case"),
    "case file with a syntax error": (script("def case(:\n"), r"SyntaxError.*line 1"),
    "case file that cannot be imported": (script("import no_such_module\n"), "no_such_module"),
    "case that returns nothing": (script("def case():\n    pass\n"), "NoneType"),
    "case that fails": (script("def case(n: int = 0):\n    return 1 / n\n"), r"ZeroDivisionError.*line 2"),
    "case with an untyped parameter": (script("def case(n=1):\n    pass\n"), "'n'"),
    "unknown flag": (given("--cels", "4"), "--cels"),
    "case with a parameter that no flag can have": (script("def case(n: dict = {}):\n    pass\n"), "'n'.*dict"),
    "flag without a value": (given("--cells"), "--cells"),
    "flag of the wrong type": (given("--cells", "many"), "--cells"),
    "unknown ansatz": (given("--ansatz", "oracle"), "ansatz is 'oracle'"),
    "unknown flow": (given("--flow", "luck"), "flow is 'luck'"),
    "unknown metric": (given("--metric", "h7x"), "metric is 'h7x'"),
    "Sobolev order out of range": (given("--metric", "h5"), "5"),
    "width of a network that grows": (given("--grow", "--width", "5"), "width"),
    "step in time of another flow": (given("--step-length", "0.1"), "step_length 0.1 is for flow 'sobolev'"),
    "trigger of another flow": (given("--grow", "--trigger", "alignment"),
                                "trigger 'alignment' is for flow 'natural-gradient'"),
    "metric of the states in another flow": (given("--flow", "newton", "--metric", "gauss-newton"), "flows 'sobolev'"),
    "growth without growing": (given("--no-grow", "--growth", "random"), "growth is 'random'"),
    "no iterations": (given("--iterations", "0"), "iterations is 0"),
    "no threads": (given("--threads", "0"), "threads is 0"),
    "negative seed": (given("--seed", "-1"), "seed is -1"),
    "too many levels": (given("--levels", "7"), "levels is 7"),
    "tolerance not positive": (given("--tolerance", "0"), "tolerance is 0"),
    "unknown device": (given("--device", "abacus"), "device is 'abacus'"),
    "negative cells": (given("--cells", "-3"), "cells is -3"),
    "negative weight": (given("--gamma", "-1"), "-1"),
    "standard deviation of zero": (given("--noise", "0"), "std"),
    "unknown boundary": (given("--side", "inside"), "'inside'"),
    "data file missing": (given("--data", "nowhere.npz"), "nowhere.npz"),
    "data file without values": (npz(points=SENSORS), "values"),
    "data of different lengths": (npz(points=SENSORS, values=np.zeros(3)), "3"),
    "data with NaN": (npz(points=SENSORS, values=np.array([0.1, np.nan])), "finite"),
    "points of the wrong dimension": (npz(points=np.zeros((2, 3)), values=np.zeros(2)), "dimension|coordinates"),
    "sensor outside the mesh": (npz(points=SENSORS + 1.0, values=np.zeros(2)), "outside"),
    "table that is no table": (file("data.csv", b"a,b\nc\n", "--data"), "data.csv"),
    "damaged data file": (file("data.npz", b"nothing of use", "--data"), "data.npz"),
    "mesh file of unknown format": (file("mesh.step", b"solid", "--mesh"), "mesh.step"),
    "damaged mesh file": (file("mesh.msh", b"$MeshFormat\n", "--mesh"), "mesh.msh"),
    "mesh file missing": (given("--mesh", "nowhere.msh"), "nowhere.msh"),
    "out is a file": (file("out", b"", "--out"), "is a file"),
    "out below a file": (given("--out", f"{CASE}/run"), "is a file"),
    "out holds something else": (occupied, "holds no earlier run"),
    "out cannot be written": (given("--out", "/proc/run"), "cannot be written"),
    "resume without a run": (plain("resume", "FOLDER"), "holds no checkpoint.pt"),
    "resume of a damaged run": (damaged, "no readable checkpoint"),
    "report without a run": (plain("report", "FOLDER/nowhere"), "holds no checkpoint.pt"),
    "budget that is no number": (plain("compare", CASE, "--budget", "lots"), "budget is 'lots'"),
    "budget with a sign": (plain("compare", CASE, "--budget=-3"), "budget is '-3'"),
    "compare with a flow": (plain("compare", CASE, "--flow", "adam"), "--flow cannot be given to compare"),
    "compare with nodal values": (plain("compare", CASE, "--nodal"), "--nodal cannot be given to compare"),
    "compare with a rule": (plain("compare", CASE, "--weight", "lcurve"), "a rule for fem-ngf run"),
    "verify with a rule": (plain("verify", CASE, *QUICK, "--weight", "gcv"), "a rule for fem-ngf run"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_answered_in_one_line(name, tmp_path, capfd, monkeypatch):
    """Exit code 2, one line on the standard error that names the culprit, and nothing is left behind."""
    arguments, culprit = BAD[name]
    words = arguments(tmp_path)
    monkeypatch.chdir(tmp_path)
    if words[0] == "run" and "--out" not in words:
        words += ["--out", "out"]
    before = sorted(tmp_path.rglob("*"))
    assert command(words) == 2
    out, err = capfd.readouterr()
    assert re.fullmatch(r"fem-ngf: error: [^\n]+\n", err)
    assert re.search(culprit, err)
    assert not out
    assert sorted(path for path in tmp_path.rglob("*") if "__pycache__" not in path.parts) == before


def test_bad_input_in_a_program_ends_it_with_two(tmp_path):
    done = program("-m", "fem_ngf", "run", CASE, "--gamma", "-1", folder=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert not list(tmp_path.iterdir())
