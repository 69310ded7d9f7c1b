"""Case files: from a path to a case, with errors that a user can act on."""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from ..errors import InputError
from .case import Case


def load_function(path: str | Path) -> Callable[..., Case]:
    """The function ``case`` of a case file.

    Raises
    ------
    InputError
        If there is no such file, it cannot be imported, or it has no function ``case``.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"case file {path} does not exist" if not path.exists() else f"case file {path} is no file")
    if path.suffix != ".py":
        raise InputError(f"case file {path} is no Python file; its name must end in .py")
    if str(path.resolve().parent) not in sys.path:  # a case may have modules beside it, as any script
        sys.path.append(str(path.resolve().parent))
    spec = importlib.util.spec_from_file_location(f"fem_ngf_case_{path.stem}", path.resolve())
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise InputError(f"case file {path} cannot be imported: {_described(error, path)}") from error
    function = getattr(module, "case", None)
    if not callable(function):
        raise InputError(f"case file {path} has no function case(); write one that returns a fem_ngf.run.Case")
    return function


def build(function: Callable[..., Case], arguments: dict, path: str | Path) -> Case:
    """The case that a case function makes.

    Raises
    ------
    InputError
        If the function fails or returns something else. With the environment variable ``FEM_NGF_DEBUG`` set,
        unexpected errors come with their traceback.
    """
    try:
        case = function(**arguments)
    except InputError:
        raise
    except Exception as error:
        if os.environ.get("FEM_NGF_DEBUG"):
            raise
        raise InputError(f"case file {path}: case() failed with {_described(error, Path(path))}") from error
    if not isinstance(case, Case):
        raise InputError(f"case file {path}: case() returned a {type(case).__name__} instead of a fem_ngf.run.Case")
    return case


def _described(error: Exception, path: Path) -> str:
    """Kind, text and place of an error in one line."""
    line = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else None
    for frame in traceback.extract_tb(error.__traceback__):
        if Path(frame.filename) == path.resolve():
            line = frame.lineno
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    place = f" (line {line})" if line else ""
    return f"{type(error).__name__}: {' '.join(text.split())}{place}"
