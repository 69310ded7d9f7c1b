r"""Model reduction: a network maps parameters of a PDE to coefficients of its solution.

.. math:: E(c) = \tfrac1{2N} \sum_j \|u(y_j) - \Phi c(y_j)\|_V^2, \qquad
          R(c) = \tfrac1{2N} \sum_j \|A(y_j) \Phi c(y_j) - f\|_{V'}^2,

with a basis ``Phi`` of the reduced space. The unknown is the vector of all coefficients at the parameters ``y_j``, an
element of a `SampleSpace` whose inner product is that of V, of L2, or of the coefficients themselves. Both are
quadratic, and so a `Regression` in a space of their own. R needs no solutions; for uniformly elliptic and bounded
``A(y)`` it is equivalent to E.

References
----------
W. Dahmen, W. Li, Y. Teng, Z. Wang, arXiv 2507.13475.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from skfem import AbstractBasis

from ..errors import InputError
from ..linalg.operators import Matrix, SymmetricOperator
from ..pde.stationary import StationaryProblem
from ..spaces.hilbert import HilbertSpace
from ..spaces.samples import SampleSpace
from .regression import Regression
from .smooth import finite_array


def pod(snapshots: np.ndarray, matrix, rank: int) -> np.ndarray:
    """Proper orthogonal decomposition: the basis (n, rank), orthonormal in `matrix`, closest to the snapshots (n, N).

    Raises
    ------
    InputError
        If the snapshots do not span that many dimensions.
    """
    values, vectors = np.linalg.eigh(snapshots.T @ (matrix @ snapshots))
    values, vectors = values[::-1][:rank], vectors[:, ::-1][:, :rank]
    if len(values) < rank or values[-1] <= 1e-14 * values[0]:
        raise InputError(f"rank is {rank}; the snapshots span {np.sum(values > 1e-14 * values[0])} dimensions only")
    return snapshots @ (vectors / np.sqrt(values))


@dataclass(frozen=True, eq=False)
class AffineProblem:
    """A linear equation that is affine in p parameters: ``sum_k y_k A_k u = f`` on the free unknowns.

    Parameters
    ----------
    state
        Basis of u.
    equation
        Its residual is ``A(m) u - f``, with A linear in m; u is zero on the Dirichlet boundary.
    directions
        ``m_k`` (n_m, p), the columns: ``A_k = A(m_k)``.
    """

    state: AbstractBasis
    equation: StationaryProblem
    directions: np.ndarray

    @cached_property
    def operators(self) -> tuple[sp.csr_array, ...]:
        """``A_k`` (n, n)."""
        zero = np.zeros(self.equation.state_size)
        return tuple(self._free(self.equation.form.tangent(zero, direction)) for direction in self.directions.T)

    @cached_property
    def load(self) -> np.ndarray:
        """Covector ``f`` (n,)."""
        form = self.equation.form
        return -form.residual(np.zeros(form.state_size), np.zeros(form.parameter_size))[self.equation.free]

    @cached_property
    def stiffness(self) -> sp.csr_array:
        """The operator of the parameters one, an inner product of V (n, n)."""
        return sp.csr_array(sum(self.operators))

    @cached_property
    def mass(self) -> sp.csr_array:
        """The inner product of L2 (n, n)."""
        return self._free(HilbertSpace.l2(self.state).mass)

    def solve(self, parameters: np.ndarray) -> np.ndarray:
        """Solutions (n, N) for parameters (N, p)."""
        return np.column_stack([self.equation.solve(self.directions @ y).u[self.equation.free] for y in parameters])

    def full(self, free: np.ndarray) -> np.ndarray:
        """Vector on all unknowns of one on the free ones (n,)."""
        vector = np.zeros(self.equation.state_size)
        vector[self.equation.free] = free
        return vector

    def _free(self, matrix) -> sp.csr_array:
        return sp.csr_array(matrix)[self.equation.free][:, self.equation.free]


def coefficient_space(parameters: np.ndarray, basis: np.ndarray, matrix=None) -> SampleSpace:
    """Coefficients (N r,) at the parameters (N, p), with the inner product ``Phi^T matrix Phi`` of each.

    Without a matrix (n, n) it is that of the coefficients themselves; ``scipy.sparse.eye_array(n)`` compares nodal
    values.
    """
    block = None if matrix is None else basis.T @ (matrix @ basis)
    return SampleSpace(parameters, basis.shape[1], block=None if block is None else 0.5 * (block + block.T))


def snapshot_reduction(parameters: np.ndarray, snapshots: np.ndarray, matrix, basis: np.ndarray) -> Regression:
    """E: the mean squared distance of reduced solutions to snapshots, in the norm of V.

    The target are the coefficients of the snapshots' V-projections, the rest is what the basis misses.

    Parameters
    ----------
    parameters
        ``y`` (N, p).
    snapshots
        Vectors ``u(y_j)`` (n, N).
    matrix
        Inner product of V (n, n).
    basis
        ``Phi`` (n, r).

    Raises
    ------
    InputError
        If shapes do not fit.
    """
    unknowns, count = matrix.shape[0], len(parameters)
    snapshots = finite_array("snapshots", snapshots, (unknowns, count))
    if np.ndim(basis) != 2 or len(basis) != unknowns:
        raise InputError(f"basis has shape {np.shape(basis)}; ({unknowns}, r) is needed")
    space = coefficient_space(parameters, basis, matrix)
    target = space.inner_product.inner.solve(basis.T @ (matrix @ snapshots))
    missed = snapshots - basis @ target
    return Regression(space, target.T.ravel(), 0.5 * float(np.sum(missed * (matrix @ missed))) / count)


def residual_reduction(parameters: np.ndarray, operators: Sequence, load: np.ndarray, ambient: SymmetricOperator,
                       basis: np.ndarray) -> Regression:
    """R: the mean squared dual norm of the residual of ``A(y) = sum_k y_k A_k``; needs no snapshots.

    The norm of its space is given by the Hessian, block by block ``Phi^T A(y)^T A_V^-1 A(y) Phi / N``, the target are
    the minimal residuals' coefficients. Costs p + 1 blocks of Riesz solves.

    Parameters
    ----------
    parameters
        ``y`` (N, p).
    operators
        ``A_k``: p sparse matrices (n, n).
    load
        Covector ``f`` (n,).
    ambient
        Inner product ``A_V`` of V, with ``solve``.
    basis
        ``Phi`` (n, r).

    Raises
    ------
    InputError
        If the parameters do not fit the operators.
    """
    if np.ndim(parameters) != 2 or np.shape(parameters)[1] != len(operators):
        raise InputError(f"parameters have shape {np.shape(parameters)}; (N, {len(operators)}) is needed, one column "
                         "an operator")
    images = np.stack([operator @ basis for operator in operators])
    solved = np.stack([ambient.solve(image) for image in images])
    representer = ambient.solve(load)
    products = np.einsum("knr,lns->klrs", images, solved, optimize=True)
    blocks = np.einsum("jk,jl,klrs->jrs", parameters, parameters, products, optimize=True)
    blocks = 0.5 * (blocks + blocks.transpose(0, 2, 1))
    linear = np.einsum("jk,knr,n->jr", parameters, images, representer, optimize=True)
    target = np.linalg.solve(blocks, linear[..., None])[..., 0]
    hessian = Matrix(sp.csr_array(sp.block_diag(blocks / len(blocks))))
    rest = 0.5 * float(load @ representer - np.sum(linear * target) / len(blocks))
    return Regression(SampleSpace(parameters, basis.shape[1], product=hessian), target.ravel(), rest)
