"""Re-assembly of the P2 diffusion tangent against scikit-fem's assembly of the same form written by hand.

The form is ``exp(m) grad u . grad v`` with u in P2 and m in P1 on n x n x 2 triangles. Both sides are timed in turn
in one process on one thread, after a first call that builds patterns and tables; the best of several repetitions
counts. Run it with

    OMP_NUM_THREADS=1 python benchmarks/assembly.py [n]
"""

import os
import sys
import time

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import skfem
import skfem.helpers
import torch

from fem_ngf import WeakForm, dot, grad


def hand_written():
    """The tangent in scikit-fem."""

    @skfem.BilinearForm
    def tangent(u, v, w):
        return np.exp(w.m) * skfem.helpers.dot(skfem.helpers.grad(u), skfem.helpers.grad(v))

    return tangent


def compare(cells=128, repetitions=9):
    """Seconds of our tangent and of scikit-fem's, and their relative difference.

    Parameters
    ----------
    cells : int
        n.
    repetitions : int

    Returns
    -------
    (ours, theirs, difference) : tuple of float
    """
    line = np.linspace(0, 1, cells + 1)
    state = skfem.Basis(skfem.MeshTri.init_tensor(line, line), skfem.ElementTriP2())
    parameter = state.with_element(skfem.ElementTriP1())
    form = WeakForm(lambda u, v, m, w: torch.exp(m) * dot(grad(u), grad(v)), state, parameter)
    reference, rng = hand_written(), np.random.default_rng(0)
    u, m = rng.standard_normal(form.state_size), rng.standard_normal(form.parameter_size)
    ours, theirs = form.tangent(u, m), reference.assemble(state, m=parameter.interpolate(m))
    difference = abs(ours - theirs).max() / abs(theirs).max()
    seconds = np.empty((repetitions, 2))
    for row in seconds:
        times = [time.perf_counter()]
        form.tangent(u, m)
        times.append(time.perf_counter())
        reference.assemble(state, m=parameter.interpolate(m))
        times.append(time.perf_counter())
        row[:] = np.diff(times)
    return *seconds.min(axis=0), difference


if __name__ == "__main__":
    torch.set_num_threads(1)
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 128
    mine, skfem_seconds, error = compare(size)
    print(f"P2 diffusion tangent, {size} x {size} x 2 triangles, one thread")
    print(f"fem_ngf    {mine:.4f} s")
    print(f"scikit-fem {skfem_seconds:.4f} s")
    print(f"ratio      {mine / skfem_seconds:.2f}   (relative difference {error:.1e})")
