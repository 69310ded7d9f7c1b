"""The two ways in which a computation may end without a result, and checks of sizes, numbers and kinds."""

import math


class InputError(ValueError):
    """What the user gave cannot be used.

    The message names the argument, what it was and what to change. The
    command line prints it as one line and exits with code 2.
    """


class SolveError(RuntimeError):
    """A linear or nonlinear solve failed, or a coefficient overflowed.

    Flows take it as a rejected step; outside a flow it is an error.
    """


def same_size(one: str, size: int, other: str, needed: int) -> None:
    """InputError that names both, unless two things that belong together have the same number of unknowns."""
    if size != needed:
        raise InputError(f"{one} has {size} unknowns and {other} has {needed}; they must be the same unknowns")


def check_positive(**numbers: float) -> None:
    """Raise an `InputError` that names the first argument which is not a positive number."""
    for name, value in numbers.items():
        if not (math.isfinite(value) and value > 0):
            raise InputError(f"{name} is {value}; it must be a positive number")


def check_kind(kind: str) -> None:
    """InputError unless the kind of Hessian is known."""
    if kind not in ("gauss-newton", "newton"):
        raise InputError(f"kind is {kind!r}; choose 'gauss-newton' or 'newton'")
