"""From a log-conductivity to an image of labels: 0 water, 1 resistive, 2 conductive."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.ndimage

from fem_ngf import InputError, point_values

WATER, RESISTIVE, CONDUCTIVE = 0, 1, 2


@dataclass(frozen=True, eq=False)
class PixelGrid:
    """A square image around the origin; row 0 is the top.

    Parameters
    ----------
    basis
        scikit-fem basis of the fields (n unknowns) on a mesh of a disc around the origin.
    half
        Half the side of the square; the radius of the tank.
    size
        Pixels a side.
    """

    basis: object
    half: float
    size: int = 256

    @cached_property
    def coordinates(self) -> np.ndarray:
        """(2, size, size): x and y of the pixel centres."""
        centres = (np.arange(self.size) + 0.5) * (2 * self.half / self.size) - self.half
        return np.array(np.meshgrid(centres, centres[::-1]))

    @cached_property
    def inside(self) -> np.ndarray:
        """(size, size) bool: pixels in the tank."""
        return np.hypot(*self.coordinates) < self.half

    @cached_property
    def _matrix(self):
        mesh = self.basis.mesh
        ends = mesh.p[:, mesh.facets[:, mesh.boundary_facets()]]
        inner = np.hypot(*ends.mean(axis=1)).min() * (1 - 1e-9)  # the mesh is a polygon inside the circle
        points = self.coordinates[:, self.inside]
        points = points * np.minimum(1.0, inner / np.maximum(np.hypot(*points), 1e-300))
        return point_values(self.basis, points.T).matrix

    def at_cells(self, image: np.ndarray) -> np.ndarray:
        """Values (cells,) of an image at the centroids of the mesh's cells."""
        mesh = self.basis.mesh
        x, y = mesh.p[:, mesh.t].mean(axis=1)
        column, row = (np.clip((place + self.half) / (2 * self.half) * self.size, 0, self.size - 1).astype(int)
                       for place in (x, -y))
        return image[row, column]

    def image(self, vector) -> np.ndarray:
        """(size, size): the field at the pixels, 0 outside the tank."""
        image = np.zeros((self.size, self.size))
        image[self.inside] = self._matrix @ vector
        return image


def segment(image, fraction: float = 0.5, present: float = 0.2, smallest: float = 0.1) -> np.ndarray:
    """Label what departs from water by a fraction of its class's largest departure.

    Parameters
    ----------
    image
        (n, n): logarithm of the conductivity over that of water, 0 outside the tank.
    fraction
        Level of the outline: 0.5 is half-way between water and the class's peak.
    present
        A class whose peak is below this fraction of the other's is taken as absent.
    smallest
        Parts smaller than this fraction of the class's largest part are taken as artefacts.

    Returns
    -------
    (n, n) int array
        With no departure at all everything is water.
    """
    image = np.asarray(image, dtype=float)
    if image.ndim != 2 or not np.isfinite(image).all():
        raise InputError(f"image: must be two-dimensional and finite, has shape {image.shape}")
    labels = np.zeros(image.shape, dtype=np.int64)
    departures = {RESISTIVE: -image, CONDUCTIVE: image}
    largest = np.abs(image).max(initial=0.0)
    for label, departure in departures.items():
        peak = departure.max(initial=0.0)
        if peak > present * largest:
            labels[_large_parts(departure > fraction * peak, smallest)] = label
    return labels


def _large_parts(mask, smallest: float) -> np.ndarray:
    """The connected parts of a mask that have at least a fraction of the pixels of its largest part."""
    parts, _ = scipy.ndimage.label(mask)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return (sizes >= smallest * sizes.max())[parts] & mask
