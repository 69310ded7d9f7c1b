"""Fields over time, for ParaView and for pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skfem

from ..errors import InputError
from .vtk import grouped, write_parts, write_series


@dataclass(frozen=True, eq=False)
class Readings:
    """What sensors showed over time, and what they should have shown.

    Parameters
    ----------
    times
        ``(T,)``.
    values, predicted
        ``(T, n k)``: every sensor has k columns, one an experiment.
    std
        ``(T, n k)``, standard deviations of the values.
    experiments
        k.
    """

    times: np.ndarray
    values: np.ndarray
    predicted: np.ndarray
    std: np.ndarray
    experiments: int = 1


@dataclass(frozen=True, eq=False)
class Film:
    """Fields at several times.

    Parameters
    ----------
    times
        ``(T,)``, increasing.
    fields
        Name -> (basis, vectors ``(T, n)``); a vector ``(n,)`` is a field that stays. ``m`` and ``truth`` share colours.
    readings
        Data and prediction, if there are any.

    Raises
    ------
    InputError
        If a field has no frame, or no vector, for every time.
    """

    times: np.ndarray
    fields: Mapping[str, tuple[skfem.AbstractBasis, np.ndarray]]
    readings: Readings | None = None

    def __post_init__(self):
        for name, (basis, vectors) in self.fields.items():
            if np.shape(vectors) not in ((basis.N,), (len(self.times), basis.N)):
                raise InputError(f"field {name!r} of a film has shape {np.shape(vectors)}; {len(self.times)} times of "
                                 f"{basis.N} unknowns are needed")

    @property
    def moving(self) -> dict[str, tuple[skfem.AbstractBasis, np.ndarray]]:
        """The fields that change."""
        return {name: field for name, field in self.fields.items() if field[1].ndim == 2}

    def frame(self, i: int) -> dict[str, tuple[skfem.AbstractBasis, np.ndarray]]:
        """The fields at time i, as pictures and files take them."""
        return {name: (basis, vectors if vectors.ndim == 1 else vectors[i])
                for name, (basis, vectors) in self.fields.items()}


def write_film(path: Path, film: Film, stem: str, notes: Sequence[str] = ()) -> list[Path]:
    """Write the frames beside the ``.pvd`` file `path`, named after `stem`, and their index: ParaView plays it in time.

    Fields that stay are in every frame where others on their mesh move; a mesh on which all stay is written once.

    Returns
    -------
    list of Path
        The ``.vtu`` files.
    """
    digits = len(str(len(film.times) - 1))
    first = film.frame(0)
    still = [name for names in grouped(first) if all(film.fields[name][1].ndim == 1 for name in names)
             for name in names]
    once = write_parts(path.parent, f"{stem}_still", {name: first[name] for name in still}, notes) if still else []
    moving = {name for name in film.fields if name not in still}
    frames = [write_parts(path.parent, f"{stem}_t{i:0{digits}d}",
                          {name: field for name, field in film.frame(i).items() if name in moving}, notes)
              for i in range(len(film.times))]
    write_series(path, zip(film.times, [[*frame, *once] for frame in frames], strict=True))
    return [*once, *(file for frame in frames for file in frame)]
