"""Where a search begins: laws of the least equation error, with fibres where they are needed."""

import numpy as np
from scipy.optimize import minimize_scalar

import fem_ngf as ngf
from rubber.material import Rubber

ROUNDS, FAMILIES = 4, ("none", "one", "two")
RELIEF = 1.0 / 16.0
"""Of the weights of laws that must bend, once it is known how far."""


def inverse_problem(equation, test, values, material, spread: float, force_error: float, weights):
    """For an equation, or the error of one; weights of the slopes' smoothness."""
    return ngf.InverseProblem(equation, test.observation(equation), values,
                              ngf.GaussianNoise.from_std(test.std(spread, force_error)),
                              ngf.Tikhonov(material.smoothness(weights)), material.space)


def equation_error(test, material, alpha: float) -> tuple[np.ndarray, float]:
    """The unknowns of the least equation error, and its root mean square in standard deviations.

    The tangent is frozen at the laws of the round before.
    """
    def frozen(m, steps=test):
        equation = ngf.FrozenEquation(steps.equation(material.residual, material.laws), steps.states, m)
        return inverse_problem(equation, steps, steps.values, material, 5e-4, 5e-3, [alpha] * len(material.bends))

    def least(m, energy):
        return ngf.quadratic_minimiser(energy.linearize(m), material.known, material.bounds)

    m = least(material.start(), frozen(material.start()))
    if material.fibres:
        energy = frozen(m, test.select(np.unique([len(test) // 2, len(test) - 1])))
        of = lambda angle: energy(least(material.start(angle), energy))  # noqa: E731
        grid = np.linspace(0.0, 0.5 * np.pi, 10)[1:-1]
        best = grid[np.argmin([of(angle) for angle in grid])]
        angle = minimize_scalar(of, bounds=(best - 0.17, best + 0.17), method="bounded", options={"xatol": 5e-3}).x
        m = least(material.start(angle), frozen(least(material.start(angle), energy)))
    energy = frozen(m)
    m = least(m, energy)
    return m, float(np.sqrt(2.0 * energy.linearize(m).terms["misfit"] / energy.data.size))


def started(test, fibres: str, alpha: float) -> tuple[Rubber, np.ndarray, np.ndarray]:
    """The material, with fibres where they are needed, its unknowns near those of the constrained problem, and weights.

    Gauss-Newton steps; after each of them the penalty of no slope is more than a few thousandths of what noise leaves.
    Where that asks for no smaller weight, laws that hardly bend are the start: they carry no error of the mesh.
    """
    material = Rubber(0 if fibres == "auto" else FAMILIES.index(fibres))
    m, left = equation_error(test, material, alpha)
    if fibres == "auto" and left > 2.0:
        others = [(other, *equation_error(test, other, alpha)) for other in (Rubber(1), Rubber(2))]
        other, found, rest = min(others, key=lambda each: each[-1])
        if rest < 0.5 * left:
            material, m = other, found
    test = test.select(np.arange(len(test))[1 - len(test) % 2::2])  # every second step is enough for what follows
    equation = test.equation(material.residual, material.laws, guess=test.states)
    weights, noise = np.full(len(material.bends), alpha), 0.003 * test.values.size
    stiff = m
    for number in range(ROUNDS):
        energy = inverse_problem(equation, test, test.values, material, 5e-4, 2e-3, weights)
        m = stepped(energy, m, material)
        weights = np.array([min(alpha, noise / max(m @ (part @ m), 1e-12)) for part in material.bends])
        if number and (weights == alpha).all():
            return material, stiff, weights
    return material, m, np.where(weights < alpha, RELIEF * weights, weights)


def stepped(energy, m, material) -> np.ndarray:
    """Unknowns after a Gauss-Newton step, halved where the equation does not take it or the energy does not fall."""
    here, fixed = energy.linearize(m), material.known[:-1] if material.fibres else material.known
    step = ngf.quadratic_minimiser(here, fixed, material.bounds) - m
    for length in (1.0, 0.5, 0.25):
        try:
            if energy(m + length * step) < here.value:
                return m + length * step
        except ngf.SolveError:
            continue
    return m
