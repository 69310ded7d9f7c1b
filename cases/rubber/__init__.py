"""Rubber: laws of its stored energy, the plate that is pulled, and the paths on which identified laws are judged."""
