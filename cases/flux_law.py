r"""A flux as the gradient of a convex potential of the temperature's gradient, from five noisy states.

.. math::
    \min_q \tfrac12 \sum_{j,i} \frac{(u_j(x_i) - d_{ij})^2}{\sigma_j^2} + \tfrac\alpha2 \|\Delta_h q\|_{L^2}^2
    \quad\text{subject to}\quad -\nabla\cdot q(\nabla u_j) = f_j, \quad u_j = 0 \text{ on the boundary,}

on the unit square with five sources f_j. The unknown is a law with two arguments and two values, which lives on a
square of gradients. The true law is that of a p-Laplacian, made regular at zero,

.. math:: q(g) = (\varepsilon^2 + |g|^2)^{(p - 2)/2} g = \nabla\psi(g), \qquad \varepsilon = 0.3.

A monotone gradient network keeps every equation on the way solvable; ``--structure gradient`` and ``none`` do not.
The discrete Laplacian leaves linear fluxes free: what few gradients visit is continued by a line, not towards zero.

The sources are chosen for the gradients that they make: between two hills these have the direction of their line,
around a single one all directions. That one is high enough to reach the rim of what is visited: in gaps there the error
would be. Whatever the sources, states say nothing of a constant flux and of multiples of the turned gradient: both are
free of divergence. The gradient of a potential that vanishes at zero has neither; a network without structure may.

References
----------
S. Chaudhari, S. Pranav, J. M. F. Moura, Gradient networks, arXiv 2404.07361.
"""

from typing import Literal

import numpy as np
import scipy.sparse as sp
from skfem import Basis, ElementQuad2, ElementTriP2, ElementVector, LinearForm, MeshQuad

import fem_ngf as ngf
from fem_ngf import dot, grad

EPSILON = 0.3
STRENGTH, WIDTH = 14.0, 0.04


def pair(angle: float) -> tuple:
    """Two hills of opposite signs on a line through the middle."""
    x, y = 0.25 * np.cos(angle), 0.25 * np.sin(angle)
    return (0.5 - x, 0.5 - y, 1.0), (0.5 + x, 0.5 + y, -1.0)


def sources(p: float) -> tuple:
    """The five sources, each of hills (x, y, height): the gradients around the single one are as large as the others'.
    """
    return ((0.5, 0.5, 1.26 ** (p - 1.0)),), *(pair(0.25 * np.pi * k) for k in range(4))


def residual(u, v, q, w):
    return dot(q(*grad(u)), grad(v))


def flux(p: float):
    """The true law: gradients (2, n) -> fluxes (2, n)."""
    return lambda g: (EPSILON**2 + g[0] ** 2 + g[1] ** 2) ** (0.5 * p - 1.0) * g


def source(hills):
    """Sum of Gaussian hills (x, y, height)."""
    return lambda x: sum(c * STRENGTH * np.exp(-((x[0] - a) ** 2 + (x[1] - b) ** 2) / WIDTH) for a, b, c in hills)


def law(largest: float, cells: int) -> ngf.Law:
    """Laws of two values, quadratic on each cell of a square of gradients."""
    axis = np.linspace(-largest, largest, cells + 1)
    return ngf.Law(Basis(MeshQuad.init_tensor(axis, axis), ElementVector(ElementQuad2()), intorder=4))


def discretized(mesh, unknown: ngf.Law, p: float) -> tuple[Basis, ngf.StationaryProblem]:
    """Basis of the states, and the equation for the `sources`."""
    state = Basis(mesh, ElementTriP2(), intorder=4)
    loads = [LinearForm(lambda v, w: w.f * v).assemble(state, f=source(hills)(state.global_coordinates()))
             for hills in sources(p)]
    return state, ngf.StationaryProblem(ngf.WeakForm(residual, state, unknown), dirichlet=state.get_dofs().all(),
                                        loads=np.stack(loads, axis=1))


NETWORKS = {"monotone": lambda n, box: ngf.GradNetC(2, n, 1, components=3, monotone=True, box=box),
            "gradient": lambda n, box: ngf.GradNetC(2, n, 1, components=3, box=box),
            "none": lambda n, box: ngf.MLP((2, n, n, 2), "tanh", box)}


