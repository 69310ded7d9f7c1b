"""Measurements of a tank with electrodes, and the files of the Kuopio Tomography Challenge 2023.

The files (M. Räsänen et al., "Kuopio Tomography Challenge 2023 open electrical impedance tomographic dataset",
Zenodo 8252370) are MATLAB files. In the variants read here indices start at 0 and are stored as small unsigned
integers; arithmetic on those wraps around, so everything becomes int64 first.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.io
import skfem

from fem_ngf import InputError

PIXELS = 256  # a side of the images of the challenge


@dataclass(frozen=True, eq=False)
class Measurement:
    """Voltage differences of a set of current injections.

    Parameters
    ----------
    voltages
        (k, n_pat): one injection a row, one measured difference a column.
    currents
        (L, k): the injected currents, each column sums to zero.
    patterns
        (L, n_pat): column i holds the weights of the electrode voltages in difference i.

    Raises
    ------
    InputError
        If shapes do not fit, an array has values that are not finite, or all currents are zero.
    """

    voltages: np.ndarray
    currents: np.ndarray
    patterns: np.ndarray

    def __post_init__(self):
        for name in ("voltages", "currents", "patterns"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=float))
        injections, differences = self.currents.shape[1], self.patterns.shape[1]
        if len(self.currents) != len(self.patterns):
            raise InputError(f"patterns: has {len(self.patterns)} electrodes, currents has {len(self.currents)}")
        if self.voltages.size != injections * differences:
            raise InputError(f"voltages: expected {injections * differences} values ({injections} injections times "
                             f"{differences} differences), got {self.voltages.size}")
        object.__setattr__(self, "voltages", self.voltages.reshape(injections, differences))
        for name in ("voltages", "currents", "patterns"):
            wrong = np.count_nonzero(~np.isfinite(getattr(self, name)))
            if wrong:
                raise InputError(f"{name}: {wrong} values are NaN or infinite; remove or repair them")
        if not self.currents.any():
            raise InputError("currents: all zero; without a current there is nothing to measure")

    def without(self, dropped) -> Measurement:
        """The same without all injections and differences that touch the electrodes `dropped` (numbered from 0)."""
        dropped = np.asarray(dropped, dtype=np.int64)
        keep = ~self.currents[dropped].any(axis=0), ~self.patterns[dropped].any(axis=0)
        if not (keep[0].any() and keep[1].any()):
            raise InputError(f"electrodes: no data are left without {dropped.size} of {len(self.currents)} electrodes")
        return Measurement(self.voltages[np.ix_(*keep)], self.currents[:, keep[0]], self.patterns[:, keep[1]])

    def at_level(self, level: int) -> Measurement:
        """Difficulty 1 to 7 of the challenge: level l does without electrodes 1..2(l - 1)."""
        if not 1 <= level <= 7:
            raise InputError(f"level: must be 1 to 7, not {level}")
        return self.without(np.arange(2 * (level - 1)))

    def check_same_tank(self, reference: Measurement) -> None:
        """`InputError` unless `reference` was measured with the same currents and patterns."""
        for name in ("currents", "patterns"):
            mine, other = getattr(self, name), getattr(reference, name)
            if mine.shape != other.shape or not np.allclose(mine, other, rtol=1e-6, atol=1e-6 * np.abs(mine).max()):
                raise InputError(f"reference: its {name} differ from those of the data; it must come from the same "
                                 "tank, measured in the same way")


def _load(path, *alternatives) -> list[np.ndarray]:
    """One array for each group of alternative names."""
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file")
    try:
        content = scipy.io.loadmat(Path(path))
    except Exception as error:  # the reader fails in any way on damaged bytes
        raise InputError(f"{path}: cannot be read as a MATLAB file ({error})") from None
    found = []
    for names in alternatives:
        present = [name for name in names if name in content]
        if not present:
            raise InputError(f"{path}: holds no variable named {' or '.join(names)}")
        array = content[present[0]]
        parts = array.ravel() if array.dtype == object else [array]  # a cell array holds one array an electrode
        if any(part.dtype.kind not in "iuf" for part in parts):
            raise InputError(f"{path}: variable {present[0]} is of type {array.dtype}; it must hold real numbers")
        found.append(array)
    return found


def read_measurement(path) -> Measurement:
    """Read ``Uel``, ``Inj`` and ``Mpat`` of a challenge file, or the same with "ref" of the empty tank's file."""
    voltages, currents, patterns = _load(path, ("Uel", "Uelref"), ("Inj", "Injref"), ("Mpat",))
    return Measurement(np.asarray(voltages, dtype=float).ravel(), currents, patterns)


def read_truth(path) -> np.ndarray:
    """Read the labels (256, 256): 0 water, 1 resistive, 2 conductive."""
    truth = _load(path, ("truth",))[0]
    if truth.shape != (PIXELS, PIXELS) or not np.isin(truth, (0, 1, 2)).all():
        raise InputError(f"{path}: truth must be an image of {PIXELS} x {PIXELS} labels 0, 1 and 2, "
                         f"has shape {truth.shape}")
    return truth.astype(np.int64)


def read_tank(path) -> skfem.MeshTri:
    """Read nodes ``g``, triangles ``H`` and electrode edges ``elfaces`` of a challenge mesh.

    Returns
    -------
    MeshTri
        With the boundaries "electrode1", "electrode2", ... (see `electrode_names`).
    """
    nodes, cells, edges = _load(path, ("g",), ("H",), ("elfaces",))
    cells = cells.astype(np.int64)
    if nodes.shape[1] != 2 or cells.shape[1] != 3 or cells.min() < 0 or cells.max() >= len(nodes):
        raise InputError(f"{path}: g must be (n, 2) and H (elements, 3) with node numbers from 0 to n - 1")
    if not np.isfinite(nodes).all():
        raise InputError(f"{path}: g has coordinates that are NaN or infinite")
    mesh = skfem.MeshTri(np.ascontiguousarray(nodes.T, dtype=float), np.ascontiguousarray(cells.T))
    boundary = mesh.boundary_facets()
    number = {tuple(sorted(ends)): facet for ends, facet in zip(mesh.facets[:, boundary].T, boundary, strict=True)}
    named = {}
    for l, pairs in enumerate(edges.ravel()):
        ends = [tuple(sorted(pair)) for pair in np.asarray(pairs, dtype=np.int64).reshape(-1, 2)]
        if not ends or any(pair not in number for pair in ends):
            raise InputError(f"{path}: electrode {l + 1} is not on the boundary of the mesh")
        named[f"electrode{l + 1}"] = np.array([number[pair] for pair in ends])
    return mesh.with_boundaries(named)


def electrode_names(number: int) -> tuple[str, ...]:
    """("electrode1", ..., "electrodeN")."""
    return tuple(f"electrode{l + 1}" for l in range(number))
