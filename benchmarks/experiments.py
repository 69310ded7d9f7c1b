"""Sixteen nonlinear experiments on one process and on several: CPU seconds of value, derivative and Hessian action.

    OMP_NUM_THREADS=1 python benchmarks/experiments.py [cells]
    OMP_NUM_THREADS=1 mpiexec -n 2 python benchmarks/experiments.py [cells]

Each experiment is Newton's method for a conductivity that grows with the state, on cells x cells x 2 P2 triangles.
"""

import resource
import sys
import time

import numpy as np
import skfem as sk
import torch

from fem_ngf import (
    GaussianNoise,
    HilbertSpace,
    InverseProblem,
    StationaryProblem,
    Tikhonov,
    WeakForm,
    dot,
    grad,
    point_values,
)
from fem_ngf.parallel.experiments import share_experiments
from fem_ngf.parallel.launch import world

EXPERIMENTS = 16


def problem(cells: int) -> InverseProblem:
    """Loads at sixteen places."""
    basis = sk.Basis(sk.MeshTri.init_tensor(*2 * [np.linspace(0, 1, cells + 1)]), sk.ElementTriP2(), intorder=4)
    x = basis.doflocs
    form = WeakForm(lambda u, v, m, w: torch.exp(m) * (1 + u**2) * dot(grad(u), grad(v)), basis, sk.ElementTriP1())
    places = np.linspace(0.1, 0.9, EXPERIMENTS)
    load = np.stack([np.exp(-20 * ((x[0] - c) ** 2 + (x[1] - 0.5) ** 2)) for c in places], axis=1) * 40 / cells**2
    points = np.random.default_rng(0).uniform(0.1, 0.9, (60, 2))
    space = HilbertSpace.h1(basis.with_element(sk.ElementTriP1()))
    return InverseProblem(StationaryProblem(form, dirichlet=basis.get_dofs(), loads=load), point_values(basis, points),
                          np.zeros((60, EXPERIMENTS)), GaussianNoise.from_std(1e-2), Tikhonov(space), space)


def main() -> None:
    """Print one line a process."""
    torch.set_num_threads(1)
    team, energy = world(), problem(int(sys.argv[1]) if len(sys.argv) > 1 else 48)
    rank = 0 if team is None else team.rank
    energy = energy if team is None else share_experiments(energy, team)
    m, times = 0.1 * np.sin(np.arange(energy.space.size)), [time.process_time()]
    at = energy.linearize(m)
    times.append(time.process_time())
    norm = np.linalg.norm(at.derivative)
    times.append(time.process_time())
    action = at.hessian_action(np.ones_like(m), "newton")
    times.append(time.process_time())
    seconds = ", ".join(f"{name} {spent:.2f} s" for name, spent in
                        zip(("value", "derivative", "Newton action"), np.diff(times), strict=True))
    print(f"process {rank}: {seconds}, together {times[-1] - times[0]:.2f} s, peak "
          f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB; value {at.value:.12e}, "
          f"|derivative| {norm:.10e}, |action| {np.linalg.norm(action):.10e}", flush=True)


if __name__ == "__main__":
    main()
