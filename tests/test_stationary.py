"""Stationary problems: solutions, tangents, adjoints, counts and failures."""

import numpy as np
import pytest
import skfem as sk
import torch
from skfem.models.poisson import laplace, unit_load

from fem_ngf import (
    InputError,
    SolveCounts,
    SolveError,
    StationaryProblem,
    WeakForm,
    cofactor,
    ddot,
    deformation_gradient,
    det,
    div,
    dot,
    eye,
    grad,
    sym_grad,
)
from fem_ngf.verify import adjoint_error


def diffusion(cells=8, **options):
    basis = sk.Basis(sk.MeshTri.init_tensor(*2 * [np.linspace(0, 1, cells + 1)]), sk.ElementTriP2())
    form = WeakForm(lambda u, v, m, w: torch.exp(m) * dot(grad(u), grad(v)) - v, basis, sk.ElementTriP1())
    return StationaryProblem(form, **{"dirichlet": basis.get_dofs().all(), "linear": True, **options})


def three_loads():
    problem = diffusion()
    return diffusion(loads=np.random.default_rng(1).standard_normal((problem.state_size, 3)) / 50)


def voltages():
    """Two experiments that differ in their Dirichlet values."""
    basis = sk.Basis(sk.MeshTri().refined(3), sk.ElementTriP1())
    form = WeakForm(lambda u, v, m, w: torch.exp(m) * dot(grad(u), grad(v)), basis, basis)
    values = np.stack([basis.doflocs[0], basis.doflocs[1] ** 2], axis=1)
    return StationaryProblem(form, dirichlet=basis.get_dofs(), values=values, linear=True)


def transport():
    """Linear and unsymmetric."""
    basis = sk.Basis(sk.MeshTri().refined(3), sk.ElementTriP2())

    def residual(u, v, m, w):
        return dot(grad(u), grad(v)) + torch.exp(m) * grad(u)[0] * v - v

    return StationaryProblem(WeakForm(residual, basis, sk.ElementTriP0()), dirichlet=basis.get_dofs(), linear=True)


def reaction():
    """Nonlinear, two experiments."""
    basis = sk.Basis(sk.MeshTri().refined(3), sk.ElementTriP2())

    def residual(u, v, m, w):
        return (1 + u**2) * dot(grad(u), grad(v)) + m**2 * u * v + u**3 * v

    form = WeakForm(residual, basis, sk.ElementTriP1())
    loads = unit_load.assemble(basis)[:, None] * np.array([1.0, 20.0])
    return StationaryProblem(form, dirichlet=basis.get_dofs(), loads=loads)


def plate():
    """Elasticity with a vector state."""
    basis = sk.Basis(sk.MeshTri().refined(2), sk.ElementVector(sk.ElementTriP2()))

    def residual(u, v, m, w):
        return ddot(torch.exp(m) * (2 * sym_grad(u) + eye(div(u), 2)), sym_grad(v)) - v[1]

    form = WeakForm(residual, basis, sk.ElementTriP1())
    return StationaryProblem(form, dirichlet=basis.get_dofs(lambda x: x[0] < 1e-9), linear=True)


PROBLEMS = {f.__name__: f for f in (diffusion, three_loads, voltages, transport, reaction, plate)}


@pytest.fixture(params=PROBLEMS)
def problem(request):
    return PROBLEMS[request.param]()


def parameters(problem, seed=0):
    return 0.4 * np.random.default_rng(seed).standard_normal((2, problem.form.parameter_size))


def test_the_residual_vanishes_and_values_are_met(problem):
    m, _ = parameters(problem)
    state = problem.solve(m)
    assert state.u.shape == (problem.state_size, problem.experiments)
    for j in range(problem.experiments):
        residual = problem.form.residual(state.u[:, j], m) - problem.loads[:, j]
        scale = np.abs(problem.form.tangent(state.u[:, j], m)) @ np.abs(state.u[:, j])
        assert np.abs(residual[problem.free]).max() < 1e-12 * scale.max()
        assert np.array_equal(state.u[problem.dirichlet, j], problem.lift[problem.dirichlet, j])


