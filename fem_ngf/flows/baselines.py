"""Optimisers on the parameters, through the same energies: what the flows are compared with."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..errors import InputError, SolveError
from ..spaces.hilbert import HilbertSpace
from ..tangent.tangent_space import TangentSpace
from .certificate import run
from .iterate import Iterate, arrived, at, blocked, resume, solve_kinds, start
from .search import attempted, backtrack

METHODS = ("gradient-descent", "adam", "lbfgs")


@dataclass(frozen=True)
class DescentMemory:
    """Length of the next gradient step (nan before the first); the state of torch's optimiser, if there is one."""

    step_length: float = float("nan")
    optimizer: dict | None = None


@dataclass(frozen=True, eq=False)
class ParameterDescent:
    """Descent on ``theta -> E(Pi N_theta)`` that knows nothing of the Hilbert space.

    Parameters
    ----------
    energy, ansatz, space
        As in the flows; `space` is used to realise functions and to report gradient norms.
    method
        ``"gradient-descent"`` (Armijo back-tracking, doubling), ``"adam"`` or ``"lbfgs"`` (strong Wolfe);
        the last two are torch's.
    learning_rate
        Of Adam.
    """

    energy: object
    ansatz: object
    space: HilbertSpace
    method: str = "gradient-descent"
    iterations: int = 200
    tolerance: float = 1e-8
    stagnation: float = 0.0
    learning_rate: float = 1e-2
    history: int = 20

    def __post_init__(self):
        if self.method not in METHODS:
            raise InputError(f"method is {self.method!r}; choose one of {', '.join(METHODS)}")

    memory = DescentMemory
    start, resume, run = start, resume, run

    def step(self, iterate: Iterate) -> Iterate:
        """One step."""
        counts = solve_kinds(self.energy.counts)
        try:
            moved = self._descend(iterate) if self.method == "gradient-descent" else self._torch_step(iterate)
            if moved is None and self.method == "lbfgs" and iterate.memory.optimizer:
                moved = self._torch_step(replace(iterate, memory=DescentMemory()))
            if moved is not None:
                return arrived(self, iterate, moved, counts)
        except SolveError:
            pass
        return blocked(self, iterate, counts)

    def _slope(self, iterate: Iterate) -> np.ndarray:
        tangent = TangentSpace.at(iterate.ansatz, iterate.theta, self.space)
        return tangent.pull_back(iterate.linearization.derivative)

    def _descend(self, iterate: Iterate) -> Iterate | None:
        slope, step = self._slope(iterate), iterate.memory.step_length
        if np.isnan(step):
            step = 1.0 / max(np.linalg.norm(slope), np.finfo(float).tiny)
        found = backtrack(lambda length: at(self, iterate, iterate.theta - length * slope), iterate.value,
                          -float(slope @ slope), step=step, trials=60)
        if found is None:
            return None
        moved, step = found
        return replace(moved, step_size=step, memory=DescentMemory(2.0 * step))

    def _torch_step(self, iterate: Iterate) -> Iterate | None:
        """One iteration of a torch optimiser, rebuilt from its state in the memory."""
        theta = torch.nn.Parameter(torch.tensor(iterate.theta))
        if self.method == "adam":
            optimizer = torch.optim.Adam([theta], lr=self.learning_rate)
        else:
            optimizer = torch.optim.LBFGS([theta], lr=1.0, max_iter=1, max_eval=25, history_size=self.history,
                                          tolerance_grad=0.0, tolerance_change=0.0, line_search_fn="strong_wolfe")
        if iterate.memory.optimizer:
            optimizer.load_state_dict(deepcopy(iterate.memory.optimizer))
        seen = {iterate.theta.tobytes(): iterate}

        def closure():
            here = theta.detach().numpy().copy()
            if here.tobytes() not in seen:
                seen[here.tobytes()] = attempted(lambda: at(self, iterate, here))
            reached = seen[here.tobytes()]
            if reached is None:
                theta.grad = torch.zeros_like(theta)
                return torch.tensor(iterate.value + 10.0 * abs(iterate.value), dtype=torch.float64)
            theta.grad = torch.tensor(self._slope(reached))
            return torch.tensor(reached.value, dtype=torch.float64)

        optimizer.step(closure)
        final = theta.detach().numpy().copy()
        moved = seen.get(final.tobytes()) or attempted(lambda: at(self, iterate, final))
        worse = moved is not None and self.method == "lbfgs" and moved.value > iterate.value
        if moved is None or worse or np.array_equal(final, iterate.theta):
            return None
        return replace(moved, memory=DescentMemory(optimizer=optimizer.state_dict()))
