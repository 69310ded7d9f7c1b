"""Elastic laws: kinematics, reactions as observations, equation error, and the case of a rubber plate."""

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import skfem as sk
import torch
from scipy.stats import multivariate_normal
from test_forms import taylor_rates

from fem_ngf import (
    BeyondLawWarning,
    FrozenEquation,
    GaussianNoise,
    InputError,
    InverseProblem,
    Law,
    LoadSteps,
    MatrixObservation,
    Reactions,
    StationaryProblem,
    Tikhonov,
    WeakForm,
    cauchy_green,
    cofactor,
    ddot,
    deformation_gradient,
    derivative,
    det,
    grad,
    invariants,
    isochoric_invariants,
    plane_strain,
    realize,
)
from fem_ngf.forms.laws import LawTable, LocalLaw
from fem_ngf.run.loading import load_function
from fem_ngf.spaces.hilbert import HilbertSpace
from fem_ngf.verify import adjoint_error, taylor_rate
from rubber.judge import TRUTHS, Known
from rubber.material import Rubber, arguments, stress
from rubber.plate import plate, sides
from rubber.prediction import mesh_error
from rubber.start import Misfit, evidence

CASES = Path(__file__).resolve().parents[1] / "cases"
F = torch.as_tensor(np.eye(2)[:, :, None, None] + 0.3 * np.random.default_rng(0).standard_normal((2, 2, 3, 4)))


def test_invariants_are_those_of_the_tensor_in_space():
    full = plane_strain(F)
    for plane, solid in zip(invariants(F), invariants(full), strict=True):
        assert np.allclose(plane, solid)
    C = np.moveaxis(cauchy_green(full).numpy(), (0, 1), (-2, -1))
    values = np.linalg.eigvalsh(C)
    first, second, J = (each.numpy() for each in invariants(F))
    assert np.allclose(values.sum(-1), first) and np.allclose(values.prod(-1), J**2)
    assert np.allclose(values[..., 0] * values[..., 1] + values[..., 2] * (values[..., 0] + values[..., 1]), second)
    first, second, _ = (each.numpy() for each in isochoric_invariants(full))
    assert np.allclose(first, (values / np.cbrt(values.prod(-1))[..., None]).sum(-1))
    assert torch.isnan(isochoric_invariants(-plane_strain(F))[0]).all()


@pytest.mark.parametrize("angles", [(), (0.4,), (0.4, -0.4)], ids=["isotropic", "one family", "two"])
def test_stresses_are_derivatives_of_the_energy(angles):
    assert np.allclose(derivative(det, F).detach(), cofactor(F))
    known = Known(lambda x, y, j, *s: 0.5 * x + x**2 * y + torch.sin(y) + 1.5 * j**2 + sum(each**3 for each in s))
    angles = [angle * torch.ones_like(F[0, 0]) for angle in angles]
    assert np.allclose(derivative(lambda at: known.energy(*arguments(at, angles)), F).detach(),
                       stress(F, known.slopes, angles).detach(), atol=1e-12)


@pytest.mark.parametrize("name", TRUTHS)
def test_known_materials_have_no_stress_at_rest(name):
    known, rest = TRUTHS[name], torch.eye(2, dtype=torch.float64)[:, :, None, None]
    angles = [torch.full((1, 1), angle, dtype=torch.float64) for angle in known.angles]
    assert stress(rest, known.slopes, angles).abs().max() < 1e-4
    assert known.energy(*arguments(1.1 * rest, angles)) > known.energy(*arguments(rest, angles))
    called = torch.linspace(0.1, 0.4, 3 + len(angles), dtype=torch.float64)
    mixed = torch.autograd.functional.hessian(lambda each: known.energy(*each), called)
    assert known.separable == (mixed - torch.diag(torch.diag(mixed))).abs().max().lt(1e-12)


def test_a_law_called_in_an_energy_has_a_stress():
    law = Law(sk.Basis(sk.MeshLine(np.linspace(0.0, 3.0, 4)), sk.ElementLineHermite()))
    space = HilbertSpace.l2(law.basis)
    m = space.project(space.points[:, 0] ** 3)
    table = LawTable.of(law, "cpu")
    W = LocalLaw(table, table.coefficients(m), False)
    found = derivative(lambda at: W(det(at)), F).detach()
    assert np.allclose(found, 3.0 * det(F) ** 2 * cofactor(F), atol=1e-9)
    assert np.allclose(law.evaluate(m, np.array([[0.5], [4.0]])), [0.125, 27.0 + 27.0])


