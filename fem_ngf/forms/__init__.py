"""Weak forms written once, pointwise, in torch; their residuals, tangents and second derivatives."""
