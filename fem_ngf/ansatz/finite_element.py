"""The finite-element ansatz: the parameters are the coefficients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from ..errors import InputError
from ..spaces.locate import gradient_interpolation, interpolation
from .checks import jacobian_buffer, parameters, points, samples_of
from .linearized import Recomputed


@dataclass(frozen=True)
class FiniteElement:
    """Functions of a finite-element space, so that nodal methods run through the code of the networks.

    Parameters
    ----------
    space : HilbertSpace
        Any value with a scalar scikit-fem `basis`, `size`, `points`, `evaluate` and `project`; or a `ProductSpace`.
    start : float
        Constant value at `initial`.

    Notes
    -----
    The value is linear in theta: the tangent space is the whole space, whatever theta.
    """

    space: object
    start: float = 0.0

    @property
    def inputs(self) -> int:
        """Dimension d of the points."""
        return self.space.points.shape[1]

    @property
    def outputs(self) -> int:
        """Number of components of the value: one."""
        return 1

    @property
    def size(self) -> int:
        """Number P of parameters, the n unknowns of the space."""
        return self.space.size

    def initial(self, generator: np.random.Generator | None = None) -> np.ndarray:
        """Coefficients (n,) of the constant `start`; nothing is drawn."""
        if self.space.is_lagrange:
            return np.full(self.size, float(self.start))
        return self.space.project(np.full(len(self.space.points), float(self.start)))

    def matrix(self, x: np.ndarray):
        """Sparse Jacobian (q, n) at points x (q, d)."""
        x, spaces = points(x, self.inputs), getattr(self.space, "spaces", None)
        if spaces is None:
            return interpolation(self.space.basis, x)
        rows = [np.flatnonzero(x[:, -1] == i) for i in range(len(spaces))]
        blocks = [interpolation(space.basis, x[chosen, :-1]) for space, chosen in zip(spaces, rows, strict=True)]
        return sp.csr_array(sp.block_diag(blocks, format="csr")[np.argsort(np.concatenate(rows))])

    def __call__(self, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Samples (q,) at points x (q, d); outside the mesh, the value at a point of it next to x."""
        theta, own = parameters(theta, self.size), self.space.points
        if x is own or np.array_equal(x, own):
            return self.space.evaluate(theta)
        return self.matrix(x) @ theta

    def jacobian(self, theta: np.ndarray, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Values of all basis functions (q, n), dense: for small spaces; use `matrix` otherwise."""
        parameters(theta, self.size)
        out = jacobian_buffer(out, len(x), 1, self.size)
        out[:] = self.matrix(x).toarray()
        return out

    def jvp(self, theta: np.ndarray, x: np.ndarray, dtheta: np.ndarray) -> np.ndarray:
        """Samples (q,) of the direction dtheta (n,)."""
        parameters(theta, self.size)
        return self(parameters(dtheta, self.size, "dtheta"), x)

    def vjp(self, theta: np.ndarray, x: np.ndarray, samples: np.ndarray) -> np.ndarray:
        """J^T samples (n,)."""
        parameters(theta, self.size)
        return self.matrix(x).T @ samples_of(samples, len(x), 1)[:, 0]

    def gradient(self, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Derivative (q, d) with respect to the point, inside the cell that holds it."""
        theta = parameters(theta, self.size)
        if hasattr(self.space, "spaces"):
            raise InputError("space is a product; take the gradient of one field, with FiniteElement of its space")
        return np.stack([part @ theta for part in gradient_interpolation(self.space.basis, points(x, self.inputs))], 1)

    def linearize(self, theta: np.ndarray, x: np.ndarray) -> Recomputed:
        """J as an operator."""
        return Recomputed(self, parameters(theta, self.size), points(x, self.inputs))

    def as_dict(self) -> dict:
        """Kind, size and start; the space must be given again to `ansatz_from_dict`."""
        return {"kind": "FiniteElement", "size": int(self.size), "start": float(self.start)}


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
    if set(new_space.basis.elem.dofnames) == {"u"}:
        return interpolation(old_space.basis, new_space.basis.doflocs.T) @ theta
    return new_space.project(interpolation(old_space.basis, new_space.points) @ theta)
