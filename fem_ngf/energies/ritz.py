"""Ritz energies: minimisation problems whose Euler-Lagrange equation is the PDE (METHOD sections 1 and 4)."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from ..errors import InputError
from ..forms.functional import Functional
from ..linalg.operators import Matrix, SymmetricOperator
from ..pde.protocol import SolveCounts
from ..spaces.hilbert import HilbertSpace
from .smooth import SmoothLinearization, convexity_modulus, finite_array, linearized


@dataclass(frozen=True, eq=False)
class RitzEnergy:
    r"""``E(m) = J(m + lift) - J(lift)`` for a convex functional J, on functions that vanish at the fixed unknowns.

    Parameters
    ----------
    functional
        ``value``, ``derivative`` and ``hessian`` on vectors (n,).
    basis
        scikit-fem basis of ``m``.
    fixed
        Dirichlet unknowns.
    lift
        Vector (n,) with the Dirichlet values at the fixed unknowns; zero if not given.
    quadratic
        Whether J is: the modulus ``mu`` of the certificate :math:`\|m - m^*\| \le \|grad\| / \mu` is then computed;
        in the energy inner product it is one.
    convexity
        ``mu`` with ``J'' >= mu A`` in the inner product of the flow, for a J that is not quadratic (nan: not known).

    Raises
    ------
    InputError
        If sizes do not fit.

    Notes
    -----
    In the energy inner product (`energy_space`) of a quadratic J, the projected gradient step of length one is the
    Galerkin step in the tangent space: with `FiniteElement` it reaches the Galerkin solution.
    """

    functional: Functional
    basis: object
    fixed: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    lift: np.ndarray | None = None
    quadratic: bool = False
    convexity: float = float("nan")
    counts: SolveCounts = field(default_factory=SolveCounts)
    work_per_solve: int = 1

    def __post_init__(self):
        if self.functional.size != self.basis.N:
            raise InputError(f"functional has {self.functional.size} unknowns; the basis has {self.basis.N}")
        lift = np.zeros(self.basis.N) if self.lift is None else self.lift
        object.__setattr__(self, "lift", finite_array("lift", lift, (self.basis.N,)))
        object.__setattr__(self, "fixed", np.unique(np.asarray(self.fixed, dtype=np.int64)))

    @cached_property
    def _moduli(self) -> dict:
        return {}

    def convexity_in(self, space) -> float:
        """Modulus of strong convexity in the inner product of a space."""
        if not self.quadratic:
            return self.convexity
        if space not in self._moduli:
            self._moduli[space] = convexity_modulus(self.preconditioner(np.zeros(self.basis.N)), space)
        return self._moduli[space]

    @cached_property
    def free(self) -> np.ndarray:
        """Unknowns that are not fixed."""
        return np.setdiff1d(np.arange(self.basis.N), self.fixed)

    @cached_property
    def _reference(self) -> float:
        return self.functional.value(self.lift)

    def __call__(self, m: np.ndarray) -> float:
        """The value."""
        return self.functional.value(m + self.lift) - self._reference

    def linearize(self, m: np.ndarray, start=None) -> SmoothLinearization:
        """The energy around `m` (n,)."""
        value = self(m)
        return linearized(self, m, value, {"ritz": value})

    def slope(self, m: np.ndarray) -> np.ndarray:
        """Covector ``J'(m + lift)``; its entries at fixed unknowns are reactions, not slopes, and set to zero."""
        covector = np.array(self.functional.derivative(m + self.lift))
        covector[self.fixed] = 0.0
        return covector

    def curvature(self, m: np.ndarray) -> sp.csr_array:
        """``J''(m + lift)`` (n, n)."""
        return sp.csr_array(self.functional.hessian(m + self.lift))

    def preconditioner(self, m: np.ndarray) -> SymmetricOperator:
        """The Hessian on the free unknowns."""
        return Matrix(self.curvature(m), self.free)

    def energy_space(self, m: np.ndarray | None = None, sampling: str = "quadrature") -> HilbertSpace:
        """Hilbert space with the inner product ``J''`` at `m` (zero if not given)."""
        at = np.zeros(self.basis.N) if m is None else m
        return HilbertSpace.from_matrix(self.basis, self.curvature(at), fixed=self.fixed, sampling=sampling)
