"""The settings of a run; every field is a flag of the command line."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ..errors import InputError

ANSATZ = Literal["neural", "finite-element"]
FLOW = Literal["newton", "sobolev", "natural-gradient", "gradient-descent", "adam", "lbfgs"]
DISCRETIZATION = Literal["projected", "retracted"]
METHOD = Literal["euler", "heun", "levenberg-marquardt", "gradient-normalized"]
SELECTION = Literal["greedy", "random"]
TRIGGER = Literal["either", "alignment", "stagnation"]
SAMPLING = Literal["quadrature", "nodal"]
ACTIVATION = Literal["tanh", "sigmoid", "softplus", "gelu", "silu", "sine", "relu", "relu2", "relu3", "gauss"]
RULE = Literal["discrepancy", "lcurve", "gcv"]
BACKEND = Literal["auto", "petsc"]

# What --help shows together; the other options steer the search.
NETWORK = ("ansatz", "seed", "sampling", "device", "width", "depth", "activation", "grow", "growth", "trigger",
           "start_width", "max_parameters")
OUTPUT = ("out", "control", "kappa", "quiet", "bare")

STATES = "gauss-newton"
"""Metric that changes with the iterate."""
GROWING = ("newton", "sobolev", "natural-gradient")

AT_LEAST = {"seed": 0, "levels": 1, "iterations": 1, "threads": 1, "width": 1, "depth": 1,
            "start_width": 1, "max_parameters": 1}
AT_MOST = {"threads": 1024, "depth": 20}
BELOW_ONE = ("tolerance", "stagnation")
# What a run has from its start; resume refuses it.
SETTLED = ("out", "seed", "levels", "ansatz", "flow", "metric", "length", "sampling", "width", "depth", "activation",
           "grow", "growth", "start_width", "weight")
POSITIVE = ("length", "tolerance", "stagnation", "step_length", "accuracy", "duration")
SOBOLEV = ("discretization", "step_length", "accuracy", "duration")
OF_FLOW = {"method": "natural-gradient", "trigger": "natural-gradient", **dict.fromkeys(SOBOLEV, "sobolev")}
"""Options of one flow."""


@dataclass(frozen=True)
class RunOptions:
    """How a case is run.

    Parameters
    ----------
    out
        Run directory; default runs/NAME.
    seed
        Seed of the network's initial parameters.
    levels
        How many of the case's meshes to use, counted from the finest; 1 switches the continuation off.
    ansatz
        The unknown: a network, or nodal values (the classical method through the same code; --nodal for short).
    flow
        newton minimises one quadratic model over the network and ends with a certificate; sobolev follows the gradient
        flow of H in continuous time; natural-gradient projects and steps; the others know no H.
    method
        Time discretisation of natural-gradient; euler without it.
    discretization
        Of flow sobolev: retracted, the step taken in H and the network fitted to it (without the flag), or projected,
        Heun's method on the parameters.
    step_length
        Of flow sobolev: a fixed step in time; without it the error in time chooses.
    accuracy
        Of flow sobolev: largest error in time of a step, relative to the step; 0.1 without it.
    duration
        Of flow sobolev: the time at which it ends; without it the other rules end it.
    metric
        Inner product of H: l2, h1, hS with an order S in [-2, 2] (h0.5, h-1), or one that the case names; for
        flows sobolev and natural-gradient also gauss-newton, that of the states which the unknown causes.
    length
        Length scale of the metric.
    sampling
        Where the network is sampled to enter the finite-element space.
    iterations
        Most iterations on each mesh; unless the case says otherwise 150 of flow newton, 200 of the others.
    tolerance
        Flow newton: stop when less than this share of the energy could still be gained (without the flag 5e-4); the
        others: when the gradient norm has fallen by this factor (1e-6; of gradient-descent, adam and lbfgs 1e-8).
    stagnation
        Not of flow newton: stop when two steps running lower the energy by less than this fraction; without the flag
        1e-8 of natural-gradient, never of the others.
    grow
        Let the network grow, from a small one, where it misses too much of the steps. Flow newton does unless told
        --no-grow, which takes the network of the case as it is.
    growth
        How grown neurons are chosen: greedy by their gain, or random as a control.
    trigger
        What makes the network grow in flow natural-gradient: alignment, stagnation, or either of them.
    width
        Hidden neurons per layer of a network that does not grow.
    depth
        Hidden layers, of a multilayer perceptron.
    activation
        Of its neurons.
    start_width
        Hidden neurons per layer of the network that grows.
    max_parameters
        Growth stops here.
    weight
        Weight of the regularisation: a number, or the rule that finds it: discrepancy, lcurve, gcv.
    device
        Where the network is evaluated: cpu, cuda, cuda:0.
    backend
        What solves the equations: auto, or petsc: PETSc, on the meshes distributed over the processes of mpiexec.
    threads
        Threads of the linear algebra; more than one pays on large problems and idle machines only.
    control
        Search for nodal values as well, at the end, by flow newton: what the network is to be compared with.
    kappa
        Compute kappa, the alignment of the tangent space with the gradient, at every step, not only where a mesh ends.
    quiet
        Print the result only.
    bare
        Write numbers and fields only: no picture, no report.
    """

    out: Path | None = None
    seed: int = 0
    levels: int | None = None
    ansatz: ANSATZ = "neural"
    flow: FLOW = "newton"
    method: METHOD | None = None
    discretization: DISCRETIZATION | None = None
    step_length: float | None = None
    accuracy: float | None = None
    duration: float | None = None
    metric: str = "h1"
    length: float | None = None
    sampling: SAMPLING = "quadrature"
    iterations: int | None = None
    tolerance: float | None = None
    stagnation: float | None = None
    grow: bool | None = None
    growth: SELECTION = "greedy"
    trigger: TRIGGER = "either"
    width: int | None = None
    depth: int | None = None
    activation: ACTIVATION | None = None
    start_width: int = 8
    max_parameters: int = 800
    weight: str | None = None
    device: str = "cpu"
    backend: BACKEND = "auto"
    threads: int = 1
    control: bool = False
    kappa: bool = False
    quiet: bool = False
    bare: bool = False

    def __post_init__(self):
        check_values(vars(self))
        if self.grow and (self.ansatz != "neural" or self.flow not in GROWING):
            raise InputError(f"grow is for a neural ansatz and the flows {', '.join(GROWING)}, not for ansatz"
                             f" {self.ansatz!r} with flow {self.flow!r}")
        for name, default in (("growth", "greedy"), ("trigger", "either")):
            if not self.may_grow and getattr(self, name) != default:
                raise InputError(f"{name} is {getattr(self, name)!r}, but the network does not grow; add grow")
        if self.width is not None and self.grow:
            raise InputError("width is of a network that does not grow; give start_width, or leave grow out")
        for name in ("depth", "activation", "control"):
            if getattr(self, name) and self.ansatz != "neural":
                raise InputError(f"{name} is for a network; this run has nodal values")
        _check_cuda(self.device)
        if self.metric == STATES and self.flow not in ("sobolev", "natural-gradient"):
            raise InputError(f"metric {STATES!r} is for flows 'sobolev' and 'natural-gradient', not {self.flow!r}")
        for name, flow in OF_FLOW.items():
            if self.flow != flow and getattr(self, name) != getattr(RunOptions, name):
                raise InputError(f"{name} {getattr(self, name)!r} is for flow {flow!r}, not {self.flow!r}")

    @classmethod
    def merged(cls, defaults: Mapping[str, Any], given: Mapping[str, Any]) -> RunOptions:
        """What the user gave, else what the case prefers, else the general default.

        Raises
        ------
        InputError
            If the case prefers an option that does not exist, or a value cannot be used.
        """
        unknown = set(defaults) - {field.name for field in fields(cls)}
        if unknown:
            raise InputError(f"the case's defaults name {', '.join(sorted(unknown))}; that is no option of a run")
        check_values(defaults)
        settings = {**defaults, **given}
        if "flow" in given:  # preferences for another flow's details go with that flow
            for name in (name for name, flow in OF_FLOW.items() if name not in given and flow != settings["flow"]):
                settings.pop(name, None)
        growing = settings.get("ansatz", cls.ansatz) == "neural" and settings.get("flow", cls.flow) in GROWING
        if "grow" not in given and not growing:  # nor does a case's preference for growth bind what cannot grow
            settings.pop("grow", None)
        return cls(**settings)

    @property
    def may_grow(self) -> bool:
        """Whether the network grows where it can: as asked, and in the Newton flow unless its width is fixed."""
        wanted = self.flow == "newton" and self.ansatz == "neural" and self.width is None
        return wanted if self.grow is None else self.grow

    def as_dict(self) -> dict[str, object]:
        """Numbers and strings, for files."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: str(value) if isinstance(value, Path) else value for name, value in plain.items()}


