"""The typed command line of a case: its own parameters and the options of a run, flat, through tyro."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import io
import re
import typing
from collections.abc import Callable, Sequence
from dataclasses import MISSING
from typing import Annotated

import docstring_parser
import tyro

from ..errors import InputError
from .options import RunOptions


def parse(function: Callable, argv: Sequence[str], prog: str) -> tuple[dict, dict]:
    """Arguments of a case function, and the run options that the user gave.

    Parameters
    ----------
    function
        ``case(...) -> Case``, every parameter with a type. A parameter that has the name of a run option
        (``levels``, ``seed``, ...) is that option.
    argv
        Flags.
    prog
        The command, for the help.

    Returns
    -------
    arguments, given
        Keyword arguments of `function`; values for `RunOptions`.

    Raises
    ------
    InputError
        If a flag is unknown or its value has the wrong type.
    """
    own = _parameters(function)
    flags = dataclasses.make_dataclass("flags", [*own.values(), *_options(own)], kw_only=True)
    documentation = docstring_parser.parse(inspect.getdoc(function) or "")
    about = "\n\n".join(filter(None, [documentation.short_description, documentation.long_description]))
    values = vars(_quietly(flags, args=list(argv), prog=prog, description=about))
    chosen = {f.name: values[f.name] for f in dataclasses.fields(RunOptions)}
    given = {name: value for name, value in chosen.items() if value is not None and value is not False}
    return {name: values[name] for name in own}, given


def _parameters(function: Callable) -> dict[str, tuple]:
    """Dataclass fields of a case function's parameters, by name."""
    hints = typing.get_type_hints(function, include_extras=True)
    helps = _option_helps() | _helps(inspect.getdoc(function))
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if name not in hints:
            raise InputError(f"parameter {name!r} of {function.__name__}() has no type; write {name}: int, say")
        default = MISSING if parameter.default is inspect.Parameter.empty else parameter.default
        found[name] = _field(name, hints[name], default, help=helps.get(name))
    return found


def _options(own: dict) -> list[tuple]:
    """Dataclass fields of the run options that are no parameters of the case: None means "as the case prefers"."""
    hints, helps = typing.get_type_hints(RunOptions), _option_helps()
    found = []
    for option in dataclasses.fields(RunOptions):
        if option.name in own:
            continue
        if option.default is False:
            found.append(_field(option.name, bool, False, help=helps[option.name]))
            continue
        otherwise = "" if option.default is None else f", else {option.default}"
        hint = f"(default: the case's choice{otherwise})" if option.name != "out" else ""
        found.append(_field(option.name, hints[option.name] | None, None, help=helps[option.name],
                            metavar=_metavar(hints[option.name]), help_behavior_hint=hint))
    return found


def _field(name: str, kind, default, **argument) -> tuple:
    return name, Annotated[kind, tyro.conf.arg(**argument)], dataclasses.field(default=default)


def _helps(docstring: str | None) -> dict[str, str]:
    return {p.arg_name: p.description for p in docstring_parser.parse(docstring or "").params}


def _option_helps() -> dict[str, str]:
    return _helps(inspect.getdoc(RunOptions))


def _metavar(kind) -> str:
    """How the help shows a type: its choices, or its name; None is not a value to type."""
    choices = [arg for part in (kind, *typing.get_args(kind)) if typing.get_origin(part) is typing.Literal
               for arg in typing.get_args(part)]
    if choices:
        return "{" + ",".join(choices) + "}"
    names = [part.__name__ for part in typing.get_args(kind) or (kind,) if part is not type(None)]
    return "|".join(names).upper()


def _quietly(flags: type, **how):
    """What tyro reads; its error box becomes the one line of an `InputError`."""
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            return tyro.cli(flags, **how)
    except SystemExit as end:
        if not end.code:
            raise
    text = _message(box.getvalue())
    wrong = re.match(r"invalid choice '(.*)' for argument '--([\w-]+)'", text)
    if wrong:
        kind = typing.get_type_hints(flags)[wrong[2].replace("-", "_")]
        text = f"{wrong[2]} is {wrong[1]!r}; choose one of {_metavar(kind).strip('{}').replace(',', ', ')}"
    raise InputError(f"{text} (see --help)")


def _message(box: str) -> str:
    """The message in tyro's box: between its title and the help that follows."""
    message = []
    for line in box.splitlines()[1:]:
        line = line.strip(" │╭╮╰╯─")
        if line.startswith(("For full helptext", "Argument helptext")):
            break
        message.append(line)
    return " ".join(filter(None, message)) or "the flags cannot be read"
