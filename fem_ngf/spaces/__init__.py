"""Finite-element spaces and data sets as Hilbert spaces; samples, vectors and covectors."""
