"""The linear solvers on the matrices of diffusion problems: what `linalg.factorize` chooses by.

    OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 python benchmarks/solvers.py [seconds]

CPU seconds of one iteration's mix, as a search takes it: a factorisation (of a matrix with a known pattern), two solves
and a block of eight. A backend leaves the table at the first size of a problem at which it exceeds `seconds` (40).
The coefficient varies by a factor of e^2; "drift" adds a transport term, "shift" makes the matrix indefinite.
"""

import sys
import time
from importlib.util import find_spec

import numpy as np
import skfem as sk
from threadpoolctl import threadpool_limits

from fem_ngf import SolveError
from fem_ngf.linalg.backends import MODULES
from fem_ngf.pde.operator import FreeOperator

ELEMENTS = {(2, 1): sk.ElementTriP1, (2, 2): sk.ElementTriP2, (3, 1): sk.ElementTetP1, (3, 2): sk.ElementTetP2}
SIZES = (1e3, 4e3, 1e4, 3e4, 1e5, 2.6e5)
ROWS = [(d, p, "definite", n) for d, p in ELEMENTS for n in SIZES if d == 2 or n <= 1e5]
ROWS += [(3, 1, kind, n) for kind in ("drift", "shift") for n in (4e3, 1e4, 3e4)]


@sk.BilinearForm
def diffusion(u, v, w):
    x = w.x
    stiffness = sum(a * b for a, b in zip(u.grad, v.grad, strict=True))
    return np.exp(np.sin(7 * x[0]) * np.cos(5 * x[1])) * stiffness + w.drift * u.grad[0] * v - w.shift * u * v


def problem(dimension: int, degree: int, kind: str, unknowns: float):
    """Matrix (n, n), free unknowns and their coordinates."""
    cells = round(unknowns ** (1 / dimension) / degree)
    mesh = (sk.MeshTri if dimension == 2 else sk.MeshTet).init_tensor(*dimension * [np.linspace(0, 1, cells + 1)])
    basis = sk.Basis(mesh, ELEMENTS[dimension, degree](), intorder=2)
    matrix = diffusion.assemble(basis, drift=10.0 * (kind == "drift"), shift=60.0 * (kind == "shift"))
    return matrix.tocsr(), basis.complement_dofs(basis.get_dofs()), basis.doflocs


def seconds(matrix, free, points, kind: str, backend: str) -> tuple[float, float, float, str]:
    """CPU seconds of a factorisation, a solve and a block of eight, and the backend that answered."""
    operator = FreeOperator(free, points=points, symmetric=kind != "drift", definite=kind == "definite",
                            backend=backend)
    operator.factorize(matrix)
    rhs = np.random.default_rng(0).standard_normal((len(points.T), 8))
    times = [time.process_time()]
    solver = operator.factorize(matrix)
    for each in (rhs[:, 0], rhs):
        times.append(time.process_time())
        solver.solve(each)
    times.append(time.process_time())
    return *np.diff(times), solver.factorization.backend


def main() -> None:
    """Print a table, one line a problem; the best backend's number is followed by a star."""
    limit = float(sys.argv[1]) if len(sys.argv) > 1 else 40.0
    names = ["auto", *(name for name, module in MODULES.items() if find_spec(module))]
    print("| problem | unknowns |", " | ".join(names), "| auto / best |")
    print("| --- | ---: |", " | ".join("---:" for _ in names), "| ---: |")
    out: set = set()
    for dimension, degree, kind, unknowns in ROWS:
        matrix, free, points = problem(dimension, degree, kind, unknowns)
        found = {}
        for name in names:
            if (dimension, degree, kind, name) in out or kind != "definite" and name == "cholmod":
                continue
            try:
                factor, one, block, answered = seconds(matrix, free, points, kind, name)
            except SolveError:
                continue
            found[name] = factor + 2 * one + block, answered
            if name != "auto" and found[name][0] > limit:
                out.add((dimension, degree, kind, name))
        best = min(score for name, (score, _) in found.items() if name != "auto")
        cells = [f"{found[name][0]:.3g}{'*' if found[name][0] == best else ''}" if name in found else "-"
                 for name in names]
        cells[0] += f" ({found['auto'][1]})"
        print(f"| {dimension}-D P{degree} {kind} | {len(free)} |", " | ".join(cells),
              f"| {found['auto'][0] / best:.2f} |", flush=True)


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
