"""Identified laws: the order of the argument mesh, the case of a plate, and what a report says of a law."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import skfem as sk
from starts import end

from fem_ngf import (
    BeyondLawWarning,
    FiniteElement,
    GaussianNoise,
    InverseProblem,
    Law,
    MatrixObservation,
    Model,
    NewtonFlow,
    Tikhonov,
    Visited,
    dot,
    grad,
    law_error,
    unit_square,
    write_law,
)
from fem_ngf.run.loading import load_function

CASES = Path(__file__).resolve().parents[1] / "cases"


def plate(element, cells):
    """Heat flows in on the left and out at the bottom: u between 0 and 2.2."""
    arguments = sk.Basis(sk.MeshLine(np.linspace(0.0, 2.2, cells + 1)), element, intorder=6)
    model = Model(lambda u, v, k, w: k(u) * dot(grad(u), grad(v)), sk.ElementTriP2(), Law(arguments),
                  dirichlet={"bottom": 0.0}, neumann={"left": 4.0}, intorder=4)
    return model.on(unit_square(8))


def wavy(s):
    return 1.0 + 0.5 * s[0] + 0.5 * np.sin(2.0 * s[0]) ** 2


@pytest.mark.parametrize("element, finer, order", [(sk.ElementLineP1(), 400, 2.0), (sk.ElementLineP2(), 100, 3.0)],
                         ids=["P1", "P2"])
def test_a_law_is_recovered_with_the_order_of_its_mesh(element, finer, order):
    """From the whole state without noise; the law on a fine mesh is the truth."""
    exact, errors = plate(element, finer).solve(wavy).u, []
    observation = MatrixObservation(sp.eye_array(len(exact), format="csr"), np.zeros((len(exact), 2)))
    for cells in (8, 16, 32):
        discrete = plate(element, cells)
        space = discrete.space
        noise = GaussianNoise.from_std(np.full(exact.shape, 1e-4))
        energy = InverseProblem(discrete.equation, observation, exact, noise, Tikhonov(space.stiffness), space, 1e-8)
        last = end(NewtonFlow(energy, FiniteElement(space, 1.0), space, tolerance=1e-12).run(np.ones(space.size)))
        visited = Visited.at(last.linearization, Law(space.basis)).range[0]
        errors.append(law_error(lambda y, at=last, on=space: on.interpolation(y) @ at.m, lambda y: wavy(y.T), *visited))
    rates = -np.diff(np.log2(errors))
    assert np.all(rates > order - 0.4) and errors[-1] < 1e-3


@pytest.mark.search
def test_a_monotone_network_continues_a_conductivity_better_than_nodal_values():
    """Five noises: at most 3 % over the visited range, and half the error of nodal values beyond it on average."""
    make = load_function(CASES / "nonlinear_conductivity.py")
    errors = []
    for seed in range(1, 6):
        problem = make(cells=12, noise_seed=seed)
        level = problem.levels[-1]
        space = level.space("h1")
        for ansatz in (problem.ansatz, FiniteElement(space)):
            last = end(NewtonFlow(level.energy, ansatz, space).run(ansatz.initial(np.random.default_rng(0))))
            found = problem.outcome(last.linearization, None)
            errors.append([found["law_error"], found["law_error_beyond"]])
            assert found["law_outside"] == 0.0
    (network, network_beyond), (nodal, nodal_beyond) = np.reshape(errors, (5, 2, 2)).transpose(1, 2, 0)
    assert network.max() < 0.03 and network.mean() < nodal.mean()
    assert network_beyond.mean() < 0.5 * nodal_beyond.mean()


def test_a_law_called_outside_its_mesh_is_reported(tmp_path):
    discrete = plate(sk.ElementLineP1(), 8)
    space, law = discrete.space, Law(discrete.space.basis)
    energy = discrete.inverse_problem(Everything(), lambda space: Tikhonov(space.stiffness))
    seen = Visited.at(energy.linearize(np.full(space.size, 2.0)), law)
    assert seen.outside == 0.0 and seen.range[0, 1] < 1.7
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert seen.summary()["law_outside"] == 0.0
    hot = Visited.at(energy.linearize(np.full(space.size, 0.5)), law)
    expected = np.average(hot.arguments[:, 0] > 2.2, weights=hot.weights)
    with pytest.warns(BeyondLawWarning, match=r"outside its mesh \[0, 2.2\] at"):
        assert hot.summary()["law_outside"] == pytest.approx(expected) and expected > 0.05
    write_law(tmp_path / "law.png", lambda y: y[:, 0], hot, band=lambda y: 0.1 + y[:, 0])
    assert (tmp_path / "law.png").read_bytes()[:4] == b"\x89PNG"


class Everything:
    """All unknowns of the state, measured as zero."""

    def on(self, basis):
        observation = MatrixObservation(sp.eye_array(basis.N, format="csr"), basis.doflocs.T)
        return observation, np.zeros((basis.N, 1)), GaussianNoise.from_std(np.ones((basis.N, 1)))
