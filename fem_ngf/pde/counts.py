"""Counting linear solves, the currency in which methods are compared."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace


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
