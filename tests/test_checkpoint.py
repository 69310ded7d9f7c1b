"""Runs that were cut go on as if they had not been."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from processes import exit_code

from fem_ngf import InputError
from fem_ngf.run.checkpoint import load_checkpoint, save_checkpoint
from fem_ngf.run.cli import command

CASE = str(Path(__file__).with_name("small_case.py"))
KILL = ["--stop-by", "SIGKILL", "--bare", "--quiet"]
ROOT = Path(__file__).parents[1]


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def rows(folder):
    with (folder / "history.csv").open() as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert command(["run", CASE, "--out", str(folder), "--quiet", "--bare"]) == 0
    return folder


def same_end(folder, whole):
    """The resumed run ended where the uninterrupted one did, with the same history."""
    assert summary(folder)["energy"] == pytest.approx(summary(whole)["energy"], rel=1e-10)
    assert summary(folder)["pde_solves"] == summary(whole)["pde_solves"]
    assert summary(folder)["stop_reason"] == summary(whole)["stop_reason"]
    energies = [[float(row["energy"]) for row in rows(run)] for run in (folder, whole)]
    np.testing.assert_allclose(*energies, rtol=1e-10)
    assert [row["step"] for row in rows(folder)] == [str(i) for i in range(len(energies[0]))]


def test_what_is_saved_is_loaded(tmp_path):
    content = {"a": np.arange(3), "b": [1, 2.5, "x", None, True], "c": {"t": torch.ones(2), 0: (np.float64(3.0),)}}
    save_checkpoint(tmp_path, content)
    found = load_checkpoint(tmp_path)
    assert isinstance(found["a"], np.ndarray) and found["a"].tolist() == [0, 1, 2]
    assert found["b"] == content["b"] and found["c"][0] == (3.0,)
    assert torch.equal(found["c"]["t"], content["c"]["t"])
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_checkpoint_holds_no_code(whole):
    torch.load(whole / "checkpoint.pt", weights_only=True)


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
@pytest.mark.search
def test_a_signal_leaves_a_run_that_goes_on(name, code, whole, tmp_path, capfd):
    folder, handlers = tmp_path / "run", [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    assert command(["run", CASE, "--out", str(folder), "--stop-after", "3", "--stop-by", name, "--bare"]) == code
    assert f"fem-ngf resume {folder}" in capfd.readouterr().out
    assert summary(folder)["stop_reason"] == f"interrupted by {name}" and not summary(folder)["converged"]
    assert 0 < len(rows(folder)) < len(rows(whole))
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert command(["resume", str(folder), "--stop-after", "0", "--quiet"]) == 0
    same_end(folder, whole)


def test_kill_leaves_a_run_that_goes_on(whole, tmp_path):
    folder = tmp_path / "run"
    words = [sys.executable, "-m", "fem_ngf", "run", CASE, "--out", str(folder), "--stop-after", "4", *KILL]
    killed = subprocess.run(words, cwd=ROOT, capture_output=True,
                            env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    assert not (folder / "summary.json").exists()
    assert len(rows(folder)) >= 2 and all(row["cpu_seconds"] for row in rows(folder))
    assert command(["resume", str(folder), "--stop-after", "0", "--quiet"]) == 0
    same_end(folder, whole)


def test_the_first_row_of_the_history_has_its_checkpoint(whole, tmp_path, monkeypatch):
    """Whoever kills a run as soon as it has a history can go on with it."""

    class Killed(BaseException):
        pass

    def killed(path, rows):
        raise Killed

    monkeypatch.setattr("fem_ngf.run.execution.history.append", killed)
    with pytest.raises(Killed):
        command(["run", CASE, "--out", str(tmp_path / "run"), "--quiet", "--bare"])
    monkeypatch.undo()
    assert command(["resume", str(tmp_path / "run"), "--quiet"]) == 0
    same_end(tmp_path / "run", whole)


def test_a_kill_before_the_first_checkpoint_leaves_a_directory_that_can_be_used(tmp_path):
    (tmp_path / ".checkpoint.pt.tmp").write_bytes(b"half")
    assert command(["run", CASE, "--out", str(tmp_path), "--quiet", "--bare", "--iterations", "1"]) == 0
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(("flow", "grow", "solve"), [
    ("newton", "--grow", 4), ("newton", "--no-grow", 2), ("sobolev", "--grow", 2), ("sobolev", "--no-grow", 4)])
def test_a_killed_newton_or_sobolev_flow_ends_where_the_whole_one_does_to_the_last_bit(flow, grow, solve, tmp_path):
    words = ["run", CASE, "--bare", "--cells", "4", "--iterations", "4", "--flow", flow, grow]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert command([*words, "--out", str(whole), "--quiet"]) == 0
    assert exit_code(command, [*words, "--out", str(cut), "--stop-after", str(solve), *KILL]) == -signal.SIGKILL
    assert 0 < len(rows(cut)) < len(rows(whole))
    assert command(["resume", str(cut), "--stop-after", "0", "--quiet"]) == 0
    ends = [load_checkpoint(folder)["stage"]["iterate"] for folder in (whole, cut)]
    assert np.array_equal(ends[0]["theta"], ends[1]["theta"])
    histories = [[{name: value for name, value in row.items() if "seconds" not in name} for row in rows(folder)]
                 for folder in (whole, cut)]
    assert histories[0] == histories[1]


@pytest.mark.parametrize("flow", ["newton", "natural-gradient"])
def test_a_growing_run_that_was_killed_goes_on(flow, tmp_path):
    words = ["run", CASE, "--grow", "--start-width", "1", "--levels", "1", "--flow", flow, "--bare", "--iterations=9"]
    words += ["--iterations=40"] if flow == "natural-gradient" else []
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert command([*words, "--out", str(whole), "--quiet"]) == 0
    events = [row for row in rows(whole) if "grew" in row["event"]]
    assert events[0]["step"] != rows(whole)[-1]["step"]
    solve = int(events[0]["forward"]) + 1
    assert exit_code(command, [*words, "--out", str(cut), "--stop-after", str(solve), *KILL]) == -signal.SIGKILL
    assert rows(cut)[-1]["event"] == events[0]["event"]
    assert command(["resume", str(cut), "--stop-after", "0", "--quiet"]) == 0
    same_end(cut, whole)
    assert [row["event"] for row in rows(cut)] == [row["event"] for row in rows(whole)]


@pytest.mark.parametrize("flags", [
    ["--flow", "newton"], ["--flow", "sobolev"], ["--flow", "natural-gradient"], ["--flow", "adam"],
    ["--flow", "lbfgs"], ["--flow", "gradient-descent"], ["--ansatz", "finite-element"]], ids=" ".join)
@pytest.mark.search
def test_more_iterations_continue_the_same_run(flags, tmp_path, capsys):
    common = ["run", CASE, "--quiet", "--bare", "--cells", "4", "--levels", "1", *flags]
    for name, iterations in (("long", "4"), ("short", "2")):
        assert command([*common, "--out", str(tmp_path / name), "--iterations", iterations]) == 0
    assert summary(tmp_path / "short")["energy"] > summary(tmp_path / "long")["energy"]
    assert command(["resume", str(tmp_path / "short"), "--iterations", "4"]) == 0
    energies = [[float(row["energy"]) for row in rows(tmp_path / name)] for name in ("short", "long")]
    np.testing.assert_allclose(*energies, rtol=1e-10)


def test_resuming_a_finished_run_changes_nothing(whole, capsys):
    before = summary(whole)["energy"], (whole / "history.csv").read_bytes()
    assert command(["resume", str(whole)]) == 0
    assert (summary(whole)["energy"], (whole / "history.csv").read_bytes()) == before


def test_changed_data_are_noticed(tmp_path, capsys):
    points = np.array([[0.3, 0.4], [0.6, 0.5]])
    np.savez(tmp_path / "data.npz", points=points, values=[0.05, 0.06])
    folder = tmp_path / "run"
    flags = ["--data", str(tmp_path / "data.npz"), "--cells", "4", "--quiet", "--bare"]
    assert command(["run", CASE, "--out", str(folder), *flags]) == 0
    np.savez(tmp_path / "data.npz", points=points, values=[0.05, 0.07])
    assert command(["resume", str(folder)]) == 2
    assert "have changed" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"half a check", b"abc", b"", b"PK\x03\x04"])
def test_a_damaged_checkpoint_is_an_input_error(content, tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(InputError, match="no readable checkpoint"):
        load_checkpoint(tmp_path)
