"""Ctrl-C and SIGTERM: between two files, never inside one."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """The run was asked to stop; `code` is the exit code of the process (128 + signal)."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


class Signals:
    """Turns Ctrl-C and SIGTERM into `Interrupted`; what happens inside `held` is finished before."""

    def __init__(self):
        self._pending = 0
        self._held = False

    def __enter__(self):
        allowed = threading.current_thread() is threading.main_thread()
        self._before = {number: signal.signal(number, self._arrived) for number in _SIGNALS if allowed}
        return self

    def __exit__(self, *error):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def held(self):
        """A stretch of work that a signal does not cut."""
        self._pending, self._held = 0, True
        try:
            yield
        finally:
            self._held = False
        if self._pending:
            raise Interrupted(self._pending)

    def _arrived(self, number, frame):
        self._pending = number
        if not self._held:
            raise Interrupted(number)