def test_adjoint_states_vanish_where_values_are_given(problem):
    state = problem.solve(parameters(problem)[0])
    assert np.all(state.adjoint_state(np.ones_like(state.u))[problem.dirichlet] == 0)


def test_solution_equals_scikit_fem():
    basis = sk.Basis(sk.MeshTri().refined(4), sk.ElementTriP1())
    form = WeakForm(lambda u, v, m, w: dot(grad(u), grad(v)) - v, basis, sk.ElementTriP0())
    u = StationaryProblem(form, dirichlet=basis.get_dofs(), linear=True).solve(np.zeros(form.parameter_size)).u[:, 0]
    expected = sk.solve(*sk.condense(laplace.assemble(basis), unit_load.assemble(basis), D=basis.get_dofs()))
    assert np.abs(u - expected).max() < 1e-13


def test_discretisation_error_has_its_rate():
    """-div((1 + u^2) grad u) = f with u = sin(pi x) sin(pi y): the L2 error of P2 falls with the third power of h."""
    errors = []
    for refinements in (3, 4):
        basis = sk.Basis(sk.MeshTri().refined(refinements), sk.ElementTriP2(), intorder=6)

        def residual(u, v, m, w):
            s, c = torch.sin(np.pi * w.x), torch.cos(np.pi * w.x)
            exact, slope = s[0] * s[1], np.pi**2 * ((c[0] * s[1]) ** 2 + (s[0] * c[1]) ** 2)
            source = 2 * np.pi**2 * (1 + exact**2) * exact - 2 * exact * slope
            return (1 + u**2) * dot(grad(u), grad(v)) - source * v

        form = WeakForm(residual, basis, sk.ElementTriP0())
        state = StationaryProblem(form, dirichlet=basis.get_dofs()).solve(np.zeros(form.parameter_size))
        x = basis.global_coordinates()
        error = np.asarray(basis.interpolate(state.u[:, 0])) - np.sin(np.pi * x[0]) * np.sin(np.pi * x[1])
        errors.append(np.sqrt(np.sum(error**2 * basis.dx)))
    assert np.log2(errors[0] / errors[1]) == pytest.approx(3.0, abs=0.2)


def test_every_solve_is_counted():
    problem = three_loads()
    m, dm = parameters(problem)
    state = problem.solve(m)
    assert problem.counts == SolveCounts(forward=3)
    state.tangent(dm)
    state.tangent(np.ones((m.size, 4)))
    assert problem.counts == SolveCounts(forward=3, incremental=15)
    p = state.adjoint_state(state.u)
    state.pull_back(p)
    state.adjoint(state.u, kind="incremental")
    assert problem.counts == SolveCounts(forward=3, adjoint=3, incremental=18)
    assert problem.counts.as_dict() == {"forward": 3, "adjoint": 3, "incremental": 18, "total": 24}
    assert (problem.counts - SolveCounts(forward=1)).total == 23


def test_a_stuck_solve_has_not_converged():
    """Bratu's problem -laplace(w) = c e^w, w = 20 - u: none for c = 10, and a residual of 1e9 without a start."""
    basis = sk.Basis(sk.MeshTri().refined(3), sk.ElementTriP1())
    form = WeakForm(lambda u, v, m, w: dot(grad(u), grad(v)) + m * torch.exp(20.0 - u) * v, basis, sk.ElementTriP0())
    problem = StationaryProblem(form, dirichlet=basis.get_dofs(), values=20.0, guess=np.full(basis.N, 20.0))
    with pytest.raises(SolveError, match="did not converge"):
        problem.solve(np.full(form.parameter_size, 10.0))
    u = problem.solve(np.full(form.parameter_size, 5.0)).u[:, 0]
    assert np.linalg.norm(form.residual(u, np.full(form.parameter_size, 5.0))[problem.free]) < 1e-4


