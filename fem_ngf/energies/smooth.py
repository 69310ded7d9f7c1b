"""What energies without a PDE share: their linearisation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator, eigsh

from ..errors import InputError, SolveError
from ..linalg.operators import Matrix, SymmetricOperator


@dataclass(frozen=True, eq=False)
class SmoothLinearization:
    """An energy around one vector; each derivative is computed once, when asked for.

    Parameters
    ----------
    energy
        Has ``slope(m) -> covector``, ``curvature(m) -> operator with @`` and ``preconditioner(m)``, definite.
    m
        Vector ``(n,)``.
    value, terms
        The energy and its terms by name.
    """

    energy: object
    m: np.ndarray
    value: float
    terms: dict[str, float]

    def convexity_in(self, space) -> float:
        """Modulus ``mu`` of strong convexity in the inner product of a space, nan if it is not known."""
        return self.energy.convexity_in(space)

    @cached_property
    def derivative(self) -> np.ndarray:
        """Covector ``E'(m)`` (n,)."""
        return self.energy.slope(self.m)

    @cached_property
    def _curvature(self):
        return self.energy.curvature(self.m)

    def hessian_action(self, v: np.ndarray, kind: str = "gauss-newton") -> np.ndarray:
        """Covector ``H v`` of a vector (n,); both kinds are the exact Hessian."""
        return self._curvature @ v

    misfit_action = hessian_action

    def regularization_hessian(self, kind: str = "gauss-newton") -> Matrix:
        """Zero: the whole energy is misfit."""
        return Matrix(sp.csr_array((len(self.m), len(self.m))), definite=False)

    @cached_property
    def preconditioner(self) -> SymmetricOperator:
        """Definite operator close to the Hessian."""
        return self.energy.preconditioner(self.m)


def linearized(energy, m: np.ndarray, value: float, terms: dict[str, float]) -> SmoothLinearization:
    """The linearisation of an energy with a finite value.

    Raises
    ------
    SolveError
        If the value is not finite.
    """
    if not np.isfinite(value):
        raise SolveError(f"the energy is {value}")
    return SmoothLinearization(energy, m, float(value), terms)


def convexity_modulus(hessian: SymmetricOperator, space) -> float:
    """Smallest ``v.H v / v.A v``: the modulus of strong convexity of a quadratic energy in the space's inner product.

    Parameters
    ----------
    hessian
        ``H``, definite.
    space
        Space with the inner product ``A`` and the unknowns that are ``free``.
    """
    free = space.free
    if _equal(hessian, space.inner_product, free):
        return 1.0

    def restricted(action):
        def apply(v):
            full = np.zeros(space.size)
            full[free] = np.ravel(v)
            return action(full)[free]

        return LinearOperator((free.size, free.size), matvec=apply, dtype=np.float64)

    largest = eigsh(restricted(space.inner_product.apply), k=1, M=restricted(hessian.apply),
                    Minv=restricted(hessian.solve), which="LA", v0=np.ones(free.size), return_eigenvectors=False)
    return 1.0 / float(largest[0])


def _equal(left: SymmetricOperator, right: SymmetricOperator, free: np.ndarray) -> bool:
    if left is right:
        return True
    if left.sparse is None or right.sparse is None:
        return False
    left, right = (sp.csr_array(operator.sparse)[free][:, free] for operator in (left, right))
    return bool(abs(left - right).max() <= 1e-13 * abs(left).max())


def finite_array(name: str, array, shape: tuple[int, ...]) -> np.ndarray:
    """The array as float64, checked.

    Raises
    ------
    InputError
        If it has another shape or entries that are not finite.
    """
    array = np.asarray(array, dtype=np.float64)
    if array.shape != shape:
        raise InputError(f"{name} has shape {array.shape}; {shape} is needed")
    if not np.isfinite(array).all():
        raise InputError(f"{name} contains {np.count_nonzero(~np.isfinite(array))} values that are not finite")
    return array
