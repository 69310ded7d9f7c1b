"""Energies on a finite-element Hilbert space."""
