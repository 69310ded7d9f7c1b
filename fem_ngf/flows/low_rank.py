r"""Curvature from a window of gradients: Woodbury solves with a low-rank matrix (METHOD section 5).

With gradients ``u_1 .. u_m`` as the columns of ``U``, :math:`F = \lambda I + \tfrac1m U U^T` and

.. math:: F^{-1} x = \tfrac1\lambda \bigl(x - U (m \lambda I + U^T U)^{-1} U^T x\bigr).

References
----------
E. Frantar, E. Kurtic, D. Alistarh, M-FAC: Efficient matrix-free approximations of second-order information, NeurIPS
2021.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..linalg.factorize import damped_solve


def woodbury_solve(columns: np.ndarray, x: np.ndarray, damping: float) -> np.ndarray:
    """``(damping I + U U^T / m)^-1 x`` for ``U`` (P, m) in O(P m) memory and O(P m^2) operations."""
    count = columns.shape[1]
    inner = damped_solve(columns.T @ columns, columns.T @ x, count * damping)
    return (x - columns @ inner) / damping


@dataclass(frozen=True)
class LowRankDirection:
    """Rule of a `DirectedFlow`: the gradient on theta, preconditioned by the last `window` gradients.

    Parameters
    ----------
    window
        Number m of gradients kept.
    damping
        ``lambda``, relative to the mean squared length of the gradients kept.
    """

    window: int = 20
    damping: float = 1e-2
    matrix_free = True

    def __call__(self, tangent, derivative: np.ndarray, memory: dict):
        """Direction (P,) scaled to unit curvature along the gradient; the window is kept."""
        slope = tangent.pull_back(derivative)
        old = memory.get("gradients", np.zeros((len(slope), 0)))
        old = old if len(old) == len(slope) else np.zeros((len(slope), 0))
        columns = np.column_stack([old, slope])[:, -self.window:]
        scale = float(np.mean(np.sum(columns**2, axis=0)))
        direction = woodbury_solve(columns, slope, self.damping * scale) * scale if scale > 0 else slope
        return direction, {"gradients": columns}
