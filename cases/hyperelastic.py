r"""Stored energy of a rubber from displacements and reaction forces of a plate with a hole (plane strain).

.. math::
    W = W_1(\tilde I_1 - 3) + W_2(\tilde I_2 - 3) + W_3(J - 1), \qquad
    \tilde I_1 = J^{-2/3} I_1, \quad \tilde I_2 = J^{-4/3} I_2,

a quarter of the plate, symmetry on the left and at the bottom, given displacements on the right and at the top that
grow from load step to load step. The unknowns are the three slopes :math:`w_i = W_i'`, laws of one argument each, with
:math:`w_1, w_2 > 0` and :math:`w_3(0) = 0`: there is no energy and no stress without deformation. Data are
displacements at the nodes and the four reaction forces of every step.

First the equation error, linear in the laws: residuals at the measured displacements, turned into displacements by a
frozen tangent, and reactions. Its laws, made positive, are what the networks start from; the equation then constrains
the state on a finer mesh, whose hole is a circle. In both the laws are held smooth by
:math:`\tfrac\alpha2 \sum_i \int w_i''^2`.

With ``--data`` a file: points, triangles, constraint (n, 2; 1 and 2 the horizontal displacements left and right, 3 and
4 the vertical ones at the bottom and the top), displacement (steps, n, 2), reactions (steps, 4), and, for what was
imposed, displacement_exact.

References
----------
P. Thakolkaran, A. Joshi, Y. Zheng, M. Flaschel, L. De Lorenzis, S. Kumar, NN-EUCLID: deep-learning hyperelasticity
without stress data, J. Mech. Phys. Solids 169 (2022).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import scipy.sparse as sp
import torch
from skfem import Basis, BilinearForm, ElementLineHermite, ElementTriP1, ElementVector, MeshLine, MeshQuad, MeshTri

import fem_ngf as ngf
from fem_ngf import cofactor, ddot, deformation_gradient, grad, isochoric_invariants

RANGES = ((0.0, 10.0), (0.0, 8.0), (-0.8, 3.4))
BOX = ((-0.8,), (10.0,))
RADIUS = 0.1
TRUTHS = {"isihara": (lambda s: 0.5 + 2.0 * s, lambda s: 1.0 + 0.0 * s, lambda s: 3.0 * s),
          "neohookean": (lambda s: 0.5 + 0.0 * s, lambda s: 0.0 * s, lambda s: 3.0 * s)}
PATHS = {"UT": (lambda g: (1 + g, 0, 1), (0, 0)), "UC": (lambda g: (1 / (1 + g), 0, 1), (0, 0)),
         "BT": (lambda g: (1 + g, 0, 1 + g), (0, 0)), "BC": (lambda g: (1 / (1 + g), 0, 1 / (1 + g)), (0, 0)),
         "SS": (lambda g: (1, g, 1), (0, 1)), "PS": (lambda g: (1 + g, 0, 1 / (1 + g)), (1, 1))}
"""Deformations F = [[a, b], [0, c]] by name, and the component of the stress that is looked at."""
START = ((1.0, 0.0), (0.3, 0.0), (0.0, 3.0))


def laws() -> tuple[ngf.Law, ...]:
    """The three slopes, cubic on each cell with a continuous derivative."""
    return tuple(ngf.Law(Basis(MeshLine(np.linspace(a, b, 12)), ElementLineHermite(), intorder=6)) for a, b in RANGES)


def slopes(F, w):
    """First Piola stress of the slopes w (three functions) at F (2, 2, ...), in numpy or torch."""
    first, second, J = isochoric_invariants(F)
    volume, power = cofactor(F), J ** (-2.0 / 3.0)
    by_first = 2.0 * power * F - (2.0 / 3.0) * first / J * volume
    by_second = power**2 * (2.0 * F + 2.0 * J * volume) - (4.0 / 3.0) * second / J * volume
    return w[0](first - 3.0) * by_first + w[1](second - 3.0) * by_second + w[2](J - 1.0) * volume


def residual(u, v, w, _):
    return ddot(slopes(deformation_gradient(u), w), grad(v))


@BilinearForm
def bending(u, v, w):
    return u.hess[0, 0] * v.hess[0, 0]


@dataclass(frozen=True, eq=False)
class Test:
    """What was measured: nodes of a mesh, displacements (steps, n, 2), reactions (steps, 4)."""

    mesh: MeshTri
    displacement: np.ndarray
    reactions: np.ndarray

    @classmethod
    def read(cls, path: Path):
        """From a file; see the top."""
        names = ("points", "triangles", "constraint", "displacement", "reactions")
        found = ngf.read_arrays(path, names, ("displacement_exact",))
        points, constraint = found["points"], found["constraint"]
        mesh = MeshTri(np.ascontiguousarray(points.T), np.ascontiguousarray(found["triangles"].T.astype(np.int64)))
        for number, (component, nodes) in enumerate(sets_of(mesh), 1):
            if not np.array_equal(np.flatnonzero(constraint[:, component] == number), nodes):
                raise ngf.InputError(f"data file {str(path)!r}: the nodes of constraint {number} are not those of that "
                                     "side of the plate")
            exact = found.get("displacement_exact", found["displacement"])  # what was imposed carries no noise
            found["displacement"][:, nodes, component] = exact[:, nodes, component]
        return cls(mesh, found["displacement"], found["reactions"])


def sets_of(mesh) -> list[tuple[int, np.ndarray]]:
    """Component and nodes of the four sides with given displacements: left, right, bottom, top."""
    return [(axis, np.flatnonzero(np.isclose(mesh.p[axis], end))) for axis in (0, 1) for end in (0.0, 1.0)]


def plate(cells: int) -> MeshTri:
    """A quarter of the plate, finer towards the hole."""
    square = MeshQuad.init_tensor(np.linspace(0.0, 1.0, cells + 1) ** 1.5, np.linspace(0.0, 1.0, 2 * cells + 1))
    s, angle = square.p[0], 0.5 * np.pi * square.p[1]
    arc = np.stack([np.cos(angle), np.sin(angle)])
    return MeshTri.from_mesh(MeshQuad(((1.0 - s) * RADIUS + s / np.abs(arc).max(axis=0)) * arc, square.t).to_meshtri())


def finer(mesh: MeshTri) -> MeshTri:
    """The mesh refined once, the new nodes of the hole on its circle; the old nodes come first."""
    new = mesh.refined()
    p, nodes = new.p.copy(), np.unique(new.facets[:, new.boundary_facets()])
    length = np.linalg.norm(p, axis=0)
    hole = nodes[length[nodes] < 1.01 * RADIUS]
    p[:, hole] *= RADIUS / length[hole]
    return MeshTri(p, new.t)


@dataclass(frozen=True, eq=False)
class Discrete:
    """The plate on a mesh: basis of the displacements, and the equation with its reactions."""

    state: Basis
    equation: ngf.Reactions

    @classmethod
    def on(cls, mesh, given, guess=None):
        """`given` (steps, 4): the displacements of the four sides; `guess` (n_u, steps) for Newton's method."""
        state = Basis(mesh, ElementVector(ElementTriP1()), intorder=1)
        sets, values = [2 * nodes + axis for axis, nodes in sets_of(mesh)], np.zeros((state.N, len(given)))
        for dofs, value in zip(sets, given.T, strict=True):
            values[dofs] = value
        problem = ngf.StationaryProblem(ngf.WeakForm(residual, state, laws()), dirichlet=np.concatenate(sets),
                                        values=values, symmetric=True, tolerance=1e-8)
        return cls(state, ngf.Reactions(problem, sets, guess))

    def observation(self, nodes: int):
        """Free displacements of the first nodes, and the reactions."""
        size = self.equation.state_size
        rows = np.r_[np.setdiff1d(np.arange(2 * nodes), self.equation.problem.dirichlet), np.arange(size - 4, size)]
        return ngf.MatrixObservation(sp.eye_array(size, format="csr")[rows], np.zeros((len(rows), 2)))


