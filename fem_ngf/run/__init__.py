"""Cases and the command line: one script a problem, one directory a run."""

from .case import Case, Level
from .cli import command, main
from .identification import Identification
from .options import RunOptions

__all__ = ["Case", "Identification", "Level", "RunOptions", "command", "main"]