@pytest.mark.parametrize("material", [Rubber(), Rubber(0, coupled=True), Rubber(2)],
                         ids=["isotropic", "coupled", "fibres"])
def test_laws_of_invariants_have_taylor_rates(material):
    """Tangents and second derivatives of the plate's residual, the angle of the fibres among the unknowns."""
    state = sk.Basis(plate(3), sk.ElementVector(sk.ElementTriP1()), intorder=1)
    lines = ((0.5, 0.2), (0.3, 0.1), (0.0, 3.0), (0.0, 0.4))
    m = material.interpolated([lambda s, a=a, b=b: a + b * s + 0.1 * np.sin(s) for a, b in lines[:len(material.kinds)]],
                              [np.pi / 6] * bool(material.fibres))
    u = (state.mesh.p * np.array([[0.4], [0.2]])).T.ravel()
    form = WeakForm(material.residual, state, material.laws)
    assert np.abs(taylor_rates(form, (u + 0.01 * np.sin(9 * u), m), scale=0.02) - 2.0).max() < 0.05


def clamped():
    """A block of rubber pulled at its right, two load steps; the law is the slope of the energy of J."""
    law = Law(sk.Basis(sk.MeshLine(np.linspace(-1.0, 2.0, 5)), sk.ElementLineHermite(), intorder=6))

    def residual(u, v, k, w):
        at = deformation_gradient(u)
        return ddot(at - cofactor(at) + k(det(at) - 1.0) * cofactor(at), grad(v))

    mesh = sk.MeshTri().refined(1)
    state = sk.Basis(mesh, sk.ElementVector(sk.ElementTriP1()), intorder=2)
    left, right = (state.get_dofs(facets).all() for facets in (lambda x: x[0] < 1e-9, lambda x: x[0] > 1 - 1e-9))
    values = np.zeros((state.N, 2))
    values[right[::2]] = (0.1, 0.3)
    problem = StationaryProblem(WeakForm(residual, state, law), dirichlet=np.r_[left, right], values=values)
    space = HilbertSpace.l2(law.basis)
    return Reactions(problem, (left[::2], right[::2])), space, space.project(4.0 * space.points[:, 0])


def test_reactions_balance_and_are_differentiated_exactly():
    equation, _, m = clamped()
    state, rng = equation.solve(m), np.random.default_rng(1)
    assert state.u.shape == (equation.state_size, 2)
    assert np.allclose(state.u[-2], -state.u[-1], rtol=1e-8) and state.u[-1, 1] > 2.0 * state.u[-1, 0] > 0
    dm, covector = rng.standard_normal(m.size), rng.standard_normal(state.u.shape)
    assert adjoint_error(state, dm, covector) < 1e-10
    block = rng.standard_normal((m.size, 3))
    assert np.allclose(state.tangent(block)[..., 1], state.tangent(block[:, 1]))

    def forces(at):
        found = equation.solve(at)
        return found.u[-2:].ravel(), found.tangent(np.eye(m.size))[-2:].reshape(4, -1)

    assert taylor_rate(forces, m, 0.2 * dm) == pytest.approx(2.0, abs=0.02)


def energy_of(equation, space, data):
    observation = MatrixObservation(sp.eye_array(
        equation.state_size, format="csr"), np.zeros((equation.state_size, 2)))
    noise = GaussianNoise.from_std(np.full(data.shape, 0.01))
    return InverseProblem(equation, observation, data, noise, Tikhonov(space.stiffness), space, 1e-6)


@pytest.mark.parametrize("kind", ["reactions", "frozen", "plain"])
def test_energies_with_reactions_have_exact_derivatives(kind):
    equation, space, m = clamped()
    data = equation.solve(m).u
    if kind != "reactions":
        equation = FrozenEquation(equation, data[:-2], 1.2 * m, whitened=kind == "frozen")
    energy, rng = energy_of(equation, space, data), np.random.default_rng(2)
    direction, other = 0.2 * rng.standard_normal((2, m.size))
    rate = taylor_rate(energy.as_scipy(), 1.1 * m, direction)
    assert rate == pytest.approx(2.0, abs=0.02) or rate == np.inf
    assert adjoint_error(energy.linearize(m).state, direction, rng.standard_normal(data.shape)) < 1e-10

    if kind == "plain":
        return

    def along(at):
        here = energy.linearize(at)
        return float(here.derivative @ other), here.hessian_action(other, "newton")

    rate = taylor_rate(along, 1.1 * m, direction)
    assert rate == np.inf or rate == pytest.approx(2.0, abs=0.05)


