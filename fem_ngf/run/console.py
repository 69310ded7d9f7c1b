"""The console: one for all processes, and no run fails for the lack of it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator

from ..parallel.launch import launched


@contextlib.contextmanager
def one_console() -> Iterator[None]:
    """Only the first of the launched processes writes to the console, as long as there is one."""
    with open(os.devnull, "w") as nowhere:
        streams = (sys.stdout or nowhere, sys.stderr or nowhere) if launched()[1] == 0 else (nowhere, nowhere)
        out, err = map(Console, streams)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                yield
            finally:
                out.flush()


class Console:
    """A stream that takes what it can show and drops the rest.

    When a terminal, a pipe or the disk of a log has gone, what follows goes nowhere: a run writes its files all the
    same. Characters that its encoding does not have are spelled out.

    Parameters
    ----------
    stream
        Where to write.
    """

    def __init__(self, stream):
        self._stream = stream

    def __getattr__(self, name: str):
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text, or what can be written of it."""
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        self._attempt(lambda: self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding)))
        return len(text)

    def flush(self) -> None:
        """Write what is waiting."""
        self._attempt(self._stream.flush)

    def _attempt(self, action: Callable[[], object]) -> None:
        try:
            action()
        except (OSError, ValueError):  # it has gone, or was closed
            with contextlib.suppress(OSError, ValueError, AttributeError), open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), self._stream.fileno())  # what still waits in it is dropped at the end
