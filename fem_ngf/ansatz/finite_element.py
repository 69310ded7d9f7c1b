"""The finite-element ansatz: the parameters are the coefficients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from ..errors import InputError
from ..spaces.protocol import Space
from .checks import jacobian_buffer, parameters, points, samples_of


@dataclass(frozen=True)
class FiniteElement:
    """Functions of a finite-element space, so that nodal methods run through the code of the networks.

    Parameters
    ----------
    space : HilbertSpace or ProductSpace
        Its components are those of the ansatz.
    start : float
        Constant value at `initial`.

    Notes
    -----
    The value is linear in theta: the tangent space is the whole space, whatever theta.
    """

    space: Space
    start: float = 0.0

    @property
    def inputs(self) -> int:
        """Dimension d of the points."""
        return self.space.dimension

    @property
    def outputs(self) -> int:
        """Number c of components of the value."""
        return self.space.components

    @property
    def size(self) -> int:
        """Number P of parameters, the n unknowns of the space."""
        return self.space.size

    def initial(self, generator: np.random.Generator | None = None) -> np.ndarray:
        """Coefficients (n,) of the constant `start` in every component; nothing is drawn."""
        if self.space.is_lagrange:
            return np.full(self.size, float(self.start))
        shape = (len(self.space.points), self.outputs)[:1 if self.outputs == 1 else 2]
        return self.space.project(np.full(shape, float(self.start)))

    def matrix(self, x: np.ndarray) -> sp.csr_array:
        """Sparse Jacobian (q, n) or (q c, n), the components of a point side by side, at points x (q, d)."""
        x, own = points(x, self.inputs), self.space.points
        if x is own or np.array_equal(x, own):
            return self.space.evaluation
        return self.space.interpolation(x)

    def __call__(self, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Samples (q,) or (q, c) at points x (q, d); outside the mesh, the value at a point of it next to x."""
        return self.linearize(theta, x).value

    def linearize(self, theta: np.ndarray, x: np.ndarray) -> SparseLinearization:
        """Value and Jacobian at points x (q, d)."""
        return SparseLinearization(self.matrix(x), parameters(theta, self.size), self.outputs)

    def as_dict(self) -> dict:
        """Kind, size and start; the space must be given again to `ansatz_from_dict`."""
        return {"kind": "FiniteElement", "size": int(self.size), "start": float(self.start)}


@dataclass(frozen=True, eq=False)
class SparseLinearization:
    """The `Linearization` of a function that is linear in its parameters.

    Parameters
    ----------
    matrix
        Values of the basis functions, (q, n) or (q c, n).
    theta
        Coefficients (n,).
    outputs
        Number c of components.
    """

    matrix: sp.csr_array
    theta: np.ndarray
    outputs: int

    @property
    def value(self) -> np.ndarray:
        """Samples (q,) or (q, c)."""
        return self.jvp(self.theta)

    def jvp(self, dtheta: np.ndarray) -> np.ndarray:
        """J dtheta, samples."""
        samples = self.matrix @ parameters(dtheta, self.matrix.shape[1], "dtheta")
        return samples if self.outputs == 1 else samples.reshape(-1, self.outputs)

    def vjp(self, samples: np.ndarray) -> np.ndarray:
        """J^T samples (n,)."""
        rows = self.matrix.shape[0]
        return self.matrix.T @ samples_of(samples, rows // self.outputs, self.outputs).ravel()

    def jacobian(self, out: np.ndarray | None = None) -> np.ndarray:
        """J (q, n) or (q, c, n), dense: for small spaces; use `matrix` otherwise."""
        rows, columns = self.matrix.shape
        out = jacobian_buffer(out, rows // self.outputs, self.outputs, columns)
        out[:] = self.matrix.toarray().reshape(out.shape)
        return out

    def dual_gram(self) -> np.ndarray:
        """J J^T (q, q) or (q c, q c), dense."""
        return (self.matrix @ self.matrix.T).toarray()


def prolongate(theta: np.ndarray, old_space, new_space) -> np.ndarray:
    """Coefficients (n',) on a new mesh of the function with coefficients theta (n,) on an old one.

    Interpolation at the nodes of the new space (Lagrange elements), or projection of the samples at its points
    (others). The meshes may be any; nodes outside the old mesh take the value at a point of it next to them.

    Raises
    ------
    InputError
        If theta does not belong to the old space or the dimensions differ.
    """
    theta = parameters(theta, old_space.size)
    if old_space.dimension != new_space.dimension:
        raise InputError("old_space and new_space have meshes of different dimension: prolongation needs the same")
    if hasattr(new_space, "spaces"):
        fields = zip(old_space.split(theta), old_space.spaces, new_space.spaces, strict=True)
        return np.concatenate([prolongate(*field) for field in fields])
    if new_space.is_lagrange:
        return old_space.interpolation(new_space.nodes) @ theta
    return new_space.project(FiniteElement(old_space)(theta, new_space.points))
