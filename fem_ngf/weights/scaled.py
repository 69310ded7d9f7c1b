"""The same energy with another weight of its regularisation."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..regularization.tikhonov import InvertibleOperator
from .choice import checked_positive


@dataclass(frozen=True, eq=False)
class Scaled:
    """A regularisation times a factor.

    Parameters
    ----------
    part
        Regularisation: ``value``, ``derivative``, ``hessian``.
    factor
        Positive number.
    """

    part: object
    factor: float

    def __post_init__(self):
        checked_positive(factor=self.factor)

    def value(self, m: np.ndarray) -> float:
        return self.factor * self.part.value(m)

    def derivative(self, m: np.ndarray) -> np.ndarray:
        return self.factor * self.part.derivative(m)

    def hessian(self, m: np.ndarray, kind: str = "gauss-newton"):
        hessian, factor = self.part.hessian(m, kind), self.factor
        if not hasattr(hessian, "solve"):
            return factor * hessian
        return InvertibleOperator(hessian.shape[0], lambda v: factor * (hessian @ v),
                                  lambda g: hessian.solve(g) / factor)


def base_weight(energy) -> float:
    """The weight of an energy's regularisation: its attribute ``weight`` if it has one, else one."""
    regularization, factor = energy.regularization, 1.0
    while isinstance(regularization, Scaled):
        regularization, factor = regularization.part, factor * regularization.factor
    return factor * float(getattr(regularization, "weight", 1.0))


def reweighted(energy, weight: float):
    """The energy with its regularisation scaled so that its weight is `weight`.

    Raises
    ------
    InputError
        If the weight is not a positive number.
    """
    checked_positive(weight=weight)
    return replace(energy, regularization=Scaled(energy.regularization, weight / base_weight(energy)))