def test_the_equation_error_vanishes_at_the_truth_and_finds_it_without_a_solve():
    """Linear in the law: one Gauss-Newton step ends at the truth where the state visits the law."""
    equation, space, m = clamped()
    data = equation.solve(m).u
    energy = energy_of(FrozenEquation(equation, data[:-2], 0.7 * m), space, data)
    assert energy.linearize(m).terms["misfit"] < 1e-10
    here = energy.linearize(0.5 * m)
    hessian = here.hessian_action(np.eye(m.size))
    found = 0.5 * m - np.linalg.lstsq(hessian, here.derivative, rcond=1e-14)[0]
    y = np.linspace(0.05, 0.2, 10)[:, None]
    assert np.allclose(space.interpolation(y) @ found, 4.0 * y[:, 0], rtol=1e-3)


def test_bad_input_is_named():
    equation, space, m = clamped()
    with pytest.raises(InputError, match="of which 1 are free"):
        Reactions(equation.problem, (np.array([equation.problem.free[0]]),))
    with pytest.raises(InputError, match="measured has shape"):
        FrozenEquation(equation, np.zeros((3, 2)), m)
    x = np.stack([equation.problem.form.state.doflocs[0]] * 2, axis=1)
    with pytest.raises(InputError, match=r"law 1 is called by measured states outside its mesh \[-1, 2\] at 100 %"):
        FrozenEquation(equation, 4.0 * x, m)
    with pytest.warns(BeyondLawWarning, match=r"law 1 is called by measured states outside its mesh \[-1, 2\] at"):
        FrozenEquation(equation, 2.5 * x**2, m)


def test_the_equation_error_of_a_plate_is_near_its_material(tmp_path):
    """Mean error of the stress over six paths below 8 %, from noisy displacements and without a nonlinear solve."""
    make = load_function(CASES / "hyperelastic.py")
    problem = make(cells=10, steps=3, refinements=0, held_out=1)
    (level,), ansatz = problem.levels, problem.ansatz
    m = realize(ansatz, ansatz.initial(np.random.default_rng(0)), level.spaces["h1"])
    found = problem.outcome(level.energy.linearize(m), tmp_path)
    assert [path.name for path in sorted(tmp_path.glob("*.png"))] == ["law_1.png", "law_2.png", "law_3.png"]
    errors = found["law_errors"]
    assert errors["P"]["mean"] < 0.08 and max(found["law_outside"]) == 0.0
    assert errors["P_visited"]["mean"] < 0.08 and set(errors["P_visited"]) <= set(errors["P"])
    assert found["held_out"]["displacement_misfit"] < 3e-3 and max(found["held_out"]["reaction_misfit"]) < 0.05
    with pytest.raises(InputError, match="held_out is -1; give less than the 2"):
        make(cells=2, steps=3, held_out=-1)


@pytest.mark.slow
def test_fibres_of_a_made_plate_are_found():
    """Two families, from the smaller load steps: at the others the equation error of so coarse a mesh says nothing."""
    problem = load_function(CASES / "hyperelastic.py")(truth="holzapfel", cells=14, stretch=0.2, steps=4)
    (level,) = problem.levels
    m = realize(problem.ansatz, problem.ansatz.initial(np.random.default_rng(0)), level.spaces["h1"])
    found = problem.outcome(level.energy.linearize(m), None)
    assert found["fibre_families"] == 2 and found["fibre_angle"] == pytest.approx(30.0, abs=1.0)


