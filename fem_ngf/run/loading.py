"""Case files: from a path to a case, with errors that a user can act on, and which files may run."""

from __future__ import annotations

import ast
import builtins
import contextlib
import difflib
import hashlib
import importlib.util
import inspect
import keyword
import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    from .case import Case

LIGHT = ("__future__", "pathlib", "typing")
"""Modules from which a case's signature may take names without the import of the case file."""


def shipped() -> dict[str, Path]:
    """The cases that come with the package, by name: those of the wheel, or of the checkout."""
    package = Path(__file__).parents[1]
    folder = package / "examples" / "cases"
    return {path.stem: path for path in sorted((folder if folder.is_dir() else package.parent / "cases").glob("*.py"))}


def summary_of(path: Path) -> str:
    """What a case file identifies: the first line of its function's documentation."""
    functions = (node for node in _parsed(path).body if isinstance(node, ast.FunctionDef) and node.name == "case")
    return next(((ast.get_docstring(node) or "").partition("\n")[0] for node in functions), "")


def found(name: str) -> str:
    """The path of a case: a file's, or that of a case which comes with the package.

    Raises
    ------
    InputError
        If the name is that of neither.
    """
    cases = shipped()
    if not re.fullmatch(r"\w+", name) or Path(name).exists():
        return name
    if name not in cases:
        near = difflib.get_close_matches(name, cases, 1)
        raise InputError(f"there is no case {name!r}{f'; did you mean {near[0]}?' if near else ''} (fem-ngf cases "
                         "lists them; a file's name ends in .py)")
    return str(cases[name])


def write_new(name: str) -> Path:
    """Write ``NAME.py``, a commented case that runs, into the working directory.

    Raises
    ------
    InputError
        If it is there already, the name is none, or that of a Python module, which the file would hide.
    """
    name = name.removesuffix(".py")
    path = Path(f"{name}.py")
    if not name.isidentifier() or keyword.iskeyword(name) or len(name) > 100:
        raise InputError(f"name is {name[:100]!r}; give one of letters, digits and _, such as my_case")
    if path.exists():
        raise InputError(f"{path} exists already; give another name")
    if importlib.util.find_spec(name) is not None:
        raise InputError(f"name is {name!r}, which a Python module has; give another name")
    path.write_text(Path(__file__).with_name("template.py").read_text().replace("my_case", name))
    return path


def read_function(path: str | Path) -> Callable[..., Case]:
    """The function ``case`` of a case file, without its body if that is enough to read its flags.

    The file is not imported, and with it neither torch nor scikit-fem, where annotations and defaults need nothing but
    constants and the names of `LIGHT`.

    Raises
    ------
    InputError
        As `load_function`.
    """
    tree = _parsed(Path(path))
    names = {name: getattr(builtins, name) for name in ("__import__", "int", "float", "str", "bool", "tuple", "dict")}
    scope: dict = {"__name__": "fem_ngf_signature", "__builtins__": names, "__doc__": ast.get_docstring(tree)}
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            if not set(modules) <= set(LIGHT):
                continue
        elif isinstance(node, ast.FunctionDef) and node.name == "case" and not node.decorator_list:
            node.body, node.returns = [ast.Expr(ast.Constant(ast.get_docstring(node) or ""))], None
        elif not isinstance(node, ast.Assign):
            continue
        module = ast.Module([ast.fix_missing_locations(node)], [])
        try:
            exec(compile(module, str(path), "exec", dont_inherit=True), scope)
        except Exception:  # it needs more than constants
            continue
    found = scope.get("case")
    return found if inspect.isfunction(found) else load_function(path)


def preferences(path: str | Path) -> dict[str, object]:
    """The run options that a case file sets in ``defaults={...}``, as far as its text tells their values."""
    found: dict[str, object] = {}
    for node in ast.walk(_parsed(Path(path))):
        if not isinstance(node, ast.keyword | ast.Assign) or not isinstance(node.value, ast.Dict):
            continue
        name = node.arg if isinstance(node, ast.keyword) else ast.unparse(node.targets[0])
        if name == "defaults":
            entries = zip(node.value.keys, node.value.values, strict=True)
            found |= {str(key.value): _constant(value) for key, value in entries if isinstance(key, ast.Constant)}
    return found


def _constant(node: ast.expr) -> object:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return "chosen by the case"


def _parsed(path: Path) -> ast.Module:
    if not path.is_file():
        raise InputError(f"case file {path} does not exist" if not path.exists() else f"case file {path} is no file")
    if path.suffix != ".py":
        raise InputError(f"case file {path} is no Python file; its name must end in .py")
    try:
        return ast.parse(path.read_bytes(), str(path))
    except (SyntaxError, ValueError, OSError, RecursionError, MemoryError) as error:  # the last two: nested too deeply
        raise InputError(f"case file {path} cannot be read: {described(error)}") from error


