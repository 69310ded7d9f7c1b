"""Gradient networks trained by the natural gradient on the published fields."""

import sys
from pathlib import Path

import numpy as np
import pytest
from starts import end

from fem_ngf import Identification, NaturalGradientFlow, RunOptions

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cases.gradient_field import case, gradient


@pytest.mark.parametrize("name", ["convex", "nonconvex"])
def test_fields_are_gradients(name):
    """The Jacobian of each field is symmetric, and positive semi-definite for the convex one."""
    x, h = np.random.default_rng(0).random((50, 2)), 1e-5
    columns = [(gradient(name, x + h * e) - gradient(name, x - h * e)) / (2 * h) for e in np.eye(2)]
    jacobians = np.stack(columns, axis=-1)
    assert np.allclose(jacobians, jacobians.transpose(0, 2, 1), atol=1e-7)
    if name == "convex":
        assert np.linalg.eigvalsh(jacobians).min() > -1e-7


@pytest.mark.parametrize("field, kind, goal", [("convex", "cascaded", -59.05), ("nonconvex", "modular", -49.53)])
@pytest.mark.search
def test_the_best_of_five_starts_is_ten_decibel_below_the_published_error(field, kind, goal):
    """Ends of single starts spread by 8 dB (standard deviation); one in ten stays above the goal."""
    problem = case(field, kind, cells=24)
    level, ansatz = problem.levels[0], problem.ansatz
    assert 90 <= ansatz.size <= 100
    flow = NaturalGradientFlow(level.energy, ansatz, level.space("l2"), method="levenberg-marquardt", damping=1e-2,
                               iterations=60, tolerance=1e-15, stagnation=0.0)
    grid = np.stack(np.meshgrid(*2 * [np.linspace(0, 1, 100)], indexing="ij"), axis=-1).reshape(-1, 2)

    def decibel(generator):
        theta = end(flow.run(ansatz.initial(generator))).theta
        return 10.0 * np.log10(np.mean(np.sum((ansatz(theta, grid) - gradient(field, grid)) ** 2, axis=1)))

    assert any(decibel(np.random.default_rng(seed)) < goal for seed in range(5))


@pytest.mark.search
def test_a_checkpoint_goes_on():
    """The state of an iterate, written and read as in a run directory, leads to the same next iterate."""
    problem = case(cells=8)
    identification = Identification.of(problem, RunOptions.merged(problem.defaults, {"iterations": 4}))
    stages = list(identification.stages())
    resumed = list(identification.stages(identification.resume(stages[2].state())))
    assert [stage.iterate.value for stage in resumed] == pytest.approx(
        [stage.iterate.value for stage in stages[2:]], rel=1e-12)
