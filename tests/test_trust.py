"""What a case, a directory or a checkpoint may do: nothing is deleted, run or believed that is not the run's own."""

import contextlib
import io
import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fem_ngf import InputError
from fem_ngf.output.files import replacing
from fem_ngf.run.cli import command
from fem_ngf.run.directory import RunDirectory
from fem_ngf.run.loading import check_trusted, trust

CASE = Path(__file__).with_name("small_case.py")
ROOT = Path(__file__).parents[1]
QUICK = ["--cells", "4", "--iterations", "1", "--levels", "1", "--quiet", "--bare"]


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """A copy of the small case that tests may change."""
    path = tmp_path_factory.mktemp("case") / "case.py"
    path.write_text(CASE.read_text())
    return path


@pytest.fixture(scope="module")
def finished(case, tmp_path_factory):
    """A run directory."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert command(["run", str(case), *QUICK, "--out", str(folder)]) == 0
    return folder


def copied(folder, to):
    to.mkdir()
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    return to


def one_line(capfd, culprit):
    out, err = capfd.readouterr()
    assert re.fullmatch(r"fem-ngf: [^\n]+\n", err), err
    assert re.search(culprit, err), err


def edited(folder, change):
    """The checkpoint with some entry changed."""
    content = torch.load(folder / "checkpoint.pt", weights_only=True)
    change(content)
    torch.save(content, folder / "checkpoint.pt")


# ---- directories -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["summary.json", "history.csv", "checkpoint.pt", "picture.png", "fields_0.vtu"])
def test_files_of_the_user_with_our_names_are_kept(name, case, tmp_path, capfd):
    (tmp_path / name).write_text("mine")
    assert command(["run", str(case), *QUICK, "--out", str(tmp_path)]) == 2
    one_line(capfd, "holds no earlier run")
    assert [path.name for path in tmp_path.iterdir()] == [name] and (tmp_path / name).read_text() == "mine"


def test_a_checkpoint_of_another_program_is_kept(case, tmp_path, capfd):
    torch.save({"weights": torch.ones(2)}, tmp_path / "checkpoint.pt")
    assert command(["run", str(case), *QUICK, "--out", str(tmp_path)]) == 2
    one_line(capfd, "holds no earlier run")
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True).keys() == {"weights"}


def test_a_new_run_leaves_what_else_the_directory_holds(case, finished, tmp_path):
    folder = copied(finished, tmp_path / "run")
    kept = {"notes.txt", "fields_of_wheat.vtu", "summary.json.old", "checkpoint.pt.mine"}
    for name in kept:
        (folder / name).write_text("mine")
    assert command(["run", str(case), *QUICK, "--out", str(folder)]) == 0
    assert all((folder / name).read_text() == "mine" for name in kept)


def test_out_must_have_a_name(case, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert command(["run", str(case), *QUICK, "--out", ""]) == 2
    one_line(capfd, "--out is ''; give a path")


@pytest.mark.parametrize("words", [["run"], ["resume"], ["report"]], ids=str)
def test_a_second_process_in_a_directory_is_refused(words, case, finished, capfd):
    before = {path.name: path.read_bytes() for path in finished.iterdir()}
    with RunDirectory(finished) as directory:
        directory.claim()
        flags = [str(case), *QUICK, "--out", str(finished)] if words == ["run"] else [str(finished)]
        assert command([*words, *flags]) == 2
    one_line(capfd, "another process is at work")
    assert {path.name: path.read_bytes() for path in finished.iterdir()} == before
    assert command(["resume", str(finished)]) == 0  # it is free again


def test_a_directory_is_free_when_its_process_was_killed(finished):
    script = ("import os, sys; from pathlib import Path; from fem_ngf.run.directory import RunDirectory\n"
              "RunDirectory(Path(sys.argv[1])).claim(); os.kill(os.getpid(), 9)")
    done = subprocess.run([sys.executable, "-c", script, str(finished)], env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == -9
    with RunDirectory(finished) as directory:
        directory.claim()


def test_a_file_is_whole_or_not_there(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(OSError), replacing(path) as temporary:
        temporary.write_text("ha")
        raise OSError("disk full")
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"] and path.read_text() == "old"


# ---- which file runs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["resume", "report"])
def test_a_changed_case_file_needs_trust(word, tmp_path, capfd):
    case, folder = tmp_path / "case.py", tmp_path / "run"
    case.write_text(CASE.read_text())
    assert command(["run", str(case), *QUICK, "--out", str(folder)]) == 0
    case.write_text(CASE.read_text() + "\nPath(__file__).with_name('ran').touch()\n")
    assert command([word, str(folder)]) == 2
    one_line(capfd, r"case\.py has changed.*--trust")
    assert not (tmp_path / "ran").exists()
    assert command([word, str(folder), "--trust"]) == 0 and (tmp_path / "ran").exists()
    assert command([word, str(folder)]) == 0  # trusted from now on


@pytest.mark.parametrize("changed", ["one.py", "parts/__init__.py", "parts/two.py", "parts/deep/three.py"])
def test_a_changed_module_of_a_case_needs_trust(changed, tmp_path):
    """The modules beside a case are a part of it; what it does not import is not."""
    names = ("one.py", "parts/__init__.py", "parts/two.py", "parts/deep/__init__.py", "parts/deep/three.py", "other.py")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    case = tmp_path / "case.py"
    case.write_text("def case():\n    import numpy, one\n    from parts.two import x\n")
    (tmp_path / "parts" / "two.py").write_text("from .deep import three\nfrom ..outside import y\n")
    trust(case)
    (tmp_path / "other.py").write_text("1 / 0")
    check_trusted(case)
    (tmp_path / changed).write_text((tmp_path / changed).read_text() + "# changed")
    with pytest.raises(InputError, match="or a module beside it"):
        check_trusted(case)


def test_a_case_file_that_has_gone_is_told(tmp_path, capfd):
    (tmp_path / "case.py").write_text(CASE.read_text())
    assert command(["run", str(tmp_path / "case.py"), *QUICK, "--out", str(tmp_path / "run")]) == 0
    (tmp_path / "case.py").unlink()
    capfd.readouterr()
    for more in ([], ["--trust"]):
        assert command(["resume", str(tmp_path / "run"), *more]) == 2
        one_line(capfd, "case.py (is not there any more|does not exist)")


def test_a_case_file_that_only_a_checkpoint_names_is_not_run(finished, tmp_path, capfd):
    folder, stranger = copied(finished, tmp_path / "run"), tmp_path / "stranger.py"
    stranger.write_text(CASE.read_text() + "\nPath(__file__).with_name('ran').touch()\n")
    edited(folder, lambda content: content["origin"].update(path=str(stranger)))
    for word in ("resume", "report"):
        assert command([word, str(folder)]) == 2
        one_line(capfd, r"stranger\.py.*--trust")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("flag", ["--seed=3", "--out=x", "--ansatz", "--start_width=4", "--weight", "--nodal",
                                  "--no-grow", "--flow=adam", "--metric"])
def test_resume_refuses_what_it_would_ignore(flag, finished, capfd):
    assert command(["resume", str(finished), flag]) == 2
    one_line(capfd, f"{flag} cannot be given")


# ---- checkpoints are data from outside -------------------------------------------------------------------------------

class Harm:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_checkpoint_runs_no_code(finished, tmp_path, capfd):
    folder = copied(finished, tmp_path / "run")
    content = torch.load(folder / "checkpoint.pt", weights_only=True)
    torch.save(content | {"harm": Harm(tmp_path / "ran")}, folder / "checkpoint.pt")
    for word in ("resume", "report"):
        assert command([word, str(folder)]) == 2
        one_line(capfd, "no readable checkpoint")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("found", [0, 2, "1", None, True, 1.0])
def test_a_checkpoint_of_another_format_is_told(found, finished, tmp_path, capfd):
    folder = copied(finished, tmp_path / "run")
    edited(folder, lambda content: content.update(format=found))
    assert command(["resume", str(folder)]) == 2
    one_line(capfd, "has format")


@pytest.mark.parametrize(("change", "told"), [
    (lambda content: content["rows"][0].update(event=10), r"rows\[0\].event is 10; it must be text"),
    (lambda content: content["rows"][-1].update(energy="low"), "energy is 'low'; it must be a number"),
    (lambda content: content.update(rows=[]), "has no rows"),
    (lambda content: content["stage"]["iterate"].update(luck=1), "iterate has an entry 'luck'"),
])
@pytest.mark.parametrize("word", ["resume", "report"])
def test_a_history_that_was_edited_is_told(word, change, told, finished, tmp_path, capfd):
    folder = copied(finished, tmp_path / "run")
    edited(folder, change)
    assert command([word, str(folder)]) == 2
    one_line(capfd, told)


@pytest.mark.parametrize(("change", "told"), [
    (lambda choice: choice.update(runs=[]), "runs has 0 entries"),
    (lambda choice: choice["runs"][0].update(misfit=float("nan")), r"runs\[0\].misfit is nan"),
    (lambda choice: choice["curve"].pop("weight"), "curve has no entry 'weight'"),
    (lambda choice: choice["curve"].update(weight=[1.0]), "two lists of one length"),
    (lambda choice: choice.update(found=1), "found is 1; it must be true or false"),
])
def test_a_choice_of_the_weight_that_was_edited_is_told(change, told, case, tmp_path, capfd):
    folder = tmp_path / "run"
    assert command(["run", str(case), *QUICK, "--weight", "discrepancy", "--out", str(folder)]) == 0
    capfd.readouterr()
    edited(folder, lambda content: change(content["origin"]["weight_choice"]))
    assert command(["report", str(folder)]) == 2
    one_line(capfd, told)


def test_fields_that_a_run_has_not_written_yet_are_written_by_a_report(finished, tmp_path):
    folder = copied(finished, tmp_path / "run")
    edited(folder, lambda content: content.update(series=[]))
    (folder / "fields.pvd").unlink()
    assert command(["report", str(folder)]) == 0
    assert (folder / "fields.pvd").is_file()


PATHS = ["origin", "origin.path", "origin.flags", "origin.folder", "origin.arguments", "origin.setup_cpu_seconds",
         "stage", "stage.level", "stage.solves", "stage.change", "rows", "series", "cpu", "wall", "evolutions",
         *(f"stage.iterate.{name}" for name in (
             "step", "theta", "start_value", "alignment", "solves", "idle", "events", "stop_reason", "memory", "ansatz",
             "warm_start", "expected")), "stage.iterate.ansatz.widths", "stage.iterate.ansatz.kind",
         "stage.iterate.memory.damping"]


@pytest.mark.parametrize("place", PATHS)
def test_a_checkpoint_with_a_broken_entry_is_told_in_one_line(place, finished, tmp_path, capfd):
    folder = copied(finished, tmp_path / "run")
    *parents, name = place.split(".")
    whole = (folder / "checkpoint.pt").read_bytes()
    for value in (None, {"x": [1]}, "text", [object], -7.5, {"numpy": torch.ones(3, 3)}):
        (folder / "checkpoint.pt").write_bytes(whole)

        def change(content, value=value):
            for parent in parents:
                content = content[parent]
            if value == [object]:
                del content[name]
            else:
                content[name] = value

        edited(folder, change)
        code = command(["resume", str(folder)])
        out, err = capfd.readouterr()
        assert code == 0 or code == 2 and re.fullmatch(r"fem-ngf: error: [^\n]+\n", err), (value, err)
        assert code == 2 or not err


# ---- a case's own functions ------------------------------------------------------------------------------------------

BROKEN = {
    "residual": ("    return torch.exp(m) * dot", "    1 / 0\n    return torch.exp(m) * dot", 2),
    "fields": ("fields=lambda linearization, state=state: {",
               "fields=lambda linearization, state=state: {1 / 0: 0,", 1),
    "sys.exit in case": ("    if data is None:", "    raise SystemExit(0)\n    if data is None:", 2),
    "sys.exit in a field": ("fields=lambda linearization, state=state: {",
                            "fields=lambda linearization, state=state: {exit(0): 0,", 1),
    "sys.exit at import": ("def truth(x):", "raise SystemExit(0)\ndef truth(x):", 2),
    "outcome fails": ("tuning={", "outcome=lambda at, folder: 1 / 0, tuning={", 1),
    "outcome overwrites": ("tuning={", "outcome=lambda at, folder: {'energy': 0.0}, tuning={", 1),
    "outcome returns nothing": ("tuning={", "outcome=lambda at, folder: None, tuning={", 1),
    "unknown default": ('defaults={"iterations"', 'defaults={"iteration"', 2),
    "default of a wrong kind": ('defaults={"iterations": 4}', 'defaults={"iterations": "four"}', 2),
    "unknown tuning": ('tuning={"share"', 'tuning={"shaer"', 2),
    "levels are a number": ("tuple(levels)", "3", 2),
    "a level is none": ("tuple(levels)", "(None,)", 2),
    "ansatz is a module": ("MLP((2, 6, 1))", "torch.nn.Linear(2, 1)", 2),
    "two outputs": ("MLP((2, 6, 1))", "MLP((2, 6, 2))", 2),
    "truth of another size": ("truth=truth(parameter.doflocs)", "truth=np.ones(3)", 2),
    "title is a number": ('title="Small diffusion problem"', "title=3", 2),
    "name is a path": ('Case("small"', 'Case("../small"', 2),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_case_is_told_in_one_line(name, tmp_path, capfd):
    old, new, code = BROKEN[name]
    text = CASE.read_text()
    assert text.count(old) == 1
    (tmp_path / "case.py").write_text(text.replace(old, new))
    assert command(["run", str(tmp_path / "case.py"), *QUICK, "--out", str(tmp_path / "run")]) == code
    err = capfd.readouterr().err
    assert re.fullmatch(r"fem-ngf: [^\n]+\n", err), err
    if "1 / 0" in new or "exit(0)" in new.lower():
        line = (text.replace(old, new).partition("1 / 0" if "1 / 0" in new else "xit(0)")[0]).count("\n") + 1
        assert re.search(rf"\(case\.py, line {line}\)", err), err
    assert not list(tmp_path.glob("run/.*"))
    if name.startswith("outcome"):
        assert json.loads((tmp_path / "run" / "summary.json").read_text())["energy"] > 0


def test_the_report_shows_text_as_text(tmp_path):
    text = CASE.read_text().replace('title="Small', 'title="<script>alert(1)</script> & Small')
    (tmp_path / "case.py").write_text(text)
    words = ["run", str(tmp_path / "case.py"), *QUICK[:-1], "--out", str(tmp_path / "run")]
    assert command(words) == 0
    page = (tmp_path / "run" / "report.html").read_text()
    assert "<script>alert" not in page and "&lt;script&gt;alert(1)&lt;/script&gt; &amp; Small" in page


def test_warnings_wait_for_the_end(tmp_path, capfd):
    text = CASE.read_text().replace("    if data is None:", "    np.float64(1e308) * 10\n    if data is None:")
    (tmp_path / "case.py").write_text(text)
    words = [sys.executable, "-m", "fem_ngf", "run", str(tmp_path / "case.py"), *QUICK, "--out", str(tmp_path / "run")]
    done = [subprocess.run([*words, *more], capture_output=True, text=True, cwd=tmp_path,
                           env={**os.environ, "PYTHONPATH": str(ROOT)}) for more in ([], ["--gamma=-1"])]
    assert done[0].returncode == 0 and "RuntimeWarning" in done[0].stderr
    assert done[1].returncode == 2 and done[1].stderr.count("\n") == 1


def test_the_system_refuses_in_one_line(case, tmp_path, capfd):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))  # no checkpoint is that small
    try:
        code = command(["run", str(case), *QUICK, "--out", str(tmp_path / "run")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert code == 1
    one_line(capfd, "the system failed: OSError: .*File too large")
    assert not list((tmp_path / "run").iterdir())


# ---- the console -----------------------------------------------------------------------------------------------------

SPEAKING = [word for word in QUICK if word != "--quiet"]


def test_a_run_goes_on_when_its_console_has_gone(case, tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as pipe:
        full = open("/dev/full", "w")
        for number, stream in enumerate((pipe, full, None)):
            with contextlib.redirect_stdout(stream):
                assert command(["run", str(case), *SPEAKING, "--out", str(tmp_path / str(number))]) == 0
                assert command(["cases"]) == 0
            assert (tmp_path / str(number) / "summary.json").exists()
        full.close()  # nothing is left that it could not write


def test_a_console_spells_out_what_it_cannot_show(tmp_path):
    (tmp_path / "case.py").write_text(CASE.read_text().replace('title="Small', r'title="Gr\u00f6\u00dfe'))
    console, folder = io.TextIOWrapper(io.BytesIO(), encoding="ascii"), tmp_path / os.fsdecode(b"caf\xe9")
    with contextlib.redirect_stdout(console):
        assert command(["run", str(tmp_path / "case.py"), *SPEAKING[:-1], "--out", str(folder)]) == 0
    assert rb"Gr\xf6\xdfe diffusion" in console.buffer.getvalue() and rb"caf\udce9" in console.buffer.getvalue()
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Gr\u00f6\u00dfe diffusion" in page and r"caf\udce9" in page
