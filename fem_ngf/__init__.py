"""Identify unknown fields in partial differential equations: neural unknowns, finite-element Hilbert geometry.

The unknown is a neural network, the geometry of the search is a finite-element
Hilbert space: Newton's method searches there, or the space's own gradient flow is followed.

All public names are imported from here. ``__init__.pyi`` lists them with the modules that define them; each is loaded
when it is first used, so that ``import fem_ngf`` costs nothing.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
