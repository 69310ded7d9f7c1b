"""The sparse solvers behind `linalg.factorize`: SuperLU, CHOLMOD, PARDISO and Krylov methods with multigrid.

Each backend is a function ``(matrix, symmetric, definite, ordering) -> (raw_solve, ordering)`` with
``raw_solve(rhs, transposed, tolerance) -> x``; residuals are checked by the caller. Direct solvers have no tolerance.
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spla

from ..errors import InputError, SolveError
from .multigrid import Multigrid, general_solve, in_blocks, symmetric_solve

MODULES = {"superlu": "scipy", "cholmod": "sksparse", "pardiso": "pypardiso", "amg": "pyamg"}


MANY, MANY_GENERAL = 4_000, 20_000
"""Unknowns above which the dimension of the mesh decides, of definite matrices and others: `benchmarks/solvers.py`."""


def choose_backend(backend, matrix, definite, dimension=None):
    """Return the name of the backend to use; InputError when it is unknown, not installed or unfit.

    "auto" takes SuperLU in one and two dimensions, and multigrid in three. `dimension` is that of the mesh, None if the
    matrix itself is to say.
    """
    if backend == "auto":
        least = MANY if definite else MANY_GENERAL
        few = matrix.shape[0] < least or (graph_dimension(matrix) if dimension is None else dimension) <= 2.5
        return "superlu" if few else "amg"
    if backend not in MODULES:
        raise InputError(f"backend is {backend!r}; choose one of auto, {', '.join(MODULES)}")
    if find_spec(MODULES[backend]) is None:
        raise InputError(f"backend {backend!r} needs the package {MODULES[backend]!r}; install it or use 'superlu'")
    if backend == "cholmod" and not definite:
        raise InputError(f"backend {backend!r} needs a definite matrix; pass definite=True or use 'superlu'")
    return backend


def direct_backend(definite):
    """The fastest factorisation that is installed, for a mesh in space that multigrid fails on."""
    if find_spec("pypardiso"):
        return "pardiso"
    return "cholmod" if definite and find_spec("sksparse") else "superlu"


def graph_dimension(matrix):
    """Dimension of the mesh that a matrix comes from: how fast its graph grows around an unknown, at the fastest.

    Within `r` steps of one are about ``c (r + 1/2)^d`` unknowns, until a good part of all is reached.
    """
    n = matrix.shape[0]
    pattern = sp.csr_matrix((np.ones(matrix.nnz, dtype=np.float32), *_rows(matrix)), shape=matrix.shape)
    reached = np.zeros((n, 4), dtype=bool)
    reached[np.random.default_rng(0).integers(n, size=4), np.arange(4)] = True
    found = [np.ones(4)]
    while found[-1].max() < n / 16 and (len(found) < 2 or (found[-1] > found[-2]).any()):
        reached |= (pattern @ reached.astype(np.float32)) != 0
        found.append(reached.sum(axis=0))
    half = len(found) // 2
    if half < 2:
        return 3.0
    return float(np.max(np.log(found[-1] / found[half])) / np.log((len(found) - 0.5) / (half + 0.5)))


def _rows(matrix):
    csr = sp.csr_matrix(matrix)
    return csr.indices, csr.indptr


def superlu(matrix, symmetric, definite, ordering):
    """SuperLU; symmetric mode halves the fill of symmetric systems. A known ordering saves finding it again.

    CSR arrays are handed over as the CSC arrays of the transposed matrix, without conversion.
    """
    options = {"SymmetricMode": True} if symmetric else {}
    csr = matrix if matrix.format == "csr" else sp.csr_matrix(matrix)
    if isinstance(ordering, np.ndarray):
        csr = csr[ordering][:, ordering]
    flipped = sp.csc_matrix((csr.data, csr.indices, csr.indptr), shape=csr.shape)
    lu = spla.splu(flipped, permc_spec="MMD_AT_PLUS_A" if ordering is None else "NATURAL",
                   diag_pivot_thresh=0.0 if symmetric else 0.1, panel_size=4, options=options)

    def raw_solve(rhs, transposed, tolerance):
        trans = "N" if transposed or symmetric else "T"
        if not isinstance(ordering, np.ndarray):
            return lu.solve(rhs, trans)
        x = np.empty_like(rhs)
        x[ordering] = lu.solve(rhs[ordering], trans)
        return x

    return raw_solve, np.argsort(lu.perm_c) if ordering is None else ordering


def cholmod(matrix, symmetric, definite, ordering):
    """CHOLMOD's supernodal Cholesky through scikit-sparse; it makes its own ordering unless told "natural"."""
    from sksparse.cholmod import CholmodError, analyze

    stored = sp.csc_matrix(matrix)
    try:
        factor = analyze(stored, mode="supernodal", ordering_method="natural" if ordering == "natural" else "default")
        factor.cholesky_inplace(stored)
    except CholmodError as error:
        raise SolveError(f"CHOLMOD failed, the matrix is singular or not definite: {error}") from error
    return (lambda rhs, transposed, tolerance: factor(rhs)), None


def pardiso(matrix, symmetric, definite, ordering):
    """PARDISO through pypardiso with the matrix type that fits (2 definite, -2 symmetric, 11 general)."""
    from pypardiso import PyPardisoSolver
    from pypardiso.pardiso_wrapper import PyPardisoError

    def factorised(stored, kind):
        solver = PyPardisoSolver(mtype=kind)
        try:
            solver.factorize(stored)
        except PyPardisoError as error:
            raise SolveError(f"PARDISO failed, the matrix is singular or not of type {kind}: {error}") from error
        return solver, stored

    if symmetric:
        forward = factorised(_with_full_diagonal(sp.csr_matrix(sp.triu(matrix))), 2 if definite else -2)
        return (lambda rhs, transposed, tolerance: forward[0].solve(forward[1], rhs)), None
    both = {False: factorised(_sorted(matrix), 11)}

    def raw_solve(rhs, transposed, tolerance):
        if transposed not in both:
            both[transposed] = factorised(_sorted(matrix.T), 11)
        solver, stored = both[transposed]
        return solver.solve(stored, rhs)

    return raw_solve, None


def _sorted(matrix):
    csr = sp.csr_matrix(matrix)
    csr.sort_indices()
    return csr


def _with_full_diagonal(matrix):
    """PARDISO wants every diagonal entry of a symmetric matrix stored, zero or not."""
    n = matrix.shape[0]
    rows = np.repeat(np.arange(n), np.diff(matrix.indptr))
    missing = np.setdiff1d(np.arange(n), rows[rows == matrix.indices])
    coo = matrix.tocoo()
    rows, cols = np.r_[coo.row, missing], np.r_[coo.col, missing]
    order = np.lexsort((cols, rows))
    indptr = np.searchsorted(rows[order], np.arange(n + 1))
    return sp.csr_matrix((np.r_[coo.data, np.zeros(len(missing))][order], cols[order], indptr), shape=matrix.shape)


def amg(matrix, symmetric, definite, ordering):
    """Conjugate gradients with algebraic multigrid; without symmetry GMRES with that of the symmetric part."""
    csr = sp.csr_matrix(matrix)
    cycle = Multigrid.of(csr if symmetric else 0.5 * (csr + csr.T))
    krylov = symmetric_solve if symmetric else general_solve

    def raw_solve(rhs, transposed, tolerance):
        chosen = csr.T if transposed and not symmetric else csr
        return in_blocks(lambda block: krylov(chosen, block, cycle, tolerance), rhs)

    return raw_solve, None


BACKENDS = {"superlu": superlu, "cholmod": cholmod, "pardiso": pardiso, "amg": amg}