def test_newton_counts_its_steps_and_starts_where_told():
    problem = reaction()
    m, dm = parameters(problem)
    state = problem.solve(m)
    cold = problem.counts.forward
    assert cold > 4
    near = problem.solve(m + 1e-3 * dm, start=state)
    warm = problem.counts.forward - cold
    assert 2 <= warm < cold
    far = reaction().solve(m + 1e-3 * dm)
    assert np.abs(near.u - far.u).max() < 1e-10 * np.abs(far.u).max()
    again = problem.solve(m + 1e-3 * dm)
    assert np.abs(again.u - far.u).max() < 1e-10 * np.abs(far.u).max()


def test_factorisations_of_the_start_serve_the_first_corrections(monkeypatch):
    def cost(step, known):
        problem, made = reaction(), []
        m, dm = parameters(problem)
        state = problem.solve(m)
        assert not known or len(state.solvers) == problem.experiments
        factorize, before = problem.operator.factorize, problem.counts.forward
        monkeypatch.setattr(problem.operator, "factorize", lambda matrix: made.append(matrix) or factorize(matrix))
        found = problem.solve(m + step * dm, start=state)
        assert np.abs(found.u - reaction().solve(m + step * dm).u).max() < 1e-10 * np.abs(found.u).max()
        return len(made), problem.counts.forward - before

    (without, newton), (with_, solves) = cost(1e-3, False), cost(1e-3, True)
    assert with_ <= without - 2 and solves <= newton + 2  # of two experiments
    assert cost(3.0, True)[0] >= cost(3.0, False)[0] - 2  # too far away to be of use for long


def test_some_of_the_experiments_start_from_their_own_guesses():
    problem = reaction()
    m, _ = parameters(problem)
    state = problem.solve(m)
    near = StationaryProblem(problem.form, dirichlet=problem.dirichlet, loads=problem.loads, guess=state.u)
    second = near.of_experiments(np.array([1]))
    assert np.array_equal(second.solve(m).u[:, 0], state.u[:, 1]) and second.counts.forward == 0


def test_newton_converges_where_full_steps_diverge():
    basis = sk.Basis(sk.MeshLine(np.linspace(0, 1, 20)), sk.ElementLineP1(), intorder=6)
    form = WeakForm(lambda u, v, m, w: 1e-3 * dot(grad(u), grad(v)) + torch.atan(u - w.x[0]) * v, basis,
                    sk.ElementLineP0())
    problem, m, start = StationaryProblem(form), np.zeros(form.parameter_size), np.full(basis.N, 10.0)
    full = start - problem.factorize(start, m).solve(form.residual(start, m))
    assert np.linalg.norm(form.residual(full, m)) > np.linalg.norm(form.residual(start, m))
    state = problem.solve(m, start=start)
    assert np.abs(form.residual(state.u[:, 0], m)).max() < 1e-13


def test_linear_problems_share_one_factorisation_and_backends_agree():
    problem = three_loads()
    m, _ = parameters(problem)
    state = problem.solve(m)
    assert len(state.solvers) == 1 and state.solvers[0].factorization.symmetric
    assert not transport().solve(np.zeros(128)).solvers[0].factorization.symmetric
    forced = StationaryProblem(problem.form, dirichlet=problem.dirichlet, loads=problem.loads, linear=True,
                               symmetric=False, backend="superlu").solve(m)
    assert np.abs(forced.u - state.u).max() < 1e-12 * np.abs(state.u).max()


def test_failures_are_solve_errors():
    problem = diffusion()
    for m in (np.full(problem.form.parameter_size, 800.0), np.full(problem.form.parameter_size, np.nan)):
        with pytest.raises(SolveError, match="not finite"):
            problem.solve(m)
    with pytest.raises(SolveError, match="singular"):
        diffusion(dirichlet=None).solve(np.zeros(problem.form.parameter_size))
    basis = sk.Basis(sk.MeshTri().refined(2), sk.ElementTriP1())
    no_solution = WeakForm(lambda u, v, m, w: dot(grad(u), grad(v)) - 100 * torch.exp(u) * v, basis, basis)
    with pytest.raises(SolveError, match="did not converge|not finite|failed|singular"):
        StationaryProblem(no_solution, dirichlet=basis.get_dofs()).solve(np.zeros(basis.N))


