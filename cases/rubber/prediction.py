"""What laws predict, and what the measured mesh misses of it."""

import numpy as np

import fem_ngf as ngf
from rubber.plate import finer


def mesh_error(test, material, m, spread: float, refinements: int, forces: str, guess=None) -> tuple:
    """What the measured mesh misses of the observations of laws m, by Richardson's extrapolation (order 2).

    The mesh is refined until that changes displacements by less than a quarter of their `spread`. Nothing is missed of
    forces of the mesh. Where there is no state on the finer mesh at the last load step, what is missed there is
    extrapolated from those before.

    Returns
    -------
    error (n_obs, steps), states (n_u, steps) on the measured mesh, root mean squares of the changes
    """
    mesh, guess, seen, found, changes = test.mesh, test.states if guess is None else guess, [], [], [np.inf]
    while changes[-1] > 0.25 * spread and len(seen) <= refinements:
        equation = test.equation(material.residual, material.laws, mesh, guess, 1e-5)
        try:
            basis, u = equation.form.state, equation.solve(m).u
        except ngf.SolveError:
            if not seen:
                raise
            if len(seen) == 1 and len(test) > 2:
                fewer = test.select(np.arange(len(test) - 1))
                error, _, changes = mesh_error(fewer, material, m, spread, refinements, forces, found[0][:, :-1])
                return np.column_stack([error, 2.0 * error[:, -1] - error[:, -2]]), found[0], changes
            break
        seen.append(test.observation(equation)(u))
        found.append(u[:basis.N])
        if len(seen) > 1:
            changes.append(fit(seen[-1] - seen[-2], test)["displacement_misfit"])
        mesh = finer(mesh)
        guess = ngf.HilbertSpace.l2(basis).interpolation(mesh.p.T) @ found[-1]
    last = seen[-1] - seen[-2] if len(seen) > 1 else 0.0
    error = seen[-1] + last / 3.0 - seen[0]
    error[-len(test.sets):] *= forces == "measured"
    return error, found[0], changes[1:]


def predicted(test, material, m, known) -> dict:
    """The `fit` of load steps that were not used, with their `mesh_error`."""
    missed, guess, _ = known
    equation = test.equation(material.residual, material.laws, guess=guess)
    return fit(test.observation(equation)(equation.solve(m).u) + missed - test.values, test)


def fit(residual, test) -> dict:
    """Root mean square error of displacements, and the largest relative error of each reaction."""
    forces = len(test.sets)
    return {"displacement_misfit": float(np.sqrt(np.mean(residual[:-forces] ** 2))),
            "reaction_misfit": np.abs(residual[-forces:] / test.reactions.T).max(axis=1).tolist()}
