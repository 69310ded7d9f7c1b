r"""Several fields as one unknown: the product of Hilbert spaces.

The vector of a product concatenates those of its fields, in the order in which a `WeakForm` with several parameter
fields takes them; a sample holds the components of all fields at one point. So flows, tangent spaces and retractions
see one function with several components, from one network or from one a field, and the fields may have meshes, elements
and inner products of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from ..errors import InputError, same_size
from ..linalg.operators import BlockDiagonal, SymmetricOperator
from . import protocol
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
    def components(self) -> int:
        """Number c of components of all fields."""
        return sum(space.components for space in self.spaces)

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
    def _places(self) -> tuple[np.ndarray, list]:
        """Points ``(q, d)`` where any field is sampled, and for each field the numbers of its own."""
        first, *others = (space.points for space in self.spaces)
        if all(np.array_equal(first, other) for other in others):
            return first, [slice(None)] * len(self.spaces)
        points, numbers = np.unique(np.concatenate([first, *others]), axis=0, return_inverse=True)
        return points, np.split(numbers.ravel(), np.cumsum([len(space.points) for space in self.spaces])[:-1])

    @property
    def points(self) -> np.ndarray:
        """Points ``(q, d)``: those of the fields, which all components are sampled at."""
        return self._places[0]

    @cached_property
    def evaluation(self) -> sp.csr_array:
        """``B`` (q c, n): coefficients -> samples as rows."""
        points, own = self._places
        if isinstance(own[0], slice):
            return self._interleaved([space.evaluation for space in self.spaces])
        return self.interpolation(points)

    def interpolation(self, x: np.ndarray) -> sp.csr_array:
        """Matrix (q c, n) of the values at any points x (q, d), those outside a field's mesh moved to it."""
        return self._interleaved([space.interpolation(x) for space in self.spaces])

    def _interleaved(self, matrices) -> sp.csr_array:
        """Block-diagonal matrix of the fields' (q c_i, n_i), its rows ordered point by point."""
        stacked = sp.block_diag(matrices, format="csr")
        counts = [space.components for space in self.spaces]
        starts = np.cumsum([0, *(matrix.shape[0] for matrix in matrices[:-1])])
        rows = [start + np.arange(matrix.shape[0]).reshape(-1, count)
                for start, matrix, count in zip(starts, matrices, counts, strict=True)]
        return sp.csr_array(stacked)[np.concatenate(rows, axis=1).ravel()]

    @cached_property
    def quadrature(self) -> Sampling:
        """Quadrature of all fields: a row has the weight of its own field, zero where that is not sampled."""
        weights = np.zeros((len(self.points), self.components))
        for space, rows, columns in self._fields():
            weights[rows, columns] = space.quadrature.weights.reshape(-1, space.components)
        return Sampling(self.points, weights.ravel(), self.evaluation)

    def _fields(self):
        """For each field its space, the numbers of its points, and its components, to index samples (q, c)."""
        stops = np.cumsum([space.components for space in self.spaces])
        return zip(self.spaces, self._places[1],
                   [slice(stop - space.components, stop) for stop, space in zip(stops, self.spaces, strict=True)],
                   strict=True)

    def split(self, vector: np.ndarray) -> list[np.ndarray]:
        """Vectors of the fields."""
        return np.split(protocol.checked("vector", vector, self.size), np.cumsum(self.sizes)[:-1])

    evaluate = protocol.evaluate

    def project(self, samples: np.ndarray, overwrite: bool = False) -> np.ndarray:
        """Vector of samples ``(q, c)`` or ``(q, c, k)``, field by field."""
        samples = protocol.checked_samples(self, samples)
        whole = samples[:, None] if self.components == 1 else samples
        parts = [(space, whole[rows, columns]) for space, rows, columns in self._fields()]
        return np.concatenate([space.project(part[:, 0] if space.components == 1 else part, overwrite)
                               for space, part in parts])

    def project_transposed(self, covector: np.ndarray) -> np.ndarray:
        """The transpose of `project`: samples ``(q, c)`` of a covector."""
        samples = np.zeros((len(self.points), self.components))
        for (space, rows, columns), part in zip(self._fields(), self.split(covector), strict=True):
            found = space.project_transposed(part).reshape(-1, space.components)
            if isinstance(rows, slice):
                samples[rows, columns] = found
            else:
                np.add.at(samples[:, columns], rows, found)
        return samples.reshape(protocol.sample_shape(self))

    def project_moments(self, moments: np.ndarray) -> np.ndarray:
        """Vector of the L2 projection given the moments ``B^T W samples``."""
        parts = zip(self.spaces, self.split(moments), strict=True)
        return np.concatenate([space.project_moments(part) for space, part in parts])

    apply, riesz, gram = protocol.apply, protocol.riesz, protocol.gram
    inner, norm, dual_norm = protocol.inner, protocol.norm, protocol.dual_norm
