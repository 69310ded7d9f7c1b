"""A conductivity k(u) from a plate that cools: network and nodal values."""

from pathlib import Path

import pytest

from fem_ngf import Identification, InputError, RunOptions
from fem_ngf.run.cli import command
from fem_ngf.run.loading import load_function

CASE = Path(__file__).resolve().parents[1] / "cases" / "nonlinear_heat.py"
case = load_function(CASE)


@pytest.mark.search
@pytest.mark.parametrize("seed", [0, 1])
def test_the_law_is_found(seed, tmp_path):
    """Within a tenth on the temperatures that the plate passes through; the misfit is near that of the truth."""
    problem = case(cells=8, steps=20)
    identification = Identification.of(problem, RunOptions.merged(problem.defaults, {"seed": seed}))
    *_, stage = identification.stages()
    at, level = stage.iterate.linearization, problem.levels[0]
    assert stage.iterate.terms["misfit"] < 1.05 * level.energy.linearize(level.truth).terms["misfit"]
    found = problem.outcome(at, tmp_path)
    (lowest, highest), = found["law_visited"]
    assert found["law_error"] < 0.1 and found["law_outside"] == 0.0
    assert lowest < 0.5 and highest == pytest.approx(3.0) and (tmp_path / "law.png").is_file()


def test_bad_input_is_named():
    with pytest.raises(InputError, match="steps is 0"):
        case(steps=0)


@pytest.mark.parametrize(("old", "new", "message"), [
    ("0.2 * s + 0.8 * s**2", "s**3", "times: step 2 is 7 times as long as the one before; BDF2 is unstable"),
    ("0.2 * s + 0.8 * s**2", "-s", "times must increase; entry 1 is"),
    ("initial=HOT", "initial=np.zeros(3)", "initial has shape (3,); give a number, (625,)"),
])
def test_a_case_that_cannot_be_is_one_line(old, new, message, tmp_path, capfd):
    text = CASE.read_text()
    assert text.count(old) == 1
    (tmp_path / "case.py").write_text(text.replace(old, new))
    assert command(["run", str(tmp_path / "case.py"), "--out", str(tmp_path / "run")]) == 2
    told = capfd.readouterr().err
    assert message in told and len(told.strip().splitlines()) == 1 and not (tmp_path / "run").exists()
