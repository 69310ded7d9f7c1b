"""Partial differential equations: problems that map a parameter to a state, and the states as linearisation points."""

from .counts import SolveCounts as SolveCounts
from .stationary import State as State
from .stationary import StationaryProblem as StationaryProblem
