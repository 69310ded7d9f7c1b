"""The quadratic regularisation: Tikhonov in any Hilbert space."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..errors import InputError, check_kind, check_positive, real_array
from ..linalg.operators import Matrix, SymmetricOperator


@dataclass(frozen=True, eq=False)
class Tikhonov:
    r"""Quadratic penalty :math:`\frac{w}{2} \|m - \bar m\|_A^2`.

    Parameters
    ----------
    metric
        Space of functions (`HilbertSpace`, `ProductSpace`) whose norm it is, a `SymmetricOperator`, or a symmetric
        positive semi-definite matrix ``A`` ``(n, n)``, e.g. ``space.stiffness`` for
        :math:`\frac w2 \|\nabla m\|^2`.
    weight
        Positive number w: its share in a sum; the weight against the misfit may as well be that of `InverseProblem`.
    mean
        Vector ``(n,)`` or number that is not penalised.
    """

    metric: object
    weight: float = 1.0
    mean: np.ndarray | float = 0.0
    operator: SymmetricOperator = field(init=False, repr=False)

    def __post_init__(self):
        check_positive(weight=self.weight)
        operator = getattr(self.metric, "inner_product", self.metric)
        if not isinstance(operator, SymmetricOperator):
            if len(getattr(operator, "shape", ())) != 2:
                raise InputError(f"metric is {type(self.metric).__name__}; give a HilbertSpace or a square matrix")
            operator = Matrix(operator, definite=False)
        object.__setattr__(self, "operator", operator)
        if real_array("mean", self.mean).shape not in ((), (self.size,)):
            raise InputError(f"mean has shape {np.shape(self.mean)}; the metric has {self.size} unknowns")

    def __repr__(self):
        return f"Tikhonov({self.size} unknowns, weight {self.weight:g})"

    @property
    def size(self) -> int:
        """Number of unknowns n."""
        return self.operator.size

    def value(self, m: np.ndarray) -> float:
        return 0.5 * float((m - self.mean) @ self.derivative(m))

    def derivative(self, m: np.ndarray) -> np.ndarray:
        return self.weight * self.operator.apply(np.asarray(m) - self.mean)

    def hessian(self, m: np.ndarray, kind: str = "gauss-newton") -> SymmetricOperator:
        check_kind(kind)
        return self.weight * self.operator
