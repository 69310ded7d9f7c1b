"""Ends of a search that other starts and another machine's rounding may move, and what a test may say of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np


def end(iterates: Iterable):
    """The last iterate of a flow, or the last stage of a continuation."""
    *_, last = iterates
    return last


def from_starts(search: Callable[[np.random.Generator], float], seeds: Sequence[int] = range(5)) -> np.ndarray:
    """What a search gives for each of its starts: ``search(generator)`` for one generator a seed."""
    return np.array([search(np.random.default_rng(seed)) for seed in seeds])


def surely_below(ends: np.ndarray, bound: float) -> bool:
    """Whether the worst end is below the bound by three times the ends' spread (standard deviation) at least."""
    return bool(np.max(ends) + 3.0 * np.std(ends, ddof=1) < bound)