def synthetic(cells: int, steps: int, stretch: float, noise: float, seed: int) -> Test:
    """Displacements and reactions of Isihara's material, computed on the mesh refined once."""
    mesh, space = plate(cells), law_space()
    amounts = stretch * np.arange(1, steps + 1) / steps
    given = np.stack([0 * amounts, amounts, 0 * amounts, 0.5 * amounts], axis=1)
    fine = Discrete.on(finer(mesh), given)
    affine = np.stack([(fine.state.mesh.p * np.array([[a], [0.5 * a]])).T.ravel() for a in amounts], axis=1)
    truth = np.concatenate([part.project(law(part.points[:, 0]))
                            for part, law in zip(space.spaces, TRUTHS["isihara"], strict=True)])
    found = fine.equation.solve(truth, affine).u
    nodes = mesh.p.shape[1]
    u = found[:2 * nodes].T.reshape(steps, nodes, 2)
    disturbed = u + noise * ngf.noise_generator(seed).standard_normal(u.shape)
    for axis, side in sets_of(mesh):
        disturbed[:, side, axis] = u[:, side, axis]
    return Test(mesh, disturbed, found[-4:].T)


def law_space() -> ngf.ProductSpace:
    """Of the three slopes."""
    return ngf.ProductSpace(tuple(ngf.HilbertSpace.h1(law.basis) for law in laws()))


