"""Gaussian priors with the precision of an elliptic operator (bilaplacian)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from skfem import BilinearForm, CellBasis, FacetBasis
from skfem.helpers import dot, grad

from ..errors import InputError
from ..linalg.factorize import factorize
from ..linalg.operators import symmetric_product
from ..spaces.hilbert import HilbertSpace
from ..spaces.sampling import quadrature_sampling
from .tikhonov import InvertibleOperator

ROBIN = 1.42
"""Divisor in beta = sqrt(gamma delta) / 1.42, which makes the pointwise variance nearly even up to the boundary."""


@dataclass(frozen=True, eq=False)
class BilaplacianPrior:
    r"""Gaussian :math:`N(\bar m, C)`, :math:`C^{-1} = L M^{-1} L`.

    It is a Regularization, :math:`\frac12\|m - \bar m\|^2_{C^{-1}}`, and an
    inner product: `space()` is the Hilbert space in which :math:`C^{-1}` is the
    metric and `riesz` applies `C`. Make it with :func:`bilaplacian`.

    Parameters
    ----------
    basis
        scikit-fem basis of a scalar Lagrange element, n unknowns.
    operator
        ``L`` (n, n), symmetric positive definite.
    mean
        ``(n,)``.

    References
    ----------
    F. Lindgren, H. Rue, J. Lindstrom, An explicit link between Gaussian fields
    and Gaussian Markov random fields, J. R. Stat. Soc. B 73 (2011).
    U. Villa, N. Petra, O. Ghattas, hIPPYlib, ACM TOMS 47 (2021).
    """

    basis: object
    operator: sp.csr_array
    mean: np.ndarray

    # ---- the Gaussian -------------------------------------------------------------------------------------------

    def apply(self, vector: np.ndarray) -> np.ndarray:
        """Covector ``C^-1 v`` for ``(n,)`` or ``(n, k)``."""
        return self.operator @ self._mass_factor.solve(self.operator @ vector)

    def solve(self, covector: np.ndarray) -> np.ndarray:
        """Vector ``C g`` for ``(n,)`` or ``(n, k)``: two solves with ``L``."""
        return self._factor.solve(self.mass @ self._factor.solve(covector))

    covariance = solve

    def sample(self, generator: np.random.Generator, count: int | None = None) -> np.ndarray:
        """Independent samples: ``(n,)``, or ``(n, count)``; their covariance is exactly `C`."""
        size = self.mass_root.shape[1]
        noise = generator.standard_normal(size if count is None else (size, count))
        fields = self._factor.solve(self.mass_root @ noise)
        return fields + (self.mean if count is None else self.mean[:, None])

    def pointwise_variance(self, method: str = "auto", *, generator: np.random.Generator | None = None,
                           rank: int = 200, probes: int = 200, block: int = 256) -> np.ndarray:
        """Diagonal of the covariance ``(n,)``.

        Parameters
        ----------
        method
            ``"exact"``: n solves, in blocks. ``"randomized"``: the leading part
            of `C` by a randomised range finder of `rank` columns, the remainder
            by Hutchinson's estimator; 2 rank + probes applications of `C`.
            ``"auto"``: exact for up to 10 000 unknowns.
        generator
            Source of randomness of ``"randomized"``; by default seeded with 0.
        rank, probes
            Effort of ``"randomized"``. The error falls like probes^-1/2.
        block
            Columns of one block of solves.

        References
        ----------
        R. A. Meyer, C. Musco, C. Musco, D. P. Woodruff, Hutch++: optimal
        stochastic trace estimation, SOSA 2021 (here for the diagonal).
        """
        if method not in ("auto", "exact", "randomized"):
            raise InputError(f"method is {method!r}; choose 'auto', 'exact' or 'randomized'")
        if method == "exact" or (method == "auto" and self.basis.N <= 10_000):
            return self._exact_variance(block)
        return self._randomized_variance(generator or np.random.default_rng(0), rank, probes)

    def _exact_variance(self, block: int) -> np.ndarray:
        n = self.basis.N
        variance = np.empty(n)
        for start in range(0, n, block):
            columns = np.arange(start, min(start + block, n))
            unit = np.zeros((n, columns.size))
            unit[columns, np.arange(columns.size)] = 1.0
            half = self._factor.solve(unit)
            variance[columns] = np.einsum("ij,ij->j", half, self.mass @ half)
        return variance

    def _randomized_variance(self, generator: np.random.Generator, rank: int, probes: int) -> np.ndarray:
        n = self.basis.N
        rank = min(rank, n)
        leading = np.linalg.qr(self.solve(generator.standard_normal((n, rank))))[0]
        image = self.solve(leading)
        variance = np.einsum("ij,ij->i", leading, image)  # diagonal of Q Q^T C
        if probes and rank < n:
            signs = generator.choice([-1.0, 1.0], size=(n, probes))
            rest = signs - leading @ (leading.T @ signs)
            remainder = self.solve(rest)
            remainder -= leading @ (leading.T @ remainder)
            cross = image - leading @ (leading.T @ image)  # (I - QQ^T) C Q
            variance += np.einsum("ij,ij->i", cross, leading) + np.mean(signs * remainder, axis=1)
        return variance

    # ---- as a metric --------------------------------------------------------------------------------------------

    @property
    def matrix(self) -> InvertibleOperator:
        """``C^-1`` as an operator with ``@`` and ``solve`` (the matrix itself is dense)."""
        return InvertibleOperator(self.basis.N, self.apply, self.solve)

    def gram(self, vectors: np.ndarray) -> np.ndarray:
        """``T^T C^-1 T``."""
        half = self.operator @ vectors
        return symmetric_product(half, self._mass_factor.solve(half))

    def space(self, *, sampling: str = "quadrature") -> HilbertSpace:
        """Hilbert space with the precision as its inner product (the Cameron-Martin space)."""
        return HilbertSpace.l2(self.basis, sampling=sampling).with_inner_product(self)

    # ---- as a regularization ------------------------------------------------------------------------------------

    def value(self, m: np.ndarray) -> float:
        """Negative logarithm of the density, up to a constant."""
        half = self.operator @ (m - self.mean)
        return 0.5 * float(half @ self._mass_factor.solve(half))

    def derivative(self, m: np.ndarray) -> np.ndarray:
        """Covector ``C^-1 (m - mean)``."""
        return self.apply(m - self.mean)

    def hessian(self, m: np.ndarray, kind: str = "gauss-newton") -> InvertibleOperator:
        """``C^-1``, whatever `m` and `kind`."""
        return self.matrix

    # ---- matrices -----------------------------------------------------------------------------------------------

    @cached_property
    def mass(self) -> sp.csr_array:
        """Mass matrix ``M`` (n, n)."""
        mass = sp.csr_array(self.mass_root @ self.mass_root.T)
        mass.sort_indices()
        return mass

    @cached_property
    def mass_root(self) -> sp.csr_array:
        """``S = B^T sqrt(W)`` (n, q) with ``S S^T = M`` exactly: quadrature of sufficient order, positive weights."""
        order = 2 * self.basis.elem.maxdeg
        for extra in range(6):
            quadrature = quadrature_sampling(CellBasis(self.basis.mesh, self.basis.elem, intorder=order + extra))
            if (quadrature.weights > 0).all():
                return sp.csr_array(quadrature.matrix.T @ sp.diags_array(np.sqrt(quadrature.weights)))
        raise InputError(f"basis: no quadrature with positive weights for {type(self.basis.elem).__name__}")

    @cached_property
    def _mass_factor(self):
        return factorize(self.mass, symmetric=True, definite=True)

    @cached_property
    def _factor(self):
        return factorize(self.operator, symmetric=True, definite=True)


def bilaplacian(basis, gamma: float, delta: float, *, tensor=None, robin: float | bool = True,
                mean=0.0) -> BilaplacianPrior:
    r"""Prior with :math:`L = \gamma K_\Theta + \delta M + \beta M_{\partial\Omega}`.

    The correlation length is about :math:`\sqrt{8 \gamma / \delta}` in two
    dimensions; the variance falls with :math:`\gamma \delta`.

    Parameters
    ----------
    basis
        scikit-fem basis of a scalar Lagrange element on cells.
    gamma, delta
        Positive weights of stiffness and mass.
    tensor
        ``Theta`` (d, d), symmetric positive definite: anisotropy. Default: identity.
    robin
        Coefficient beta of the boundary term; True: sqrt(gamma delta)/1.42; False: none.
    mean
        Number or vector ``(n,)``.

    Raises
    ------
    InputError
        A weight that is not positive, or a tensor that is not symmetric positive definite.
    """
    for name, value in (("gamma", gamma), ("delta", delta)):
        if not (np.isfinite(value) and value > 0):
            raise InputError(f"{name} is {value}; it must be a positive number")
    beta = (np.sqrt(gamma * delta) / ROBIN if robin else 0.0) if isinstance(robin, bool) else float(robin)
    if not (np.isfinite(beta) and beta >= 0):
        raise InputError(f"robin is {robin}; it must be True, False or a number that is not negative")
    theta = _checked_tensor(tensor, basis.mesh.dim())
    operator = gamma * _diffusion.assemble(basis, theta=theta) + delta * _product.assemble(basis)
    if beta:
        operator = operator + beta * _product.assemble(FacetBasis(basis.mesh, basis.elem))
    if np.shape(mean) not in ((), (basis.N,)) or not np.isfinite(mean).all():
        raise InputError(f"mean has shape {np.shape(mean)}; give a finite number or ({basis.N},) finite values")
    return BilaplacianPrior(basis, sp.csr_array(operator), np.broadcast_to(np.asarray(mean, float), (basis.N,)))


def rotated_tensor(along: float, across: float, angle: float) -> np.ndarray:
    """Two-dimensional ``Theta`` with eigenvalue `along` in direction (sin a, cos a), `across` in (cos a, -sin a)."""
    s, c = np.sin(angle), np.cos(angle)
    return np.array([[along * s**2 + across * c**2, (along - across) * s * c],
                     [(along - across) * s * c, along * c**2 + across * s**2]])


def _checked_tensor(tensor, dimension: int) -> np.ndarray:
    theta = np.eye(dimension) if tensor is None else np.asarray(tensor, dtype=np.float64)
    if theta.shape != (dimension, dimension):
        raise InputError(f"tensor has shape {theta.shape}; the mesh needs ({dimension}, {dimension})")
    if not np.isfinite(theta).all() or not np.allclose(theta, theta.T) or np.linalg.eigvalsh(theta)[0] <= 0:
        raise InputError(f"tensor {theta.tolist()} is not symmetric positive definite")
    return theta


@BilinearForm
def _diffusion(u, v, w):
    return dot(np.einsum("ij,j...->i...", w.theta, grad(u)), grad(v))


@BilinearForm
def _product(u, v, w):
    return u * v
