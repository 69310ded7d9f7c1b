"""``--weight`` from the command line: numbers, rules, what the summary says, and what is refused."""

import csv
import json
from pathlib import Path

import pytest

from fem_ngf.run.cli import command

CASE = str(Path(__file__).parents[1] / "cases" / "diffusion.py")
QUICK = ["--cells", "12", "--ansatz", "finite-element", "--quiet", "--bare", "--tolerance", "1e-3"]


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
    chosen = min(choice["runs"], key=lambda run: abs(run["weight"] - choice["value"]))
    assert found["misfit"] == chosen["misfit"]
    assert found["pde_solves"]["total"] == choice["pde_solves"] == sum(run["pde_solves"] for run in choice["runs"])


@pytest.mark.parametrize("rule", ["discrepancy", "lcurve", "gcv"])
def test_the_last_iterate_of_a_rule_is_the_result_and_can_be_resumed(rule, tmp_path, capsys):
    """No solve is made after the rule; the checkpoint goes on from the rule's minimiser at the weight it found."""
    folder = tmp_path / "run"
    flags = [flag if flag != "1e-3" else "1e-12" for flag in QUICK]
    assert command(["run", CASE, *flags, "--iterations", "2", "--weight", rule, "--out", str(folder)]) == 0
    before = summary(folder)
    rows = list(csv.DictReader((folder / "history.csv").read_text().splitlines()))
    assert {float(row["weight"]) for row in rows} == {run["weight"] for run in before["weight_choice"]["runs"]}
    assert float(rows[-1]["energy"]) == before["energy"]
    assert int(rows[-1]["pde_solves"]) <= before["pde_solves"]["total"] == before["weight_choice"]["pde_solves"]
    assert (folder / "fields.pvd").is_file()
    assert command(["resume", str(folder), "--iterations", "4"]) == 0
    after = summary(folder)
    assert after["settings"]["weight"] == before["settings"]["weight"]
    assert after["weight_choice"] == before["weight_choice"]
    assert after["energy"] <= before["energy"]
    assert before["pde_solves"]["total"] < after["pde_solves"]["total"]
    assert after["stop_reason"] == "iterations exhausted" and after["iterations"] == before["iterations"] + 2


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
