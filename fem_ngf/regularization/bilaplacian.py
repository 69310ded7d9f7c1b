"""Gaussian priors with the precision of an elliptic operator (bilaplacian)."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator
from skfem import BilinearForm, CellBasis, FacetBasis
from skfem.helpers import dot, grad

from ..errors import InputError, check_positive
from ..linalg.operators import Actions, Diagonal, Matrix
from ..spaces.matrices import mass_form
from ..spaces.sampling import quadrature_sampling
from .gaussian import Gaussian

ROBIN = 1.42
"""Divisor in beta = sqrt(gamma delta) / 1.42, which makes the pointwise variance nearly even up to the boundary."""


def bilaplacian(basis, gamma: float, delta: float, *, tensor=None, robin: float | bool = True, mean=0.0,
                lumped: bool = False) -> Gaussian:
    r"""Gaussian with :math:`C^{-1} = L M^{-1} L`, :math:`L = \gamma K_\Theta + \delta M + \beta M_{\partial\Omega}`.

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
    lumped
        Whether ``M`` is lumped where it is inverted (linear elements): the precision is then a sparse matrix, so that
        Gram matrices in it are cheap.

    Raises
    ------
    InputError
        A weight that is not positive, a tensor that is not symmetric positive definite, or a lumped mass that is not
        positive (quadratic elements).

    References
    ----------
    F. Lindgren, H. Rue, J. Lindstrom, An explicit link between Gaussian fields
    and Gaussian Markov random fields, J. R. Stat. Soc. B 73 (2011); Appendix C.5 on the lumped mass.
    U. Villa, N. Petra, O. Ghattas, hIPPYlib, ACM TOMS 47 (2021).
    """
    if np.shape(mean) not in ((), (basis.N,)) or not np.isfinite(mean).all():
        raise InputError(f"mean has shape {np.shape(mean)}; give a finite number or ({basis.N},) finite values")
    mean = np.broadcast_to(np.asarray(mean, float), (basis.N,))
    operator = Matrix(_operator(basis, gamma, delta, tensor, robin))
    noise = mass_root(basis)
    if not lumped:
        mass = sp.csr_array(noise @ noise.T)
        mass.sort_indices()
        return Gaussian(mean, _squared(operator, Matrix(mass)), _solved(operator, noise))
    lumps = np.asarray(noise @ (noise.T @ np.ones(basis.N)))
    if not (lumps > 1e-12 * lumps.max()).all():
        raise InputError(f"lumped: the lumped mass of {type(basis.elem).__name__} is not positive; take lumped=False")
    sparse = operator.matrix @ sp.diags_array(1.0 / lumps) @ operator.matrix
    return Gaussian(mean, Matrix(sp.csr_array(sparse)), _solved(operator, Diagonal(np.sqrt(lumps)).sparse))


def _operator(basis, gamma: float, delta: float, tensor, robin) -> sp.csr_array:
    """``L`` (n, n)."""
    check_positive(gamma=gamma, delta=delta)
    beta = (np.sqrt(gamma * delta) / ROBIN if robin else 0.0) if isinstance(robin, bool) else float(robin)
    if not (np.isfinite(beta) and beta >= 0):
        raise InputError(f"robin is {robin}; it must be True, False or a number that is not negative")
    theta = _checked_tensor(tensor, basis.mesh.dim())
    operator = gamma * _diffusion.assemble(basis, theta=theta) + delta * mass_form.assemble(basis)
    if beta:
        operator = operator + beta * mass_form.assemble(FacetBasis(basis.mesh, basis.elem))
    return sp.csr_array(operator)


def _squared(root: Matrix, mass: Matrix) -> Actions:
    """``L M^-1 L``."""
    return Actions(root.size, lambda m: root @ mass.solve(root @ m), lambda g: root.solve(mass @ root.solve(g)))


def mass_root(basis) -> sp.csr_array:
    """``S = B^T sqrt(W)`` (n, q) with ``S S^T = M`` exactly: quadrature of sufficient order, positive weights."""
    order = 2 * basis.elem.maxdeg
    for extra in range(6):
        quadrature = quadrature_sampling(CellBasis(basis.mesh, basis.elem, intorder=order + extra))
        if (quadrature.weights > 0).all():
            return sp.csr_array(quadrature.matrix.T @ sp.diags_array(np.sqrt(quadrature.weights)))
    raise InputError(f"basis: no quadrature with positive weights for {type(basis.elem).__name__}")


def _solved(operator: Matrix, noise: sp.csr_array) -> LinearOperator:
    """``F = L^-1 S`` (n, q), a root of the covariance."""

    def forward(white: np.ndarray) -> np.ndarray:
        return operator.solve(noise @ white)

    def transposed(covector: np.ndarray) -> np.ndarray:
        return noise.T @ operator.solve(covector)

    return LinearOperator(noise.shape, forward, transposed, forward, np.float64, transposed)


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
