r"""Networks follow the Sobolev flow: their paths against the exact one of the finite-element space.

The problem is cases/diffusion.py on one mesh. The exact flow m' = -grad_H E(m) is an ordinary differential equation on
the nodal values, solved by an independent integrator (scipy) without any network. Three networks of different
architectures and seeds start at the same constant; every iterate is compared with the point of the exact path that has
the same energy, and with the other networks at that energy:

    |m_network - m_exact|_H / |m_exact - m_start|_H     at equal energy,

the median and the largest value where the energy is between half of its start and twice its minimum on the path.

    python benchmarks/flow_study.py            # 16 cells, some minutes on one thread
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import numpy as np
from scipy.integrate import solve_ivp
from skfem import Basis, ElementTriP1, ElementTriP2

from fem_ngf import MLP, Expansion, HilbertSpace, ParameterDescent, SobolevFlow, TangentSpace, realize, unit_square
from fem_ngf.run.loading import load_function

ROOT = Path(__file__).resolve().parents[1]
NETWORKS = (((2, 10, 6, 1), 1), ((2, 24, 1), 2), ((2, 6, 6, 5, 1), 3))
NAMES = {"h1": "H1 Gram against the H1 flow", "h1-projected": "the same, projected",
         "h1-grown": "the same, grown from 4 neurons", "l2": "L2 Gram against the L2 flow",
         "euclid": "gradient descent against the H1 flow",
         "adam": "Adam against the H1 flow"}


class Trajectory:
    """Points of a path with falling energy, interpolated at given energies."""

    def __init__(self, energies: np.ndarray, points: np.ndarray):
        lowest = np.minimum.accumulate(energies)
        keep = np.append(True, energies[1:] < lowest[:-1])
        self.energies, self.points = energies[keep], points[keep]

    def at(self, energies: np.ndarray) -> np.ndarray:
        """Points ``(k, n)`` at the energies ``(k,)``, linear in the logarithm of the energy."""
        logs = -np.log(self.energies)
        place = np.interp(-np.log(energies), logs, np.arange(len(logs), dtype=float))
        below = np.minimum(place.astype(int), len(logs) - 2)
        share = (place - below)[:, None]
        return (1 - share) * self.points[below] + share * self.points[below + 1]


def exact(energy, space, start: np.ndarray, duration: float) -> Trajectory:
    """The flow on the nodal values by an implicit method of variable order (BDF), which knows the Hessian."""
    def velocity(_, m):
        return -space.riesz(energy.linearize(m).derivative)

    def jacobian(_, m):
        identity = np.eye(space.size)
        return -space.riesz(energy.linearize(m).hessian_action(identity, "newton"))

    solution = solve_ivp(velocity, (0.0, duration), start, "BDF", jac=jacobian, rtol=1e-7, atol=1e-8)
    assert solution.success, solution.message
    return Trajectory(np.array([energy(m) for m in solution.y.T]), solution.y.T)


def followed(kind: str, energy, space, network, seed: int, steps: int, start: float):
    """Path of a network, and its size at the end."""
    theta = network.initial(np.random.default_rng(seed))
    how = {"iterations": steps, "tolerance": 1e-12}
    if kind in ("euclid", "adam"):
        method = "adam" if kind == "adam" else "gradient-descent"
        flow = ParameterDescent(energy, network, space, method=method, **(how | {"iterations": 20 * steps}))
    elif kind == "h1-grown":
        network = MLP((2, 4, 1), "tanh", start=start)
        theta = network.initial(np.random.default_rng(seed))
        expansion = Expansion(trigger="alignment", alignment=0.998, max_parameters=200, seed=seed)
        flow = SobolevFlow(energy, network, space, expansion=expansion, **how)
    else:
        flow = SobolevFlow(energy, network, space, discretization="projected" if "-" in kind else "retracted", **how)
    iterates = list(flow.run(theta))
    return Trajectory(np.array([i.value for i in iterates]), np.array([i.m for i in iterates])), iterates


def distances(path: Trajectory, other: Trajectory, start: np.ndarray, space, lowest: float):
    """Energies of a path within the window, and the distances to another there, relative to the way from the start."""
    window = (path.energies < 0.5 * path.energies[0]) & (path.energies > 2.0 * lowest)
    energies = path.energies[window]
    there = other.at(energies)
    return energies, np.array([space.norm(a - b) / space.norm(b - start)
                               for a, b in zip(path.points[window], there, strict=True)])


def energy_law(iterates, space) -> float:
    """Median relative error of dE/dt = -kappa^2 |grad E|^2 along a projected path, by the trapezoidal rule."""
    slopes, falls = [], []
    for before, after in zip(iterates[:-1], iterates[1:], strict=True):
        rates = [i.kappa**2 * i.gradient_norm**2 for i in (before, after)]
        slopes.append(0.5 * sum(rates) * after.step_size)
        falls.append(before.value - after.value)
    return float(np.median(np.abs(np.array(slopes) / np.array(falls) - 1.0)))


def gram_table(cells=(4, 8, 16, 32, 64)) -> list[str]:
    """The Gram matrix on meshes against the continuous one (a fine quadrature of the network and its gradient)."""
    network = MLP((2, 10, 6, 1), "tanh", output_scale=1.0)
    theta = network.initial(np.random.default_rng(0))
    grams = {}
    for n in (*cells, 128):
        element = ElementTriP2() if n == 128 else ElementTriP1()
        space = HilbertSpace.h1(Basis(unit_square(n), element), 0.1)
        grams[n] = TangentSpace.at(network, theta, space).gram()
    errors = [np.linalg.norm(grams[n] - grams[128]) / np.linalg.norm(grams[128]) for n in cells]
    orders = ["", *(f"{np.log2(a / b):.2f}" for a, b in zip(errors[:-1], errors[1:], strict=True))]
    return ["| cells | relative difference to the continuous Gram matrix (H1) | order |", "| ---: | ---: | ---: |",
            *(f"| {n} | {e:.1e} | {o} |" for n, e, o in zip(cells, errors, orders, strict=True))]


def study(cells: int, steps: int):
    """All paths, by kind; the exact ones by metric; and the table's rows."""
    case = load_function(ROOT / "cases" / "diffusion.py")(cells=cells)
    level = case.levels[-1]
    energy, value = level.energy, case.ansatz.start
    spaces = {metric: level.space(metric, case.length) for metric in ("h1", "l2")}
    networks = [(MLP(widths, "tanh", start=value), seed) for widths, seed in NETWORKS]
    start = realize(networks[0][0], networks[0][0].initial(np.random.default_rng(0)), spaces["h1"])
    exacts, rows, paths = {}, [], {}
    for metric, space in spaces.items():
        here = energy.linearize(start)
        duration = 150.0 * here.value / space.dual_norm(here.derivative) ** 2
        exacts[metric] = exact(energy, space, start, duration)
    lowest = min(path.energies[-1] for path in exacts.values())
    for kind in NAMES:
        metric = "l2" if kind == "l2" else "h1"
        space, reference = spaces[metric], exacts[metric]
        runs = [followed(kind, energy, space, network, seed, steps, value) for network, seed in networks]
        paths[kind] = [run[0] for run in runs]
        off = [distances(path, reference, start, space, lowest)[1] for path in paths[kind]]
        between = [distances(a, b, start, space, lowest)[1] for a in paths[kind] for b in paths[kind] if a is not b]
        sizes = ", ".join(str(run[1][-1].parameters) for run in runs)
        law = f"{energy_law(runs[0][1], space):.1%}" if kind == "h1-projected" else ""
        rows.append([NAMES[kind], sizes, *(summary(np.concatenate(o)) for o in (off, between)), law])
        print(rows[-1], flush=True)
    return spaces, start, exacts, paths, rows, lowest