def case(cells: int = 12, p: float = 3.0, alpha: float = 0.1, noise: float = 0.003, noise_seed: int = 1,
         sensors: int = 20, structure: Literal["monotone", "gradient", "none"] = "monotone", neurons: int = 12,
         largest: float = 1.6, law_cells: int = 16) -> ngf.Case:
    """A flux q(grad u) from five noisy states.

    Parameters
    ----------
    p
        Exponent of the true law, for which the sources are made.
    sensors
        A side of their grid.
    structure
        The network: the gradient of a convex potential, of any potential, or of none.
    neurons
        Of the network.
    largest
        The law is sought for gradients whose components are below this.
    law_cells
        A side of the law's mesh.
    """
    ngf.check_positive(alpha=alpha, p=p, largest=largest)
    fine, exact = discretized(ngf.unit_square(2 * cells), law(2.0 * largest, 80), p)
    nodes = ngf.HilbertSpace.l2(law(2.0 * largest, 80).basis, sampling="nodal")
    true_state = exact.solve(nodes.project(flux(p)(nodes.points.T).T))
    points = ngf.grid_points((sensors, sensors), (1 / (sensors + 1),) * 2, (sensors / (sensors + 1),) * 2)
    values, std = ngf.noisy(ngf.point_values(fine, points)(true_state.u), noise, noise_seed)

    unknown = law(largest, law_cells)
    state, equation = discretized(ngf.unit_square(cells), unknown, p)
    space = ngf.HilbertSpace.l2(unknown.basis, sampling="nodal")
    energy = ngf.InverseProblem(equation, ngf.point_values(state, points), values, ngf.GaussianNoise.from_std(std),
                                ngf.Tikhonov(curvature(space)), space, alpha)
    box = ((-largest, -largest), (largest, largest))
    start = ngf.grid_points((9, 9), *box)
    network = ngf.Fitted(ngf.Anchored(NETWORKS[structure](neurons, box)), start, lambda g: g)

    def outcome(at, folder):
        seen = ngf.Visited.at(at, unknown)
        length = np.linalg.norm(seen.arguments, axis=1)
        radius = np.quantile(length, 0.95)
        disc = radius * ngf.grid_points((81, 81), (-1.0, -1.0), (1.0, 1.0))
        disc = disc[np.linalg.norm(disc, axis=1) <= radius]
        errors = {name: relative(space.interpolation(g) @ at.m, flux(p)(g.T).T.ravel())
                  for name, g in (("flux_error", seen.arguments[length <= radius]), ("flux_error_disc", disc))}
        if folder is not None:
            for degrees in (0, 45):
                draw_along(folder / f"law_along_{degrees}.png", unknown, at.m, flux(p), degrees, radius)
        return {**seen.summary(), **errors}

    level = ngf.Level(f"{cells} x {cells}", energy, unknown.basis, truth=space.project(flux(p)(space.points.T).T),
                      fields=lambda at: {f"state_{j + 1}": (state, u) for j, u in enumerate(at.state.u.T)})
    return ngf.Case("flux_law", (level,), network, outcome=outcome,
                    defaults={"sampling": "nodal", "flow": "newton", "iterations": 25})


def draw_along(path, unknown: ngf.Law, m, truth, degrees: float, radius: float) -> None:
    """A picture of the flux along a line through zero; gradients beyond the radius are shaded."""
    line = np.array([[np.cos(np.radians(degrees)), np.sin(np.radians(degrees))]])
    seen = ngf.Visited(np.array([[-radius], [radius]]), np.ones(2), unknown)
    labels = f"gradient of u, {degrees} degrees from the first axis", "flux in its direction"
    ngf.write_law(path, lambda s: unknown.evaluate(m, s * line) @ line[0], seen,
                  lambda s: truth((s * line).T).T @ line[0], labels=labels)


def curvature(space) -> sp.csr_array:
    """Matrix of the square of the discrete Laplacian in L2, by the lumped mass."""
    lumped = sp.diags_array(1.0 / (space.mass @ np.ones(space.size)))
    return sp.csr_array(space.stiffness @ lumped @ space.stiffness)


def relative(found, truth) -> float:
    """Relative error in the Euclidean norm."""
    return float(np.linalg.norm(found - truth) / np.linalg.norm(truth))


if __name__ == "__main__":
    ngf.main(case)
