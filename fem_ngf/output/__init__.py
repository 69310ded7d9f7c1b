"""Files and pictures of a result: ParaView, plots, report."""

from .vtk import write_fields

__all__ = ["write_fields"]
