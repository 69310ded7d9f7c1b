"""Ansatz values from the dictionaries that checkpoints hold."""

from __future__ import annotations

import dataclasses

from ..errors import InputError
from .anchored import Anchored
from .finite_element import FiniteElement
from .fitted import Fitted
from .gradnet import GradNetC, GradNetM
from .mlp import MLP
from .torch_module import TorchModule
from .wrappers import BoundaryLift, Bounded, PerField, Transformed

PLAIN = (MLP, GradNetC, GradNetM)
WRAPPERS = (Transformed, BoundaryLift, Fitted)


def ansatz_from_dict(data: dict, like=None):
    """Rebuild an ansatz from its ``as_dict()``.

    Parameters
    ----------
    data : dict
        What `as_dict` gave: numbers, strings and lists.
    like : Ansatz, optional
        An ansatz of the same kind that holds what data cannot: the space of a `FiniteElement`, the module of a
        `TorchModule`, the functions of a wrapper, the device of a network.

    Raises
    ------
    InputError
        If `data` has an unknown kind or fields, or `like` is missing or does not fit.
    """
    if not isinstance(data, dict) or "kind" not in data:
        raise InputError("data is no dictionary with a 'kind': give what as_dict() returned")
    fields = {name: _tupled(value) for name, value in data.items() if name != "kind"}
    kinds = {kind.__name__: kind
             for kind in (*PLAIN, *WRAPPERS, Anchored, Bounded, PerField, FiniteElement, TorchModule)}
    kind = kinds.get(data["kind"])
    if kind is None:
        raise InputError(f"kind={data['kind']!r} is unknown: choose one of {', '.join(kinds)}")
    if like is not None and not isinstance(like, kind):
        raise InputError(f"like is a {type(like).__name__}, but data describe a {kind.__name__}")
    if kind in PLAIN:
        return _plain(kind, fields, "cpu" if like is None else like.device)
    if kind is PerField:
        known = (None,) * len(data["parts"]) if like is None else like.parts
        if len(known) != len(data["parts"]):
            raise InputError(f"like has {len(known)} fields, but data describe {len(data['parts'])}")
        return PerField(tuple(ansatz_from_dict(*pair) for pair in zip(data["parts"], known, strict=True)))
    if kind is Anchored:
        inner = ansatz_from_dict(data["inner"], None if like is None else like.inner)
        return Anchored(inner, fields["point"], fields["value"])
    if kind is Transformed and like is None and fields.get("forward") is not None:
        return Transformed(ansatz_from_dict(data["inner"]), fields["forward"])
    if kind is Bounded:
        return Bounded(ansatz_from_dict(data["inner"], getattr(like, "inner", None)), fields["lower"], fields["upper"])
    if like is None:
        raise InputError(f"like=None: a {kind.__name__} holds a space, module or function that data cannot; give one")
    if kind in WRAPPERS:
        if kind is Transformed and fields.get("forward") != like.as_dict()["forward"]:
            raise InputError(f"like has forward={like.forward!r}, but data were written with {fields.get('forward')!r}")
        return dataclasses.replace(like, inner=ansatz_from_dict(data["inner"], like.inner))
    if fields.get("size") != like.size:
        raise InputError(f"like has {like.size} parameters, but data describe {fields.get('size')}")
    return like


def _plain(kind, fields: dict, device: str):
    try:
        return kind(**fields, device=device)
    except TypeError as error:
        raise InputError(f"data do not describe a {kind.__name__}: {error}") from error


def _tupled(value):
    return tuple(_tupled(item) for item in value) if isinstance(value, list) else value
