r"""The benchmark of Aristoff and Bangerth: 64 coefficients of a membrane from 169 deflections.

.. math::
    -\nabla\cdot(a \nabla u) = 10 \text{ on the unit square}, \quad u = 0 \text{ on the boundary},

the stiffness a constant on each of 8 x 8 squares, u in Q1 on 32 x 32 cells,
observed at (k/14, l/14), k, l = 1..13, with noise of standard deviation 0.05.
The unknown is m = ln a. The prior density :math:`\exp(-|\ln a|^2 / (2 \cdot 2^2))` has two
readings: with respect to a, which in m is N(4, 2^2) in every square; or with
respect to ln a, which is N(0, 2^2).

The nodal unknown has the 64 values of m; the neural one is a network on the
square, averaged over each of the 64 squares.

References
----------
D. Aristoff, W. Bangerth, A benchmark for the Bayesian inversion of
coefficients in partial differential equations, SIAM Review 65 (2023).
"""

import copy
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from skfem import Basis, ElementQuad0, ElementQuad1

from fem_ngf import (
    MLP,
    Case,
    Gaussian,
    GaussianNoise,
    HilbertSpace,
    InputError,
    InverseProblem,
    Level,
    Observation,
    StationaryProblem,
    WeakForm,
    dot,
    grad,
    independent,
    laplace,
    main,
    noise_generator,
    point_values,
    unit_square,
)

CELLS, SQUARES, SENSORS = 32, 8, 13
STD, PRIOR_STD = 0.05, 2.0


def residual(u, v, m, w):
    return torch.exp(m) * dot(grad(u), grad(v)) - 10.0 * v


def case(prior: Literal["theta", "log-theta"] = "theta", data: Path | None = None, truth: Path | None = None,
         data_seed: int = 1) -> Case:
    """The benchmark of Aristoff and Bangerth: 64 coefficients of a membrane from 169 deflections.

    Parameters
    ----------
    prior
        What the prior density is taken with respect to: the coefficients theta, as published, or their logarithms.
    data
        The 169 measured values, index 13 (k - 1) + (l - 1): the published z_hat.txt. Default: synthetic ones.
    truth
        The 64 true coefficients, index i + 8 j with i along x: the published theta_true.txt.
    data_seed
        Seed of the synthetic noise.
    """
    parameter = coefficients()
    state, pde = problem(parameter)
    observation, order = sensors(state), published_order(parameter)
    true = None if truth is None else np.log(read_numbers(truth, SQUARES**2, positive=True))[order]
    if data is None:
        true = synthetic_truth(parameter) if true is None else true
        values = observation(pde.solve(true).u)[:, 0]
        values = values + STD * noise_generator(data_seed).standard_normal(values.size)
    else:
        values = read_numbers(data, SENSORS**2)
    energy = InverseProblem(pde, observation, values, GaussianNoise.from_std(STD * np.ones(values.size)),
                            log_prior(prior), HilbertSpace.l2(parameter))
    level = Level("32 x 32", energy, parameter, truth=true, fields=lambda at: fields(state, parameter, at))
    return Case("benchmark_8x8", (level,), MLP((2, 16, 16, 1)), defaults={"metric": "l2", "direction": "newton"},
                tuning={"iterations": 100, "recycle": 0, "stagnation": 1e-10},
                title="Membrane stiffness of Aristoff and Bangerth's benchmark")


def coefficients() -> Basis:
    """The 64 piecewise constants; unknowns are numbered as the cells of the 8 x 8 mesh."""
    return Basis(unit_square(SQUARES, kind="quad"), ElementQuad0(), intorder=15)


def published_order(parameter: Basis) -> np.ndarray:
    """Index i + 8 j (i along x) of every unknown."""
    column, row = np.floor(SQUARES * parameter.doflocs).astype(int)
    return column + SQUARES * row


def problem(parameter: Basis) -> tuple[Basis, StationaryProblem]:
    """Q1 state and equation on 32 x 32 cells, 2 x 2 Gauss points each; the cells of a square share its coefficient."""
    mesh = unit_square(CELLS, kind="quad")
    state = Basis(mesh, ElementQuad1(), intorder=3)
    square = parameter.mesh.element_finder()(*mesh.p[:, mesh.t].mean(axis=1))[None, :]
    dofs = copy.copy(state.with_element(ElementQuad0()).dofs)
    dofs.element_dofs, dofs.interior_dofs, dofs.N = square, square, parameter.N
    shared = Basis(mesh, ElementQuad0(), intorder=3, dofs=dofs)
    return state, StationaryProblem(WeakForm(residual, state, shared), dirichlet=state.get_dofs().all(), linear=True,
                                    symmetric=True, definite=True)


def sensors(state: Basis) -> Observation:
    """Deflections at (k/14, l/14), l running fastest."""
    places = np.arange(1, SENSORS + 1) / (SENSORS + 1)
    return point_values(state, np.array([[x, y] for x in places for y in places]))


def log_prior(reading: str) -> Gaussian:
    """The prior of m = ln theta: exp(-m^2/8) d theta = exp(-m^2/8 + m) dm is N(4, 4) up to a factor."""
    if reading not in ("theta", "log-theta"):
        raise InputError(f"prior is {reading!r}; choose 'theta' or 'log-theta'")
    mean = PRIOR_STD**2 if reading == "theta" else 0.0
    return independent(np.full(SQUARES**2, PRIOR_STD), np.full(SQUARES**2, mean))


def synthetic_truth(parameter: Basis) -> np.ndarray:
    """A soft and a stiff inclusion in a background of one."""
    x, y = parameter.doflocs
    m = np.zeros(parameter.N)
    m[(np.abs(x - 0.3) < 0.15) & (np.abs(y - 0.3) < 0.15)] = np.log(0.1)
    m[(np.abs(x - 0.7) < 0.15) & (np.abs(y - 0.7) < 0.15)] = np.log(10.0)
    return m


def fields(state: Basis, parameter: Basis, at) -> dict:
    """The state, the coefficients and their uncertainty."""
    return {"state": (state, at.state.u[:, 0]), "theta": (parameter, np.exp(at.m)), **laplace(at).fields(parameter)}


def read_numbers(path: Path, count: int, positive: bool = False) -> np.ndarray:
    """The numbers of a text file.

    Raises
    ------
    InputError
        If the file cannot be read, or holds other than `count` finite (positive) numbers.
    """
    try:
        numbers = np.array(Path(path).read_text().split(), dtype=np.float64)
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise InputError(f"file {str(path)!r} cannot be read as numbers: {error}") from error
    if numbers.size != count:
        raise InputError(f"file {str(path)!r} holds {numbers.size} numbers; the benchmark needs {count}")
    if not np.isfinite(numbers).all() or (positive and (numbers <= 0).any()):
        raise InputError(f"file {str(path)!r} holds numbers that are not finite{' and positive' if positive else ''}")
    return numbers


if __name__ == "__main__":
    main(case)
