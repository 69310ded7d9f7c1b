r"""Tangent vectors that are never stored: their rows are made where they are used, and on several processes shared.

At nodes, row i of ``T`` (n, P) is the network's derivative at the node of unknown i. A Gram matrix takes one patch of
neighbouring nodes at a time,

.. math:: T^T A T = \sum_r T_r^T (A T)_r,

and the rows around it that ``(A T)_r`` needs. Products with ``T`` and its transpose are passes of the network, of which
what its neurons do at the nodes is kept: two numbers a neuron, where a row of ``T`` has ``P``. The processes of a
space's team make the rows of their own patches and add up ``P x P`` numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..ansatz.protocol import Linearization
from ..errors import InputError
from ..linalg.dense import symmetric_product
from ..linalg.operators import SymmetricOperator
from ..spaces.hilbert import HilbertSpace
from ..spaces.protocol import Space
from .tangent_space import tangent_vectors

STORED = 2**22
"""Numbers in tangent vectors up to which one process stores them: beyond its cache they are made faster than read."""


def tangents(ansatz, theta: np.ndarray, space: Space) -> np.ndarray | TangentRows:
    """``T`` (n, P): an array, or where it is large or shared, and sampled at nodes, `TangentRows`."""
    if getattr(space, "patches", None) is None or space.team is None and ansatz.size * space.size <= STORED:
        return tangent_vectors(ansatz, theta, space)
    return TangentRows(ansatz, theta, space)


def coarsens(ansatz, space: Space) -> bool:
    """Whether tangent vectors are so large that their inner products are those on the space's coarser mesh."""
    return getattr(space, "coarse", None) is not None and ansatz.size * space.size > STORED


def gram_and_image(metric: SymmetricOperator, factor: np.ndarray, vectors) -> tuple[np.ndarray, np.ndarray]:
    """``T^T A T`` (P, P) and ``F^T T`` (r, P) of tangent vectors, stored or not, and a factor (n, r).

    Large ones are those of the functions that interpolate the network on the coarser mesh, where there is one.
    """
    if isinstance(vectors, TangentRows) and metric.sparse is not None:
        if not coarsens(vectors.ansatz, vectors.space):
            return vectors.gram_and_image(metric.sparse, factor)
        coarse, prolongation = vectors.space.coarse, vectors.space.prolongation
        metric, factor = metric.galerkin(prolongation, coarse.free), prolongation.T @ factor
        return gram_and_image(metric, factor, tangents(vectors.ansatz, vectors.theta, coarse))
    vectors = np.asarray(vectors)
    return metric.gram(vectors), factor.T @ vectors


@dataclass(frozen=True, eq=False)
class TangentRows:
    """Tangent vectors ``T`` (n, P) of a network in a space that samples at nodes.

    ``T @ d`` and ``T.T @ g`` are what they are for an array. In a team every operation is collective.
    """

    ansatz: object
    theta: np.ndarray
    space: HilbertSpace

    __array_ufunc__ = None

    @property
    def shape(self) -> tuple[int, int]:
        """(n, P)."""
        return self.space.size, self.ansatz.size

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return tangent_vectors(self.ansatz, self.theta, self.space)

    def __matmul__(self, dtheta: np.ndarray) -> np.ndarray:
        """Vector ``T d`` (n,)."""
        moved = np.zeros(self.space.size)
        for nodes, network in self._linearized:
            moved[self._unknowns(nodes)] = network.jvp(dtheta).ravel()
        moved[self.space.fixed] = 0.0
        return self._summed(moved)

    @property
    def T(self) -> TransposedRows:
        """The transpose."""
        return TransposedRows(self)

    def pull_back(self, covector: np.ndarray) -> np.ndarray:
        """``T^T g`` (P,) of a covector (n,)."""
        free, slope = covector.copy(), np.zeros(self.ansatz.size)
        free[self.space.fixed] = 0.0
        shape = self._samples[:-1]
        for nodes, network in self._linearized:
            slope += network.vjp(free[self._unknowns(nodes)].reshape(shape))
        return self._summed(slope)

    def gram_and_image(self, matrix, factor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``T^T A T`` (P, P) of a sparse matrix and ``F^T T`` (r, P) of a factor (n, r), in one pass."""
        columns, both = self.ansatz.size, np.zeros((self.ansatz.size + factor.shape[1], self.ansatz.size))
        held = np.zeros(self.space.size, dtype=bool)
        held[self.space.fixed] = True
        for nodes, network in self._linearized:
            rows = self._unknowns(nodes)
            part = matrix[rows]
            around = np.setdiff1d(part.indices // self.space.components, nodes)
            unknowns = np.concatenate([rows, self._unknowns(around)])
            tangents = np.empty((len(unknowns), columns))
            for each, place in ((network, slice(len(rows))), (self._at(around), slice(len(rows), None))):
                each.jacobian(out=tangents[place].reshape(self._samples))
            tangents[held[unknowns]] = 0.0
            own = tangents[:len(rows)]
            both[:columns] += symmetric_product(own, part[:, unknowns] @ tangents, 128)
            both[columns:] += factor[rows].T @ own
        both = self._summed(both)
        return both[:columns], both[columns:]

    @cached_property
    def _linearized(self) -> list[tuple[np.ndarray, Linearization]]:
        """The patches with the network there."""
        return [(nodes, self._at(nodes)) for nodes in self.space.patches]

    @property
    def _samples(self) -> tuple[int, ...]:
        """Shape of tangent samples: (q, P) or (q, c, P)."""
        return (-1, *((self.space.components,) if self.space.components > 1 else ()), self.ansatz.size)

    def _at(self, nodes: np.ndarray) -> Linearization:
        return self.ansatz.linearize(self.theta, self.space.points[nodes])

    def _unknowns(self, nodes: np.ndarray) -> np.ndarray:
        """Unknown ``i c + j`` is component j at node i."""
        components = self.space.components
        return nodes if components == 1 else (components * nodes[:, None] + np.arange(components)).ravel()

    def _summed(self, array: np.ndarray) -> np.ndarray:
        return array if self.space.team is None else self.space.team.summed(array)


@dataclass(frozen=True, eq=False)
class TransposedRows:
    """The transpose of `TangentRows`: ``T.T @ g``."""

    rows: TangentRows

    def __matmul__(self, covector: np.ndarray) -> np.ndarray:
        """``T^T g`` (P,)."""
        if covector.ndim != 1:
            raise InputError(f"covector has shape {covector.shape}; rows that are not stored take one (n,) at a time")
        return self.rows.pull_back(covector)
