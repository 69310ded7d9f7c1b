"""Where a search begins: laws of the least equation error, with fibres where they are needed."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize_scalar

import fem_ngf as ngf
from rubber.material import Rubber

FEW, ROUNDS, FAMILIES = 4, 4, ("none", "one", "two")
RELIEF = 1.0 / 16.0
"""Of the weights of laws that must bend, once it is known how far."""


def inverse_problem(equation, test, values, material, spread: float, force_error: float, weights):
    """For an equation, or the error of one; weights of the slopes' smoothness."""
    return ngf.InverseProblem(equation, test.observation(equation), values,
                              ngf.GaussianNoise.from_std(test.std(spread, force_error)),
                              ngf.Tikhonov(material.smoothness(weights)), material.space)


def frozen(test, material, m, alpha: float):
    """The inverse problem of the equation error, its tangents frozen at the measured states and m."""
    equation = ngf.FrozenEquation(test.equation(material.residual, material.laws), test.states, m)
    return inverse_problem(equation, test, test.values, material, 5e-4, 5e-3, [alpha] * len(material.bends))


def equation_error(test, material, alpha: float) -> tuple[np.ndarray, float]:
    """The unknowns of the least equation error, and its root mean square in standard deviations.

    The tangent is frozen at the laws of the round before; the angle of fibres is sought with one load step.
    """
    def least(m, energy):
        return ngf.quadratic_minimiser(energy.linearize(m), material.known, material.bounds)

    m = material.start()
    if material.fibres:
        last = test.select([-1])
        energy = frozen(last, material, least(m, frozen(last, material, m, alpha)), alpha)
        of = lambda angle: energy(least(material.start(angle), energy))  # noqa: E731
        grid = np.linspace(0.0 if material.fibres == 2 else -0.5 * np.pi, 0.5 * np.pi, 10 * (3 - material.fibres))[1:-1]
        best, width = grid[np.argmin([of(angle) for angle in grid])], grid[1] - grid[0]
        angle = minimize_scalar(of, bounds=(best - width, best + width), method="bounded", options={"xatol": 5e-3}).x
        m = material.start(angle)
    for _ in range(2):
        energy = frozen(test, material, m, alpha)
        m = least(m, energy)
    return m, float(np.sqrt(2.0 * energy.linearize(m).terms["misfit"] / energy.data.size))


def started(test, fibres: str, coupled: bool, alpha: float) -> tuple[Rubber, np.ndarray, np.ndarray]:
    """The material, with fibres where they are needed, its unknowns near those of the constrained problem, and weights.

    With a few of the load steps, the equation error and Gauss-Newton steps; after each of these the penalty of no slope
    is more than a few thousandths of what noise leaves. Where that asks for no smaller weight, laws that hardly bend
    are the start: they carry no error of the mesh.
    """
    test = test.select(np.linspace(0, len(test), min(FEW, len(test)) + 1)[1:].round().astype(int) - 1)
    material = Rubber(0 if fibres == "auto" else FAMILIES.index(fibres), coupled)
    m, left = equation_error(test, material, alpha)
    if fibres == "auto" and left > 2.0:
        others = [(other, *equation_error(test, other, alpha)) for other in (Rubber(1, coupled), Rubber(2, coupled))]
        other, found, rest = min(others, key=lambda each: each[-1])
        if rest < 0.5 * left:
            material, m = other, found
    equation, stiff = test.equation(material.residual, material.laws, guess=test.states), m
    weights, noise = np.full(len(material.bends), alpha), 0.003 * test.values.size
    for number in range(ROUNDS):
        energy = inverse_problem(equation, test, test.values, material, 5e-4, 2e-3, weights)
        m = stepped(energy, Misfit.at(energy, m, material.smoothness(weights)), material, weights)
        weights = np.array([min(alpha, noise / max(m @ (part @ m), 1e-12)) for part in material.bends])
        if number and (weights == alpha).all():
            return material, stiff, weights
    return material, m, np.where(weights < alpha, RELIEF * weights, weights)


