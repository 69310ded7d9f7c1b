"""Factorisations in the order of nested dissection against SuperLU's minimum degree.

    OMP_NUM_THREADS=1 python docs/ordering.py

P2 Laplacians with Dirichlet rows; each factorisation in SuperLU's symmetric mode, the least of three times. The time to
find the order is not part of it: a problem finds it once.
"""

import time

import numpy as np
from skfem import Basis, ElementTetP2, ElementTriP2
from skfem.models.poisson import laplace

from fem_ngf import unit_cube, unit_square
from fem_ngf.linalg.factorize import factorize
from fem_ngf.linalg.ordering import nested_dissection


def seconds(matrix, **how) -> float:
    """Least of three times of a factorisation."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        factorize(matrix, symmetric=True, definite=True, backend="superlu", check_regular=False, **how)
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Measure both orders on a square and on a cube."""
    for name, mesh, element in (("128 x 128 x 2 triangles", unit_square(128), ElementTriP2()),
                                ("12 x 12 x 12 x 6 tetrahedra", unit_cube(12), ElementTetP2())):
        basis = Basis(mesh, element)
        free = np.setdiff1d(np.arange(basis.N), basis.get_dofs().all())
        matrix = laplace.assemble(basis)[free][:, free].tocsr()
        start = time.perf_counter()
        order = nested_dissection(matrix, basis.doflocs[:, free])
        found = time.perf_counter() - start
        natural = matrix[order][:, order].tocsr()
        degree, dissected = seconds(matrix), seconds(natural, ordering="natural")
        print(f"{name}, {len(free)} unknowns: minimum degree {degree:.3f} s, nested dissection {dissected:.3f} s, "
              f"ratio {dissected / degree:.2f} (finding the order once: {found:.3f} s)")


if __name__ == "__main__":
    main()
