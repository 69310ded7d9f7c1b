"""The step that is left where no retracted one descends."""

from dataclasses import replace

import numpy as np
import pytest
from problems import inverse_problem

from fem_ngf import MLP, FiniteElement, HilbertDescent, SolveError, TangentSpace
from fem_ngf.flows.projected_step import projected_step


@pytest.fixture
def start():
    energy, space, _ = inverse_problem(sampling="quadrature")
    ansatz = MLP((2, 6, 1), output_scale=0.1)
    flow = HilbertDescent(energy, ansatz, space)
    return flow, flow.start(ansatz.initial(np.random.default_rng(1)))


@pytest.mark.search
def test_it_descends_along_the_damped_natural_gradient(start):
    flow, iterate = start
    moved = projected_step(flow, iterate, flow.space.inner_product, damping=1e-4)
    step = moved.step_size
    tangent = TangentSpace.at(iterate.ansatz, iterate.theta, flow.space)
    slope, gram = tangent.pull_back(iterate.linearization.derivative), tangent.gram()
    shift = 1e-4 * (np.diag(gram) + 1e-3 * np.diag(gram).mean())
    direction = np.linalg.solve(gram + np.diag(shift), slope)
    np.testing.assert_allclose(iterate.theta - moved.theta, step * direction, rtol=1e-6)
    assert moved.value <= iterate.value - 1e-4 * step * (slope @ direction)


@pytest.mark.search
def test_a_flow_whose_retractions_all_fail_goes_on(start, monkeypatch):
    flow, iterate = start
    monkeypatch.setattr(HilbertDescent, "_search", lambda self, iterate, move: None)
    following = flow.step(iterate)
    assert following.value < iterate.value and not following.stop_reason
    assert "projected gradient" in following.events[0]


def test_steps_where_the_energy_is_undefined_are_shortened(start):
    flow, iterate = start

    class Fragile:
        counts, calls = flow.energy.counts, 0

        def linearize(self, m, start=None):
            self.calls += 1
            if self.calls < 3:
                raise SolveError("undefined")
            return flow.energy.linearize(m)

    whole = projected_step(flow, iterate, flow.space.inner_product).step_size
    fragile = replace(flow, energy=Fragile())
    assert projected_step(fragile, iterate, flow.space.inner_product).step_size <= whole / 4.0


def test_nodal_values_have_nothing_to_project():
    energy, space, _ = inverse_problem()
    ansatz = FiniteElement(space)
    flow = HilbertDescent(energy, ansatz, space)
    assert projected_step(flow, flow.start(ansatz.initial()), space.inner_product) is None
