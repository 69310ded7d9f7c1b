r"""Functions of space and time: the tensor product of a finite-element space and one on an interval (METHOD section 8).

A vector holds a spatial vector for every temporal unknown, one after the other: ``vector.reshape(n_t, n_x)``. Points
are ``(x, t)``, so that a network of d + 1 inputs lives in the space as it lives in any other. Everything is done along
one variable after the other; no matrix of all unknowns is factorised.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from ..errors import InputError, check_has, check_positive, same_size
from ..linalg.kronecker import Kronecker, KroneckerSum, each_way
from ..linalg.operators import Matrix, SymmetricOperator
from . import protocol
from .hilbert import HilbertSpace
from .matrices import gradient_matrix
from .sampling import Sampling


@dataclass(frozen=True, eq=False)
class TensorSpace:
    r""":math:`V_h \otimes W_\tau` of functions m(x, t), with an inner product of its own.

    Parameters
    ----------
    spatial
        Functions of x, scalars or vectors; n_x unknowns.
    temporal
        Scalar functions on an interval; n_t unknowns, sampled as `spatial` is. A function vanishes where one of its
        factors has a fixed unknown.
    product
        Inner product; if not given that of the tensor product,
        :math:`\langle v \otimes a, w \otimes b\rangle = \langle v, w\rangle_{V}\,\langle a, b\rangle_{W}`.

    Raises
    ------
    InputError
        If `temporal` is not one-dimensional or not scalar, or the samplings differ.

    Examples
    --------
    >>> import skfem
    >>> from fem_ngf import HilbertSpace, interval, unit_square
    >>> x = HilbertSpace.l2(skfem.Basis(unit_square(4), skfem.ElementTriP1()))
    >>> t = HilbertSpace.l2(skfem.Basis(interval(5), skfem.ElementLineP1()))
    >>> space = TensorSpace(x, t)
    >>> wave = space.project(space.points[:, 0] * space.points[:, 2])      # x t, of squared norm 1/9
    >>> space.size, round(9.0 * space.norm(wave) ** 2, 12)
    (150, 1.0)
    """

    spatial: HilbertSpace
    temporal: HilbertSpace
    product: SymmetricOperator | None = None

    @classmethod
    def h1(cls, spatial: HilbertSpace, temporal: HilbertSpace, length: float = 1.0, time: float = 1.0) -> TensorSpace:
        r"""H1 of space and time, :math:`\|m\|^2 + l^2 \|\nabla m\|^2 + \tau^2 \|\partial_t m\|^2` with all norms in L2.

        Parameters
        ----------
        spatial, temporal
            Spaces whose functions, fixed unknowns and sampling are taken, but not their inner products.
        length, time
            Length scales l and :math:`\tau` in space and in time.
        """
        check_positive(time=time)
        _check_spaces(spatial, temporal)
        in_space = HilbertSpace.h1(spatial.basis, length, fixed=spatial.fixed).inner_product
        in_time = Matrix(temporal.mass, temporal.free), Matrix(sp.csr_array(time**2 * gradient_matrix(temporal.basis)))
        return cls(spatial, temporal, KroneckerSum(in_time, (in_space, Matrix(spatial.mass))))

    def __post_init__(self):
        _check_spaces(self.spatial, self.temporal)
        if self.product is not None:
            check_has("product", self.product, "a SymmetricOperator, or None", "size", "apply", "solve")
        if self.temporal.dimension != 1 or self.temporal.components != 1:
            raise InputError(f"temporal has {self.temporal.components} components on a mesh of dimension "
                             f"{self.temporal.dimension}; scalar functions on an interval are needed")
        if self.spatial.sampling != self.temporal.sampling:
            raise InputError(f"spatial is sampled at {self.spatial.sampling} points and temporal at "
                             f"{self.temporal.sampling} ones; they must be sampled alike")
        same_size("product", self.inner_product.size, "the space", self.size)

    @cached_property
    def inner_product(self) -> SymmetricOperator:
        """The inner product with its inverse."""
        return Kronecker(self.temporal.inner_product, self.spatial.inner_product) if self.product is None else (
            self.product)

    def with_inner_product(self, inner_product: SymmetricOperator) -> TensorSpace:
        """The same functions and sampling, measured by another inner product."""
        return replace(self, product=inner_product)

    # ---- sizes and points ---------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """Number ``n = n_t n_x`` of unknowns."""
        return self.temporal.size * self.spatial.size

    @property
    def components(self) -> int:
        """Number c of components of a function."""
        return self.spatial.components

    @property
    def dimension(self) -> int:
        """Number d + 1 of coordinates of a point (x, t)."""
        return self.spatial.dimension + 1

    @property
    def diameter(self) -> float:
        """The larger of the diameters in space and in time."""
        return max(self.spatial.diameter, self.temporal.diameter)

    @property
    def sampling(self) -> str:
        """Where functions are sampled: ``"quadrature"`` or ``"nodal"``."""
        return self.spatial.sampling

    @property
    def is_lagrange(self) -> bool:
        """True when the unknowns are values at nodes."""
        return self.spatial.is_lagrange and self.temporal.is_lagrange

    @cached_property
    def nodal_twin(self) -> TensorSpace:
        """The space with nodal sampling where both elements allow it, else itself."""
        if not self.is_lagrange or self.sampling == "nodal":
            return self
        return replace(self, spatial=self.spatial.nodal_twin, temporal=self.temporal.nodal_twin,
                       product=self.inner_product)

    @cached_property
    def free(self) -> np.ndarray:
        """Unknowns that are fixed neither in space nor in time."""
        return (self.temporal.free[:, None] * self.spatial.size + self.spatial.free).ravel()

    @cached_property
    def fixed(self) -> np.ndarray:
        """The other unknowns."""
        return np.setdiff1d(np.arange(self.size), self.free)

    @cached_property
    def points(self) -> np.ndarray:
        """Points ``(q, d + 1)``, the spatial ones for every time."""
        return _points(self.spatial.points, self.temporal.points)

    @cached_property
    def nodes(self) -> np.ndarray:
        """Nodes ``(n / c, d + 1)`` of Lagrange elements."""
        return _points(self.spatial.nodes, self.temporal.nodes)

    @cached_property
    def weights(self) -> np.ndarray:
        """Weights ``(q,)`` of the points."""
        return np.kron(self.temporal.weights, self.spatial.weights)

    # ---- sparse matrices, for small spaces and for those who ask ------------------------------------------------

    @property
    def matrix(self) -> sp.csr_array:
        """The inner-product matrix ``A``, where it is sparse."""
        return self.inner_product.sparse_matrix()

    @cached_property
    def mass(self) -> sp.csr_array:
        """Mass matrix (n, n) of L2 in space and time."""
        return _kron(self.temporal.mass, self.spatial.mass)

    @cached_property
    def stiffness(self) -> sp.csr_array:
        """Stiffness matrix (n, n) of the gradient in space and time."""
        return sp.csr_array(_kron(self.temporal.mass, self.spatial.stiffness)
                            + _kron(self.temporal.stiffness, self.spatial.mass))

    @cached_property
    def evaluation(self) -> sp.csr_array:
        """``B`` (q c, n): coefficients -> samples as rows."""
        return _kron(self.temporal.evaluation, self.spatial.evaluation)

    @cached_property
    def quadrature(self) -> Sampling:
        """Quadrature points, weights and the matrix that evaluates vectors there."""
        t, x = self.temporal.quadrature, self.spatial.quadrature
        return Sampling(_points(x.points, t.points), np.kron(t.weights, x.weights), _kron(t.matrix, x.matrix))

    def interpolation(self, x: np.ndarray) -> sp.csr_array:
        """Matrix (q c, n) of the values at any points (x, t) (q, d + 1), those outside moved to the nearest ones."""
        places, where = np.unique(x[:, :-1], axis=0, return_inverse=True)
        times, when = np.unique(x[:, -1:], axis=0, return_inverse=True)
        rows = where.ravel()[:, None] * self.components + np.arange(self.components)
        return _rowwise(self.temporal.interpolation(times)[np.repeat(when.ravel(), self.components)],
                        self.spatial.interpolation(places)[rows.ravel()])

    # ---- passages between the three kinds of array --------------------------------------------------------------

    def at(self, vector: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Spatial vectors ``(k, n_x)`` of a function at times ``(k,)``."""
        blocks = protocol.checked("vector", vector, self.size).reshape(self.temporal.size, -1)
        return self.temporal.interpolation(np.asarray(times, dtype=np.float64)[:, None]) @ blocks

    def evaluate(self, vector: np.ndarray) -> np.ndarray:
        """Samples ``(q,)`` or ``(q, c)`` of a function; a last axis holds several functions."""
        return protocol.as_samples(self, each_way(
            self.temporal.evaluate, lambda v: self.spatial.evaluation @ v,
            protocol.checked("vector", vector, self.size), self.temporal.size))

    def project(self, samples: np.ndarray, overwrite: bool = False) -> np.ndarray:
        """Vector of the L2 projection of samples; interpolation for nodal sampling."""
        rows = protocol.as_rows(self, samples)
        if self.sampling == "nodal":
            vector = rows if overwrite else rows.copy()
            vector[self.fixed] = 0.0
            return vector
        return each_way(self.temporal.project, lambda r: self.spatial.project(protocol.as_samples(self.spatial, r)),
                        rows, len(self.temporal.points))

    def project_transposed(self, covector: np.ndarray) -> np.ndarray:
        """Samples ``(q,)`` or ``(q, c)`` of a covector: the transpose of `project`."""
        rows = each_way(self.temporal.project_transposed, self._rows_of_covectors,
                        protocol.checked("covector", covector, self.size), self.temporal.size)
        return protocol.as_samples(self, rows)

    def _rows_of_covectors(self, covectors: np.ndarray) -> np.ndarray:
        return protocol.as_rows(self.spatial, self.spatial.project_transposed(covectors))

    def project_moments(self, moments: np.ndarray) -> np.ndarray:
        """Vector of the L2 projection given the moments ``B^T W samples`` (n,) or (n, k)."""
        return each_way(self.temporal.project_moments, self.spatial.project_moments, moments, self.temporal.size)

    apply, riesz, gram = protocol.apply, protocol.riesz, protocol.gram
    inner, norm, dual_norm = protocol.inner, protocol.norm, protocol.dual_norm