def summary(values: np.ndarray) -> str:
    """Median and largest."""
    return f"{np.median(values):.3f} ({values.max():.3f})" if len(values) else "-"


def page(rows: list, cells: int) -> str:
    """The markdown page."""
    head = ["followed", "parameters", "distance to the exact flow", "distance between networks", "energy law"]
    return "\n".join([
        "# Flow study: networks on the path of the Sobolev flow", "",
        f"cases/diffusion.py on {cells} x {cells} x 2 triangles; distances in H at equal energy, relative to the way "
        "from the start: median (largest) over three networks, energies from half the start to twice the minimum. "
        "Energy law: median relative error of $dE/dt = -\\kappa^2\\|\\nabla_H E\\|^2$ along the path. Written by "
        "`python benchmarks/flow_study.py`.", "",
        "| " + " | ".join(head) + " |", "|---|---|---|---|---|", *("| " + " | ".join(row) + " |" for row in rows), "",
        *gram_table(), ""])


def figure(spaces, start, exacts, paths, lowest, file: Path) -> None:
    """Left: way along the exact H1 flow and distance off it. Right: distance at equal energy from the flow followed."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    picture, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.4))
    space, reference = spaces["h1"], exacts["h1"]
    steps = [space.norm(b - a) for a, b in zip(reference.points[:-1], reference.points[1:], strict=True)]
    arc = np.append(0.0, np.cumsum(steps))
    left.plot(arc, 0 * arc, "k-", lw=3, alpha=0.3, label="exact H1 flow, 289 nodal values")
    styles = {"h1": ("tab:blue", "networks, H1 Gram"), "l2": ("tab:orange", "networks, L2 Gram: the L2 flow"),
              "euclid": ("tab:grey", "gradient descent on parameters"), "adam": ("tab:green", "Adam on parameters")}
    for kind, (colour, label) in styles.items():
        for k, path in enumerate(paths[kind]):
            points = path.points[:: max(1, len(path.points) // 60)]
            gaps = np.array([[space.norm(p - q) for q in reference.points] for p in points])
            nearest = gaps.argmin(axis=1)
            left.plot(arc[nearest], gaps.min(axis=1), ".-", ms=3, lw=0.8, color=colour, label=label if k == 0 else None)
            metric = "l2" if kind == "l2" else "h1"
            energies, off = distances(path, exacts[metric], start, spaces[metric], lowest)
            right.loglog(energies / path.energies[0], off, ".-", ms=3, lw=0.8, color=colour)
    left.set(xlabel="way along the exact flow (nearest point, H1)", ylabel="distance off it (H1)")
    left.legend(fontsize=7)
    right.set(xlabel="energy / start", ylabel="distance at equal energy, relative")
    right.invert_xaxis()
    picture.tight_layout()
    picture.savefig(file, dpi=110)


def main() -> None:
    """Run the study and write its table and figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=16)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    options = parser.parse_args()
    spaces, start, exacts, paths, rows, lowest = study(options.cells, options.steps)
    text = page(rows, options.cells)
    (options.out / "tables" / "flow_study.md").write_text(text)
    figure(spaces, start, exacts, paths, lowest, options.out / "figures" / "flow_study.png")
    print(text)


if __name__ == "__main__":
    main()
