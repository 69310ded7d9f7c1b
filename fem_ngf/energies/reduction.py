r"""Model reduction: a network maps parameters of a PDE to coefficients of its solution.

.. math:: E(c) = \tfrac1{2N} \sum_j \|u(y_j) - \Phi c(y_j)\|_V^2, \qquad
          R(c) = \tfrac1{2N} \sum_j \|A(y_j) \Phi c(y_j) - f\|_{V'}^2,

with a basis ``Phi`` of the reduced space. The unknown is the vector of all coefficients at the parameters ``y_j``, an
element of a `SampleSpace` whose inner product is that of V, of L2, or of the coefficients themselves. R needs no
solutions; for uniformly elliptic and bounded ``A(y)`` it is equivalent to E.

References
----------
W. Dahmen, W. Li, Y. Teng, Z. Wang, arXiv 2507.13475.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from skfem import AbstractBasis

from ..errors import InputError
from ..linalg.operators import Matrix, SymmetricOperator
from ..pde.protocol import SolveCounts
from ..pde.stationary import StationaryProblem
from ..spaces.hilbert import HilbertSpace
from ..spaces.samples import SampleSpace
from .smooth import SmoothLinearization, convexity_modulus, finite_array, linearized


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


@dataclass(frozen=True, eq=False)
class ParametricReduction:
    """Mean squared distance of reduced solutions to snapshots, in the norm of V.

    Parameters
    ----------
    parameters
        ``y`` (N, p).
    snapshots
        Vectors ``u(y_j)`` (n, N).
    matrix
        Inner product of V (n, n).
    basis
        ``Phi`` (n, r); the identity (all of V_h) if not given.

    Raises
    ------
    InputError
        If shapes do not fit.
    """

    parameters: np.ndarray
    snapshots: np.ndarray
    matrix: object
    basis: np.ndarray | None = None
    counts: SolveCounts = field(default_factory=SolveCounts)
    work_per_solve: int = 1

    def __post_init__(self):
        unknowns, count = self.matrix.shape[0], len(self.parameters)
        object.__setattr__(self, "snapshots", finite_array("snapshots", self.snapshots, (unknowns, count)))
        basis = np.eye(unknowns) if self.basis is None else np.asarray(self.basis, dtype=np.float64)
        if basis.ndim != 2 or basis.shape[0] != unknowns:
            raise InputError(f"basis has shape {basis.shape}; ({unknowns}, r) is needed")
        object.__setattr__(self, "basis", basis)

    def space(self, matrix=None) -> SampleSpace:
        """Coefficients at the parameters with the inner product ``Phi^T matrix Phi``; of V if not given.

        ``scipy.sparse.eye_array(n)`` compares nodal values; ``matrix="coefficients"`` the coefficients themselves.
        """
        r = self.basis.shape[1]
        if isinstance(matrix, str):
            return SampleSpace(self.parameters, r)
        matrix = self.matrix if matrix is None else matrix
        block = self.basis.T @ (matrix @ self.basis)
        return SampleSpace(self.parameters, r, block=sp.csr_array(0.5 * (block + block.T)))

    @cached_property
    def _space(self) -> SampleSpace:
        return self.space()

    @cached_property
    def target(self) -> np.ndarray:
        """Coefficients (N r,) of the V-projections of the snapshots."""
        loads = self.basis.T @ (self.matrix @ self.snapshots)
        return self._space.inner_product.block.solve(loads).T.ravel()

    @cached_property
    def projection(self) -> float:
        """The part of the energy that no coefficients change: what the basis misses."""
        missed = self.snapshots - self.basis @ self.target.reshape(len(self.parameters), -1).T
        return 0.5 * float(np.sum(missed * (self.matrix @ missed))) / len(self.parameters)

    def __call__(self, m: np.ndarray) -> float:
        """The value at coefficients (N r,)."""
        return 0.5 * self._space.norm(m - self.target) ** 2 + self.projection

    def linearize(self, m: np.ndarray, start=None) -> SmoothLinearization:
        """The energy around coefficients (N r,)."""
        misfit = 0.5 * self._space.norm(m - self.target) ** 2
        return linearized(self, m, misfit + self.projection, {"misfit": misfit, "projection": self.projection})

    def slope(self, m: np.ndarray) -> np.ndarray:
        """Covector (N r,)."""
        return self._space.apply(m - self.target)

    def curvature(self, m: np.ndarray) -> SymmetricOperator:
        """The inner product of V."""
        return self._space.inner_product

    def preconditioner(self, m: np.ndarray) -> SymmetricOperator:
        """The inner product of V."""
        return self._space.inner_product

    def convexity_in(self, space) -> float:
        """Modulus of strong convexity in the inner product of a space: one in V."""
        return convexity_modulus(self._space.inner_product, space)


@dataclass(frozen=True, eq=False)
class ResidualReduction:
    r"""Mean squared dual norm of the residual of ``A(y) = sum_k y_k A_k``; needs no snapshots.

    Parameters
    ----------
    parameters
        ``y`` (N, p).
    operators
        ``A_k``: p sparse matrices (n, n).
    load
        Covector ``f`` (n,).
    ambient
        Inner product of V, with ``solve``.
    basis
        ``Phi`` (n, r).
    """

    parameters: np.ndarray
    operators: tuple
    load: np.ndarray
    ambient: SymmetricOperator
    basis: np.ndarray
    counts: SolveCounts = field(default_factory=SolveCounts)
    work_per_solve: int = 1

    def __post_init__(self):
        if np.ndim(self.parameters) != 2 or np.shape(self.parameters)[1] != len(self.operators):
            raise InputError(f"parameters have shape {np.shape(self.parameters)}; (N, {len(self.operators)}) is "
                             "needed, one column an operator")

    @cached_property
    def _reduced(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Hessian blocks (N, r, r), linear terms (N, r) and the constant ``f.A^-1 f``, from p + 1 Riesz solves."""
        images = np.stack([operator @ self.basis for operator in self.operators])
        solved = np.stack([self.ambient.solve(image) for image in images])
        representer = self.ambient.solve(self.load)
        products = np.einsum("knr,lns->klrs", images, solved, optimize=True)
        blocks = np.einsum("jk,jl,klrs->jrs", self.parameters, self.parameters, products, optimize=True)
        linear = np.einsum("jk,knr,n->jr", self.parameters, images, representer, optimize=True)
        return 0.5 * (blocks + blocks.transpose(0, 2, 1)), linear, float(self.load @ representer)

    @cached_property
    def inner_product(self) -> Matrix:
        """The Hessian, block by block: ``c -> Phi^T A(y)^T A_V^-1 A(y) Phi c / N``."""
        blocks = self._reduced[0]
        return Matrix(sp.csr_array(sp.block_diag(blocks / len(blocks))))

    def space(self) -> SampleSpace:
        """Coefficients at the parameters with the energy's own inner product, in which it is 1-convex."""
        return SampleSpace(self.parameters, self.basis.shape[1], product=self.inner_product)

    def __call__(self, m: np.ndarray) -> float:
        """The value at coefficients (N r,)."""
        blocks, linear, constant = self._reduced
        c = m.reshape(linear.shape)
        quadratic = np.einsum("jr,jrs,js->", c, blocks, c, optimize=True)
        return 0.5 * float(quadratic - 2.0 * np.sum(linear * c)) / len(c) + 0.5 * constant

    def linearize(self, m: np.ndarray, start=None) -> SmoothLinearization:
        """The energy around coefficients (N r,)."""
        value = self(m)
        return linearized(self, m, value, {"residual": value})

    def slope(self, m: np.ndarray) -> np.ndarray:
        """Covector (N r,)."""
        blocks, linear, _ = self._reduced
        c = m.reshape(linear.shape)
        return ((np.einsum("jrs,js->jr", blocks, c) - linear) / len(c)).ravel()

    def curvature(self, m: np.ndarray) -> sp.csr_array:
        """Block-diagonal Hessian (N r, N r)."""
        return self.inner_product.matrix

    def preconditioner(self, m: np.ndarray) -> SymmetricOperator:
        """The Hessian itself."""
        return self.inner_product

    def convexity_in(self, space) -> float:
        """Modulus of strong convexity in the inner product of a space: one in the energy's own."""
        return convexity_modulus(self.inner_product, space)
