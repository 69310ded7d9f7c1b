"""A quarter of a plate with a hole: its mesh, and what a test of a known material would measure."""

import numpy as np
import torch
from skfem import MeshQuad, MeshTri

import fem_ngf as ngf
from fem_ngf import ddot, deformation_gradient, grad
from rubber.material import Rubber, stress

RADIUS = 0.1


def plate(cells: int) -> MeshTri:
    """The quarter, finer towards the hole."""
    square = MeshQuad.init_tensor(np.linspace(0.0, 1.0, cells + 1) ** 1.5, np.linspace(0.0, 1.0, 2 * cells + 1))
    s, angle = square.p[0], 0.5 * np.pi * square.p[1]
    arc = np.stack([np.cos(angle), np.sin(angle)])
    return MeshTri.from_mesh(MeshQuad(((1.0 - s) * RADIUS + s / np.abs(arc).max(axis=0)) * arc, square.t).to_meshtri())


def finer(mesh: MeshTri, times: int = 1, snapped: bool = True) -> MeshTri:
    """The mesh refined, the new nodes of the hole on its circle; the old nodes come first."""
    for _ in range(times):
        mesh = mesh.refined()
        p, nodes = mesh.p.copy(), np.unique(mesh.facets[:, mesh.boundary_facets()])
        length = np.linalg.norm(p, axis=0)
        hole = nodes[length[nodes] < 1.01 * RADIUS]
        p[:, hole] *= RADIUS / length[hole] if snapped else 1.0
        mesh = MeshTri(p, mesh.t)
    return mesh


def sides(mesh) -> tuple:
    """Component and nodes of what is given: horizontal displacements left and right, vertical ones below and above."""
    return tuple((axis, np.flatnonzero(np.isclose(mesh.p[axis], end))) for axis in (0, 1) for end in (0.0, 1.0))


def synthetic(truth, cells: int, steps: int, stretch: float, noise: float, seed: int) -> ngf.LoadSteps:
    """Displacements and reactions of a `rubber.judge.Known` material, computed on the mesh refined twice."""
    mesh, amounts = plate(cells), stretch * np.arange(1, steps + 1) / steps
    nodes, affine = mesh.p.shape[1], np.stack([a * mesh.p.T * (0.5, 1.0) for a in amounts])
    test = ngf.LoadSteps(mesh, affine, np.zeros((steps, 4)), sides(mesh))

    def residual(u, v, m, w):
        F = deformation_gradient(u)
        return ddot(stress(F, truth.slopes, [torch.full_like(F[0, 0], angle) for angle in truth.angles]), grad(v))

    fine, unused = finer(mesh, 2), Rubber().laws[0]
    equation = test.equation(residual, unused, fine, test.prolongation(fine) @ test.states, 1e-16)
    found = equation.solve(np.zeros(equation.parameter_size)).u
    u = found[:2 * nodes].T.reshape(steps, nodes, 2)
    disturbed = u + noise * ngf.noise_generator(seed).standard_normal(u.shape)
    for axis, side in test.sets:
        disturbed[:, side, axis] = u[:, side, axis]
    return ngf.LoadSteps(mesh, disturbed, found[-4:].T, test.sets)
