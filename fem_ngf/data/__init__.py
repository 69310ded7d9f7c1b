"""Observations of a state, measurements from files, noise models."""
