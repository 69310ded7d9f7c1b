"""Neural and finite-element parametrisations of an unknown field.

An ansatz is a frozen value; its parameters theta are a flat float64 numpy
vector that it is given on every call.
"""
