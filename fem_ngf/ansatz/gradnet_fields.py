"""Checks and serialisation of the fields of the gradient networks."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from ..errors import InputError
from .checks import torch_device
from .gradnet_functions import FIXED, NON_DECREASING
from .mlp_fields import checked_box


def checked(net, counts: tuple[str, ...], softmax: bool):
    """The box of a gradient network in normal form, after checking its other fields.

    Raises
    ------
    InputError
        Naming the first field that cannot be used.
    """
    for name in ("dimension", "components", *counts):
        value = getattr(net, name)
        entries = value if isinstance(value, tuple) else (value,)
        if not entries or not all(isinstance(entry, int | np.integer) and entry >= 1 for entry in entries):
            raise InputError(f"{name}={value!r} must be positive integers")
    known = ("learnable", *FIXED, *(("softmax",) if softmax else ()))
    if net.activation not in known:
        raise InputError(f"activation={net.activation!r} is unknown here: choose one of {', '.join(known)}")
    if net.monotone and net.activation not in ("learnable", "softmax", *NON_DECREASING):
        raise InputError(f"activation={net.activation!r} is not monotone: choose another, or monotone=False")
    if not np.isfinite(net.scale) or net.scale <= 0:
        raise InputError(f"scale={net.scale!r} must be a positive number")
    torch_device(net.device)
    return checked_box(net.box, net.dimension)


def listed_fields(self) -> dict:
    """Numbers, strings and lists from which `ansatz_from_dict` rebuilds the network (its device apart)."""
    fields = {**asdict(self), "box": [list(corner) for corner in self.box]}
    del fields["device"]
    if isinstance(self.neurons, tuple):
        fields["neurons"] = list(self.neurons)
    return {"kind": type(self).__name__, **fields}
