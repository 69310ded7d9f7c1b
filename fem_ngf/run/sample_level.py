"""A level of a case whose unknown is known at data points instead of on a mesh, or has several fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import skfem

from ..errors import InputError
from ..spaces.samples import SampleSpace

Fields = dict[str, tuple[skfem.AbstractBasis, np.ndarray]]


@dataclass(frozen=True, eq=False)
class SampleLevel:
    """The counterpart of `Level` for a `SampleSpace` or a `ProductSpace`.

    Parameters
    ----------
    label
        Name of the data set in tables.
    energy
        `fem_ngf.energies.Energy` on vectors of the sample space.
    spaces
        Sample spaces that ``--metric`` may name.
    truth
        The true vector ``(N c,)``, if it is known.
    fields
        Linearization -> fields to export by name, each ``(basis, vector)``.
    """

    label: str
    energy: object
    spaces: Mapping[str, SampleSpace]
    truth: np.ndarray | None = None
    fields: Callable[[object], Fields] = field(default=lambda linearization: {})

    @property
    def basis(self) -> SimpleNamespace:
        """What a `Case` asks of a basis: ``mesh.p`` with as many rows as the points have coordinates."""
        points = next(iter(self.spaces.values())).points
        return SimpleNamespace(mesh=SimpleNamespace(p=points.T))

    def space(self, metric: str = "l2", length: float = 1.0, sampling: str = "nodal") -> SampleSpace:
        """The sample space of that name; `length` and `sampling` have no meaning here.

        Raises
        ------
        InputError
            If there is none.
        """
        if metric not in self.spaces:
            raise InputError(f"metric is {metric!r}; this case knows {', '.join(self.spaces)}")
        return self.spaces[metric]

    def exports(self, linearization) -> Fields:
        """The case's fields."""
        return dict(self.fields(linearization))
