"""Choosing the weight of the regularisation: discrepancy principle, L-curve, generalised cross-validation."""
