"""Ritz energies: derivatives, the Galerkin step, the certificate, the rate at a re-entrant corner."""

import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
from skfem import Basis, ElementTriP1

from fem_ngf import (
    FiniteElement,
    Functional,
    InputError,
    NaturalGradientFlow,
    RitzEnergy,
    SobolevFlow,
    dot,
    grad,
    taylor_rate,
    unit_square,
)

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cases.ritz_2d import case, level


def nonlinear(n: int = 6, lift: bool = False) -> RitzEnergy:
    """``1/2 |grad u|^2 + u^4/4 - u``, strictly convex."""
    basis = Basis(unit_square(n), ElementTriP1(), intorder=4)
    functional = Functional(lambda u, w: 0.5 * dot(grad(u), grad(u)) + 0.25 * u**4 - u, basis)
    fixed = basis.get_dofs().all()
    values = np.zeros(basis.N)
    values[fixed] = basis.doflocs[0, fixed] if lift else 0.0
    return RitzEnergy(functional, basis, fixed, values)


def galerkin_solution(energy, tolerance: float = 1e-12) -> np.ndarray:
    """Minimiser (n,) by Newton's method with full steps: the Galerkin solution minus the lift."""
    m, first = np.zeros(energy.basis.N), None
    for _ in range(50):
        slope = energy.slope(m)
        first = first or np.linalg.norm(slope)
        if np.linalg.norm(slope) <= tolerance * first:
            break
        m = m - energy.preconditioner(m).solve(slope)
    return m


def test_derivatives():
    energy = nonlinear(lift=True)
    m, v, w = np.random.default_rng(0).standard_normal((3, energy.basis.N))
    m[energy.fixed], v[energy.fixed], w[energy.fixed] = 0.0, 0.0, 0.0

    def value_and_derivative(at):
        linearization = energy.linearize(at)
        return linearization.value, linearization.derivative

    def slope_along(at):
        linearization = energy.linearize(at)
        return linearization.derivative @ w, linearization.hessian_action(w)

    assert abs(taylor_rate(value_and_derivative, m, v) - 2.0) < 0.05
    assert abs(taylor_rate(slope_along, m, v) - 2.0) < 0.05
    assert energy(np.zeros(energy.basis.N)) == 0.0


@pytest.mark.parametrize("method", ["euler", "levenberg-marquardt"])
def test_one_step_to_the_galerkin_solution(method):
    """In the energy metric the gradient step with finite elements is the Galerkin step."""
    energy = level(6).energy
    space, galerkin = energy.energy_space(), galerkin_solution(energy)
    flow = NaturalGradientFlow(energy, FiniteElement(space), space, method=method)
    iterate = flow.step(flow.start(np.zeros(energy.basis.N)))
    assert space.norm(iterate.m - galerkin) <= 1e-12 * space.norm(galerkin)


def test_the_gradient_flow_leaves_zero_where_the_energy_is_zero():
    """The exact flow of a quadratic energy in its own metric: m(t) = (1 - exp(-t)) m*."""
    energy = level(6).energy
    space, galerkin = energy.energy_space(), galerkin_solution(energy)
    flow = SobolevFlow(energy, FiniteElement(space), space, duration=1.0, accuracy=0.02)
    *_, last = flow.run(np.zeros(energy.basis.N))
    assert space.norm(last.m - (1.0 - np.exp(-1.0)) * galerkin) < 1e-2 * space.norm(galerkin)


@pytest.mark.search
def test_certificate_bounds_the_error_at_every_iterate():
    """With a network: the norm of the gradient is the distance to the Galerkin solution (mu = 1, energy metric)."""
    problem = case(cells=8, levels=1, neurons=8)
    level = problem.levels[0]
    space, galerkin = level.space("energy", sampling="nodal"), galerkin_solution(level.energy)
    flow = NaturalGradientFlow(level.energy, problem.ansatz, space, method="levenberg-marquardt", damping=1e-2,
                               iterations=40, stagnation=1e-12)
    iterates = list(flow.run(problem.ansatz.initial(np.random.default_rng(0))))
    errors = np.array([space.norm(iterate.m - galerkin) for iterate in iterates])
    certificates = np.array([iterate.certificate for iterate in iterates])
    assert np.all(certificates >= errors * (1.0 - 1e-9))
    assert np.allclose(certificates / errors, 1.0, rtol=1e-6)
    assert errors[-1] < 0.02 * errors[0]


@pytest.mark.parametrize("metric", ["l2", "h1", "h0.5"])
def test_certificate_in_other_metrics(metric):
    """The modulus is the smallest generalised eigenvalue, and the certificate a bound, whatever the flow's space."""
    level = case(cells=4, levels=1, neurons=4).levels[0]
    space, galerkin = level.space(metric), galerkin_solution(level.energy)
    free, identity = space.free, np.eye(space.size)
    hessian = level.energy.curvature(galerkin).toarray()[np.ix_(free, free)]
    gram = space.apply(identity)[np.ix_(free, free)]
    m = np.random.default_rng(0).standard_normal(space.size)
    m[level.fixed] = 0.0
    at = level.energy.linearize(m)
    assert np.isclose(at.convexity_in(space), scipy.linalg.eigh(hessian, gram, eigvals_only=True)[0], rtol=1e-6)
    assert space.dual_norm(at.derivative) / at.convexity_in(space) >= space.norm(m - galerkin) * (1 - 1e-9)


def test_the_flow_finds_the_nonlinear_minimiser():
    energy = nonlinear(lift=True)
    space, galerkin = energy.energy_space(), galerkin_solution(energy)
    *_, last = NaturalGradientFlow(energy, FiniteElement(space), space, tolerance=1e-10).run(np.zeros(energy.basis.N))
    assert space.norm(last.m - galerkin) < 1e-8 * space.norm(galerkin)


def test_rate_at_the_corner():
    """Linear elements on uniform meshes: the energy norm of the error falls like h^(2/3)."""
    energies = []
    for n in (4, 8, 16, 32):
        energy = level(n).energy
        energies.append(energy(galerkin_solution(energy)))
    differences = -np.diff(energies)
    rates = 0.5 * np.log2(differences[:-1] / differences[1:])
    assert 2.0 / 3.0 - 0.05 < rates[-1] < 1.0
    finest = level(32)
    assert np.abs(galerkin_solution(finest.energy) - finest.truth).max() < 0.01


def test_bad_input():
    basis = Basis(unit_square(3), ElementTriP1(), intorder=4)
    with pytest.raises(InputError, match="functional has"):
        RitzEnergy(nonlinear().functional, basis)
    with pytest.raises(InputError, match="lift has shape"):
        RitzEnergy(nonlinear(3).functional, basis, lift=np.zeros(2))
