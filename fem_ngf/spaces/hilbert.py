"""Hilbert spaces of finite-element functions (METHOD section 1).

A :class:`HilbertSpace` is a scikit-fem basis with an inner product. It owns
the three passages that the rest of the package relies on: samples -> vector
(`project`), vector -> samples (`evaluate`) and covector -> vector (`riesz`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from skfem import BilinearForm

from ..errors import InputError, is_number, same_size
from ..linalg.operators import Matrix, SymmetricOperator
from ..linalg.ordering import bisected
from ..linalg.sobolev import SobolevPower
from . import protocol
from .locate import interpolation
from .matrices import assembled, components_of, gradient_matrix, mass_matrix, stiffness_form
from .sampling import Sampling, active_dofs, chosen_unknowns, is_lagrange, quadrature_sampling

PATCH = 8192
"""Nodes of which the rows of tangent vectors are made at a time."""


@dataclass(frozen=True, eq=False)
class HilbertSpace:
    r"""Finite-element space :math:`V_h` with the inner product :math:`\langle v, w\rangle_H = v^T A w`.

    Parameters
    ----------
    basis
        scikit-fem basis of a scalar or vector element on cells or facets; `n` unknowns.
    inner_product
        :math:`A`, definite on the unknowns that are not fixed.
    fixed
        Unknowns that are zero in every element of the space (Dirichlet rows): numbers, a mask, or names of boundaries.
    sampling
        Where a function is sampled to enter the space: ``"quadrature"``
        (L2 projection) or ``"nodal"`` (interpolation, Lagrange elements only).
    team
        Processes that share the work of tangent vectors (`parallel.team`); None: each does all of it.
    coarse
        The same space on a coarser mesh, where the Gram matrices of many tangent vectors are made (`tangent.rows`).

    Notes
    -----
    Use the constructors `l2`, `h1`, `sobolev`, `from_form` and `from_matrix`.
    On a facet basis the unknowns away from the facets count as fixed.
    """

    basis: object
    inner_product: SymmetricOperator
    fixed: np.ndarray
    sampling: str = "quadrature"
    team: object = None
    coarse: HilbertSpace | None = None

    # ---- constructors -------------------------------------------------------------------------------------------

    @classmethod
    def l2(cls, basis, *, fixed=(), sampling="quadrature") -> HilbertSpace:
        """L2: ``A = M``."""
        space = cls.from_matrix(basis, mass_matrix(basis), fixed=fixed, sampling=sampling)
        vars(space)["mass"] = space.matrix  # once is enough
        return space

    @classmethod
    def h1(cls, basis, length=1.0, *, fixed=(), sampling="quadrature") -> HilbertSpace:
        """H1 with a length scale: ``A = M + length^2 K``."""
        _positive("length", length)
        matrix = mass_matrix(basis) + length**2 * gradient_matrix(basis)
        return cls.from_matrix(basis, matrix, fixed=fixed, sampling=sampling)

    @classmethod
    def h1_seminorm(cls, basis, *, fixed, sampling="quadrature") -> HilbertSpace:
        """H1_0: ``A = K`` on functions that vanish at the unknowns `fixed`."""
        if len(chosen_unknowns("fixed", fixed, basis, int(basis.N))) == 0:
            raise InputError("h1_seminorm needs fixed unknowns: without any the constants have norm zero; use h1")
        return cls.from_matrix(basis, gradient_matrix(basis), fixed=fixed, sampling=sampling)

    @classmethod
    def sobolev(cls, basis, s, length=1.0, *, fixed=(), sampling="quadrature") -> HilbertSpace:
        r"""H^s for real `s` in [-2, 2]: :math:`A = M (M^{-1}(M + l^2 K))^s` (METHOD section 1)."""
        _positive("length", length)
        if not (is_number(s) and -2.0 <= s <= 2.0):
            raise InputError(f"Sobolev order s = {s} is outside [-2, 2]")
        fixed, free = _fixed_and_free(basis, fixed)
        mass = mass_matrix(basis).tocsr()
        energy = mass + length**2 * gradient_matrix(basis).tocsr()
        return cls(basis, SobolevPower(mass, energy, float(s), free), fixed, sampling)

    @classmethod
    def from_form(cls, basis, form, *, fixed=(), sampling="quadrature", **fields) -> HilbertSpace:
        """Inner product given by a symmetric positive definite scikit-fem bilinear form ``form(u, v, w)``."""
        form = form if isinstance(form, BilinearForm) else BilinearForm(form)
        return cls.from_matrix(basis, form.assemble(basis, **fields), fixed=fixed, sampling=sampling)

    @classmethod
    def from_matrix(cls, basis, matrix, *, fixed=(), sampling="quadrature") -> HilbertSpace:
        """Inner product given by its symmetric positive definite matrix ``(n, n)``."""
        if np.shape(matrix) != (basis.N, basis.N):
            raise InputError(f"inner-product matrix has shape {np.shape(matrix)}; the basis has {basis.N} unknowns")
        fixed, free = _fixed_and_free(basis, fixed)
        return cls(basis, Matrix(sp.csr_array(matrix), free), fixed, sampling)

    def with_inner_product(self, inner_product: SymmetricOperator) -> HilbertSpace:
        """The same functions and sampling, measured by another inner product."""
        return replace(self, inner_product=inner_product)

    def __post_init__(self):
        components_of(self.basis)
        same_size("inner_product", self.inner_product.size, "basis", self.size)
        if self.sampling not in ("quadrature", "nodal"):
            raise InputError(f"sampling is {self.sampling!r}; choose 'quadrature' or 'nodal'")
        if self.sampling == "nodal" and not self.is_lagrange:
            raise InputError(f"nodal sampling needs a Lagrange element, not {type(self.basis.elem).__name__}")

    def __repr__(self):
        element, mesh = type(self.basis.elem).__name__, self.basis.mesh
        return (f"HilbertSpace({self.size} unknowns of {element} on {mesh.nelements} cells of {type(mesh).__name__}, "
                f"{len(self.fixed)} fixed, {self.sampling})")

    @property
    def is_lagrange(self) -> bool:
        """True when the unknowns are point values at nodes (hierarchical elements have none)."""
        return is_lagrange(self.basis)

    @cached_property
    def nodal_twin(self) -> HilbertSpace:
        """The space with nodal sampling where the element allows it, else itself.

        Its tangent vectors differ from projected ones by the interpolation error, at a fraction of their price.
        """
        return replace(self, sampling="nodal") if self.is_lagrange and self.sampling != "nodal" else self

    # ---- sizes, points, matrices --------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """Number of unknowns `n` (fixed ones included)."""
        return int(self.basis.N)

    @cached_property
    def components(self) -> int:
        """Number ``c`` of components of a function: one, or more for a vector element."""
        return components_of(self.basis)

    @cached_property
    def free(self) -> np.ndarray:
        """Unknowns that are not fixed."""
        return np.setdiff1d(np.arange(self.size), self.fixed)

    @property
    def dimension(self) -> int:
        """Number of coordinates of a point."""
        return int(self.basis.mesh.p.shape[0])

    @cached_property
    def diameter(self) -> float:
        """Largest side of the bounding box of the free unknowns' nodes."""
        return float(np.ptp(self.basis.doflocs[:, self.free], axis=1).max())

    @property
    def matrix(self) -> sp.csr_array:
        """The inner-product matrix ``A``, where it is sparse."""
        return self.inner_product.sparse_matrix()

    @cached_property
    def mass(self) -> sp.csr_array:
        """Mass matrix ``M`` (n, n)."""
        return sp.csr_array(mass_matrix(self.basis))

    @cached_property
    def stiffness(self) -> sp.csr_array:
        """Stiffness matrix ``K`` (n, n); on facets of the tangential gradient."""
        return sp.csr_array(assembled(stiffness_form, self.basis))

    @cached_property
    def quadrature(self) -> Sampling:
        """Quadrature points, weights and the matrix ``B`` that evaluates vectors there."""
        return quadrature_sampling(self.basis)

    @property
    def nodes(self) -> np.ndarray:
        """Nodes ``(n / c, d)`` of a Lagrange element; unknown ``i c + j`` is component j at node i."""
        return self.basis.doflocs.T[::self.components]

    @cached_property
    def patches(self) -> list[np.ndarray] | None:
        """Numbers of neighbouring nodes, patch by patch, in a team those of this process; None without nodal sampling.
        """
        if self.sampling != "nodal":
            return None
        if self.team is None:
            return bisected(self.nodes.T, PATCH)
        most = min(PATCH // 2, max(len(self.nodes) // (4 * self.team.size), 1))  # a process has less memory
        return self.team.own(bisected(self.nodes.T, most))

    @property
    def points(self) -> np.ndarray:
        """Points ``(q, d)`` where functions are sampled: quadrature points, or nodes for nodal sampling."""
        return self.quadrature.points if self.sampling == "quadrature" else self.nodes

    @cached_property
    def weights(self) -> np.ndarray:
        """Weights ``(q,)`` of the points; for nodal sampling the lumped mass."""
        weights = self.quadrature.weights if self.sampling == "quadrature" else self.mass.sum(axis=1)
        return np.asarray(weights).ravel()[::self.components]

    @cached_property
    def evaluation(self) -> sp.csr_array:
        """``B`` (q c, n): coefficients -> samples as rows; the identity for nodal sampling."""
        return self.quadrature.matrix if self.sampling == "quadrature" else sp.eye_array(self.size, format="csr")

    def interpolation(self, x: np.ndarray) -> sp.csr_array:
        """Matrix (q c, n) of the values at any points x (q, d), those outside the mesh moved to it."""
        return interpolation(self.basis, x)

    @cached_property
    def prolongation(self) -> sp.csr_array:
        """Matrix (n, n_c) that interpolates the functions of the `coarse` space here."""
        free = np.zeros(self.size)
        free[self.free] = 1.0
        return sp.csr_array(sp.diags_array(free) @ self.coarse.interpolation(self.nodes))

    # ---- passages between the three kinds of array --------------------------------------------------------------

    evaluate = protocol.evaluate

    def project(self, samples: np.ndarray, overwrite: bool = False) -> np.ndarray:
        r"""Vector of the L2 projection :math:`\Pi = M^{-1} B^T W` of samples; interpolation for nodal sampling."""
        rows = protocol.as_rows(self, samples)
        if self.sampling == "nodal":
            vector = rows if overwrite else rows.copy()
            vector[self.fixed] = 0.0
            return vector
        quadrature = self.quadrature
        weights = quadrature.weights if rows.ndim == 1 else quadrature.weights[:, None]
        return self.project_moments(quadrature.matrix.T @ (weights * rows))

    def project_transposed(self, covector: np.ndarray) -> np.ndarray:
        r"""Samples :math:`\Pi^T g = W B M^{-1} g` of covectors (n,) or (n, k); `g` itself for nodal sampling."""
        free = protocol.checked("covector", covector, self.size).copy()
        free[self.fixed] = 0.0
        if self.sampling == "nodal":
            return protocol.as_samples(self, free)
        rows = self.quadrature.matrix @ self.project_moments(free)
        return protocol.as_samples(self, (rows.T * self.quadrature.weights).T)

    def project_moments(self, moments: np.ndarray) -> np.ndarray:
        """Vector of the L2 projection given the moments ``B^T W samples`` (n,) or (n, k)."""
        return self._mass.solve(moments)

    @cached_property
    def _mass(self) -> Matrix:
        return Matrix(self.mass, self.free)

    apply, riesz, gram = protocol.apply, protocol.riesz, protocol.gram
    inner, norm, dual_norm = protocol.inner, protocol.norm, protocol.dual_norm


def _positive(name: str, value: float) -> None:
    if not (is_number(value) and 0 < value < 1e100):
        raise InputError(f"{name} is {value}; it must be a positive number (that has a square)")


def _fixed_and_free(basis, fixed) -> tuple[np.ndarray, np.ndarray]:
    """Given Dirichlet unknowns and those that no cell or facet of the basis touches, and the others."""
    fixed = chosen_unknowns("fixed", fixed, basis, int(basis.N))
    free = np.setdiff1d(active_dofs(basis), fixed)
    if not free.size:
        raise InputError(f"fixed are all {basis.N} unknowns of the space; leave some free")
    return np.setdiff1d(np.arange(basis.N), free), free
