"""Shared settings of the tests: one thread unless told otherwise, no display, and starts that rounding moves."""

import os
import tempfile
from functools import wraps

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import numpy as np
import torch
from threadpoolctl import threadpool_info

from fem_ngf import MLP, GradNetC, GradNetM, TorchModule

NOTES = tempfile.TemporaryDirectory()
os.environ["XDG_STATE_HOME"] = NOTES.name  # which case files were run is noted there, not in the tester's home
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


def pytest_addoption(parser):
    parser.addoption("--perturb", type=float, default=0.0, metavar="EPS",
                     help="move the start of every network by a relative EPS, as another machine's rounding would")


def pytest_configure(config):
    if epsilon := config.getoption("perturb"):
        for network in (MLP, GradNetC, GradNetM, TorchModule):
            network.initial = moved(network.initial, epsilon)


def moved(initial, epsilon):
    """The method `initial` of a network with every parameter it returns moved by a relative `epsilon`."""

    @wraps(initial)
    def start(self, generator):
        theta = initial(self, generator)
        return theta * (1.0 + epsilon * np.random.default_rng(0).standard_normal(theta.shape))

    return start


def pytest_report_header(config):
    kernels = {library["architecture"] for library in threadpool_info() if library["internal_api"] == "openblas"}
    return (f"kernels: OpenBLAS {', '.join(sorted(kernels))}; torch {torch.backends.cpu.get_cpu_capability()}; "
            f"{torch.get_num_threads()} threads; starts moved by {config.getoption('perturb'):g}")
