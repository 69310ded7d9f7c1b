"""Evolutions: their schemes in time, their trajectories with exact discrete derivatives."""
