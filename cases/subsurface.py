r"""Log-permeability of an aquifer from fifty pressures in wells, with an anisotropic Gaussian prior.

.. math::
    \min_m \sum_i \frac{(u(x_i) - d_i)^2}{2\sigma^2} + \tfrac12 \|m - \bar m\|_{C^{-1}}^2
    \quad\text{subject to}\quad -\nabla\cdot(e^m \nabla u) = 0,

u = y on top and bottom, no flux left and right. State in P2 and parameter in
P1 on n x n x 2 triangles. The prior is bilaplacian,
:math:`C^{-1} = L M^{-1} L`, :math:`L = \gamma K_\Theta + \delta M + \beta M_{\partial\Omega}`,
with layers that run at 45 degrees. The result is exported with the standard
deviation of its Laplace approximation.

Synthetic data: the truth is a sample of the prior on a mesh of twice as many
cells, observed at random points with 1 % noise.

References
----------
U. Villa, N. Petra, O. Ghattas, hIPPYlib: an extensible software framework for
large-scale inverse problems, ACM TOMS 47 (2021); its model problem
SubsurfaceBayesian, from which geometry and prior are taken.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from skfem import Basis, ElementTriP1, ElementTriP2

from fem_ngf import (
    MLP,
    BilaplacianPrior,
    Case,
    GaussianNoise,
    HilbertSpace,
    InputError,
    InverseProblem,
    Level,
    Measurements,
    StationaryProblem,
    WeakForm,
    bilaplacian,
    dot,
    grad,
    halvings,
    laplace,
    main,
    nodal_values,
    noise_generator,
    point_data,
    point_values,
    rotated_tensor,
    unit_square,
)


@dataclass(frozen=True, eq=False)
class Field:
    """A P1 function that can be carried to other meshes."""

    basis: Basis
    vector: np.ndarray

    def on(self, basis: Basis) -> np.ndarray:
        """Its values at the nodes of another basis."""
        return point_values(self.basis, basis.doflocs.T)(self.vector)


def residual(u, v, m, w):
    return torch.exp(m) * dot(grad(u), grad(v))


def case(cells: int = 64, noise: float = 0.01, wells: int = 50, data_seed: int = 1, uncertainty: bool = True,
         data: Path | None = None) -> Case:
    """Log-permeability of an aquifer from pressures in wells, with an anisotropic Gaussian prior.

    Parameters
    ----------
    cells
        Cells a side of the finest mesh; the coarser ones have half as many, down to about 16.
    noise
        Standard deviation of the noise, relative to the largest pressure; for files without one, too.
    wells
        Number of synthetic measurements.
    data_seed
        Seed of the synthetic truth, wells and noise.
    uncertainty
        Export the standard deviations of prior and posterior on the finest mesh.
    data
        File of measurements: .npz (points, values[, std]) or .csv (x, y, value[, std]); or the .npz of hIPPYlib's
        tutorial (targets, d_noisy, noise_std, and the true field on 64 x 64 cells: p1_xy, m_true).
    """
    found, true = measured(data) or synthetic(data, cells, noise, wells, data_seed)
    levels = tuple(level(n, found, true) for n in halvings(cells))
    if uncertainty:
        levels = (*levels[:-1], replace(levels[-1], fields=with_uncertainty(levels[-1])))
    return Case("subsurface", levels, MLP((2, 20, 20, 1)), tuning={"stagnation": 1e-4},
                title="Log-permeability of an aquifer from pressures in wells")


def problem(basis) -> StationaryProblem:
    """The equation with a P1 parameter on the mesh of the state's `basis`."""
    form = WeakForm(residual, basis, ElementTriP1())
    return StationaryProblem(form, dirichlet=basis.get_dofs(["top", "bottom"]).all(), values=basis.doflocs[1],
                             linear=True, symmetric=True, definite=True)


def prior_on(basis) -> BilaplacianPrior:
    """The prior, in the P1 space `basis`."""
    return bilaplacian(basis, gamma=0.1, delta=0.5, tensor=rotated_tensor(2.0, 0.5, np.pi / 4))


def state_basis(cells: int) -> Basis:
    """P2 on a uniform mesh."""
    return Basis(unit_square(cells), ElementTriP2(), intorder=4)


def level(cells: int, found: Measurements, true: Field | None) -> Level:
    """The inverse problem on one mesh."""
    basis = state_basis(cells)
    parameter = Basis(basis.mesh, ElementTriP1())
    energy = InverseProblem(problem(basis), point_values(basis, found.points), found.values,
                            GaussianNoise.from_std(found.std), prior_on(parameter), HilbertSpace.l2(parameter))
    return Level(f"{cells} x {cells}", energy, parameter, truth=None if true is None else true.on(parameter),
                 fields=lambda at: {"state": (basis, at.state.u[:, 0])}, matrices={"prior": energy.regularization})


def with_uncertainty(level: Level):
    """The level's fields and those of the Laplace approximation, computed once an iterate."""

    @lru_cache(maxsize=1)
    def fields(at):
        return level.fields(at) | laplace(at, kind="newton").fields(level.basis, modes=2, samples=2)

    return fields


def synthetic(data: Path | None, cells: int, noise: float, wells: int, seed: int) -> tuple[Measurements, Field | None]:
    """Measurements of a sample of the prior, and that sample; or those of a file in one of the general layouts."""
    if wells < 1:
        raise InputError(f"wells is {wells}; it must be 1 at least")
    rng = noise_generator(seed)
    points = rng.uniform(0.05, 0.95, (wells, 2))
    true = None

    def solve():
        nonlocal true
        basis = state_basis(2 * cells)
        parameter = Basis(basis.mesh, ElementTriP1())
        true = Field(parameter, prior_on(parameter).sample(rng))
        return basis, problem(basis).solve(true.vector).u[:, 0]

    return point_data(data, 2, points, solve, noise=noise, seed=seed + 1), true


def measured(data: Path | None) -> tuple[Measurements, Field | None] | None:
    """Measurements and truth of a file in the layout of hIPPYlib's tutorial; None for other files."""
    if data is None or data.suffix != ".npz" or not data.is_file():
        return None
    try:
        with np.load(data, allow_pickle=False) as file:
            if "targets" not in file:
                return None
            arrays = {name: file[name] for name in ("targets", "d_noisy", "noise_std", "p1_xy", "m_true")}
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"data file {str(data)!r} cannot be read: {error}") from error
    values = arrays["d_noisy"]
    if arrays["targets"].shape != (len(values), 2) or not np.isfinite(values).all():
        raise InputError(f"data file {str(data)!r}: targets must be (n, 2) and d_noisy (n,) finite values, "
                         f"not {arrays['targets'].shape} and {values.shape}")
    side = round(np.sqrt(len(arrays["p1_xy"]))) - 1
    parameter = Basis(unit_square(side), ElementTriP1())
    true = Field(parameter, nodal_values(parameter, arrays["p1_xy"], arrays["m_true"]))
    return Measurements(arrays["targets"], values, np.full(len(values), float(arrays["noise_std"]))), true


if __name__ == "__main__":
    main(case)
