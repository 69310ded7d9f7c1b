"""Supervised learning: the squared distance to a target, in a Hilbert space or at scattered points."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from ..data.observation import point_values
from ..errors import InputError
from ..linalg.operators import Matrix, SymmetricOperator
from ..pde.protocol import SolveCounts
from ..spaces.hilbert import HilbertSpace
from ..spaces.protocol import Space
from .smooth import SmoothLinearization, convexity_modulus, finite_array, linearized


@dataclass(frozen=True, eq=False)
class Regression:
    r"""``E(m) = 1/2 ||m - y||^2`` in the inner product of `space`, plus `rest` (METHOD section 4, 1-D fit).

    Parameters
    ----------
    space
        Hilbert space whose norm is the energy's (a flow may use another one).
    target
        Vector ``y`` (n,).
    rest
        Added to the energy: what no m changes.

    Raises
    ------
    InputError
        If the target has the wrong shape or is not finite.

    Notes
    -----
    The Hessian is the inner-product matrix ``A``: where that is the flow's
    metric too, the gradient is ``m - y`` itself and the energy 1-convex, so
    that ``||m - y|| = ||grad||`` exactly.

    Examples
    --------
    >>> import numpy as np, skfem
    >>> space = HilbertSpace.l2(skfem.Basis(skfem.MeshLine().refined(3), skfem.ElementLineP1()))
    >>> energy = Regression.of_function(space, lambda x: 2.0 * x[:, 0])
    >>> round(energy(np.zeros(space.size)), 12)
    0.666666666667
    """

    space: Space
    target: np.ndarray
    rest: float = 0.0
    counts: SolveCounts = field(default_factory=SolveCounts)
    work_per_solve: int = 1

    def __post_init__(self):
        object.__setattr__(self, "target", finite_array("target", self.target, (self.space.size,)))

    @classmethod
    def of_function(cls, space: Space, function) -> Regression:
        """Target given by a function of points ``(q, d) -> (q,)``, projected onto the space."""
        return cls(space, space.project(function(space.points)))

    def __call__(self, m: np.ndarray) -> float:
        """The value."""
        return self._misfit(m) + self.rest

    def _misfit(self, m: np.ndarray) -> float:
        error = m - self.target
        return 0.5 * float(error @ self.space.apply(error))

    def linearize(self, m: np.ndarray, start=None) -> SmoothLinearization:
        """The energy around `m` (n,); `start` is for energies with a state and has no effect."""
        misfit = self._misfit(m)
        terms = {"misfit": misfit} | ({"rest": self.rest} if self.rest else {})
        return linearized(self, m, misfit + self.rest, terms)

    def slope(self, m: np.ndarray) -> np.ndarray:
        """Covector ``A (m - y)``."""
        return self.space.apply(m - self.target)

    def curvature(self, m: np.ndarray) -> SymmetricOperator:
        """The inner product ``A``."""
        return self.space.inner_product

    def preconditioner(self, m: np.ndarray) -> SymmetricOperator:
        """The inner product itself."""
        return self.space.inner_product

    @cached_property
    def _moduli(self) -> dict:
        return {}

    def convexity_in(self, space) -> float:
        """Modulus of strong convexity in the inner product of a space: one in the energy's own."""
        if space not in self._moduli:
            self._moduli[space] = convexity_modulus(self.space.inner_product, space)
        return self._moduli[space]

    def relative_error(self, m: np.ndarray) -> float:
        """``||m - y|| / ||y||`` in the energy's own norm."""
        return self.space.norm(m - self.target) / self.space.norm(self.target)


@dataclass(frozen=True, eq=False)
class ScatteredRegression:
    r"""``E(m) = 1/(2N) \sum_i (m(x_i) - y_i)^2`` for a finite-element function ``m`` and scattered data.

    Parameters
    ----------
    space
        Hilbert space of ``m`` (n,), Lagrange elements or others with point values.
    points, values
        ``(N, d)`` inside the mesh, and ``(N,)``.

    Raises
    ------
    InputError
        If shapes do not fit, values are not finite, or points lie outside the mesh.
    """

    space: HilbertSpace
    points: np.ndarray
    values: np.ndarray
    counts: SolveCounts = field(default_factory=SolveCounts)
    work_per_solve: int = 1
    matrix: sp.csr_array = field(init=False)

    def __post_init__(self):
        points = np.asarray(self.points, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != self.space.points.shape[1]:
            raise InputError(f"points have shape {points.shape}; (N, {self.space.points.shape[1]}) is needed")
        object.__setattr__(self, "values", finite_array("values", self.values, points.shape[:1]))
        object.__setattr__(self, "matrix", sp.csr_array(point_values(self.space.basis, points).matrix))

    def __call__(self, m: np.ndarray) -> float:
        """The value."""
        residual = self.matrix @ m - self.values
        return 0.5 * float(residual @ residual) / len(self.values)

    def linearize(self, m: np.ndarray, start=None) -> SmoothLinearization:
        """The energy around `m` (n,)."""
        value = self(m)
        return linearized(self, m, value, {"misfit": value})

    def convexity_in(self, space) -> float:
        """Not known: the data may leave functions free."""
        return float("nan")

    def slope(self, m: np.ndarray) -> np.ndarray:
        """Covector ``B^T (B m - y) / N``."""
        return self.matrix.T @ (self.matrix @ m - self.values) / len(self.values)

    @cached_property
    def _hessian(self) -> sp.csr_array:
        return sp.csr_array(self.matrix.T @ self.matrix / len(self.values))

    def curvature(self, m: np.ndarray) -> SymmetricOperator:
        """``B^T B / N``."""
        return Matrix(self._hessian, definite=False)

    def preconditioner(self, m: np.ndarray) -> SymmetricOperator:
        """The Hessian, with a little of the space's mass where there are no data."""
        shift = 1e-6 * self._hessian.diagonal().sum() / self.space.mass.diagonal().sum()
        return Matrix(sp.csr_array(self._hessian + shift * self.space.mass), self.space.free)
