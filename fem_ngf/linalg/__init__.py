"""Linear algebra: symmetric positive definite operators, factorisations, conjugate gradients."""
