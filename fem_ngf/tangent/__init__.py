"""The tangent space of an ansatz: its Gram matrix, and the projection of a gradient."""
