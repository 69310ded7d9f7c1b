"""When and how a network grows."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import InputError, check_counts

TRIGGERS = ("alignment", "fit", "stagnation", "either")
SELECTIONS = ("greedy", "random")


@dataclass(frozen=True)
class Expansion:
    """When and how a network grows.

    Parameters
    ----------
    trigger
        ``"alignment"`` (squared realised alignment below `alignment`), ``"fit"`` (share of a step that is missed above
        `fit`), ``"stagnation"`` (a step without progress, or none at all), or ``"either"`` of them (in
        `NaturalGradientFlow` of alignment and stagnation).
    alignment
        Squared realised alignment below which a step is too poor: with the gradient in H for projected steps, with
        the ideal step in the metric of the retraction for retracted ones.
    fit
        Share of the meant step that the realised one may miss.
    stagnation
        Relative energy decrease below which a step counts as stagnating; also the least relative decrease for
        which the missed part of a step is worth new neurons.
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
    fit: float = 0.1
    stagnation: float = 1e-4
    neurons: int = 2
    worth: float = 0.1
    patience: int = 5
    max_parameters: int = 200
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
