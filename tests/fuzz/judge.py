"""Carries attacks out in this process and says what was wrong with the answers."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

from fem_ngf.run.cli import command

from .commands import CASE, QUICK, Attack

LONGEST = 20  # seconds


class Hang(BaseException):
    """The command did not answer in time."""


@contextlib.contextmanager
def patience(seconds: int = LONGEST) -> Iterator[None]:
    """Raises `Hang` when the block takes longer."""

    def too_long(number, frame):
        raise Hang

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def finished_run(folder: Path) -> Path:
    """A run directory to be damaged, with all that a checkpoint can hold."""
    words = ["run", str(CASE), *QUICK, "--weight", "discrepancy", "--control", "--out", str(folder / "finished")]
    with contextlib.redirect_stdout(io.StringIO()):
        assert command(words) == 0
    return folder / "finished"


def faults(attacks: Iterable[Attack]) -> Iterator[tuple[Attack, str, float]]:
    """Each attack with what was wrong with the answer, empty where nothing was, and the seconds it took."""
    for attack in attacks:
        with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
            start = time.perf_counter()
            yield attack, fault(attack, Path(name)), time.perf_counter() - start


def fault(attack: Attack, folder: Path) -> str:
    """What was wrong with the answer to an attack."""
    words = attack.words(folder)
    before = content(folder)
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), patience(), warnings.catch_warnings():
            warnings.simplefilter("default")
            code = command(words)
    except Hang:
        return "hang"
    except SystemExit as end:
        code = end.code
    except BaseException as error:
        return f"traceback: {type(error).__name__}: {error}"
    told = err.getvalue()
    if code not in attack.codes:
        return f"exit code {code} instead of {attack.codes}: {told.strip()[-300:]}"
    if code and not re.fullmatch(r"fem-ngf: [^\n]+\n", told):
        return f"{told.count(chr(10))} lines: {told[:300]!r}"
    if "fem_ngf itself failed" in told:
        return told.strip()
    if any(".tmp" in each.name for each in folder.rglob(".*")):
        return "temporary files are left"
    if code == 2 and content(folder) != before:
        return f"debris: {sorted(content(folder).keys() ^ before.keys())}"
    return ""


def content(folder: Path) -> dict[str, bytes]:
    """Files and directories below a folder, without Python's caches."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
            for path in folder.rglob("*") if "__pycache__" not in path.parts and os.access(path, os.R_OK)}
