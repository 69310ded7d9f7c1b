"""Several regularisations: of the same unknown, and of the fields of one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np
import scipy.sparse as sp

from ..errors import InputError, same_size
from ..linalg.operators import BlockDiagonal, Matrix, SymmetricOperator


@dataclass(frozen=True, eq=False)
class SumOf:
    """Sum of several regularizations of the same parameter."""

    parts: tuple

    def __post_init__(self):
        object.__setattr__(self, "parts", tuple(self.parts))
        if not self.parts:
            raise InputError("parts is empty; give at least one regularization")
        for i, part in enumerate(self.parts):
            same_size("parts[0]", self.size, f"parts[{i}]", part.size)

    @property
    def size(self) -> int:
        """Number of unknowns n."""
        return self.parts[0].size

    def value(self, m: np.ndarray) -> float:
        return sum(part.value(m) for part in self.parts)

    def derivative(self, m: np.ndarray) -> np.ndarray:
        return sum(part.derivative(m) for part in self.parts)

    def hessian(self, m: np.ndarray, kind: str = "gauss-newton") -> SymmetricOperator:
        return reduce(add, [part.hessian(m, kind) for part in self.parts])


@dataclass(frozen=True, eq=False)
class Blocks:
    """One regularization for each field of a parameter that concatenates several.

    Parameters
    ----------
    parts, sizes
        Of each field the regularization (or None) and the number of unknowns.
    """

    parts: tuple
    sizes: tuple[int, ...]

    def __post_init__(self):
        if len(self.parts) != len(self.sizes):
            raise InputError(f"parts has {len(self.parts)} entries, sizes {len(self.sizes)}; give one of each a field")
        for i, (part, size) in enumerate(zip(self.parts, self.sizes, strict=True)):
            if part is not None:
                same_size(f"parts[{i}]", part.size, f"field {i}", size)

    @property
    def size(self) -> int:
        """Number of unknowns n of all fields."""
        return sum(self.sizes)

    def value(self, m: np.ndarray) -> float:
        return sum(part.value(field) for part, field in self._split(m) if part)

    def derivative(self, m: np.ndarray) -> np.ndarray:
        return np.concatenate([part.derivative(field) if part else np.zeros(len(field))
                               for part, field in self._split(m)])

    def hessian(self, m: np.ndarray, kind: str = "gauss-newton") -> BlockDiagonal:
        return BlockDiagonal(tuple(part.hessian(field, kind) if part else _zero(len(field))
                                   for part, field in self._split(m)))

    def _split(self, m: np.ndarray) -> list[tuple]:
        """Each part with its field."""
        if np.shape(m) != (self.size,):
            raise InputError(f"m has shape {np.shape(m)}; the fields have {self.size} unknowns together")
        return list(zip(self.parts, np.split(np.asarray(m), np.cumsum(self.sizes)[:-1]), strict=True))


def _zero(size: int) -> Matrix:
    return Matrix(sp.csr_array((size, size)), definite=False)