def test_bad_input_is_named():
    problem = diffusion()
    n = problem.state_size
    for options, message in (({"dirichlet": [n]}, "dirichlet holds"), ({"dirichlet": [0.5]}, "dirichlet holds"),
                             ({"values": np.ones(3)}, "values has shape"), ({"loads": np.ones((n, 2, 2))}, "loads has"),
                             ({"loads": np.ones((n, 2)), "values": np.ones((n, 3))}, "values has 3 columns"),
                             ({"loads": np.full(n, np.nan)}, "loads has entries")):
        with pytest.raises(InputError, match=message):
            diffusion(**options)
    with pytest.raises(InputError, match="m has shape"):
        problem.solve(np.zeros(3))
    state = problem.solve(np.zeros(problem.form.parameter_size))
    with pytest.raises(InputError, match="dm has shape"):
        state.tangent(np.ones(3))
    with pytest.raises(InputError, match="covector has shape"):
        state.adjoint(np.ones(n))
    with pytest.raises(InputError, match="kind is 'forward'"):
        state.adjoint(state.u, kind="forward")
    with pytest.raises(InputError, match="not linear in the state"):
        StationaryProblem(reaction().form, dirichlet=reaction().dirichlet, linear=True,
                          loads=np.ones(reaction().state_size)).solve(np.zeros(reaction().form.parameter_size))


def test_in_space_adjoint_identities_hold_to_the_stated_tolerance():
    basis = sk.Basis(sk.MeshTet.init_tensor(*3 * [np.linspace(0, 1, 19)]), sk.ElementTetP1(), intorder=2)
    form = WeakForm(lambda u, v, m, w: torch.exp(m) * dot(grad(u), grad(v)) - v, basis, basis)
    problem = StationaryProblem(form, dirichlet=basis.get_dofs(), linear=True, definite=True)
    x = basis.doflocs
    m, dm, other = np.sin(5 * x[0]) * x[1], np.cos(3 * x[2]), np.random.default_rng(0).standard_normal((basis.N, 1))
    state = problem.solve(m)
    assert state.inexactness == 1e-8 and diffusion().solve(np.zeros(81)).inexactness == 0.0
    assert adjoint_error(state, dm, other) < 1e-7
    p, direct = state.adjoint_state(other), StationaryProblem(form, dirichlet=basis.get_dofs(), linear=True,
                                                               definite=True, backend="superlu").solve(m)
    assert np.abs(state.u - direct.u).max() < 1e-10 * np.abs(direct.u).max()
    assert np.abs(p - direct.adjoint_state(other)).max() < 1e-10 * np.abs(p).max()


def test_a_load_step_without_a_start_of_its_own_goes_on_from_the_one_before():
    """Compressed so far that the affine start has elements turned over."""
    basis = sk.Basis(sk.MeshTri().refined(2), sk.ElementVector(sk.ElementTriP1()))

    def residual(u, v, m, w):
        F = deformation_gradient(u)
        return ddot(m * F + (10.0 * torch.log(det(F)) - m) / det(F) * cofactor(F), grad(v))

    sides = [basis.get_dofs(lambda x, at=at: np.isclose(x[1], at)) for at in (0.0, 1.0)]
    values = np.zeros((basis.N, 8))
    values[sides[1].all("u^2")] = -0.05 * np.arange(1, 9)
    given = np.concatenate([side.all() for side in sides])
    problem = StationaryProblem(WeakForm(residual, basis, sk.ElementTriP0()), dirichlet=given, values=values)
    m = np.ones(problem.parameter_size)
    with pytest.raises(SolveError):
        problem.of_experiments(np.array([7])).solve(m)
    state = problem.solve(m)
    assert max(np.linalg.norm(problem.form.residual(u, m)[problem.free]) for u in state.u.T) < 1e-8
