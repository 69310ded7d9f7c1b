"""``--weight`` from the command line: numbers, rules, what the summary says, and what is refused."""

import json
from pathlib import Path

import pytest

from fem_ngf.run.cli import command

CASE = str(Path(__file__).parents[1] / "cases" / "diffusion.py")
QUICK = ["--cells", "12", "--ansatz", "finite-element", "--quiet", "--bare", "--stagnation", "1e-3"]


def summary(folder) -> dict:
    return json.loads((folder / "summary.json").read_text())


def test_a_number_is_the_weight(tmp_path):
    assert command(["run", CASE, *QUICK, "--weight", "1e-9", "--out", str(tmp_path / "a")]) == 0
    assert command(["run", CASE, *QUICK, "--gamma", "1e-9", "--out", str(tmp_path / "b")]) == 0
    a, b = summary(tmp_path / "a"), summary(tmp_path / "b")
    assert a["energy"] == pytest.approx(b["energy"], rel=1e-9)
    assert "weight_choice" not in a


def test_discrepancy_meets_the_noise_level(tmp_path, capsys):
    assert command(["run", CASE, *QUICK, "--weight", "discrepancy", "--out", str(tmp_path / "run")]) == 0
    found = summary(tmp_path / "run")
    choice = found["weight_choice"]
    assert choice["rule"] == "discrepancy" and choice["found"]
    assert found["settings"]["weight"] == repr(choice["value"])
    assert found["misfit"] == pytest.approx(min(choice["runs"], key=lambda run: abs(run["weight"] - choice["value"]))
                                            ["misfit"], rel=1e-2)
    assert choice["pde_solves"] == sum(run["pde_solves"] for run in choice["runs"]) > found["iterations"]


def test_the_report_shows_the_curve(tmp_path):
    folder = tmp_path / "run"
    flags = [flag for flag in QUICK if flag != "--bare"]
    assert command(["run", CASE, *flags, "--weight", "gcv", "--out", str(folder)]) == 0
    assert "Weight of the regularisation" in (folder / "report.html").read_text()
    assert command(["report", str(folder)]) == 0
    assert summary(folder)["weight_choice"]["rule"] == "gcv"


@pytest.mark.parametrize("weight", ["magic", "-1", "0", "nan"])
def test_other_weights_are_refused(weight, tmp_path, capsys):
    assert command(["run", CASE, *QUICK, f"--weight={weight}", "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert "weight" in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()
