"""When and how a network grows."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import InputError, check_counts

TRIGGERS = ("alignment", "stagnation", "either")
SELECTIONS = ("greedy", "random")


@dataclass(frozen=True)
class Expansion:
    """When and how a network grows.

    Parameters
    ----------
    trigger
        Of a `NaturalGradientFlow`: ``"alignment"`` (squared realised alignment below `alignment`), ``"stagnation"`` (a
        step without progress, or none at all), or ``"either"`` of them. A `NewtonFlow` grows where its model says that
        it pays.
    alignment
        Squared realised alignment with the gradient in H below which a step is too poor.
    stagnation
        Relative energy decrease below which a step counts as stagnating.
    neurons
        Largest number of neurons an event adds.
    worth
        An event adds a neuron only while its gain is at least this share of the event's first one.
    patience
        Least number of steps between events of a natural-gradient flow.
    max_parameters
        Budget; no event goes beyond it.
    candidates
        Tangent functions in the dictionary of a hidden layer; neurons with many outgoing weights are fewer.
    selection
        ``"greedy"`` (orthogonal matching pursuit on the gain), or ``"random"``: the same number of neurons from the
        same dictionary without selection, as a control.
    seed
        Of the dictionaries.
    """

    trigger: str = "either"
    alignment: float = 0.5
    stagnation: float = 1e-4
    neurons: int = 8
    worth: float = 0.1
    patience: int = 5
    max_parameters: int = 800
    candidates: int = 512
    selection: str = "greedy"
    seed: int = 0

    def __post_init__(self):
        for name, allowed in (("trigger", TRIGGERS), ("selection", SELECTIONS)):
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} is {getattr(self, name)!r}; choose one of {', '.join(allowed)}")
        for name in ("neurons", "candidates", "max_parameters"):
            check_counts(**{name: getattr(self, name)})

    def listens_to(self, trigger: str) -> bool:
        """Whether the trigger is one of those chosen."""
        return self.trigger in (trigger, "either")
