"""Squared slowness from waves: an anomaly found from receivers on one side."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from fem_ngf import Identification, InputError, RunOptions
from fem_ngf.run.loading import load_function
from fem_ngf.run.results import relative_error

case = load_function(Path(__file__).resolve().parents[1] / "cases" / "wave_speed.py")


@cache
def quick():
    """Longer waves than the case's own, so that fewer cells and steps resolve them."""
    return case(cells=12, frequency=1.4, steps=60, receivers=15)


def test_anomaly_is_found():
    """Nodal values: 35 % of the anomaly may be wrong; the data are fitted as their noise allows."""
    options = RunOptions.merged(quick().defaults, {"ansatz": "finite-element", "tolerance": 2e-3})
    identification = Identification.of(quick(), options)
    *_, stage = identification.stages()
    assert relative_error(identification, stage) < 0.35
    level = identification.levels[-1]
    assert 2 * stage.iterate.terms["misfit"] == pytest.approx(level.energy.data.size, rel=0.1)
    assert level.energy.pde.evolutions.total / 8 < 120


def test_the_true_anomaly_explains_the_data():
    level = quick().levels[-1]
    assert 2 * level.energy.linearize(level.truth).terms["misfit"] == pytest.approx(level.energy.data.size, rel=0.15)
    assert level.energy(np.zeros(level.basis.N)) > 3 * level.energy(level.truth)


def test_bad_input_is_named():
    with pytest.raises(InputError, match="number is 0"):
        case(number=0)
    with pytest.raises(InputError, match="frequency is -1"):
        case(frequency=-1.0)