def load_function(path: str | Path) -> Callable[..., Case]:
    """The function ``case`` of a case file.

    Raises
    ------
    InputError
        If there is no such file, it cannot be imported, or it has no function ``case``.
    """
    path = Path(path)
    _parsed(path)
    if str(path.resolve().parent) not in sys.path:  # a case may have modules beside it, as any script
        sys.path.append(str(path.resolve().parent))
    spec = importlib.util.spec_from_file_location(f"fem_ngf_case_{path.stem}", path.resolve())
    assert spec is not None and spec.loader is not None, "the suffix is .py"
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise InputError(f"case file {path} cannot be imported: {described(error)}") from error
    function = getattr(module, "case", None)
    if not callable(function) or isinstance(function, type) or inspect.iscoroutinefunction(function):
        raise InputError(f"case file {path} has no function case(); write one that returns a fem_ngf.Case")
    return function


def build(function: Callable[..., Case], arguments: dict, path: str | Path) -> Case:
    """The case that a case function makes.

    Raises
    ------
    InputError
        If the function fails or returns something else. With the environment variable ``FEM_NGF_DEBUG`` set,
        unexpected errors come with their traceback.
    """
    from .case import Case

    try:
        case = function(**arguments)
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        if os.environ.get("FEM_NGF_DEBUG"):
            raise
        raise InputError(f"case file {path}: case() failed with {described(error)}") from error
    if not isinstance(case, Case):
        raise InputError(f"case file {path}: case() returned a {type(case).__name__} instead of a fem_ngf.Case")
    title = case.title or (inspect.getdoc(function) or "").partition("\n")[0].rstrip(".")
    return replace(case, title=title, about=case.about or function.__globals__.get("__doc__") or "")


# ---- errors in what the user wrote ----------------------------------------------------------------------------------

_INSTALLED = (str(Path(__file__).resolve().parents[1]),
              *(str(Path(sysconfig.get_path(place)).resolve()) for place in ("stdlib", "purelib", "platlib")))


def is_users(error: BaseException) -> bool:
    """Whether an error came up in, or below, a file that belongs neither to this package nor to what is installed."""
    return bool(_users_frames(error))


def described(error: BaseException) -> str:
    """Kind, text and place of an error in one line; the place is the innermost line that the user wrote."""
    line = f" (line {error.lineno})" if isinstance(error, SyntaxError) and error.lineno else ""
    text = f"{error.msg}{line}" if isinstance(error, SyntaxError) else str(error)
    frames = _users_frames(error) or traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    kind = "sys.exit" if isinstance(error, SystemExit) else type(error).__name__
    return f"{kind}: {' '.join(text.split())}{'' if line else place}"


def _users_frames(error: BaseException) -> list[traceback.FrameSummary]:
    frames = traceback.extract_tb(error.__traceback__)
    return [frame for frame in frames if Path(frame.filename).is_file()
            and not str(Path(frame.filename).resolve()).startswith(_INSTALLED)]


# ---- which files may run --------------------------------------------------------------------------------------------


def trust(path: str | Path) -> None:
    """Remember that the user ran this very file, in a place of the user's own (``$XDG_STATE_HOME/fem_ngf/cases``)."""
    with contextlib.suppress(OSError, RuntimeError):  # no home, or a full one: resume will ask for --trust
        entry = _entry(path)
        entry.parent.mkdir(parents=True, exist_ok=True)
        entry.touch()


def check_trusted(path: str | Path) -> None:
    """Refuse to run a case file because a checkpoint names it.

    Raises
    ------
    InputError
        Unless the user ran that file, and it is the same to the last letter.
    """
    if not Path(path).is_file():
        raise InputError(f"case file {path} is not there any more")
    with contextlib.suppress(OSError, RuntimeError):
        if _entry(path).exists():
            return
    raise InputError(f"case file {path} has changed since you ran it, or a module beside it that it imports, or you "
                     "never ran it; read it, then add --trust to run what it says now")


def _entry(path: str | Path) -> Path:
    """The note that stands for the places and the contents of a file and of the modules beside it that it imports."""
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    digest = hashlib.sha256()
    for each, text in sorted(_sources(Path(path).resolve()).items()):
        digest.update(bytes(each) + b"\0" + text + b"\0")
    return home / "fem_ngf" / "cases" / digest.hexdigest()


def _sources(path: Path) -> dict[Path, bytes]:
    """The texts of a file and of what it imports from its own folder, directly or not, by their places."""
    found: dict[Path, bytes] = {}
    waiting = [path]
    while waiting:
        each = waiting.pop()
        if each in found:
            continue
        found[each] = each.read_bytes()
        with contextlib.suppress(SyntaxError, ValueError):
            waiting += [place for place in _imported(ast.parse(found[each]), each, path.parent) if place.is_file()]
    return found


def _imported(tree: ast.Module, path: Path, root: Path) -> Iterator[Path]:
    """Where the modules that a file imports would be, in the folder `root` or relative to the file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [(root, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = path.parents[node.level - 1] if node.level else root
            prefix = [node.module] if node.module else []
            modules = [(base, ".".join([*prefix, alias.name])) for alias in node.names]
        else:
            continue
        for folder, name in modules:
            parts = name.split(".")
            for length in range(1, len(parts) + 1):
                place = folder.joinpath(*parts[:length])
                yield from (place.with_name(f"{place.name}.py"), place / "__init__.py")
