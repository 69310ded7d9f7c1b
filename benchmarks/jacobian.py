"""The hand-written Jacobian of the MLP against torch.func, at equal results.

    OMP_NUM_THREADS=1 python benchmarks/jacobian.py [--points 49152] [--widths 2 32 32 1] [--repeats 5]

Every variant writes the Jacobian of all points, block by block, into one reused
buffer of a block, as the assembly of a Gram matrix needs it. Each torch.func
variant runs at several block sizes and counts with its best; times are minima.
Exits with an error if the results differ by more than 1e-13 of the largest
entry or the ratio to torch.func's best is below three.
"""

import argparse
import platform
import sys
import time
from pathlib import Path

import numpy as np
import torch

from fem_ngf import MLP
from fem_ngf.ansatz.propagate import blocks

SIZES = (64, 128, 256, 512, 1024, 2048, 4096)
HAND = "hand-written"


def scalar_network(net: MLP, theta: torch.Tensor, point: torch.Tensor) -> torch.Tensor:
    """The network at one point (d,), in the plainest torch."""
    z, start = 2.0 * point - 1.0, 0
    for index, (columns, rows) in enumerate(zip(net.widths[:-1], net.widths[1:], strict=True)):
        matrix = theta[start:start + rows * columns].view(rows, columns)
        z = matrix @ z + theta[start + rows * columns:start + rows * columns + rows]
        z = torch.tanh(z) if index + 2 < len(net.widths) else z
        start += rows * (columns + 1)
    return z[0]


def batched_network(net: MLP, theta: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """The network at points (q, d), one copy of the parameters for each point: theta (q, P)."""
    z, start = (2.0 * points - 1.0)[:, :, None], 0
    for index, (columns, rows) in enumerate(zip(net.widths[:-1], net.widths[1:], strict=True)):
        matrix = theta[:, start:start + rows * columns].view(-1, rows, columns)
        z = torch.baddbmm(theta[:, start + rows * columns:start + rows * (columns + 1), None], matrix, z)
        z = torch.tanh(z) if index + 2 < len(net.widths) else z
        start += rows * (columns + 1)
    return z[:, 0, 0]


def variants(net: MLP, theta: np.ndarray) -> dict:
    """Functions (points, out) that fill the Jacobian of one block, by name."""
    weights = torch.from_numpy(theta)

    def single(weights, point):
        return scalar_network(net, weights, point)

    def everywhere(weights, points):
        return torch.func.vmap(single, (None, 0))(weights, points)

    vmap_grad = torch.func.vmap(torch.func.grad(single), (None, 0))
    jacrev = torch.func.jacrev(everywhere)
    copies = torch.func.grad(lambda copied, points: batched_network(net, copied, points).sum())

    def by(function):
        return lambda x, out: out.__setitem__(slice(None), function(torch.from_numpy(x)).numpy())

    return {
        HAND: lambda x, out: net.linearize(theta, x).jacobian(out),
        "vmap(grad)": by(lambda x: vmap_grad(weights, x)),
        "jacrev(vmap)": by(lambda x: jacrev(weights, x)),
        "grad of per-point copies": by(lambda x: copies(weights.expand(len(x), -1), x)),
    }


def processor() -> str:
    """The name of the processor, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{platform.machine()} {names[0] if names else platform.processor()}"


def seconds(fill, x: np.ndarray, buffer: np.ndarray, repeats: int) -> float:
    """Least time of `repeats` passes over all points."""
    size, times = len(buffer), []
    for _ in range(repeats):
        begin = time.perf_counter()
        for block in blocks(len(x), size):
            fill(x[block], buffer[:block.stop - block.start])
        times.append(time.perf_counter() - begin)
    return min(times)


def main() -> int:
    """Measure, compare, print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=49152)
    parser.add_argument("--widths", type=int, nargs="+", default=[2, 32, 32, 1])
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    generator = np.random.default_rng(0)
    net = MLP(tuple(arguments.widths), "tanh", output_scale=1.0)
    theta, x = net.initial(generator), generator.random((arguments.points, net.inputs))
    print(f"P = {net.size}, {len(x)} points, {processor()}, "
          f"torch {torch.__version__}, {torch.get_num_threads()} thread")
    fills, best, error = variants(net, theta), {}, 0.0
    expected = net.linearize(theta, x[:512]).jacobian()
    for name, fill in fills.items():
        found = np.empty_like(expected)
        fill(x[:512], found)
        error = max(error, np.abs(found - expected).max() / np.abs(expected).max())
        sizes = SIZES if name != "jacrev(vmap)" else SIZES[:2]  # its memory grows with the square of the block
        times = {size: seconds(fill, x, np.empty((size, net.size)), 1) for size in sizes}
        size = min(times, key=times.get)
        best[name] = seconds(fill, x, np.empty((size, net.size)), arguments.repeats)
        print(f"{name:26s} {best[name]:8.3f} s   blocks of {size}")
    rival = min(value for name, value in best.items() if name != HAND)
    print(f"ratio to torch.func's best {rival / best[HAND]:.1f}, largest relative difference {error:.1e}")
    return 0 if error < 1e-13 and rival >= 3.0 * best[HAND] else 1


if __name__ == "__main__":
    sys.exit(main())
