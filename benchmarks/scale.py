"""Whole identifications on finer and finer meshes: CPU, peak memory, solves, and how they grow.

    OMP_NUM_THREADS=1 python benchmarks/scale.py                # a table; the rows of 1e5 take long
    OMP_NUM_THREADS=1 python benchmarks/scale.py 3 1 1e5        # dimension, degree of the state, unknowns of the state

Log-diffusivity m (P1) from 200 values of the state with 1 % noise, one experiment; a network 16-16 that does not grow
is sampled at the nodes and searched by the Newton flow. Every row is a process of its own; its peak memory is what the
system gave it at most, the Python libraries (about 0.35 GB) included.
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
ROWS = [(2, 2, n) for n in (2.5e4, 1e5)] + [(3, 1, n) for n in (1e4, 3e4, 1e5)] + [(3, 2, 3e4)]


def truth(x):
    return np.sin(4 * x[0]) * np.cos(3 * x[1]) + (0.5 * x[2] if len(x) == 3 else 0.0)


def problem(dimension: int, degree: int, unknowns: float) -> ngf.InverseProblem:
    """The energy on a mesh with about so many unknowns of the state."""
    cells = round(unknowns ** (1 / dimension) / degree)
    mesh = (ngf.unit_square if dimension == 2 else ngf.unit_cube)(cells)
    model = ngf.Model(lambda u, v, m, w: torch.exp(m) * ngf.dot(ngf.grad(u), ngf.grad(v)) - v,
                      ELEMENTS[dimension, degree](), ELEMENTS[dimension, 1](), dirichlet=0.0, intorder=2 * degree,
                      linear=True, definite=True)
    on = model.on(mesh)
    points = np.random.default_rng(0).uniform(0.1, 0.9, (200, dimension))
    observation = ngf.point_values(on.state, points)
    exact = observation(on.solve(on.nodal(truth)).u)[:, 0]
    std = 0.01 * np.abs(exact).max()
    data = exact + std * np.random.default_rng(1).standard_normal(200)
    return ngf.InverseProblem(on.equation, observation, data, ngf.GaussianNoise.from_std(std),
                              ngf.Tikhonov(on.space.stiffness, 1.0), on.space.nodal_twin)


def row(dimension: int, degree: int, unknowns: float) -> dict:
    """One identification in this process."""
    times = [time.process_time()]
    energy = problem(dimension, degree, unknowns)
    energy.counts.forward = 0
    times.append(time.process_time())
    found = ngf.identify(energy, ngf.MLP((dimension, 16, 16, 1)))
    times.append(time.process_time())
    iterate = found.iterate
    return {"problem": f"{dimension}-D P{degree}", "state": energy.pde.state_size, "parameters": iterate.parameters,
            "setup": times[1] - times[0], "search": times[2] - times[1],
            "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, "solves": energy.counts.total,
            "steps": iterate.step, "energy": iterate.value}


def main() -> None:
    """Print the table."""
    if len(sys.argv) == 4:
        torch.set_num_threads(1)
        with threadpool_limits(1):
            print(json.dumps(row(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))))
        return
    before: dict = {}
    print("| problem | state unknowns | set-up, CPU s | search, CPU s | peak GB | solves | steps | energy | CPU as n^ "
          "| memory as n^ |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for words in ROWS:
        said = subprocess.run([sys.executable, __file__, *map(str, words)], check=True, capture_output=True, text=True)
        new = json.loads(said.stdout.splitlines()[-1])
        old, grows = before.get(new["problem"]), ["", ""]
        if old:
            ratio = np.log(new["state"] / old["state"])
            grows = [f"{np.log(new[name] / old[name]) / ratio:.2f}" for name in ("search", "memory")]
        before[new["problem"]] = new
        print(f"| {new['problem']} | {new['state']} | {new['setup']:.1f} | {new['search']:.1f} | {new['memory']:.2f} | "
              f"{new['solves']} | {new['steps']} | {new['energy']:.4f} | {' | '.join(grows)} |", flush=True)


if __name__ == "__main__":
    main()