def improved(problem, material, m, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """Unknowns after a Gauss-Newton step with the weights of the greatest evidence, and these.

    ``problem(material, weights)`` is the inverse problem.
    """
    weights = np.full(len(material.bends), alpha)
    misfit = Misfit.at(problem(material, weights), m, material.smoothness(weights))
    weights, _ = evidence(misfit, material, alpha)
    return stepped(problem(material, weights), misfit, material, weights), weights


def coupled_where_needed(problem, material, m, alpha: float) -> tuple[Rubber, np.ndarray]:
    """The material with a law of x + y, and its unknowns, where the evidence for that is the greater."""
    wider, size = replace(material, coupled=True), sum(material.space.sizes[:3])
    m_wider, weights = np.insert(m, [size] * wider.space.sizes[3], 0.0), np.full(len(material.bends) + 1, alpha)
    misfit = Misfit.at(problem(wider, weights), m_wider, wider.smoothness(weights))
    narrow = misfit.on(np.setdiff1d(np.arange(len(m_wider)), wider.unknowns(3)))
    gain = evidence(misfit, wider, alpha)[1] - evidence(narrow, material, alpha)[1]
    return (wider, m_wider) if gain > 0.0 else (material, m)


@dataclass(frozen=True, eq=False)
class Misfit:
    """The misfit near m (n,), without the terms of the smoothness: its value, derivative (n,) and Hessian (n, n)."""

    m: np.ndarray
    value: float
    derivative: np.ndarray
    hessian: np.ndarray

    @classmethod
    def at(cls, energy, m, R) -> "Misfit":
        """Of an inverse problem that is regularised by ``m^T R m / 2``."""
        here = energy.linearize(m)
        return cls(m, here.terms["misfit"], here.derivative - R @ m,
                   here.hessian_action(np.eye(len(m))) - R.toarray())

    def on(self, numbers) -> "Misfit":
        """As a function of some of the unknowns."""
        return Misfit(self.m[numbers], self.value, self.derivative[numbers], self.hessian[np.ix_(numbers, numbers)])

    def with_(self, R) -> "Misfit":
        """With ``m^T R m / 2`` added."""
        return Misfit(self.m, self.value + 0.5 * self.m @ R @ self.m, self.derivative + R @ self.m, self.hessian + R)

    def hessian_action(self, v) -> np.ndarray:
        """As `quadratic_minimiser` asks for it."""
        return self.hessian @ v


def evidence(misfit: Misfit, material, alpha: float) -> tuple[np.ndarray, float]:
    """Weights of the slopes' smoothness of the greatest evidence, at most alpha, and its logarithm.

    The misfit is replaced by its quadratic model; a constant of the data is left out of the logarithm. There may be
    several maxima: the better one of those reached from stiff laws and from soft ones.

    References
    ----------
    D. J. C. MacKay, Bayesian interpolation, Neural Computation 4 (1992).
    """
    free = np.setdiff1d(np.arange(len(misfit.m)), material.fixed)
    model, ranks = misfit.on(free), np.array(material.space.sizes[:len(material.bends)]) - 2
    bends = [part.toarray()[np.ix_(free, free)] for part in material.bends]
    pull, found = model.derivative - model.hessian @ model.m, []
    for weights in (np.full(len(bends), alpha), np.full(len(bends), 1e-4 * alpha)):
        for _ in range(60):
            R = material.smoothness(weights).toarray()[np.ix_(free, free)]
            inverse = np.linalg.inv(model.hessian + R)
            m = -inverse @ pull
            seen = ranks - weights * [np.sum(inverse * part) for part in bends]
            weights = np.minimum(alpha, np.maximum(seen, 1e-3) / [max(m @ part @ m, 1e-12) for part in bends])
        determinants = [np.linalg.slogdet(each)[1] for each in (model.hessian + R, R)]
        found.append((-0.5 * float(pull @ m + determinants[0] - determinants[1]), weights))
    value, weights = max(found, key=lambda each: each[0])
    return weights, value


def stepped(energy, misfit: Misfit, material, weights) -> np.ndarray:
    """Unknowns after a Gauss-Newton step, halved where the equation does not take it or the energy does not fall."""
    m, here = misfit.m, misfit.with_(material.smoothness(weights).toarray())
    step = ngf.quadratic_minimiser(here, material.fixed, material.bounds) - m
    for length in (1.0, 0.5, 0.25):
        try:
            if energy(m + length * step) < here.value:
                return m + length * step
        except ngf.SolveError:
            continue
    return m
