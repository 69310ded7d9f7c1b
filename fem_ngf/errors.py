"""The two ways in which a computation may end without a result, and checks of sizes, numbers and kinds."""

import math
import os
from numbers import Integral, Real


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
        if not (is_number(value) and 0 < value < math.inf):
            raise InputError(f"{name} is {value!r}; it must be a positive number")


def check_not_negative(**numbers: float) -> None:
    """Raise an `InputError` that names the first argument which is no number, or a negative one."""
    for name, value in numbers.items():
        if not (is_number(value) and 0 <= value < math.inf):
            raise InputError(f"{name} is {value!r}; it must be a number that is not negative")


def check_counts(**numbers: int) -> None:
    """Raise an `InputError` that names the first argument which is not a whole number of at least one."""
    for name, value in numbers.items():
        if not (isinstance(value, Integral) and not isinstance(value, bool) and value >= 1):
            raise InputError(f"{name} is {value!r}; it must be a whole number, 1 at least")


def is_number(value) -> bool:
    """Whether it is one real number, and no truth value."""
    return isinstance(value, Real) and not isinstance(value, bool)


def real_array(name: str, value):
    """The value as a float64 array.

    Raises
    ------
    InputError
        If it holds something else than real numbers: complex ones, text, objects.
    """
    import numpy as np  # here, so that wrong flags are told without it

    try:
        array = np.asarray(value)
    except ValueError:
        raise InputError(f"{name} has rows of different lengths; give an array of numbers") from None
    if np.ma.is_masked(value):
        raise InputError(f"{name} has {np.ma.count_masked(value)} masked entries; leave these out")
    if array.dtype.kind == "c":
        raise InputError(f"{name} is complex; give real and imaginary part as two real fields")
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name} holds {type(value).__name__ if array.ndim == 0 else array.dtype}; give real numbers")
    return array.astype(np.float64, copy=False)


def shown(array) -> str:
    """An array in a few letters, for the repr of what holds it: its number, or its shape."""
    import numpy as np  # as above

    shape = np.shape(array)
    return str(tuple(map(int, shape))) if shape else f"{float(array):g}"


def check_memory(what: str, number: float, each: float) -> None:
    """Refuse what this machine cannot hold, before it is built.

    Parameters
    ----------
    what
        The thing and its number, for the message.
    number, each
        How many, and bytes for each, about.
    """
    try:
        held = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # a system that does not tell
        held = 2**40
    number = min(number, 1e300)
    if number * each > held:
        raise InputError(f"{what} would take about {number * each / 2**30:.3g} GiB of memory; this machine has "
                         f"{held / 2**30:.3g}; take fewer")


def check_has(name: str, value, what: str, *attributes: str) -> None:
    """InputError unless the value has the attributes of `what` it should be."""
    if isinstance(value, type) or not all(hasattr(value, attribute) for attribute in attributes):
        given = f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"
        raise InputError(f"{name} is {given}; give {what}")


def check_function(name: str, value) -> None:
    """InputError unless the value can be called."""
    if not callable(value):
        raise InputError(f"{name} is {value!r}; give a function")


def check_kind(kind: str) -> None:
    """InputError unless the kind of Hessian is known."""
    if kind not in ("gauss-newton", "newton"):
        raise InputError(f"kind is {kind!r}; choose 'gauss-newton' or 'newton'")


def checked_times(times, what: str = "times", least: int = 1):
    """Times ``(T,)`` as floats.

    Raises
    ------
    InputError
        If there are fewer than `least`, or they do not increase or are not finite; `what` names them.
    """
    import numpy as np

    times = real_array(what, times)
    if times.ndim != 1 or times.size < least:
        raise InputError(f"{what} has shape {times.shape}; it needs (T,) with T >= {least}")
    if not np.isfinite(times).all():
        raise InputError(f"{what} has {np.count_nonzero(~np.isfinite(times))} entries that are not finite")
    if len(later := np.flatnonzero(np.diff(times) <= 0)):
        raise InputError(f"{what} must increase; entry {later[0] + 1} is {times[later[0] + 1]:g} after "
                         f"{times[later[0]]:g}")
    return times