def _check_spaces(spatial, temporal) -> None:
    for name, space in (("spatial", spatial), ("temporal", temporal)):
        check_has(name, space, "a HilbertSpace", "basis", "sampling", "inner_product")


def _points(x: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Points (q_t q_x, d + 1), all x (q_x, d) for every t (q_t, 1)."""
    return np.column_stack([np.tile(x, (len(t), 1)), np.repeat(t, len(x), axis=0)])


def _kron(outer, inner) -> sp.csr_array:
    return sp.csr_array(sp.kron(outer, inner, format="csr"))


def _rowwise(outer: sp.csr_array, inner: sp.csr_array) -> sp.csr_array:
    """Row by row the Kronecker product, (q, p n), of matrices (q, p) and (q, n)."""
    rows = np.repeat(np.arange(outer.shape[0]), np.diff(outer.indptr))  # of the entries of outer, each of which meets
    lengths = np.diff(inner.indptr)[rows]                               # a row of inner of this length
    starts = np.cumsum(lengths) - lengths
    entries = np.arange(lengths.sum()) + np.repeat(inner.indptr[rows] - starts, lengths)
    columns = np.repeat(outer.indices.astype(np.int64), lengths) * inner.shape[1] + inner.indices[entries]
    values = np.repeat(outer.data, lengths) * inner.data[entries]
    shape = (outer.shape[0], outer.shape[1] * inner.shape[1])
    return sp.csr_array((values, (np.repeat(rows, lengths), columns)), shape=shape)
