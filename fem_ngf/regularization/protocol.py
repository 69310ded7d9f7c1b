"""What a regularisation is to the energies."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from ..linalg.operators import SymmetricOperator


@runtime_checkable
class Regularization(Protocol):
    """What an energy adds to the misfit: a functional of vectors ``(n,)`` of `size` n.

    Its Hessian is positive semi-definite for kind ``"gauss-newton"`` and exact for ``"newton"``.
    """

    @property
    def size(self) -> int: ...
    def value(self, m: np.ndarray) -> float: ...
    def derivative(self, m: np.ndarray) -> np.ndarray: ...
    def hessian(self, m: np.ndarray, kind: str = "gauss-newton") -> SymmetricOperator: ...
