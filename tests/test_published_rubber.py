"""Laws of rubbers from the published data of NN-EUCLID: errors of the stress over six paths, the angle of fibres.

In small, from synthetic data: test_law_energies.py.
"""

import time
from pathlib import Path

import pytest
from published import DATA, needs

from fem_ngf import Identification, RunOptions
from fem_ngf.run.loading import load_function

FOLDER = DATA / "nn_euclid"
CASE = Path(__file__).resolve().parents[1] / "cases" / "hyperelastic.py"


def identified(name: str, seeds: int = 1) -> list[dict]:
    """What the case concludes with its own settings."""
    begin = time.process_time()
    case, found = load_function(CASE)(data=FOLDER / f"{name}_high.npz", truth=name.lower()), []
    for seed in range(seeds):
        *_, stage = Identification.of(case, RunOptions.merged(case.defaults, {"seed": seed})).stages()
        found.append(case.outcome(stage.iterate.linearization, None))
        P = found[-1]["law_errors"]["P"]
        print(f"{name} {seed}: P {P['mean']:.5f}, worst {P['worst']:.5f}, {time.process_time() - begin:.1f} s,",
              f"visited {found[-1]['law_errors']['P_visited']['mean']:.5f}, angle {found[-1].get('fibre_angle')},",
              *(f"{key} {found[-1][key]}" for key in ("displacement_misfit", "reaction_misfit", "smoothness_weights")))
    return found


@needs(FOLDER)
@pytest.mark.slow
@pytest.mark.search
@pytest.mark.parametrize("name, worst", [("Isihara", 0.006), ("NeoHookean", 0.01)])
def test_published_rubbers_are_found(name, worst):
    """Mean error of the stress, three seeds; reactions are met to the accuracy that the settings ask for."""
    for found in identified(name, seeds=3):
        assert found["law_errors"]["P"]["mean"] < worst
        assert max(found["reaction_misfit"]) < 4e-3 and found["displacement_misfit"] < 1.5e-4


@needs(FOLDER)
@pytest.mark.slow
@pytest.mark.search
def test_published_fibres_are_found():
    """Nobody says that there are fibres; their angle is 30 degrees. Three seeds."""
    for found in identified("Holzapfel", seeds=3):
        assert found["fibre_angle"] == pytest.approx(30.0, abs=1.0)
        assert found["fibre_families"] == 2 and found["law_errors"]["P_visited"]["mean"] < 0.12
