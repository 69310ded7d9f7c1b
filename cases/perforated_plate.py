r"""Conductivity of a plate with holes from temperatures on its boundary, in two experiments.

.. math::
    \min_m \tfrac12 \sum_{j=1}^2 \sum_i \frac{(u_j(x_i) - d_{ij})^2}{\sigma_{j}^2} + \tfrac\alpha2 \|\nabla m\|_{L^2}^2
    \quad\text{subject to}\quad -\nabla\cdot(e^m \nabla u_j) = 0

with u = 0 at the right end in both experiments. In the first the left end is
held at u = 1; in the second it is held at 0 and a unit flux enters through the
top. Everything else, the rims of the holes included, is insulated. Measured are
the temperatures at the mesh's nodes on the bottom, the top and the rims.

The mesh comes from gmsh; its names of boundaries (left, right, bottom, top,
holes) say where what happens. Only the second experiment knows the size of the
conductivity; both together know its shape. Data come from a mesh refined once
more, with another element.
"""

from pathlib import Path

import numpy as np
import torch
from skfem import Basis, ElementTriP1, ElementTriP2, FacetBasis, LinearForm

from fem_ngf import (
    MLP,
    Case,
    HilbertSpace,
    InputError,
    Level,
    StationaryProblem,
    Tikhonov,
    WeakForm,
    boundary,
    boundary_trace,
    bounding_box,
    check_positive,
    dot,
    grad,
    main,
    point_data,
    read_mesh,
    sensor_problem,
)

PLATE = Path(__file__).resolve().parent.parent / "meshes" / "perforated_plate.msh"
MEASURED = ("bottom", "top", "holes")


def residual(u, v, m, w):
    return torch.exp(m) * dot(grad(u), grad(v))


@LinearForm
def unit_flux(v, w):
    return v


def truth(x):
    """True log-conductivity at points x (2, ...)."""
    good = ((x[0] - 0.6) / 0.3) ** 2 + ((x[1] - 0.6) / 0.2) ** 2
    bad = ((x[0] - 1.45) / 0.2) ** 2 + ((x[1] - 0.4) / 0.25) ** 2
    return 1.2 * np.exp(-good) - 1.5 * np.exp(-bad)


def case(mesh: Path | None = None, refinements: int = 1, alpha: float = 15.0, noise: float = 0.01, noise_seed: int = 1,
         data: Path | None = None) -> Case:
    """Conductivity of a plate with holes from boundary temperatures in two experiments.

    Parameters
    ----------
    mesh
        Mesh file with boundaries left, right, bottom, top and holes; by default the plate in the folder meshes.
    refinements
        How often the mesh is refined: the continuation runs over all of them.
    alpha
        Weight of the regularisation.
    noise
        Standard deviation of the synthetic noise, relative to each experiment's largest temperature.
    noise_seed
        Seed of the synthetic noise.
    data
        File of measurements instead: .npz with points (n, 2), values (n, 2) and optionally std.
    """
    check_positive(alpha=alpha)
    if refinements < 0:
        raise InputError(f"refinements is {refinements}; it must not be negative")
    meshes = refined(read_mesh(PLATE if mesh is None else mesh), refinements)
    rims = Basis(meshes[0], ElementTriP1())
    points = np.unique(np.concatenate([boundary_trace(rims, name).points for name in MEASURED]), axis=0)
    measured = point_data(data, 2, points, lambda: true_state(meshes[-1]), noise=noise, seed=noise_seed, experiments=2)
    levels = tuple(level(each, alpha, measured) for each in meshes)
    return Case("perforated_plate", levels, MLP((2, 16, 16, 1), box=bounding_box(meshes[0])),
                defaults={"sampling": "nodal", "stagnation": 1e-4},
                title="Conductivity of a perforated plate from temperatures on its boundary")


def refined(mesh, times: int) -> list:
    """The mesh and its refinements."""
    meshes = [mesh]
    for _ in range(times):
        meshes.append(meshes[-1].refined())
    return meshes


def problem(basis) -> StationaryProblem:
    """Both experiments on the mesh of the state's `basis`."""
    left, right = (basis.get_dofs(boundary(basis.mesh, name)).all() for name in ("left", "right"))
    values, loads = np.zeros((2, basis.N, 2))
    values[left, 0] = 1.0
    loads[:, 1] = unit_flux.assemble(FacetBasis(basis.mesh, basis.elem, facets=boundary(basis.mesh, "top")))
    return StationaryProblem(WeakForm(residual, basis, ElementTriP1()), dirichlet=np.union1d(left, right),
                             values=values, loads=loads, linear=True, symmetric=True, definite=True)


def true_state(mesh):
    """States of the true conductivity on the refined mesh, in P1."""
    basis = Basis(mesh.refined(), ElementTriP1())
    return basis, problem(basis).solve(truth(basis.doflocs)).u


def level(mesh, alpha: float, measured) -> Level:
    """The inverse problem on one mesh."""
    basis, parameter = Basis(mesh, ElementTriP2(), intorder=3), Basis(mesh, ElementTriP1())
    space = HilbertSpace.l2(parameter)
    energy = sensor_problem(problem(basis), basis, measured, Tikhonov(space.stiffness, alpha), space)
    return Level(f"{mesh.nelements} triangles", energy, parameter, truth=truth(parameter.doflocs),
                 fields=lambda at: {f"state_{j + 1}": (basis, at.state.u[:, j]) for j in range(2)})


if __name__ == "__main__":
    main(case)
