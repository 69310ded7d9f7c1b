"""Whole identifications on finer and finer meshes: CPU, peak memory, solves, and how they grow.

    OMP_NUM_THREADS=1 python benchmarks/scale.py                # a table; the rows of 1e6 take long
    OMP_NUM_THREADS=1 python benchmarks/scale.py 3 1 1e5        # dimension, degree of the state, unknowns of the state
    OMP_NUM_THREADS=1 python benchmarks/scale.py 3 1 3e4 1      # on that mesh alone

Log-diffusivity m (P1) from 200 values of the state with 1 % noise, one experiment; the weight of the regularisation is
one at which the misfit is about that of the noise. A network that starts with eight neurons a layer and grows is
sampled at the nodes and searched by the Newton flow, on coarser meshes first (each of half as many cells a side, down
to sixteen: on coarser ones the data are missed by more than their noise, and what is learnt there misleads).
Every row is a process of its own; its peak memory is what the system gave it at most, the Python libraries (about
0.35 GB) included. CPU seconds of the search are those of all meshes, and those of the finest.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

import numpy as np
import skfem as sk
import torch
from threadpoolctl import threadpool_limits

import fem_ngf as ngf

ELEMENTS = {(2, 1): sk.ElementTriP1, (2, 2): sk.ElementTriP2, (3, 1): sk.ElementTetP1, (3, 2): sk.ElementTetP2}
ROWS = [(2, 2, n) for n in (2.5e4, 1e5, 1e6)] + [(3, 1, n) for n in (1e4, 1e5, 1e6)]
FEWEST, WEIGHT = 16, 100.0
"""Cells a side of the coarsest mesh, at least; of the regularisation."""


def truth(x):
    return np.sin(4 * x[0]) * np.cos(3 * x[1]) + (0.5 * x[2] if len(x) == 3 else 0.0)


def problems(dimension: int, degree: int, unknowns: float, levels: int = 20) -> list[ngf.InverseProblem]:
    """The energies on some meshes, coarse to fine; the finest has about so many unknowns of the state."""
    cells = round(unknowns ** (1 / dimension) / degree)
    model = ngf.Model(lambda u, v, m, w: torch.exp(m) * ngf.dot(ngf.grad(u), ngf.grad(v)) - v,
                      ELEMENTS[dimension, degree](), ELEMENTS[dimension, 1](), dirichlet=0.0, intorder=2 * degree,
                      linear=True, definite=True)
    points = np.random.default_rng(0).uniform(0.1, 0.9, (200, dimension))
    data, std, found = None, 0.0, []
    while len(found) < levels and cells >= FEWEST:
        on = model.on((ngf.unit_square if dimension == 2 else ngf.unit_cube)(cells))
        observation = ngf.point_values(on.state, points)
        if data is None:
            exact = observation(on.solve(on.nodal(truth)).u)[:, 0]
            std = 0.01 * np.abs(exact).max()
            data = exact + std * np.random.default_rng(1).standard_normal(200)
        found.append(ngf.InverseProblem(on.equation, observation, data, ngf.GaussianNoise.from_std(std),
                                        ngf.Tikhonov(on.space.stiffness, WEIGHT), on.space.nodal_twin))
        cells //= 2
    return found[::-1]


def row(dimension: int, degree: int, unknowns: float, levels: int = 20) -> dict:
    """One identification in this process."""
    times = [time.process_time()]
    energies = problems(dimension, degree, unknowns, levels)
    finest = energies[-1]
    finest.counts.forward = 0
    times.append(time.process_time())
    network = ngf.MLP((dimension, 8, 8, 1))
    search = ngf.Continuation(tuple(ngf.NewtonFlow(energy, network, energy.space, expansion=ngf.Expansion())
                                    for energy in energies))
    for stage in search.run(network.initial(np.random.default_rng(0))):
        if stage.level < len(energies) - 1:
            entered = time.process_time()
        print(stage.level, stage.iterate, f"{time.process_time() - times[0]:.0f} CPU s", file=sys.stderr, flush=True)
    times.append(time.process_time())
    iterate = stage.iterate
    return {"problem": f"{dimension}-D P{degree}", "state": finest.pde.state_size, "parameters": iterate.parameters,
            "setup": times[1] - times[0], "search": times[2] - times[1],
            "finest": times[2] - (entered if len(energies) > 1 else times[1]),
            "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, "solves": finest.counts.total,
            "work": stage.work, "energy": iterate.value, "end": iterate.stop_reason}


def main() -> None:
    """Print the table."""
    if len(sys.argv) > 3:
        torch.set_num_threads(1)
        with threadpool_limits(1):
            print(json.dumps(row(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), *map(int, sys.argv[4:]))))
        return
    before: dict = {}
    print("| problem | state unknowns | set-up, CPU s | search, CPU s | on the finest mesh | peak GB | solves there | "
          "work | energy | CPU as n^ | memory as n^ |\n|" + " --- |" + " ---: |" * 10)
    for words in ROWS:
        said = subprocess.run([sys.executable, __file__, *map(str, words)], check=True, stdout=subprocess.PIPE,
                              text=True)
        new = json.loads(said.stdout.splitlines()[-1])
        old, grows = before.get(new["problem"]), ["", ""]
        if old:
            ratio = np.log(new["state"] / old["state"])
            grows = [f"{np.log(new[name] / old[name]) / ratio:.2f}" for name in ("search", "memory")]
        before[new["problem"]] = new
        print(f"| {new['problem']} | {new['state']} | {new['setup']:.1f} | {new['search']:.1f} | {new['finest']:.1f} "
              f"| {new['memory']:.2f} | {new['solves']} | {new['work']:.1f} | {new['energy']:.4f} "
              f"| {' | '.join(grows)} |", flush=True)


if __name__ == "__main__":
    main()
