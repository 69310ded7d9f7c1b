"""Descent flows: in the Hilbert space with retraction, projected on the tangent space, and baselines on theta.

The systems of METHOD section 5 are rules of one `DirectedFlow`, spaces (`sobolev_samples`), or `AdaptedFlow`.
"""
