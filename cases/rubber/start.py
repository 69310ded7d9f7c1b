"""Where a search begins: laws of the least equation error, with fibres where they are needed."""

import numpy as np
from scipy.optimize import minimize_scalar

import fem_ngf as ngf
from rubber.material import Rubber


def inverse_problem(equation, test, values, material, spread: float, force_error: float, alpha: float):
    """For an equation, or the error of one."""
    return ngf.InverseProblem(equation, test.observation(equation), values,
                              ngf.GaussianNoise.from_std(test.std(spread, force_error)),
                              ngf.Tikhonov(material.smoothness), material.space, alpha)


def equation_error(test, material, alpha: float) -> tuple[np.ndarray, float]:
    """The unknowns of the least equation error, and its root mean square in standard deviations.

    The tangent is frozen at the laws of the round before.
    """
    def frozen(m, steps=test):
        equation = ngf.FrozenEquation(steps.equation(material.residual, material.laws), steps.states, m)
        return inverse_problem(equation, steps, steps.values, material, 5e-4, 5e-3, alpha)

    def least(m, energy):
        return ngf.quadratic_minimiser(energy, m, material.known, material.bounds)

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


def started(test, fibres: str, alpha: float) -> tuple[Rubber, np.ndarray]:
    """The material, with fibres where they are needed, and its unknowns near those of the constrained problem."""
    material = Rubber(fibres == "yes")
    m, left = equation_error(test, material, alpha)
    if fibres == "auto" and left > 2.0:
        other = Rubber(True)
        found, rest = equation_error(test, other, alpha)
        if rest < 0.5 * left:
            material, m = other, found
    equation = test.equation(material.residual, material.laws, guess=test.states)
    energy = inverse_problem(equation, test, test.values, material, 5e-4, 2e-3, 0.1 * alpha)
    return material, corrected(energy, m, material)


def corrected(energy, m, material, rounds: int = 2) -> np.ndarray:
    """Unknowns after Gauss-Newton steps; one that the equation cannot take, or that raises the energy, ends them."""
    fixed = material.known[:-1] if material.fibres else material.known
    try:
        value = energy(m)
        for _ in range(rounds):
            trial = ngf.quadratic_minimiser(energy, m, fixed, material.bounds)
            reached = energy(trial)
            if not reached < value:
                break
            m, value = trial, reached
    except ngf.SolveError:
        pass
    return m