def smoothness(space) -> sp.csr_array:
    """Matrix of ``sum int w_i''^2``, and a little of ``sum int w_i^2``."""
    matrix = sp.block_diag([bending.assemble(part.basis) for part in space.spaces], format="csr")
    return sp.csr_array(matrix + 1e-6 * space.mass)


def at_rest(space) -> np.ndarray:
    """The row (n_m,) that takes laws to ``w_3(0)``."""
    row = space.spaces[2].interpolation(np.zeros((1, 1))).toarray()[0]
    return np.concatenate([np.zeros(sum(space.sizes[:2])), row])


def equation_error(discrete, measured, values, std, space, alpha: float, rounds: int = 3) -> np.ndarray:
    """The laws (n_m,) of the least equation error; the tangent is frozen at those of the round before."""
    m = np.concatenate([part.project(start + slope * part.points[:, 0])
                        for part, (start, slope) in zip(space.spaces, START, strict=True)])
    observation, noise = discrete.observation(len(measured) // 2), ngf.GaussianNoise.from_std(std)
    for _ in range(rounds):
        energy = ngf.InverseProblem(ngf.FrozenEquation(discrete.equation, measured, m), observation, values, noise,
                                    ngf.Tikhonov(smoothness(space)), space, alpha)
        here = energy.linearize(m)
        hessian = here.misfit_action(np.eye(space.size)) + here.regularization_hessian() @ np.eye(space.size)
        rest = at_rest(space)  # its Lagrange multiplier is the last unknown
        saddle = np.block([[hessian, rest[:, None]], [rest[None], np.zeros((1, 1))]])
        m = m - np.linalg.lstsq(saddle, np.r_[here.derivative, rest @ m], rcond=1e-15)[0][:-1]
    return m


def networks(space, m, neurons: int) -> ngf.PerField:
    """Corrections of given laws m, zero at the start: the first two positive, the third with the value 0 at 0."""
    def law(i):
        return lambda s: laws()[i].evaluate(space.split(m)[i], s)

    def positive(i):
        return lambda s: np.log(np.expm1(np.maximum(law(i)(s), 0.02)))

    mlp = ngf.MLP((1, neurons, 1), box=BOX)
    return ngf.PerField((*(ngf.Transformed(ngf.BoundaryLift(mlp, lambda s: np.ones(len(s)), positive(i)), "softplus")
                           for i in (0, 1)), ngf.BoundaryLift(mlp, lambda s: s[:, 0], law(2))))


def solved(discrete, m, guess):
    """States (n_u, steps) for laws m; the guess where the equation has no solution."""
    try:
        return discrete.equation.solve(m, guess).u[:-4]
    except ngf.SolveError:
        return guess


def law_errors(space, m, truth) -> dict:
    """Relative L2 errors of energy W and stress P along the six paths, with their mean and the worst."""
    parts = space.split(m)
    found = [lambda s, i=i: laws()[i].evaluate(parts[i], s.reshape(-1, 1)).reshape(s.shape) for i in range(3)]
    errors = {"W": {}, "P": {}}
    for name, (path, (i, j)) in PATHS.items():
        a, b, c = torch.tensor([path(g) for g in np.linspace(0.0, 1.0, 200)], dtype=torch.float64).T[:, None]
        F = torch.stack([torch.stack([a, b]), torch.stack([0.0 * c, c])])
        for kind, quantity in (("W", lambda w, at=F: stored(at, w)),
                               ("P", lambda w, at=F, i=i, j=j: slopes(at, in_torch(w))[i, j, 0].numpy())):
            ours, true = quantity(found), quantity(truth)
            errors[kind][name] = float(np.linalg.norm(ours - true) / np.linalg.norm(true))
    return {kind: each | {"mean": float(np.mean(list(each.values()))), "worst": max(each.values())}
            for kind, each in errors.items()}


def in_torch(w):
    """Functions of arrays as functions of tensors."""
    return [lambda s, each=each: torch.from_numpy(each(s.numpy())) for each in w]


def stored(F, w) -> np.ndarray:
    """Energies (n,) of the slopes w at F (2, 2, 1, n): their integrals from the undeformed state, by Gauss' rule."""
    nodes, weights = np.polynomial.legendre.leggauss(40)
    first, second, J = (each[0].numpy() for each in isochoric_invariants(F))
    return sum(0.5 * end * (each(0.5 * end[:, None] * (nodes + 1.0)) @ weights)
               for each, end in zip(w, (first - 3.0, second - 3.0, J - 1.0), strict=True))


def case(cells: int = 10, alpha: float = 1e4, spread: float = 1.5e-4, force_error: float = 2e-3, noise: float = 1e-4,
         noise_seed: int = 1, steps: int = 4, stretch: float = 0.6, neurons: int = 6, refinements: Literal[0, 1] = 1,
         truth: Literal["", "isihara", "neohookean"] = "", data: Path | None = None) -> ngf.Case:
    """Stored energy of a rubber from displacements and reactions.

    Parameters
    ----------
    cells
        Across the plate, without a file.
    spread, force_error
        Standard deviation of displacements, and of reactions relative to them, with which the states are fitted.
    steps
        Load steps that are used, spread evenly over those of the file.
    stretch
        Displacement of the right side in the last step, without a file.
    neurons
        Of each of the three networks.
    refinements
        Of the mesh on which the equation constrains the state.
    truth
        Material with which the laws are compared; without a file Isihara's.
    """
    ngf.check_positive(alpha=alpha, spread=spread, force_error=force_error)
    test = Test.read(data) if data else synthetic(cells, steps, stretch, noise, noise_seed)
    count, nodes = len(test.reactions), test.mesh.p.shape[1]
    chosen = np.linspace(0, count, min(steps, count) + 1)[1:].round().astype(int) - 1
    measured = test.displacement[chosen].reshape(len(chosen), -1).T
    given = np.stack([test.displacement[chosen][:, side, axis].mean(axis=1) for axis, side in sets_of(test.mesh)], 1)
    coarse, space = Discrete.on(test.mesh, given), law_space()
    free = np.setdiff1d(np.arange(2 * nodes), coarse.equation.problem.dirichlet)
    values = np.concatenate([measured[free], test.reactions[chosen].T])

    def std(of_state, of_force):
        of_forces = of_force * np.abs(test.reactions[chosen].T)
        return np.concatenate([np.full((len(free), len(chosen)), of_state), of_forces])

    m = equation_error(coarse, measured, values, std(5e-4, 5e-3), space, alpha)
    ansatz = networks(space, m, neurons)
    mesh, guess = test.mesh, measured
    if refinements:
        mesh = finer(mesh)
        start = ngf.realize(ansatz, ansatz.initial(np.random.default_rng(0)), space)
        guess = solved(coarse, start, measured)
        guess = ngf.HilbertSpace.l2(coarse.state).interpolation(mesh.p.T) @ guess
    fine = Discrete.on(mesh, given, guess)
    energy = ngf.InverseProblem(fine.equation, fine.observation(nodes), values,
                                ngf.GaussianNoise.from_std(std(spread, force_error)),
                                ngf.Tikhonov(smoothness(space)), space, alpha)
    truth = truth or ("" if data else "isihara")

    def visited(at, i):
        return ngf.Visited.at(at, laws()[i], i)

    def outcome(at, folder):
        residuals = at.residual[-4:] / np.abs(energy.data[-4:])
        found = {"displacement_misfit": float(at.residual[:-4].std()), "reaction_misfit": np.abs(residuals).max(axis=0),
                 "law_visited": [visited(at, i).range[0].tolist() for i in range(3)],
                 "law_outside": [visited(at, i).outside for i in range(3)]}
        return {name: np.asarray(value).tolist() for name, value in found.items()} | (
            {"law_errors": law_errors(space, at.m, TRUTHS[truth])} if truth else {})

    level = ngf.SampleLevel(f"{mesh.nelements} cells", energy, {"h1": space}, fields=lambda at: {
        f"displacement_{j + 1}": (fine.state, u[:-4]) for j, u in enumerate(at.state.u.T)})
    return ngf.Case("hyperelastic", (level,), ansatz, outcome=outcome,
                    defaults={"flow": "newton", "metric": "h1", "iterations": 8})


if __name__ == "__main__":
    ngf.main(case)
