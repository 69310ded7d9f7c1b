"""Files and pictures of a result: ParaView, plots, report."""
