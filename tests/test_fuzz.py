"""A part of ``make fuzz``: bad input is answered in one line, at once, and leaves nothing behind."""

import pytest
from fuzz import commands, judge, library

EACH = 10  # of the command lines


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return judge.finished_run(tmp_path_factory.mktemp("fuzz"))


def test_hostile_command_lines(finished):
    chosen = [attack for i, attack in enumerate(commands.attacks(0, finished)) if i % EACH == 0]
    assert len(chosen) > 100
    assert [f"{attack.name}: {fault}" for attack, fault, _ in judge.faults(chosen) if fault] == []


@pytest.mark.parametrize("name", library.CALLS)
def test_hostile_calls(name):
    chosen = {text: call for text, call in library.calls() if text.startswith(f"{name}(")}
    assert {text: fault for text, call in chosen.items() if (fault := library.fault(call))} == {}


def test_the_judge_finds_faults(finished, tmp_path):
    """An attack that is no attack, and one that leaves something behind."""
    quiet = commands.Attack("good", lambda folder: commands.run("--out", str(folder / "out")))
    assert "exit code 0" in judge.fault(quiet, tmp_path)
    wrong = commands.Attack("wrong code", lambda folder: ["run", "nowhere.py"], (1,))
    assert "exit code 2" in judge.fault(wrong, tmp_path)
    assert library.fault(lambda: 1 / 0).startswith("ZeroDivisionError") and library.fault(dict) == "accepted"
