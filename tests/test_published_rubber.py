"""Laws of rubbers from the published data of NN-EUCLID: errors of the stress over six paths, the angle of fibres.

In small, from synthetic data: test_law_energies.py.
"""

from pathlib import Path

import pytest
from published import DATA, needs

from fem_ngf import Identification, RunOptions
from fem_ngf.run.loading import load_function

FOLDER = DATA / "nn_euclid"
CASE = Path(__file__).resolve().parents[1] / "cases" / "hyperelastic.py"


def identified(name: str) -> dict:
    """What the case concludes with its own settings."""
    case = load_function(CASE)(data=FOLDER / f"{name}_high.npz", truth=name.lower())
    *_, stage = Identification.of(case, RunOptions.merged(case.defaults, {})).stages()
    found = case.outcome(stage.iterate.linearization, None)
    print(name, {key: found[key] for key in found if key != "law_errors"}, found["law_errors"], sep="\n")
    return found


@needs(FOLDER)
@pytest.mark.slow
@pytest.mark.search
@pytest.mark.parametrize("name, worst", [("Isihara", 0.006), ("NeoHookean", 0.01)])
def test_published_rubbers_are_found(name, worst):
    """Mean error of the stress; reactions are met to the accuracy that the settings ask for."""
    found = identified(name)
    assert found["law_errors"]["P"]["mean"] < worst
    assert max(found["reaction_misfit"]) < 4e-3 and found["displacement_misfit"] < 1.5e-4


@needs(FOLDER)
@pytest.mark.slow
@pytest.mark.search
def test_published_fibres_are_found():
    """Nobody says that there are fibres; their angle is 30 degrees."""
    found = identified("Holzapfel")
    assert found["fibre_angle"] == pytest.approx(30.0, abs=1.0)
    assert found["law_errors"]["P_visited"]["mean"] < 0.05
