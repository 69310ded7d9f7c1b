"""One equation in space on one process and on several: CPU seconds and memory of assembly, solves and Gram matrices.

    OMP_NUM_THREADS=1 python benchmarks/mesh.py [cells]                       # today's solvers
    OMP_NUM_THREADS=1 /usr/bin/mpiexec -n 2 python benchmarks/mesh.py [cells] # PETSc, the mesh distributed

Log-diffusivity and state P1 on cells^3 * 6 tetrahedra; the Gram matrix in H1 is that of a network 3-19-19-1 with 476
parameters, sampled at the nodes. Assembly is that of the tangents of a second parameter, their patterns being known.
"""

from __future__ import annotations

import gc
import resource
import sys
import time
from dataclasses import replace

import numpy as np
import skfem as sk
import torch

import fem_ngf as ngf
from fem_ngf.parallel.launch import world
from fem_ngf.parallel.mesh import share_mesh
from fem_ngf.tangent.rows import TangentRows


def problem(cells: int) -> ngf.InverseProblem:
    """Point values of a diffusion in a cube."""
    model = ngf.Model(lambda u, v, m, w: torch.exp(m) * ngf.dot(ngf.grad(u), ngf.grad(v)) - v, sk.ElementTetP1(),
                      sk.ElementTetP1(), dirichlet=0.0, intorder=2, linear=True, definite=True)
    points = np.random.default_rng(0).uniform(0.1, 0.9, (200, 3))
    return model.on(ngf.unit_cube(cells)).inverse_problem(ngf.Measurements(points, np.ones(200), 0.01),
                                                          lambda space: ngf.Tikhonov(space.stiffness))


def main() -> None:
    """Print a line a process."""
    torch.set_num_threads(1)
    team, energy = world(), problem(int(sys.argv[1]) if len(sys.argv) > 1 else 46)
    space = energy.space.nodal_twin
    if team is not None:
        energy, space = share_mesh(energy, team), replace(space, team=team)
    gc.collect()
    m, spent = 0.1 * np.sin(np.arange(space.size)), {}

    def timed(name, work):
        before = time.process_time()
        result = work()
        spent[name] = time.process_time() - before
        return result

    form, u = energy.pde.form, np.zeros(energy.pde.state_size)
    assemble = {"tangent": form.tangent, "parameter tangent": form.parameter_tangent}
    for each in assemble.values():
        each(u, 0 * m)
    for name, each in assemble.items():
        timed(name, lambda each=each: each(u, m))
    at = timed("state", lambda: energy.linearize(m))
    timed("derivative", lambda: at.derivative)
    action = timed("Hessian action", lambda: at.hessian_action(np.ones_like(m)))
    equation = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    network = ngf.MLP((3, 19, 19, 1), output_scale=1.0)
    vectors = TangentRows(network, network.initial(np.random.default_rng(0)), space)
    gram = timed("Gram", lambda: vectors.gram_and_image(space.matrix, np.zeros((space.size, 0)))[0])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"process {0 if team is None else team.rank} of {1 if team is None else team.size}: "
          + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in spent.items())
          + f"; peak {equation:.2f} GB, with Gram matrix {peak:.2f}; value {at.value:.10e}, "
          f"|action| {np.linalg.norm(action):.8e}, trace {np.trace(gram):.12e}", flush=True)


if __name__ == "__main__":
    main()
