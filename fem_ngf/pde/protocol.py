"""What a partial differential equation is to the energies, and the currency in which methods are compared."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np

from ..errors import InputError


@dataclass
class SolveCounts:
    """Linear solves with the state's operator, one per right-hand side.

    forward counts the solves for states (each Newton step one), adjoint those for derivatives, incremental all those
    that linearised problems need beyond that (tangents, and adjoints inside Hessian actions).
    """

    forward: int = 0
    adjoint: int = 0
    incremental: int = 0

    @property
    def total(self) -> int:
        """All solves."""
        return self.forward + self.adjoint + self.incremental

    def add(self, kind: str, number: int) -> None:
        """Count solves with the linearised equation, "adjoint" or "incremental"; InputError for another kind."""
        if kind not in ("adjoint", "incremental"):
            raise InputError(f"kind is {kind!r}; choose 'adjoint' or 'incremental'")
        setattr(self, kind, getattr(self, kind) + number)

    def copy(self) -> SolveCounts:
        """A snapshot."""
        return replace(self)

    def as_dict(self) -> dict[str, int]:
        """Plain numbers, with the total."""
        return {**asdict(self), "total": self.total}

    def __add__(self, other: SolveCounts) -> SolveCounts:
        return SolveCounts(*(getattr(self, key) + getattr(other, key) for key in asdict(self)))

    def __sub__(self, other: SolveCounts) -> SolveCounts:
        return SolveCounts(*(getattr(self, key) - getattr(other, key) for key in asdict(self)))


@runtime_checkable
class State(Protocol):
    """The solution u (n_u, k) for a parameter m (n_m,), k experiments, which is its own linearisation point.

    With ``R(u, m) = load`` the equation, ``K = dR/du`` and ``B = dR/dm``. Every argument may have one more axis, last:
    a block of b directions at once. `kind` says how solves are counted, ``"adjoint"`` or ``"incremental"``.
    """

    m: np.ndarray
    u: np.ndarray

    def tangent(self, dm: np.ndarray) -> np.ndarray:
        """``-K^-1 B dm`` (n_u, k[, b]) of a vector dm (n_m[, b])."""

    def adjoint_state(self, covector: np.ndarray, kind: str = "adjoint") -> np.ndarray:
        """``-K^-T covector`` (n_u, k[, b])."""

    def pull_back(self, p: np.ndarray) -> np.ndarray:
        """Covector ``B^T p`` (n_m[, b]), summed over the experiments, of p (n_u, k[, b])."""

    def adjoint(self, covector: np.ndarray, kind: str = "adjoint") -> np.ndarray:
        """``pull_back(adjoint_state(covector, kind))``, the transpose of `tangent`."""

    def second_order(self, du: np.ndarray, dm: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Second derivative of ``p^T R(u, m)``, p (n_u, k), in direction (du, dm): covectors of the shapes of both."""


@runtime_checkable
class PDE(Protocol):
    """A problem that maps a parameter to a state, and counts what that costs."""

    counts: SolveCounts

    @property
    def state_size(self) -> int:
        """Number n_u of state unknowns."""

    @property
    def work_per_solve(self) -> int:
        """Unknowns of one linear solve: the unit in which solves on different meshes are compared."""

    @property
    def parameter_size(self) -> int:
        """Number n_m of parameter unknowns."""

    @property
    def experiments(self) -> int:
        """Number k of experiments with one parameter."""

    def solve(self, m: np.ndarray, start=None) -> State:
        """The state for m (n_m,), searched from `start` where that is useful; SolveError when there is none."""


def checked_direction(dm: np.ndarray, size: int) -> np.ndarray:
    """Direction(s) (n_m,) or (n_m, b) as floats; InputError for another shape."""
    dm = np.asarray(dm, dtype=float)
    if dm.ndim not in (1, 2) or dm.shape[0] != size:
        raise InputError(f"dm has shape {dm.shape}; give ({size},) or ({size}, b)")
    return dm


def checked_block(name: str, array: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Array (n_u, k) or (n_u, k, b) as floats; InputError for another shape."""
    array = np.asarray(array, dtype=float)
    if array.ndim not in (2, 3) or array.shape[:2] != shape:
        raise InputError(f"{name} has shape {array.shape}; give {shape}, or one more axis for a block")
    return array
