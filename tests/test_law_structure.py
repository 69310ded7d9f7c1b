"""Networks with the structure of a law: fixed values, given starts, monotone fluxes."""

import json
from pathlib import Path

import numpy as np
import pytest
from starts import end

from fem_ngf import MLP, Anchored, Ansatz, Fitted, GradNetC, InputError, Linearization, NewtonFlow
from fem_ngf.ansatz.restore import ansatz_from_dict
from fem_ngf.run.loading import load_function

CASES = Path(__file__).resolve().parents[1] / "cases"
POINTS = np.random.default_rng(3).uniform(-1.0, 1.0, (20, 2))
NETWORKS = {"mlp": Anchored(MLP((2, 4, 1)), (0.3, -0.2), 1.5), "flux": Anchored(GradNetC(2, 4, 2, monotone=True)),
            "fitted": Fitted(Anchored(MLP((2, 6, 2))), POINTS, lambda x: x)}


@pytest.mark.parametrize("name", NETWORKS)
def test_derivatives(name):
    """J dtheta by Taylor, its transpose, the matrix itself and its Gram matrix."""
    ansatz, rng = NETWORKS[name], np.random.default_rng(0)
    theta = ansatz.initial(rng) + 0.1 * rng.standard_normal(ansatz.size)
    at, direction = ansatz.linearize(theta, POINTS), rng.standard_normal(ansatz.size)
    assert isinstance(ansatz, Ansatz) and isinstance(at, Linearization)
    errors = [np.abs(ansatz(theta + h * direction, POINTS) - at.value - h * at.jvp(direction)).max()
              for h in (1e-3, 5e-4)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.02)
    samples, jacobian = rng.standard_normal(at.value.shape), at.jacobian()
    assert np.allclose(jacobian @ direction, at.jvp(direction), atol=1e-12)
    assert np.allclose(np.tensordot(samples, jacobian, axes=samples.ndim), at.vjp(samples), atol=1e-12)
    rows = jacobian.reshape(-1, ansatz.size)
    assert np.allclose(at.dual_gram(), rows @ rows.T)
    out = np.empty_like(jacobian)
    assert at.jacobian(out) is out and np.array_equal(out, jacobian)


@pytest.mark.parametrize("name", NETWORKS)
def test_restored_from_its_dictionary(name):
    ansatz, rng = NETWORKS[name], np.random.default_rng(1)
    theta = ansatz.initial(rng)
    again = ansatz_from_dict(json.loads(json.dumps(ansatz.as_dict())), ansatz if name == "fitted" else None)
    assert np.array_equal(again(theta, POINTS), ansatz(theta, POINTS))


def test_anchored_value_and_monotone_flux():
    rng = np.random.default_rng(2)
    mlp, flux = NETWORKS["mlp"], NETWORKS["flux"]
    assert mlp(rng.standard_normal(mlp.size), np.array([[0.3, -0.2]])) == pytest.approx(1.5, abs=1e-14)
    theta = flux.initial(rng)
    assert np.abs(flux(theta, np.zeros((1, 2)))).max() < 1e-14
    steps, values = POINTS[:, None] - POINTS[None], flux(theta, POINTS)
    assert np.sum(steps * (values[:, None] - values[None]), axis=2).min() >= -1e-14
    with pytest.raises(InputError, match="point has 1 coordinates"):
        Anchored(MLP((2, 3, 1)), (0.0,))


def test_a_fitted_network_starts_near_its_target():
    ansatz = NETWORKS["fitted"]
    found = ansatz(ansatz.initial(np.random.default_rng(4)), POINTS)
    assert np.linalg.norm(found - POINTS) < 0.02 * np.linalg.norm(POINTS)


@pytest.mark.search
@pytest.mark.parametrize("p", [1.5])
def test_the_flux_of_a_p_laplacian_is_found(p):
    """From five states with 0.3 % noise; the errors on the full mesh are in docs/tables/laws.md."""
    problem = load_function(CASES / "flux_law.py")(cells=6, p=p, sensors=10)
    level = problem.levels[0]
    theta = problem.ansatz.initial(np.random.default_rng(0))
    flow = NewtonFlow(level.energy, problem.ansatz, level.space("h1", 1.0, "nodal"), iterations=8)
    found = problem.outcome(end(flow.run(theta)).linearization, None)
    assert found["flux_error"] < 0.06 and found["law_outside"] == 0.0
