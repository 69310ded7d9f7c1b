"""Identification in one call, for those who want the result and not its iterates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..ansatz.checks import placed
from ..ansatz.finite_element import FiniteElement
from ..ansatz.wrappers import growing_layers
from ..forms.visits import check_visits, states_of
from ..growth.expansion import Expansion
from ..tangent.tangent_space import realize
from .iterate import Iterate
from .newton_flow import NewtonFlow


@dataclass(frozen=True, eq=False)
class Identified:
    """The end of a search, and of its control.

    Parameters
    ----------
    iterate
        Where the network ended: its vector ``m``, ``ansatz`` and ``theta``, ``value``, ``status``, ``total_solves``.
    control
        Where nodal values ended from the same start, by the same flow; None unless asked for.
    """

    iterate: Iterate
    control: Iterate | None = None

    @property
    def excess(self) -> float:
        """How far the network's energy is above the control's, relative to it; nan without one."""
        return float("nan") if self.control is None else self.iterate.value / self.control.value - 1.0

    def _repr_html_(self) -> str:
        """A table, for notebooks."""
        ends = {"network": self.iterate} | ({} if self.control is None else {"nodal values": self.control})
        heads = "".join(f"<th>{name}</th>" for name in ("", "energy", "steps", "parameters", "PDE solves", "end"))
        rows = "".join(f"<tr><th>{name}</th><td>{at.value:.8g}</td><td>{at.step}</td><td>{at.parameters}</td>"
                       f"<td>{at.total_solves}</td><td>{at.status}: {at.stop_reason}</td></tr>"
                       for name, at in ends.items())
        return f"<table><tr>{heads}</tr>{rows}</table>"


def identify(energy, network, *, seed: int = 0, control: bool = False,
             observe: Callable[[Iterate], object] | None = None, **settings) -> Identified:
    """Minimise an energy over a network by the Newton flow.

    Parameters
    ----------
    energy
        `InverseProblem`; its space is that of the search.
    network
        `MLP` or another `Ansatz`; one with the default box gets that of the space where its points are elsewhere.
    seed
        Of the network's initial parameters.
    control
        Search for nodal values as well.
    observe
        Called with every iterate of the network: ``print`` shows one line each.
    **settings
        Further fields of `NewtonFlow`: iterations, tolerance, ... A network that can grow does, unless ``expansion``
        is None.

    Raises
    ------
    InputError
        If energy and network do not fit.

    Examples
    --------
    >>> from skfem import ElementTriP1, ElementTriP2
    >>> import numpy as np
    >>> from fem_ngf import MLP, Measurements, Model, Tikhonov, dot, grad, grid_points, identify, unit_square
    >>> model = Model(lambda u, v, m, w: dot(grad(u), grad(v)) - m * v, ElementTriP2(), ElementTriP1(), dirichlet=0.0,
    ...               linear=True).on(unit_square(8))
    >>> points = grid_points((5, 5), (0.1, 0.1), (0.9, 0.9))
    >>> data = Measurements(points, 0.05 * np.sin(np.pi * points).prod(axis=1), 1e-3)
    >>> energy = model.inverse_problem(data, lambda space: Tikhonov(space.stiffness), 0.1)
    >>> found = identify(energy, MLP((2, 8, 8, 1)), control=True)
    >>> found.iterate.status, bool(abs(found.excess) < 0.05)
    ('converged', True)
    """
    space = energy.space
    network = placed(network, space.nodal_twin.points)
    if growing_layers(network):
        settings = {"expansion": Expansion(), **settings}
    flow = NewtonFlow(energy, network, space, **settings)
    last, start = None, network.initial(np.random.default_rng(seed))
    for last in flow.run(start):
        if observe is not None:
            observe(last)
    assert last is not None, "a flow yields its start"
    if getattr(getattr(energy.pde, "form", None), "law_boxes", ()):
        check_visits(energy.pde.form, states_of(last.linearization), last.m, "the states")
    if not control:
        return Identified(last)
    nodal = NewtonFlow(energy, FiniteElement(space), space,
                       **{name: value for name, value in settings.items() if name != "expansion"})
    *_, end = nodal.run(realize(network, start, space))
    return Identified(last, end)
