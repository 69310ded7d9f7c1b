"""Difference imaging: from a departure of the conductivity to the change of the measured voltages.

The unknown w is a field on the nodes; m = m_ref + beta tanh(w / beta) is the log-conductivity. An electrode cannot tell
a conductor from a perfect one, so beyond a contrast of exp(beta) the data say nothing; the bound keeps w from growing
where that happens, which sharpens the outlines. Without a bound m = m_ref + w.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sparse

from fem_ngf import ElectrodeModel, InputError, MatrixObservation


@dataclass(frozen=True, eq=False)
class DifferenceModel:
    """The map from w to the change of all voltages, in the protocol of `fem_ngf.pde.StationaryProblem`.

    Its "state" is the change of the voltages itself (one experiment, injection-major), so that tangents and adjoints
    are products with the sensitivity matrix: after the L - 1 solves of a linearisation they cost no further solve.

    Parameters
    ----------
    electrodes
        The complete electrode model with the injected currents (L, k).
    patterns
        (L, n_pat) measured differences.
    reference
        (n_m,) log-conductivity m_ref of the reference measurement.
    bound
        Largest departure beta of m from m_ref, or None.
    """

    electrodes: ElectrodeModel
    patterns: np.ndarray
    reference: np.ndarray
    bound: float | None = 4.0

    experiments = 1

    def __post_init__(self):
        if self.bound is not None and not self.bound > 0:
            raise InputError(f"bound: must be positive or None, not {self.bound}")
        given, needed = np.shape(self.patterns)[0], len(self.electrodes.currents)
        if given != needed:
            raise InputError(f"patterns: expected {needed} rows, one an electrode, got {given}")

    @property
    def counts(self):
        return self.electrodes.counts

    @property
    def state_size(self):
        """Number of voltages."""
        return len(self.voltages_from_resistance)

    @property
    def work_per_solve(self):
        """Unknowns of one solve."""
        return self.electrodes.state_size

    @property
    def parameter_size(self):
        return self.electrodes.parameter_size

    @cached_property
    def voltages_from_resistance(self) -> np.ndarray:
        """(k n_pat, L (L - 1) / 2): voltages, which are linear in the upper triangle of the resistance matrix."""
        basis = self.electrodes.patterns[0]
        measured, injected = np.asarray(self.patterns, dtype=float).T @ basis, basis.T @ self.electrodes.currents
        first, second = np.triu_indices(basis.shape[1])
        both = injected[second].T[:, None, :] * measured[None, :, first]
        other = injected[first].T[:, None, :] * measured[None, :, second]
        return np.where(first == second, both, both + other).reshape(-1, first.size)

    @cached_property
    def reference_voltages(self) -> np.ndarray:
        """(k n_pat,) computed voltages of the reference."""
        return self.voltages(self.electrodes.solve(self.reference))

    @cached_property
    def everything(self) -> MatrixObservation:
        """The observation that takes the whole state."""
        return MatrixObservation(sparse.eye_array(len(self.voltages_from_resistance), format="csr"))

    def voltages(self, solved) -> np.ndarray:
        """(k n_pat,) voltages of a solved electrode model."""
        resistance = solved.resistance()
        return self.voltages_from_resistance @ resistance[np.triu_indices(len(resistance))]

    def log_conductivity(self, w) -> np.ndarray:
        """m (n_m,) for w."""
        w = np.asarray(w, dtype=float)
        return self.reference + (w if self.bound is None else self.bound * np.tanh(w / self.bound))

    def slope(self, w) -> np.ndarray:
        """dm/dw (n_m,), node by node."""
        w = np.asarray(w, dtype=float)
        return np.ones_like(w) if self.bound is None else 1.0 - np.tanh(w / self.bound) ** 2

    def solve(self, w, start=None) -> DifferenceState:
        """The change of the voltages and its linearisation; `start` is not needed."""
        return DifferenceState(self, np.asarray(w, dtype=float), self.electrodes.solve(self.log_conductivity(w)))


class DifferenceState:
    """Change of the voltages for one w, and its derivative.

    Attributes
    ----------
    m
        (n_m,): the unknown w.
    u
        (k n_pat, 1): the change of the voltages.
    """

    def __init__(self, model, w, solved):
        self.model, self.m, self.solved = model, w, solved
        self.u = (model.voltages(solved) - model.reference_voltages)[:, None]

    @cached_property
    def jacobian(self) -> np.ndarray:
        """(L (L - 1) / 2, n_m): derivative of the resistance matrix by w."""
        return self.solved.sensitivity() * self.model.slope(self.m)

    def tangent(self, dw):
        """du (k n_pat, 1) for dw (n_m,), or (k n_pat, 1, b) for dw (n_m, b)."""
        return (self.model.voltages_from_resistance @ (self.jacobian @ dw))[:, None]

    def adjoint_state(self, covector, kind="adjoint"):
        """The residual is u - F(w), so p = -covector."""
        return -np.asarray(covector, dtype=float)

    def pull_back(self, p):
        """-F'(w)^T p: (n_m,) for p (k n_pat, 1), (n_m, b) for p (k n_pat, 1, b)."""
        return -self.jacobian.T @ (self.model.voltages_from_resistance.T @ np.asarray(p, dtype=float)[:, 0])

    def adjoint(self, covector, kind="adjoint"):
        """F'(w)^T covector."""
        return self.pull_back(self.adjoint_state(covector))

    def second_order(self, du, dm, p):
        """Not available: use Gauss-Newton."""
        raise InputError("direction: difference imaging has no exact Hessian; use direction 'gauss-newton'")
