"""The command ``fem-ngf``."""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, get_args

from ..errors import InputError, SolveError
from .arguments import parse
from .loading import build, load_function, read_function
from .options import RULE, RunOptions, check_values

if TYPE_CHECKING:
    from .case import Case

USAGE = """\
fem-ngf: identify unknown fields in partial differential equations

  fem-ngf run CASE.py [flags]      identify; the flags are the case's own parameters and the options of a run
  fem-ngf resume DIR [flags]       go on with an interrupted run (or a finished one, with --iterations N)
  fem-ngf verify CASE.py [flags]   check the case's derivatives: Taylor rates, adjoint identity, Gram matrix
  fem-ngf compare CASE.py [flags]  run all methods on the same data and tabulate energies, PDE solves, errors, seconds;
                                   --budget WORK cuts every method there (default 300 solves on the finest mesh)
  fem-ngf report DIR               write the fields, the pictures and the report of a run again

  fem-ngf run CASE.py --help       lists the flags of a case
"""


def main(case: Callable[..., Case] | None = None) -> NoReturn:
    """Entry point of ``fem-ngf``, or of a case file: ``if __name__ == "__main__": main(case)``."""
    raise SystemExit(command(sys.argv[1:]) if case is None else command(sys.argv[1:], case))


def command(argv: Sequence[str], function: Callable[..., Case] | None = None) -> int:
    """Run a command line and return its exit code: 0, 1 (failed), 2 (bad input), 130, 143 (interrupted).

    Parameters
    ----------
    argv
        Words after the program's name; with a `function` the flags of ``run``.
    function
        Case function of the calling script.
    """
    try:
        if function is not None:
            return _run(inspect.getfile(function), list(argv), function)
        return _dispatch(list(argv))
    except InputError as error:
        print(f"fem-ngf: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except SolveError as error:
        print(f"fem-ngf: the computation failed: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("fem-ngf: interrupted", file=sys.stderr)
        return 130


def _dispatch(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(USAGE, end="")
        return 0 if argv else 2
    commands: dict[str, Callable[[str, list[str]], int]] = {
        "run": _run, "resume": _resume, "verify": _verify, "compare": _compare, "report": _report}
    if argv[0] not in commands:
        raise InputError(f"unknown command {argv[0]!r}; choose one of {', '.join(commands)}")
    wants = "DIR" if argv[0] in ("resume", "report") else "CASE.py"
    if len(argv) < 2 or (argv[1].startswith("-") and argv[1] not in ("-h", "--help")):
        raise InputError(f"fem-ngf {argv[0]} needs {wants} first")
    if argv[1] in ("-h", "--help"):
        print(USAGE, end="")
        return 0
    return commands[argv[0]](argv[1], argv[2:])


def prepare(path: str, flags: Sequence[str], function: Callable[..., Case] | None = None, prog: str = "fem-ngf run"):
    """The identification that a command line describes, and its origin.

    Raises
    ------
    InputError
        If anything that the user gave cannot be used.
    """
    arguments, given = parse(function or read_function(path), flags, f"{prog} {path}")
    check_values(given)

    from threadpoolctl import threadpool_limits

    from .identification import Identification
    from .record import Origin

    function = function or load_function(path)
    before = time.process_time()
    with threadpool_limits(given.get("threads", 1)):
        case = build(function, arguments, path)
        options = RunOptions.merged(case.defaults, given)
        identification = Identification.of(case, options)
    plain = {name: value if isinstance(value, int | float | str | None) else str(value)
             for name, value in arguments.items()}
    return identification, Origin(str(path), os.getcwd(), tuple(flags), plain, time.process_time() - before)


def _run(path: str, flags: list[str], function: Callable[..., Case] | None = None) -> int:
    identification, origin = prepare(path, flags, function)

    from threadpoolctl import threadpool_limits

    from .execution import run
    from .record import Record, check_folder, create_folder
    from .weighting import choose

    folder = identification.options.out or Path("runs") / identification.case.name
    check_folder(folder)
    rule, record = identification.options.weight, Record()
    if rule in get_args(RULE):
        say = _silent if identification.options.quiet else print
        with threadpool_limits(identification.options.threads):
            identification, record.stage, record.rows, choice = choose(identification, rule, record.clock, say)
        flags = [*flags, "--weight", str(identification.options.weight)]
        origin = replace(origin, flags=tuple(flags), weight_choice=choice)
        create_folder(folder)
    return run(identification, origin, folder, record)


def _silent(line: str) -> None:
    pass


def _restored(folder: str, flags: Sequence[str] = ()):
    """Identification, origin and record of a run directory."""
    from .execution import resumed
    from .record import Origin, load_checkpoint

    content = load_checkpoint(folder)
    origin = content["origin"]
    if not Path(origin["folder"]).is_dir():
        raise InputError(f"{folder} was started in {origin['folder']}, which does not exist any more")
    with contextlib.chdir(origin["folder"]):
        identification, _ = prepare(origin["path"], [*origin["flags"], *flags], prog="fem-ngf resume")
    origin = Origin(**{**origin, "flags": (*origin["flags"], *flags)})
    return identification, origin, resumed(identification, content, Path(folder))


def _resume(folder: str, flags: list[str]) -> int:
    from .execution import run, unblocked

    identification, origin, record = _restored(folder, flags)
    return run(identification, origin, Path(folder), unblocked(identification, record))


def _report(folder: str, flags: list[str]) -> int:
    from .execution import report

    if flags:
        raise InputError(f"fem-ngf report takes a directory only, not {flags[0]}")
    identification, origin, record = _restored(folder)
    return report(identification, origin, Path(folder), record)


def _verify(path: str, flags: list[str]) -> int:
    """Print what `verify_flow` measures on the coarsest mesh in use; 1 if some of it failed."""
    identification, _ = prepare(path, flags, prog="fem-ngf verify")

    import numpy as np
    from threadpoolctl import threadpool_limits

    from ..verify import verify_flow

    flow, options = identification.continuation.flows[0], identification.options
    print(f"{identification.case.name}, mesh {identification.levels[0].label}, {options.ansatz} unknown with "
          f"{flow.ansatz.size} parameters, metric {options.metric}")
    with threadpool_limits(options.threads):
        checks = verify_flow(flow, np.random.default_rng(options.seed))
    print(*checks, sep="\n")
    if not any("the newton Hessian" in check.name for check in checks):
        print("this energy has no exact Hessian, and its direction needs none")
    failed = sum(not check.passed for check in checks)
    print(f"{failed} of {len(checks)} checks failed" if failed else f"all {len(checks)} checks passed")
    return 1 if failed else 0


def _compare(path: str, flags: list[str]) -> int:
    budget, flags = _budget(flags)
    parse(read_function(path), flags, f"fem-ngf compare {path}")

    from .comparison import compare

    return compare(lambda more: prepare(path, [*flags, *more], prog="fem-ngf compare")[0], budget)


def _budget(flags: list[str]) -> tuple[float, list[str]]:
    """The flag ``--budget WORK`` of ``compare``, and the other flags."""
    if "--budget" not in flags:
        return 300.0, flags
    place = flags.index("--budget")
    value = "".join(flags[place + 1 : place + 2])
    try:
        budget = float(value)
    except ValueError:
        budget = 0.0
    if not budget > 0:
        raise InputError(f"budget is {value!r}; it must be a positive number of PDE solves on the finest mesh")
    return budget, [*flags[:place], *flags[place + 2 :]]
