"""The tests that search, once for each of the roundings that other machines have: ``make test-kernels``.

A search amplifies the last digit: what one machine finds, another may miss. OpenBLAS and torch contain the kernels of
many processors and take one by an environment variable; the number of threads changes the order of sums; and moving
every start by 1e-13 does what any of them does. Each of OpenBLAS's kernels runs beside one of torch's. Left out
are kernels that this processor or this build does not have, and those whose products have no digit that others lack.
"""

import itertools
import os
import subprocess
import sys
import time

CORES = ("Haswell", "Sandybridge", "Nehalem", "Zen", "SkylakeX")
TORCH = ("default", "avx2")
OTHERS = ({"OMP_NUM_THREADS": "2"}, {"OMP_NUM_THREADS": "2", "ATEN_CPU_CAPABILITY": "default"})
SIDE_BY_SIDE = ["-n", "2", "--dist", "worksteal"]  # two processes where each has one thread
TAKEN = """
import hashlib, numpy, threadpoolctl
matrices = [numpy.random.default_rng(0).standard_normal((size, size // 2)) for size in (10, 75, 400)]
products = [product for A in matrices for product in (A @ A[0], A.T @ A, A @ A.T, numpy.linalg.cholesky(A.T @ A))]
print(hashlib.sha1(b"".join(map(numpy.ndarray.tobytes, products))).hexdigest())
print(*{library["architecture"] for library in threadpoolctl.threadpool_info()})
"""


def python(*words, **environment):
    """Runs this Python with some variables set, its output kept."""
    return subprocess.run([sys.executable, *words], env=os.environ | environment, capture_output=True, text=True)


def settings():
    """Variables and pytest arguments of every run."""
    seen, torch = {}, itertools.cycle(TORCH)
    for core in CORES:
        digits, taken = python("-c", TAKEN, OPENBLAS_CORETYPE=core).stdout.splitlines()
        if taken != core or digits in seen:
            print(f"{core}: " + ("no such kernels here" if taken != core else f"as {seen[digits]}"), flush=True)
            continue
        seen[digits] = core
        yield {"OPENBLAS_CORETYPE": core, "ATEN_CPU_CAPABILITY": next(torch)}, SIDE_BY_SIDE
    yield from ((environment, []) for environment in OTHERS)
    yield {}, [*SIDE_BY_SIDE, "--perturb", "1e-13"]


def main(arguments) -> int:
    """Number of settings under which a test failed."""
    failures = 0
    for environment, flags in settings():
        start = time.perf_counter()
        done = python("-m", "pytest", "-q", "-m", "search and not slow", *flags, *arguments, **environment)
        name = ", ".join([*environment.values(), *(flag for flag in flags if flag not in SIDE_BY_SIDE)])
        print(f"{name}: {done.stdout.strip().splitlines()[-1]} ({time.perf_counter() - start:.0f} s)", flush=True)
        if done.returncode:
            failures += 1
            print(done.stdout, done.stderr, flush=True)
    return failures


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
