"""The parameter of an evolution: fields constant in time, and fields given by their values at nodes in time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...errors import InputError, checked_times


@dataclass(frozen=True, eq=False)
class ParameterInTime:
    """The vector that a form sees at each time, linear between the nodes in time, and the transpose.

    Parameters
    ----------
    sizes
        Unknowns in space of each field.
    nodes
        For each field its nodes in time (n_t,), or None where it is constant; the field's part of the vector m is then
        (n_t, size), flattened: all of space at the first node, then at the second one.
    times
        ``(N + 1,)``: those of the evolution.
    """

    sizes: tuple
    nodes: tuple
    times: np.ndarray

    @classmethod
    def of(cls, form, nodes, times):
        """Of a `WeakForm`; `nodes` is one entry for all fields, or a tuple with one a field.

        Raises
        ------
        InputError
            When the nodes do not increase, do not cover the times, or there is not one entry a field.
        """
        sizes = form.parameter_sizes
        nodes = tuple(nodes) if isinstance(nodes, tuple) else (nodes,) * len(sizes)
        if len(nodes) != len(sizes):
            raise InputError(f"parameter_times has {len(nodes)} entries for {len(sizes)} fields; give one a field")
        nodes = tuple(None if each is None else checked_times(each, "parameter_times", 2) for each in nodes)
        for each in nodes:
            if each is not None and (each[0] > times[0] or each[-1] < times[-1]):
                raise InputError(f"parameter_times run from {each[0]:g} to {each[-1]:g}; they must cover the times, "
                                 f"{times[0]:g} to {times[-1]:g}")
        return cls(sizes, nodes, times)

    @property
    def steady(self) -> bool:
        """Whether all fields are constant in time."""
        return all(each is None for each in self.nodes)

    @property
    def size(self) -> int:
        """Number n_m of unknowns."""
        return sum(size * (1 if nodes is None else len(nodes)) for size, nodes, _ in self._parts())

    def at(self, m: np.ndarray, i: int) -> np.ndarray:
        """Vector (n_f[, b]) at time i of m (n_m[, b])."""
        if self.steady:
            return m
        return np.concatenate([
            m[start:start + size] if nodes is None
            else sum(w * m[start + k * size:start + (k + 1) * size] for k, w in _hats(nodes, self.times[i]))
            for size, nodes, start in self._parts()])

    def add(self, total: np.ndarray, covector: np.ndarray, i: int) -> None:
        """Add to total (n_m[, b]) the transpose of `at` applied to a covector (n_f[, b]) at time i."""
        begin = 0
        for size, nodes, start in self._parts():
            part, begin = covector[begin:begin + size], begin + size
            for k, w in ((0, 1.0),) if nodes is None else _hats(nodes, self.times[i]):
                total[start + k * size:start + (k + 1) * size] += w * part

    def _parts(self):
        start = 0
        for size, nodes in zip(self.sizes, self.nodes, strict=True):
            yield size, nodes, start
            start += size * (1 if nodes is None else len(nodes))


def _hats(nodes: np.ndarray, t: float):
    """Numbers and values of the two hat functions that do not vanish at t."""
    k = min(max(int(np.searchsorted(nodes, t)) - 1, 0), len(nodes) - 2)
    w = (t - nodes[k]) / (nodes[k + 1] - nodes[k])
    return (k, 1.0 - w), (k + 1, w)
