"""A quarter of a plate with a hole: its mesh, and what a test of a known material would measure."""

import numpy as np
from skfem import MeshQuad, MeshTri

import fem_ngf as ngf
from rubber.material import Rubber

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
    """Displacements and reactions of known slopes and angles of fibres, computed on the mesh refined once."""
    mesh, material = plate(cells), Rubber(len(truth[1]))
    nodes, amounts = mesh.p.shape[1], stretch * np.arange(1, steps + 1) / steps
    affine = np.stack([a * mesh.p.T * (1.0, 0.5) for a in amounts])
    test = ngf.LoadSteps(mesh, affine, np.zeros((steps, 4)), sides(mesh))
    fine = finer(mesh)
    equation = test.equation(material.residual, material.laws, fine, test.prolongation(fine) @ test.states)
    found = equation.solve(material.interpolated(*truth)).u
    u = found[:2 * nodes].T.reshape(steps, nodes, 2)
    disturbed = u + noise * ngf.noise_generator(seed).standard_normal(u.shape)
    for axis, side in test.sets:
        disturbed[:, side, axis] = u[:, side, axis]
    return ngf.LoadSteps(mesh, disturbed, found[-4:].T, test.sets)
