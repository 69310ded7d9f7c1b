"""What every space of unknowns can do, and the geometry that follows from its inner product.

Three kinds of array: *vectors* (n,) are coefficients of functions, *covectors* (n,) values of functionals on the basis,
and *samples* values of a function at the q points of the space, (q,) where it is scalar and (q, c) where it has c
components. Several functions stand side by side in a last axis: (n, k), (q, k), (q, c, k). As rows of a matrix, samples
are ordered point by point: row ``i c + j`` is component j at point i.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
import scipy.sparse as sp

from ..errors import InputError, real_array
from ..linalg.operators import SymmetricOperator


@runtime_checkable
class Space(Protocol):
    """A finite-dimensional Hilbert space of functions with c components, sampled at points.

    `HilbertSpace`, `ProductSpace`, `TensorSpace` and `SampleSpace` are spaces.
    """

    components: int
    sampling: str
    inner_product: SymmetricOperator

    @property
    def size(self) -> int:
        """Number n of unknowns."""

    @property
    def dimension(self) -> int:
        """Number d of coordinates of a point."""

    @property
    def points(self) -> np.ndarray:
        """Points (q, d) where functions are sampled."""

    @property
    def evaluation(self) -> sp.csr_array:
        """``B`` (q c, n): the coefficients of a function -> its samples, as rows."""

    @property
    def free(self) -> np.ndarray:
        """Unknowns that are not zero for all functions of the space."""

    @property
    def fixed(self) -> np.ndarray:
        """The other unknowns."""

    @property
    def mass(self) -> sp.csr_array:
        """Matrix (n, n) of the L2 inner product."""

    @property
    def nodal_twin(self) -> Space:
        """The same functions sampled at nodes where that is possible, else the space itself."""

    def evaluate(self, vector: np.ndarray) -> np.ndarray:
        """Samples of functions with coefficients (n,) or (n, k)."""

    def project(self, samples: np.ndarray, overwrite: bool = False) -> np.ndarray:
        """Vector of samples; `overwrite`: the memory of the samples may hold the result."""

    def project_transposed(self, covector: np.ndarray) -> np.ndarray:
        """The transpose of `project`: samples weighted as the functional (n,) weighs what is projected."""


def checked(name: str, array, rows: int) -> np.ndarray:
    """The array as float64 with that many rows.

    Raises
    ------
    InputError
        If it has another number.
    """
    array = real_array(name, array)
    if array.shape[:1] != (rows,):
        raise InputError(f"{name} has shape {array.shape}; its first dimension must be {rows}")
    return array


def checked_samples(space: Space, samples) -> np.ndarray:
    """Samples as float64.

    Raises
    ------
    InputError
        If their first axes are not those of the space's points and components.
    """
    samples, expected = real_array("samples", samples), sample_shape(space)
    if samples.shape[:len(expected)] != expected or samples.ndim > len(expected) + 1:
        raise InputError(f"samples has shape {samples.shape}; the space has {len(space.points)} points and "
                         f"{space.components} components: shape {expected}, or with one axis more")
    return samples


def sample_shape(space: Space) -> tuple[int, ...]:
    """(q,) or (q, c)."""
    return (len(space.points),) if space.components == 1 else (len(space.points), space.components)


def as_rows(space: Space, samples) -> np.ndarray:
    """Samples as rows (q c,) or (q c, k), point by point."""
    samples = checked_samples(space, samples)
    return samples.reshape(len(space.points) * space.components, *samples.shape[len(sample_shape(space)):])


def as_samples(space: Space, rows: np.ndarray) -> np.ndarray:
    """The inverse of `as_rows`."""
    return rows.reshape(*sample_shape(space), *rows.shape[1:])


# ---- methods of every space -----------------------------------------------------------------------------------------


def evaluate(self, vector: np.ndarray) -> np.ndarray:
    """Samples ``(q,)`` or ``(q, c)`` of a function with coefficients ``(n,)``; a last axis holds several functions."""
    return as_samples(self, self.evaluation @ checked("vector", vector, self.size))


def apply(self, vector: np.ndarray) -> np.ndarray:
    """Covector ``A v`` of (n,) or (n, k)."""
    return self.inner_product.apply(checked("vector", vector, self.size))


def riesz(self, covector: np.ndarray) -> np.ndarray:
    """Vector ``A^-1 g``: the element of H that represents the functional."""
    return self.inner_product.solve(checked("covector", covector, self.size))


def inner(self, v: np.ndarray, w: np.ndarray) -> float:
    """Inner product of two vectors."""
    return float(v @ self.apply(w))


def norm(self, vector: np.ndarray) -> float:
    """Norm of a vector."""
    return float(np.sqrt(max(self.inner(vector, vector), 0.0)))


def dual_norm(self, covector: np.ndarray) -> float:
    """Norm of a covector, equal to the norm of its Riesz representative."""
    return float(np.sqrt(max(covector @ self.riesz(covector), 0.0)))


def gram(self, vectors: np.ndarray) -> np.ndarray:
    """Gram matrix ``T^T A T`` (k, k) of the columns of ``T`` (n, k)."""
    return self.inner_product.gram(checked("vectors", vectors, self.size))
