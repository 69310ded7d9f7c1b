r"""Functions known at points only: the Hilbert space L2 of a data set, with values in any small Hilbert space.

The ambient space of supervised learning (T. Chen, arXiv 2311.15487: the
geometrically adapted flow) and of model reduction, where the values are the
coefficients of solutions. A `SampleSpace` can stand wherever a flow expects a
`HilbertSpace`; it has no mesh.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from ..errors import InputError, same_size
from ..linalg.kronecker import Kronecker
from ..linalg.operators import Diagonal, Matrix, SymmetricOperator
from . import protocol


@dataclass(frozen=True, eq=False)
class SampleSpace:
    r"""Functions on N points with c components, :math:`\langle v, w\rangle = \sum_i w_i\, v(x_i)^T A\, w(x_i)`.

    Parameters
    ----------
    points
        ``(N, d)``.
    components
        Number c of components; vectors are ``(N c,)``, point by point.
    weights
        ``(N,)``; ``1/N`` each if not given.
    block
        ``A`` (c, c); the identity if not given.
    product
        Another inner product on all ``N c`` unknowns, such as that of a reproducing kernel; instead of `block`.

    Raises
    ------
    InputError
        If shapes do not fit or a weight is not positive.

    Examples
    --------
    >>> space = SampleSpace(np.array([[0.0], [1.0]]), components=2)
    >>> space.norm(space.project(np.array([[3.0, 4.0], [0.0, 5.0]])))
    5.0
    """

    points: np.ndarray
    components: int = 1
    weights: np.ndarray | None = None
    block: object = None
    product: SymmetricOperator | None = None
    sampling: str = "nodal"

    def __post_init__(self):
        points = np.asarray(self.points, dtype=np.float64)
        if points.ndim != 2 or not len(points) or not np.isfinite(points).all():
            raise InputError(f"points have shape {points.shape}; finite points (N, d) are needed")
        weights = np.full(len(points), 1.0 / len(points)) if self.weights is None else np.asarray(self.weights, float)
        if weights.shape != (len(points),) or not np.all(weights > 0):
            raise InputError(f"weights have shape {weights.shape}; {len(points)} positive numbers are needed")
        if self.block is not None and self.block.shape != (self.components,) * 2:
            raise InputError(f"block has shape {self.block.shape}; {(self.components,) * 2} is needed")
        for name, value in (("points", points), ("weights", weights)):
            object.__setattr__(self, name, value)
        same_size("product", self.inner_product.size, "the space", self.size)

    @cached_property
    def inner_product(self) -> SymmetricOperator:
        """The inner product with its inverse."""
        if self.product is not None:
            return self.product
        if self.block is None:
            return Diagonal(np.repeat(self.weights, self.components))
        return Kronecker(Diagonal(self.weights), Matrix(sp.csr_array(self.block)))

    @property
    def size(self) -> int:
        """Length ``N c`` of vectors."""
        return len(self.points) * self.components

    @property
    def dimension(self) -> int:
        """Number of coordinates of a point."""
        return int(self.points.shape[1])

    @property
    def fixed(self) -> np.ndarray:
        """No unknown is fixed."""
        return np.zeros(0, dtype=np.int64)

    @property
    def free(self) -> np.ndarray:
        """All unknowns."""
        return np.arange(self.size)

    @property
    def nodal_twin(self) -> SampleSpace:
        """The space itself."""
        return self

    @property
    def is_lagrange(self) -> bool:
        """Vectors are values at points; there is nothing to interpolate."""
        return False

    @property
    def matrix(self) -> sp.csr_array:
        """The inner-product matrix ``(N c, N c)``, where it is sparse."""
        return self.inner_product.sparse_matrix()

    @property
    def mass(self) -> sp.csr_array:
        """L2 of the data set, component by component: ``diag(w) kron I`` (N c, N c)."""
        return sp.csr_array(sp.diags_array(np.repeat(self.weights, self.components)))

    @property
    def evaluation(self) -> sp.csr_array:
        """The identity: vectors are samples, point by point."""
        return sp.eye_array(self.size, format="csr")

    def evaluate(self, vector: np.ndarray) -> np.ndarray:
        """Samples ``(N,)`` or ``(N, c)`` of a vector; a last axis holds several functions."""
        return protocol.as_samples(self, protocol.checked("vector", vector, self.size).copy())

    def project(self, samples: np.ndarray, overwrite: bool = False) -> np.ndarray:
        """Vector ``(N c,)`` of samples ``(N,)`` or ``(N, c)``; a last axis holds several functions."""
        rows = protocol.as_rows(self, samples)
        return rows if overwrite else rows.copy()

    def project_transposed(self, covector: np.ndarray) -> np.ndarray:
        """The transpose of `project`: a covector as samples."""
        return self.evaluate(covector)

    apply, riesz, gram = protocol.apply, protocol.riesz, protocol.gram
    inner, norm, dual_norm = protocol.inner, protocol.norm, protocol.dual_norm
