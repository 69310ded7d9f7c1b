"""The command line of a case: its own parameters and the options of a run as flags, through argparse.

Nothing heavy is imported here: wrong flags are told, and help is given, in a tenth of a second.
"""

from __future__ import annotations

import argparse
import difflib
import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from ..errors import InputError
from .loading import preferences
from .options import NETWORK, OUTPUT, RunOptions

EMPTY = inspect.Parameter.empty

# Help of parameters that many cases have; the documentation of a case function tells what it means otherwise.
USUAL = {
    "cells": "Cells a side of the finest mesh; the coarser ones have half as many, down to about 16.",
    "alpha": "Weight of the regularisation.",
    "gamma": "Weight of the regularisation.",
    "noise": "Standard deviation of synthetic data, and of a file without std, relative to the largest value.",
    "noise_seed": "Seed of the synthetic noise.",
    "sensors": "Sensors a side of the grid.",
    "data": "File of measurements instead of synthetic ones: .npz (points, values[, std]), values (n, k) of k "
            "experiments, or .csv (x, y[, z], value[, std]).",
    "neurons": "Neurons of a hidden layer at the start.",
}
WORDS = {int: "an integer", float: "a number", bool: "true or false", Path: "a path", str: "text"}


def parse(function: Callable, argv: Sequence[str], prog: str) -> tuple[dict, dict]:
    """Arguments of a case function, and the run options that the user gave.

    Parameters
    ----------
    function
        ``case(...) -> Case``, every parameter with a type: int, float, str, bool, Path, Literal, tuples of them, or one
        of these or None. A parameter that has the name of a run option (``levels``, ``seed``, ...) is that option. What
        the function's documentation does not explain has the help of `USUAL`.
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
    options = _flags(RunOptions)
    own = _flags(function, USUAL | {name: flag.help for name, flag in options.items()})
    every = options | own
    found = _read(_parser(function, own, options, prog), every, argv)
    missing = [flag.word for flag in own.values() if flag.default is EMPTY and flag.name not in found]
    if missing:
        raise InputError(f"{', '.join(missing)} must be given (see --help)")
    arguments = {name: found.get(name, flag.default) for name, flag in own.items()}
    given = {name: value for name, value in (found | arguments).items() if name in options and value is not None}
    return arguments, given


def defaults_of(function: Callable) -> dict[str, object]:
    """The default values of a function's parameters, of those that have one."""
    parameters = inspect.signature(function).parameters.values()
    return {each.name: each.default for each in parameters if each.default is not EMPTY}


