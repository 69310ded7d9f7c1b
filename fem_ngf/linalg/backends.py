"""The sparse solvers behind `linalg.factorize`: SuperLU, CHOLMOD, PARDISO and AMG-preconditioned CG.

Each backend is a function ``(matrix, symmetric, definite, ordering) -> (raw_solve, ordering)`` with
``raw_solve(rhs, transposed) -> x``; residuals are checked by the caller.
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spla

from ..errors import InputError, SolveError

MODULES = {"superlu": "scipy", "cholmod": "sksparse", "pardiso": "pypardiso", "amg": "pyamg"}


def choose_backend(backend, matrix, definite):
    """Return the name of the backend to use; InputError when it is unknown, not installed or unfit."""
    if backend == "auto":
        return "cholmod" if definite and find_spec("sksparse") else "superlu"
    if backend not in MODULES:
        raise InputError(f"backend is {backend!r}; choose one of auto, {', '.join(MODULES)}")
    if find_spec(MODULES[backend]) is None:
        raise InputError(f"backend {backend!r} needs the package {MODULES[backend]!r}; install it or use 'superlu'")
    if backend in ("cholmod", "amg") and not definite:
        raise InputError(f"backend {backend!r} needs a definite matrix; pass definite=True or use 'superlu'")
    return backend


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

    def raw_solve(rhs, transposed):
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
    return (lambda rhs, transposed: factor(rhs)), None


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
        return (lambda rhs, transposed: forward[0].solve(forward[1], rhs)), None
    both = {False: factorised(_sorted(matrix), 11)}

    def raw_solve(rhs, transposed):
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
    """Conjugate gradients preconditioned by smoothed aggregation (pyamg), to a relative residual of 1e-12."""
    import pyamg

    csr = sp.csr_matrix(matrix)
    cycle = pyamg.smoothed_aggregation_solver(csr).aspreconditioner()

    def one(rhs):
        x, info = spla.cg(csr, rhs, rtol=1e-12, atol=0.0, maxiter=400, M=cycle)
        if info < 0 or not np.all(np.isfinite(x)):
            raise SolveError("AMG-preconditioned conjugate gradients broke down; use backend='superlu'")
        return x

    return (lambda rhs, transposed: one(rhs) if rhs.ndim == 1 else np.stack([one(c) for c in rhs.T], 1)), None


BACKENDS = {"superlu": superlu, "cholmod": cholmod, "pardiso": pardiso, "amg": amg}
