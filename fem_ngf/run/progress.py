"""The live table: one line per iteration, plain when the output is no terminal."""

from __future__ import annotations

import sys

BOLD, MAGENTA, PLAIN = "\033[1m", "\033[35m", "\033[0m"

_COLUMNS = (
    ("step", "step", "5d"), ("mesh", "mesh", "12s"), ("energy", "energy", "13.6e"), ("misfit", "misfit", "10.3e"),
    ("regularization", "regular.", "10.3e"), ("gradient_norm", "|grad|_H", "10.3e"), ("alignment", "align", "6.3f"),
    ("fit", "fit", "8.1e"), ("step_size", "tau", "8.1e"), ("parameters", "param.", "6d"),
    ("pde_solves", "solves", "6d"), ("pde_work", "work", "7.1f"),
)


class Progress:
    """Prints rows of the history to the standard output as they come.

    Parameters
    ----------
    quiet
        Print nothing but the result.
    """

    def __init__(self, quiet: bool = False):
        self._quiet = quiet

    def header(self, title: str, *lines: str) -> None:
        """What is solved and the names of the columns."""
        if self._quiet:
            return
        self._print(title, BOLD)
        for line in lines:
            self._print(line)
        self._print(" ".join(_padded(name, form) for _, name, form in _COLUMNS), BOLD)

    def line(self, row: dict) -> None:
        """One iteration."""
        if self._quiet:
            return
        self._print(" ".join(_cell(row[key], form) for key, _, form in _COLUMNS))
        if row["event"]:
            self._print(f"      {row['event']}", MAGENTA)

    def result(self, *lines: str) -> None:
        """How the run ended and where its files are."""
        for line in lines:
            self._print(line)

    def _print(self, text: str, style: str = "") -> None:
        print(f"{style}{text}{PLAIN}" if style and sys.stdout.isatty() else text, flush=True)


def _cell(value, form: str) -> str:
    return " " * _width(form) if value == "" else format(value, form)[: max(_width(form), 12)]


def _padded(name: str, form: str) -> str:
    return name.ljust(_width(form)) if form.endswith("s") else name.rjust(_width(form))


def _width(form: str) -> int:
    return int(form.split(".")[0].strip("sdef"))
