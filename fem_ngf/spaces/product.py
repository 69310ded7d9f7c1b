r"""Several fields as one unknown: the product of Hilbert spaces, and an ansatz with one network a field.

The vector of a product concatenates those of its fields, in the order in which a `WeakForm` with several parameter
fields takes them. Its points are those of every field, one field after the other, with the number of the field as
last coordinate: functions on the disjoint union of the fields' domains. So flows, tangent spaces and retractions see
one scalar function, and the fields may have meshes, elements and inner products of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from ..errors import InputError, same_size
from ..linalg.operators import BlockDiagonal, SymmetricOperator
from .sampling import Sampling


@dataclass(frozen=True, eq=False)
class ProductSpace:
    r"""Product of Hilbert spaces, :math:`\langle v, w\rangle = \sum_i \langle v_i, w_i\rangle_{H_i}`.

    Parameters
    ----------
    spaces
        `HilbertSpace` of each field; all with the same sampling and points of the same dimension d. Scale the inner
        products (`HilbertSpace.from_matrix`) where fields have different units.
    product
        Another inner product on all unknowns.

    Raises
    ------
    InputError
        If there are no spaces, or their samplings or dimensions differ.

    Examples
    --------
    >>> import skfem
    >>> from fem_ngf import HilbertSpace
    >>> basis = skfem.Basis(skfem.MeshTri().refined(2), skfem.ElementTriP1())
    >>> space = ProductSpace((HilbertSpace.h1(basis), HilbertSpace.l2(basis)))
    >>> space.size, [len(part) for part in space.split(space.mass @ np.ones(50))]
    (50, [25, 25])
    """

    spaces: tuple
    product: SymmetricOperator | None = None

    def __post_init__(self):
        object.__setattr__(self, "spaces", tuple(self.spaces))
        if not self.spaces:
            raise InputError("spaces is empty; give the Hilbert space of every field")
        for name, found in (("sampling", {space.sampling for space in self.spaces}),
                            ("dimension", {space.dimension for space in self.spaces})):
            if len(found) > 1:
                raise InputError(f"spaces have different {name}: {', '.join(map(str, sorted(found)))}; they need one")
        same_size("product", self.inner_product.size, "spaces", self.size)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Unknowns of each field."""
        return tuple(space.size for space in self.spaces)

    @property
    def size(self) -> int:
        """Unknowns n of all fields."""
        return sum(self.sizes)

    @property
    def sampling(self) -> str:
        """Where functions are sampled: ``"quadrature"`` or ``"nodal"``."""
        return self.spaces[0].sampling

    @property
    def dimension(self) -> int:
        """Dimension d of the domains."""
        return self.spaces[0].dimension

    @property
    def diameter(self) -> float:
        """Largest diameter of a field's domain."""
        return max(space.diameter for space in self.spaces)

    @property
    def is_lagrange(self) -> bool:
        """True when all unknowns are point values."""
        return all(space.is_lagrange for space in self.spaces)

    @cached_property
    def nodal_twin(self) -> ProductSpace:
        """The product of the nodal twins where every field has one, else itself."""
        twins = tuple(space.nodal_twin for space in self.spaces)
        return replace(self, spaces=twins) if self.is_lagrange and self.sampling != "nodal" else self

    def with_inner_product(self, inner_product: SymmetricOperator) -> ProductSpace:
        """The same functions and sampling, measured by another inner product."""
        return replace(self, product=inner_product)

    @cached_property
    def inner_product(self) -> SymmetricOperator:
        """The inner product with its inverse."""
        if self.product is not None:
            return self.product
        return BlockDiagonal(tuple(space.inner_product for space in self.spaces))

    @property
    def matrix(self) -> sp.csr_array:
        """The inner-product matrix ``A``, where it is sparse."""
        return self.inner_product.sparse_matrix()

    @cached_property
    def mass(self) -> sp.csr_array:
        """Block-diagonal mass matrix (n, n)."""
        return sp.csr_array(sp.block_diag([space.mass for space in self.spaces], format="csr"))

    @cached_property
    def stiffness(self) -> sp.csr_array:
        """Block-diagonal stiffness matrix (n, n)."""
        return sp.csr_array(sp.block_diag([space.stiffness for space in self.spaces], format="csr"))

    @cached_property
    def fixed(self) -> np.ndarray:
        """Unknowns that are zero."""
        starts = np.cumsum([0, *self.sizes[:-1]])
        return np.concatenate([start + space.fixed for start, space in zip(starts, self.spaces, strict=True)])

    @cached_property
    def free(self) -> np.ndarray:
        """Unknowns that are not fixed."""
        return np.setdiff1d(np.arange(self.size), self.fixed)

    @cached_property
    def points(self) -> np.ndarray:
        """Points ``(q, d + 1)`` of all fields; the last coordinate is the number of the field."""
        return np.concatenate([np.column_stack([space.points, np.full(len(space.points), float(i))])
                               for i, space in enumerate(self.spaces)])

    @cached_property
    def weights(self) -> np.ndarray:
        """Weights ``(q,)`` of the points."""
        return np.concatenate([space.weights for space in self.spaces])

    @cached_property
    def quadrature(self) -> Sampling:
        """Quadrature of all fields."""
        parts = [space.quadrature for space in self.spaces]
        matrix = sp.block_diag([part.matrix for part in parts], format="csr")
        return Sampling(self.points, np.concatenate([part.weights for part in parts]), sp.csr_array(matrix))

    def split(self, vector: np.ndarray) -> list[np.ndarray]:
        """Vectors of the fields."""
        return _split(vector, self.sizes)

    def evaluate(self, vector: np.ndarray) -> np.ndarray:
        """Samples ``(q,)`` or ``(q, k)``."""
        return np.concatenate([space.evaluate(v) for space, v in zip(self.spaces, self.split(vector), strict=True)])

    def project(self, samples: np.ndarray) -> np.ndarray:
        """Vector of samples ``(q,)`` or ``(q, k)``, field by field."""
        parts = _split(samples, [len(space.points) for space in self.spaces])
        return np.concatenate([space.project(part) for space, part in zip(self.spaces, parts, strict=True)])

    def project_moments(self, moments: np.ndarray) -> np.ndarray:
        """Vector of the L2 projection given the moments ``B^T W samples``."""
        parts = zip(self.spaces, self.split(moments), strict=True)
        return np.concatenate([space.project_moments(part) for space, part in parts])

    def apply(self, vector: np.ndarray) -> np.ndarray:
        """Covector ``A v``."""
        return self.inner_product.apply(_checked("vector", vector, self.size))

    def riesz(self, covector: np.ndarray) -> np.ndarray:
        """Vector ``A^-1 g``."""
        return self.inner_product.solve(_checked("covector", covector, self.size))

    def inner(self, v: np.ndarray, w: np.ndarray) -> float:
        """Inner product of two vectors."""
        return float(v @ self.apply(w))

    def norm(self, vector: np.ndarray) -> float:
        """Norm of a vector."""
        return float(np.sqrt(max(self.inner(vector, vector), 0.0)))

    def dual_norm(self, covector: np.ndarray) -> float:
        """Norm of a covector."""
        return float(np.sqrt(max(covector @ self.riesz(covector), 0.0)))

    def gram(self, vectors: np.ndarray) -> np.ndarray:
        """Gram matrix of columns ``(n, k)``."""
        return self.inner_product.gram(_checked("vectors", vectors, self.size))


def _checked(name: str, array: np.ndarray, rows: int) -> np.ndarray:
    array = np.asarray(array, dtype=np.float64)
    if array.shape[:1] != (rows,):
        raise InputError(f"{name} has shape {array.shape}; the fields together need {rows} rows")
    return array


def _split(array: np.ndarray, sizes) -> list[np.ndarray]:
    return np.split(_checked("array", array, int(sum(sizes))), np.cumsum(sizes)[:-1])