def test_weights_and_couplings_are_those_of_the_greatest_evidence():
    """The logarithm is that of a normal distribution of the data; it does not grow with any weight that is found."""
    material, rng = Rubber(), np.random.default_rng(0)
    free = np.setdiff1d(np.arange(material.space.size), material.fixed)
    y = rng.uniform(0.0, 3.0, 200)
    rows = [part.interpolation(y[:, None]).toarray() for part in material.space.spaces]
    A = 50.0 * np.concatenate([sp.block_diag(rows).toarray(), np.hstack(rows)])
    values = [np.where(y < 1.5, y, 1.5), 1.0 + 0.0 * y, 3.0 * y]
    b = 50.0 * np.concatenate([*values, sum(values)]) + rng.standard_normal(800)
    misfit = Misfit(np.zeros(material.space.size), 0.5 * b @ b, -A.T @ b, A.T @ A)
    weights, found = evidence(misfit, material, 1e6)
    assert weights[0] < 1e2 and (weights[1:] > 1e3).all()

    def logarithm(weights):
        prior = np.linalg.inv(material.smoothness(weights).toarray()[np.ix_(free, free)])
        data = multivariate_normal(np.zeros(800), np.eye(800) + A[:, free] @ prior @ A[:, free].T)
        return data.logpdf(b) + 0.5 * b @ b + 400.0 * np.log(2.0 * np.pi)

    assert logarithm(weights) == pytest.approx(found, abs=0.5)
    assert max(logarithm(weights * [factor, 1.0, 1.0]) for factor in (0.5, 2.0)) < found
    narrow, gained = evidence(misfit, material, 1e-2)
    assert (narrow <= 1e-2).all() and gained < found


def test_what_a_mesh_misses_is_extrapolated():
    """Of a known material: with the refined mesh the error falls by the order, and extrapolation finds its limit."""
    material, mesh = Rubber(), plate(4)
    truth = material.interpolated([TRUTHS["isihara"].slope(i) for i in range(3)])
    test = LoadSteps(mesh, 0.3 * mesh.p.T[None] * (1.0, 0.5), np.ones((1, 4)), sides(mesh))
    errors = [mesh_error(test, material, truth, 1e-9, r, "measured")[0] for r in (1, 2, 3)]
    apart = [np.linalg.norm(each - errors[-1]) / np.linalg.norm(errors[-1]) for each in errors[:-1]]
    assert apart[0] < 0.25 and apart[1] < 0.5 * apart[0]
    changes = mesh_error(test, material, truth, 1e-9, 2, "mesh")[2]
    assert 2.5 < changes[0] / changes[1] < 6.0
    assert len(mesh_error(test, material, truth, 8.0 * changes[0], 2, "mesh")[2]) == 1


def test_load_steps_are_read_and_checked(tmp_path):
    mesh = plate(3)
    rng, file = np.random.default_rng(0), tmp_path / "plate.npz"
    arrays = {"points": mesh.p.T, "triangles": mesh.t.T, "reactions": rng.random((2, 4)),
              "displacement": 1e-3 * rng.random((2, mesh.p.shape[1], 2)), "constraint": np.zeros(mesh.p.T.shape)}
    arrays["displacement_exact"] = 1e-3 * np.ones_like(arrays["displacement"])

    def read(**changes):
        np.savez(file, **(arrays | changes))
        return LoadSteps.read(file)

    with pytest.raises(InputError, match=r"plate.npz': reactions have shape \(2, 4\); 2 load steps with 0 constraint"):
        read()
    for number, (axis, side) in enumerate(sides(mesh), 1):
        arrays["constraint"][side, axis] = number
    found = read()
    assert [axis for axis, _ in found.sets] == [0, 0, 1, 1] and np.allclose(found.given, 1e-3)
    assert len(found.select([1])) == 1 and found.values.shape == (len(found.std(1.0, 1.0)), 2)
    inverted = arrays["displacement"].copy()
    inverted[1, len(inverted[1]) // 2] += 1.0
    with pytest.raises(InputError, match=r"load step 2 turns \d of 36 cells inside out \(det F <= 0\)"):
        read(displacement=inverted)
    mixed, gap = arrays["constraint"].copy(), np.where(arrays["constraint"] == 2, 5, arrays["constraint"])
    mixed[-1] = 3
    for changes, match in (({"constraint": mixed}, "set 3 has nodes in two components"),
                           ({"constraint": gap}, "constraint set 2 has no nodes|5 constraint sets"),
                           ({"displacement": np.ones((2, 5, 2))}, "displacement has shape"),
                           ({"points": np.ones((5, 2))}, "both are")):
        with pytest.raises(InputError, match=match):
            read(**changes)
