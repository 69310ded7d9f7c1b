"""The command ``fem-ngf``."""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, get_args

from ..errors import InputError, SolveError
from .arguments import defaults_of, parse
from .console import one_console
from .loading import (
    build,
    check_trusted,
    described,
    found,
    is_users,
    load_function,
    read_function,
    shipped,
    summary_of,
    trust,
    write_new,
)
from .options import RULE, SETTLED, RunOptions, check_values
from .processes import Processes

if TYPE_CHECKING:
    from .case import Case

USAGE = """\
fem-ngf: identify unknown fields in partial differential equations

  fem-ngf cases                    list the cases that come with the package
  fem-ngf new NAME                 write NAME.py, a commented case of your own to begin with
  fem-ngf run CASE [flags]         identify; CASE is a file, or the name of such a case; the flags are the
                                   case's own parameters and the options of a run
  fem-ngf resume DIR [flags]       go on with an interrupted run (or a finished one, with --iterations N)
  fem-ngf verify CASE [flags]      check the case's derivatives: Taylor rates, adjoint identity, Gram matrix
  fem-ngf compare CASE [flags]     run all methods on the same data and tabulate energies, PDE solves, errors, seconds;
                                   --budget WORK cuts every method there (default 300 solves on the finest mesh)
  fem-ngf report DIR               write the fields, the pictures and the report of a run again

  fem-ngf run CASE --help          lists the flags of a case

resume and report run the case file that you ran: one that has changed since, or that you never ran, needs --trust.
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
    with one_console():
        processes = Processes()
        try:
            processes = Processes.started()
            code = 0
        except InputError as error:
            code = _told(f"error: {error}", 2)
        return code or processes.ended(_executed(processes, list(argv), function))


def _executed(processes: Processes, argv: list[str], function: Callable[..., Case] | None) -> int:
    try:
        with _patient_warnings():
            if function is not None:
                return _run(processes, inspect.getfile(function), argv, function)
            return _dispatch(processes, argv)
    except InputError as error:
        return _told(f"error: {error}", 2)
    except SolveError as error:
        return _told(f"the computation failed: {error}", 1)
    except KeyboardInterrupt:
        return _told("interrupted", 130)
    except MemoryError:
        return _told("the memory of this machine does not suffice; take fewer cells, sensors or neurons", 1)
    except SystemExit as end:
        if not is_users(end):
            raise
        return _told(f"the case ended the program: {described(end)}", 1)
    except Exception as error:
        if os.environ.get("FEM_NGF_DEBUG"):
            raise
        whose = "the case" if is_users(error) else "the system" if isinstance(error, OSError) else "fem_ngf itself"
        return _told(f"{whose} failed: {described(error)}; with FEM_NGF_DEBUG=1 comes the traceback", 1)


def _told(message: str, code: int) -> int:
    """The exit code, after one line on the standard error."""
    print(f"fem-ngf: {' '.join(message.split())}", file=sys.stderr)
    return code


@contextlib.contextmanager
def _patient_warnings():
    """Warnings wait until the command has ended well; an error says more, and says it in one line."""
    with warnings.catch_warnings(record=True) as caught:
        yield
    for each in caught:
        warnings.showwarning(each.message, each.category, each.filename, each.lineno)


def _dispatch(processes: Processes, argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(USAGE, end="")
        return 0 if argv else 2
    commands: dict[str, Callable[[Processes, str, list[str]], int]] = {
        "run": _run, "resume": _resume, "verify": _verify, "compare": _compare, "report": _report}
    if argv[0] == "cases":
        return _cases(argv[1:])
    if argv[0] == "new":
        return _new(argv[1:])
    if argv[0] not in commands:
        raise InputError(f"unknown command {argv[0]!r}; choose one of cases, new, {', '.join(commands)}")
    if argv[0] in ("compare", "report"):
        processes.alone(argv[0])
    wants = "DIR" if argv[0] in ("resume", "report") else "CASE.py"
    if len(argv) < 2 or (argv[1].startswith("-") and argv[1] not in ("-h", "--help")):
        raise InputError(f"fem-ngf {argv[0]} needs {wants} first")
    if argv[1] in ("-h", "--help"):
        print(USAGE, end="")
        return 0
    return commands[argv[0]](processes, argv[1] if wants == "DIR" else found(argv[1]), argv[2:])


def _cases(flags: list[str]) -> int:
    if flags:
        raise InputError(f"fem-ngf cases takes nothing more, not {flags[0]}")
    for name, path in shipped().items():
        print(f"{name:<24}{summary_of(path)}")
    print("\nfem-ngf run NAME [flags] runs one of them; fem-ngf run NAME --help shows its problem")
    return 0


def _new(words: list[str]) -> int:
    if len(words) != 1:
        raise InputError("fem-ngf new needs one NAME")
    path = write_new(words[0])
    print(f"wrote {path}; fem-ngf run {path} runs it as it is")
    return 0


def prepare(path: str, flags: Sequence[str], function: Callable[..., Case] | None = None, prog: str = "fem-ngf run",
            processes: Processes | None = None):
    """The identification that a command line describes, and its origin; on several processes what they share.

    Raises
    ------
    InputError
        If anything that the user gave cannot be used.
    """
    processes = Processes() if processes is None else processes
    arguments, given = parse(function or read_function(path), flags, f"{prog} {path}")
    check_values(given)

    from threadpoolctl import threadpool_limits

    from .identification import Identification
    from .record import Origin
    from .results import jsonable

    function = function or load_function(path)
    if processes.first:
        trust(path)
    before = time.process_time()
    with threadpool_limits(given.get("threads", 1)):
        case = build(function, arguments, path)
        options = RunOptions.merged(case.defaults, given)
        identification = processes.spread(Identification.of(processes.shared(case, options.backend), options))
    seconds, defaults = time.process_time() - before, defaults_of(function)
    defaults = jsonable({name: defaults[name] for name in arguments if name in defaults})
    return identification, Origin(str(path), os.getcwd(), tuple(flags), jsonable(arguments), seconds, defaults=defaults)


def _run(processes: Processes, path: str, flags: list[str], function: Callable[..., Case] | None = None) -> int:
    identification, origin = processes.agreed(lambda: prepare(path, flags, function, processes=processes))

    from threadpoolctl import threadpool_limits

    from .directory import RunDirectory
    from .execution import run
    from .record import Record
    from .weighting import choose

    out = identification.options.out or Path("runs") / identification.case.name
    with processes.folder(out) as folder, RunDirectory(folder) as directory:
        processes.agreed(directory.check)
        rule, record = identification.options.weight, Record()
        if rule in get_args(RULE):
            say = _silent if identification.options.quiet else print
            with threadpool_limits(identification.options.threads):
                identification, record.stage, record.rows, choice = choose(identification, rule, record.clock, say)
            flags = [*flags, "--weight", str(identification.options.weight)]
            origin = replace(origin, flags=tuple(flags), weight_choice=choice)
            processes.agreed(directory.create)
        return run(identification, origin, directory, record)


def _silent(line: str) -> None:
    pass


@contextlib.contextmanager
def _restored(processes: Processes, folder: str, flags: list[str]):
    """Directory, identification, origin and record of a run that nobody else touches meanwhile."""
    from .checkpoint import load_run
    from .directory import RunDirectory
    from .execution import resumed
    from .record import Origin

    trusted, flags = "--trust" in flags, [flag for flag in flags if flag != "--trust"]
    with processes.folder(Path(folder)) as own, RunDirectory(own) as directory:
        content = processes.agreed(lambda: load_run(folder))
        processes.agreed(directory.claim)
        origin = content["origin"]
        if not Path(origin["folder"]).is_dir():
            raise InputError(f"{folder} was started in {origin['folder']}, which does not exist any more")
        with contextlib.chdir(origin["folder"]):
            if not trusted:
                processes.agreed(lambda: check_trusted(origin["path"]) if processes.first else None)
            identification, _ = processes.agreed(lambda: prepare(
                origin["path"], [*origin["flags"], *flags], prog="fem-ngf resume", processes=processes))
        origin = Origin(**{**origin, "flags": (*origin["flags"], *flags)})
        yield directory, identification, origin, resumed(identification, content, directory.path)


def _resume(processes: Processes, folder: str, flags: list[str]) -> int:
    from .execution import run, unblocked

    _refuse(flags, SETTLED, "cannot be given to resume: the run has it from its start; begin a new run")
    with _restored(processes, folder, flags) as (directory, identification, origin, record):
        return run(identification, origin, directory, unblocked(identification, record))


def _refuse(flags: list[str], names: Sequence[str], why: str) -> None:
    """InputError if one of the options is given, however it is spelled; ansatz is among them."""
    words = {f"--{no}{name.replace('_', '-')}" for name in names for no in ("", "no-")} | {"--nodal"}
    for flag in flags:
        if flag.partition("=")[0].replace("_", "-") in words:
            raise InputError(f"{flag} {why}")


def _check_weight(given: str | None, command: str) -> None:
    """InputError if a rule is to find the weight, which is another command's work."""
    if given in get_args(RULE):
        raise InputError(f"weight is {given!r}, a rule for fem-ngf run; give fem-ngf {command} a number")


