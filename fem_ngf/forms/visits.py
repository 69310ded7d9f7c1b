"""What laws are called with at states: nothing is known of them outside their meshes."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import numpy as np

from ..errors import InputError

MOST = 0.5
"""Share of the quadrature points outside above which measured states say too little of a law."""


class BeyondLawWarning(UserWarning):
    """A state calls a law with arguments outside its mesh."""


def warn_beyond(called: str, box: np.ndarray, arguments: np.ndarray, share: float) -> None:
    """Warn of a law on a mesh with the bounds (d, 2) that is called with arguments (q, d), a share of them outside."""
    warnings.warn(_told(called, box, arguments, share), BeyondLawWarning, stacklevel=3)


def share_beyond(box: np.ndarray, arguments: np.ndarray, weights: np.ndarray) -> float:
    """Share of quadrature points, by their weights (q,), whose arguments (q, d) lie outside the bounds (d, 2)."""
    beyond = np.any((arguments < box[:, 0]) | (arguments > box[:, 1]), axis=1)
    return float(weights[beyond].sum() / weights.sum())


def states_of(linearization) -> list[np.ndarray]:
    """States (n_u,) of a linearisation of an inverse problem: one an experiment, of an evolution at all its times."""
    pde, state = linearization.energy.pde, linearization.state
    states = state.frames(range(len(pde.times))) if hasattr(state, "frames") else state.u[None]
    return [column[:pde.form.state_size] for columns in states for column in columns.T]


def check_visits(form, states: Iterable[np.ndarray], m: np.ndarray, who: str, most: float = 1.0) -> None:
    """A warning of each law of a form that states call outside its mesh.

    Parameters
    ----------
    form : WeakForm
    states : of (n_u,)
    m : (n_m,)
    who
        Of the warning: whose states they are.
    most
        Share of the quadrature points above which it is an error.

    Raises
    ------
    InputError
        If more than that lies outside.
    """
    calls = zip(*(form.visited(u, m) for u in states), strict=True)
    for number, (box, parts) in enumerate(zip(form.law_boxes, calls, strict=True), 1):
        y, weights = (np.concatenate(part) for part in zip(*parts, strict=True))
        share, called = share_beyond(box, y, weights), f"law {number} is called by {who}"
        if share > most:
            raise InputError(_told(called, box, y, share))
        if share > 0:
            warn_beyond(called, box, y, share)


def _told(called: str, box: np.ndarray, arguments: np.ndarray, share: float) -> str:
    mesh = ", ".join(f"[{a:.4g}, {b:.4g}]" for a, b in box)
    last = ", ".join(f"{b:.4g}" for b in arguments.max(axis=0))
    return (f"{called} outside its mesh {mesh} at {100 * share:.3g} % of the quadrature points, up to {last}; take a "
            "larger mesh")