@dataclass(frozen=True)
class Flag:
    """A flag and the values that it takes.

    Parameters
    ----------
    name
        Of the parameter; the word on the command line has dashes for underscores.
    kind
        Its type.
    default, help
        For the help; the default is `EMPTY` when there is none.
    """

    name: str
    kind: object
    default: object = EMPTY
    help: str = ""

    @property
    def word(self) -> str:
        """On the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def kinds(self) -> tuple:
        """The alternatives of a union."""
        union = typing.get_origin(self.kind) in (typing.Union, types.UnionType)
        return typing.get_args(self.kind) if union else (self.kind,)

    @property
    def expected(self) -> str:
        """What the value must be, in words."""
        return " or ".join(dict.fromkeys(_expected(kind) for kind in self.kinds if kind is not types.NoneType))

    def value(self, texts: Sequence[str]):
        """What the words after the flag mean.

        Raises
        ------
        InputError
            If they do not fit the type.
        """
        for kind in sorted(self.kinds, key=lambda kind: kind is not types.NoneType):
            try:
                return _converted(kind, texts)
            except ValueError:
                continue
        raise InputError(f"{self.word} is {' '.join(texts)!r}; {self.expected}")

    def add_to(self, group, default: object) -> None:
        """Tell argparse of it; `default` is what the help says."""
        shown = "" if default is None else f" (default: {default})" if default is not EMPTY else " (required)"
        how = {"dest": self.name, "help": (self.help + shown).replace("%", "%%")}
        if bool in self.kinds:
            group.add_argument(self.word, action=argparse.BooleanOptionalAction, **how)
        else:
            several = any(typing.get_origin(kind) is tuple for kind in self.kinds)
            group.add_argument(self.word, nargs="+" if several else 1, metavar=self._metavar(), **how)

    def _metavar(self) -> str:
        kind = next(kind for kind in self.kinds if kind is not types.NoneType)
        if typing.get_origin(kind) is typing.Literal:
            return "{" + ",".join(map(str, typing.get_args(kind))) + "}"
        return {float: "NUMBER", str: "TEXT", int: "N"}.get(kind, getattr(kind, "__name__", "value").upper())


def _converted(kind, texts: Sequence[str]):
    """A value of the type; ValueError if the words are none."""
    parts = typing.get_args(kind)
    if typing.get_origin(kind) is tuple:
        parts = (parts[0],) * len(texts) if parts[1:] == (...,) else parts
        return tuple(_converted(part, [text]) for part, text in zip(parts, texts, strict=True))
    (text,) = texts
    if typing.get_origin(kind) is typing.Literal:
        return parts[[str(part) for part in parts].index(text)]
    if kind is types.NoneType:
        return ["None"].index(text) or None
    if kind is Path and (not text or "\0" in text):
        raise ValueError("a path has a name")
    return kind(text)


def _expected(kind) -> str:
    if typing.get_origin(kind) is typing.Literal:
        return f"choose one of {', '.join(map(str, typing.get_args(kind)))}"
    if typing.get_origin(kind) is tuple:
        return "give " + " ".join("..." if part is ... else WORDS[part] for part in typing.get_args(kind))
    return f"give {WORDS[kind]}"


def _flags(function: Callable, helps: Mapping[str, str] = types.MappingProxyType({})) -> dict[str, Flag]:
    """The parameters of a function or a dataclass as flags, by name."""
    try:
        hints = typing.get_type_hints(function)
    except Exception as error:  # the types are whatever the user wrote
        raise InputError(f"the types of the parameters of {function.__name__}() cannot be read: {error}") from error
    helps, found = {**helps, **_documented(inspect.getdoc(function) or "")}, {}
    for name, parameter in inspect.signature(function).parameters.items():
        if name not in hints:
            raise InputError(f"parameter {name!r} of {function.__name__}() has no type; write {name}: int, say")
        found[name] = Flag(name, hints[name], parameter.default, helps.get(name, ""))
        if not all(_is_known(kind) for kind in found[name].kinds):
            raise InputError(f"parameter {name!r} of {function.__name__}() has the type {hints[name]}, which no flag "
                             "has; use int, float, str, bool, Path, Literal, tuples of them, or None")
    return found


def _is_known(kind) -> bool:
    if typing.get_origin(kind) is tuple:
        return all(isinstance(part, type) and part in WORDS or part is ... for part in typing.get_args(kind))
    named = isinstance(kind, type) and kind in (*WORDS, types.NoneType)
    return named or typing.get_origin(kind) is typing.Literal


def _documented(docstring: str) -> dict[str, str]:
    """Descriptions of the parameters in a numpydoc docstring, by name."""
    section = re.search(r"^Parameters\n-+\n(.*?)(?=\n\n\w+\n-+\n|\Z)", docstring, re.DOTALL | re.MULTILINE)
    found = {}
    for entry in re.split(r"\n(?=\S)", section[1]) if section else ():
        names, _, text = entry.partition("\n")
        found |= dict.fromkeys(re.split(r",\s*", names.partition(" :")[0].strip()), " ".join(text.split()))
    return found


# ---- argparse ------------------------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """Says what is wrong by an `InputError`, not by ending the program."""

    def error(self, message: str):
        raise InputError(f"{message.removeprefix('argument ')} (see --help)")


def _parser(function: Callable, own: Mapping[str, Flag], options: Mapping[str, Flag], prog: str) -> _Parser:
    """The parser, whose help shows the problem, then the flags in groups."""
    about = getattr(function, "__globals__", {}).get("__doc__") or inspect.getdoc(function) or ""
    parser = _Parser(prog=prog, usage=f"{prog} [flags]", description=about.split("\nReferences\n")[0].strip(),
                     allow_abbrev=False, argument_default=argparse.SUPPRESS,
                     formatter_class=argparse.RawDescriptionHelpFormatter)
    preferred = preferences(inspect.getfile(function))
    groups = {"parameters of the case": tuple(own), "network": NETWORK, "output": OUTPUT}
    rest = tuple(name for name in options if not any(name in names for names in groups.values()))
    for title in ("parameters of the case", "network", "search", "output"):
        group = parser.add_argument_group(title)
        for name in groups.get(title, rest):
            if title == "parameters of the case":
                own[name].add_to(group, own[name].default)
            elif name not in own:
                options[name].add_to(group, preferred.get(name, options[name].default))
    return parser


def _read(parser: _Parser, flags: Mapping[str, Flag], argv: Sequence[str]) -> dict:
    """Values by name of the flags that were given."""
    found, unknown = parser.parse_known_args(_words(argv))
    if unknown:
        near = difflib.get_close_matches(unknown[0], [flag.word for flag in flags.values()], 1)
        raise InputError(f"unknown flag {unknown[0]}{f'; did you mean {near[0]}?' if near else ''} (see --help)")
    return {name: value if isinstance(value, bool) else flags[name].value(value) for name, value in vars(found).items()}


def _words(argv: Sequence[str]) -> list[str]:
    """The words with dashes for underscores in flags, and -1e-3 as -0.001, which argparse takes for a number."""
    words = []
    for word in argv:
        head, equals, tail = word.partition("=")
        if word == "--nodal":
            word = "--ansatz=finite-element"
        elif word.startswith("--"):
            word = head.replace("_", "-") + equals + tail
        elif re.fullmatch(r"-[\d.]+[eE][+-]?\d+", word):
            word = format(Decimal(word), "f")
        words.append(word)
    return words