def _report(processes: Processes, folder: str, flags: list[str]) -> int:
    from .execution import report

    if wrong := [flag for flag in flags if flag != "--trust"]:
        raise InputError(f"fem-ngf report takes a directory and --trust only, not {wrong[0]}")
    with _restored(processes, folder, flags) as (directory, identification, origin, record):
        return report(identification, origin, directory.path, record)


def _verify(processes: Processes, path: str, flags: list[str]) -> int:
    """Print what `verify_flow` measures on the coarsest mesh in use; 1 if some of it failed."""
    identification, _ = processes.agreed(lambda: prepare(path, flags, prog="fem-ngf verify", processes=processes))

    import numpy as np
    from threadpoolctl import threadpool_limits

    from ..verify import verify_flow

    flow, options = identification.continuation.flows[0], identification.options
    _check_weight(options.weight, "verify")
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


def _compare(processes: Processes, path: str, flags: list[str]) -> int:
    budget, flags = _budget(flags)
    _refuse(flags, ("ansatz", "flow", "method", "control"), "cannot be given to compare: it runs every flow, and nodal "
            "values")
    _check_weight(parse(read_function(path), flags, f"fem-ngf compare {path}")[1].get("weight"), "compare")

    from .comparison import compare

    return compare(lambda more: prepare(path, [*flags, *more], prog="fem-ngf compare")[0], budget)


def _budget(flags: list[str]) -> tuple[float, list[str]]:
    """The flag ``--budget WORK`` of ``compare``, and the other flags."""
    place = next((i for i, flag in enumerate(flags) if flag.partition("=")[0] == "--budget"), None)
    if place is None:
        return 300.0, flags
    _, equals, value = flags[place].partition("=")
    if not equals:
        value = "".join(flags[place + 1 : place + 2])
    try:
        budget = float(value)
    except ValueError:
        budget = 0.0
    if not budget > 0:
        raise InputError(f"budget is {value!r}; it must be a positive number of PDE solves on the finest mesh")
    return budget, [*flags[:place], *flags[place + (1 if equals else 2) :]]
