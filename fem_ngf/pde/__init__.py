"""Partial differential equations: problems that map a parameter to a state, and the states as linearisation points."""