def check_values(values: Mapping[str, Any]) -> None:
    """Check every option by itself, so that a wrong one is told before the case is built.

    Raises
    ------
    InputError
        If a value is out of range.
    """
    kinds = get_type_hints(RunOptions)
    for name, value in values.items():
        if name in kinds and not _fits(value, kinds[name]):
            raise InputError(f"{name} is {value!r}; it must be {_in_words(kinds[name])}")
        if value is None:
            continue
        if name in AT_LEAST and value < AT_LEAST[name]:
            raise InputError(f"{name} is {value}; it must be {AT_LEAST[name]} at least")
        if name in AT_MOST and value > AT_MOST[name]:
            raise InputError(f"{name} is {value}; it must be {AT_MOST[name]} at most")
        if name in POSITIVE and not (math.isfinite(value) and value > 0):
            raise InputError(f"{name} is {value}; it must be a positive number")
        if name in BELOW_ONE and value >= 1:
            raise InputError(f"{name} is {value}; it is a share and must be below 1")
        if name == "device" and not re.fullmatch(r"(cpu|cuda)(:\d+)?", value):
            raise InputError(f"device is {value!r}; choose cpu or cuda")
        if name == "weight":
            given_weight(value)


def _fits(value, kind) -> bool:
    if get_origin(kind) in (Union, UnionType):
        return any(_fits(value, part) for part in get_args(kind))
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    also = {float: (int, float), Path: (str, Path)}.get(kind, kind)
    return isinstance(value, also) and not (isinstance(value, bool) and kind in (int, float))


def _in_words(kind) -> str:
    parts = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    names = {int: "an integer", float: "a number", str: "text", bool: "true or false", Path: "a path"}
    return " or ".join("one of " + ", ".join(get_args(part)) if get_origin(part) is Literal else names[part]
                       for part in parts if part is not NoneType)


def given_weight(text: str | None) -> float | None:
    """The number that ``--weight`` gives; None for none, and for a rule.

    Raises
    ------
    InputError
        If it is neither a positive number nor a rule.
    """
    if text is None or text in get_args(RULE):
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"weight is {text!r}; give a positive number or one of {', '.join(get_args(RULE))}")
    return value


def _check_cuda(device: str) -> None:
    if device.startswith("cuda"):
        import torch

        if not torch.cuda.is_available():
            raise InputError(f"device is {device!r}, but this torch finds no CUDA device; choose cpu")
