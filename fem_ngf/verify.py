"""Measured correctness: Taylor rates of derivatives, adjoint identities, Gram matrices.

Everything here returns a number, so that a user can check an energy of their
own the way the package's tests check its built-in ones.

References
----------
P. E. Farrell, D. A. Ham, S. W. Funke, M. E. Rognes, Automated derivation of the
adjoint of high-level transient finite element programs, SIAM J. Sci. Comput. 35
(2013): Taylor tests of reduced functionals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from .ansatz.finite_element import FiniteElement
from .errors import InputError, SolveError, real_array
from .tangent.tangent_space import TangentSpace, realize

HALVINGS = 16
PARTINGS = 12
KINK = 1e-2
PARTS, JUMPS = (1, 2, 4, 8, 16), 2e-3
HESSIANS = ("gauss-newton", "newton")


@dataclass(frozen=True)
class Check:
    """One verified property: `value` must be within `bound` of `expected`.

    Parameters
    ----------
    name
        What was checked.
    value
        The measured rate or error.
    bound
        Largest admissible distance.
    expected
        2 for rates, 0 for errors.
    exact
        An infinite value passes too: the rate of a function that its Taylor polynomial equals but for rounding.
    """

    name: str
    value: float
    bound: float
    expected: float = 0.0
    exact: bool = False

    @property
    def passed(self) -> bool:
        """True when the property holds; a value that is not a number never passes."""
        return bool(abs(self.value - self.expected) <= self.bound or (self.exact and self.value == np.inf))

    def __str__(self) -> str:
        target = f"{self.expected:g} +- {self.bound:g}" if self.expected else f"<= {self.bound:g}"
        value = f"{self.value:.4f}" if self.expected else f"{self.value:.1e}"
        if self.exact and self.value == np.inf:
            value = "no remainder stands clear of rounding"
        return f"{'passed' if self.passed else 'FAILED'}  {self.name}: {value} ({target})"


def taylor_rate(function: Callable, m: np.ndarray, direction: np.ndarray, *, noise: float = 1e-12) -> float:
    r"""Rate at which :math:`|f(m + hd) - f(m) - h f'(m)\cdot d|` falls with h: 2 for a correct derivative.

    Parameters
    ----------
    function
        ``m -> (value, derivative)``, value a number or an array, and the derivative as the array whose product
        ``derivative @ d`` is the directional derivative; such as ``energy.as_scipy()``.
    m, direction
        ``(n,)``; the largest h is 1, so scale the direction to the largest step that makes sense.
    noise
        Relative error of the values (rounding, tolerances of nonlinear solvers), or what a second evaluation at `m`
        shows it to be; remainders within a factor 1000 of it are not used.

    Returns
    -------
    rate
        Of the three smallest halvings whose remainders stand clear of rounding, extrapolated to h = 0: a cubic
        remainder that outweighs the quadratic one does not count. Infinite when fewer remainders do: the
        function is linear, or too nearly so for its derivative to be wrong by more than rounding.

    Raises
    ------
    InputError
        If the direction is zero, or the function fails at `m` or at nearly every step.
    """
    m, direction = real_array("m", m), real_array("direction", direction)
    if direction.shape != m.shape:
        raise InputError(f"direction has shape {direction.shape}; m has {m.shape}")
    if not np.any(direction):
        raise InputError("direction is zero; give a vector along which the function changes")
    try:
        value, derivative = function(m)
    except SolveError as error:
        raise InputError(f"the function cannot be evaluated at m ({error})") from None
    slope = derivative @ direction
    sizes, remainders = _remainders(function, m, direction, value, slope)
    if not sizes:
        raise InputError("the function fails at every step along the direction; give a shorter direction")
    floor = max(noise * max(np.max(np.abs(value)), np.max(np.abs(slope))), np.max(np.abs(function(m)[0] - value)))
    clear = np.flatnonzero(np.array(remainders) <= 1000 * floor)
    last = clear[0] if clear.size else len(sizes)
    if last < 4:
        return float("inf")
    chosen = slice(last - 4, last)
    rates, steps = -np.diff(np.log2(remainders[chosen])), np.array(sizes[chosen])[1:]
    return float(np.polyfit(steps / steps[0], rates, 2)[-1])


def _remainders(function, m, direction, value, slope) -> tuple[list[float], list[float]]:
    """Step sizes, each half the one before, and the remainders of first order there; failing long steps left out."""
    sizes: list[float] = []
    remainders: list[float] = []
    for size in 0.5 ** np.arange(HALVINGS):
        try:
            ahead = function(m + size * direction)[0]
        except SolveError:
            sizes, remainders = [], []
            continue
        sizes.append(size)
        remainders.append(np.max(np.abs(ahead - value - size * slope)))
    return sizes, remainders


def kink_error(function: Callable, m: np.ndarray, direction: np.ndarray) -> float:
    r"""Largest error of :math:`f(b) - f(a) = \int_a^b f'\cdot d\,ds` on parts of the way from m to m + d.

    It is relative to the slope. A kink of the integrand, which no Taylor expansion at one point sees, is missing in the
    integral, on however short a part; what is merely not smooth fades as the parts are halved, until it is below one
    per cent. (So does a wrong derivative: a rate, or `integral_error`, finds that.)

    Parameters
    ----------
    function, m, direction
        As for `taylor_rate`; the values are numbers.
    """
    a, b = 0.0, 1.0
    error, scale = _part_error(function, m, direction, a, b)
    error = abs(error)
    for _ in range(PARTINGS):
        if error <= KINK * scale:
            break
        middle = 0.5 * (a + b)
        error, a, b = max((abs(_part_error(function, m, direction, *ends)[0]), *ends)
                          for ends in ((a, middle), (middle, b)))
    return float(error / max(scale, np.finfo(float).tiny))


def integral_error(function: Callable, m: np.ndarray, direction: np.ndarray) -> float:
    r"""Relative error of :math:`f(m + d) - f(m) = \int_0^1 f'(m + s d)\cdot d\,ds`, summed over equal parts.

    For derivatives that jump here and there, of which no rate can be measured. Their jumps fade as the parts become
    more, which they do until the error is below `JUMPS`; a derivative that is wrong stays wrong.

    Parameters
    ----------
    function, m, direction
        As for `taylor_rate`; the values are numbers.
    """
    error = np.inf
    for count in PARTS:
        ends = np.linspace(0.0, 1.0, count + 1)
        errors, scales = zip(*(_part_error(function, m, direction, *part) for part in pairwise(ends)), strict=True)
        error = abs(sum(errors)) / max(*scales, np.finfo(float).tiny)
        if error <= JUMPS:
            break
    return float(error)


def _part_error(function: Callable, m: np.ndarray, direction: np.ndarray, a: float, b: float) -> tuple[float, float]:
    """What a change between m + a d and m + b d is more than its integral (Gauss's rule of five points), and a scale.
    """
    nodes, weights = np.polynomial.legendre.leggauss(5)
    slopes = [function(m + (a + 0.5 * (b - a) * (1.0 + node)) * direction)[1] @ direction for node in nodes]
    change = function(m + b * direction)[0] - function(m + a * direction)[0]
    return change - 0.5 * (b - a) * weights @ slopes, max(abs(change), np.abs(slopes).max())


def adjoint_error(state, dm: np.ndarray, covector: np.ndarray) -> float:
    r"""Relative violation of :math:`\langle c, u'(m) dm\rangle = \langle u'(m)^* c, dm\rangle`.

    Parameters
    ----------
    state
        ``State`` of a PDE.
    dm
        Vector ``(n_m,)``.
    covector
        ``c`` (n_u, k).
    """
    left = float(np.sum(covector * state.tangent(dm)))
    right = float(state.adjoint(covector, kind="incremental") @ dm)
    return relative(left, right)


def symmetry_error(linearization, v: np.ndarray, w: np.ndarray, kind: str = "gauss-newton") -> float:
    """Relative violation of ``w.Hv = v.Hw`` by a Hessian action, for vectors ``(n_m,)``."""
    image_v, image_w = linearization.hessian_action(v, kind), linearization.hessian_action(w, kind)
    scale = np.sqrt(abs(v @ image_v) * abs(w @ image_w))
    return abs(float(w @ image_v - v @ image_w)) / max(scale, abs(float(w @ image_v)), np.finfo(float).tiny)


def gram_error(ansatz, theta: np.ndarray, space, *, columns: int = 50) -> float:
    """Largest error of the Gram matrix against tangent functions made one by one, relative to its largest entry.

    The oracle projects ``J e_k`` for up to `columns` parameters, evenly spread, and takes their
    inner products; the Gram matrix comes from blocks of the Jacobian.
    """
    gram = TangentSpace.at(ansatz, theta, space).gram()
    chosen = np.unique(np.linspace(0, ansatz.size - 1, min(columns, ansatz.size)).astype(int))
    units = np.zeros((ansatz.size, len(chosen)))
    units[chosen, np.arange(len(chosen))] = 1.0
    linear = ansatz.linearize(theta, space.points)
    vectors = space.project(np.stack([linear.jvp(unit) for unit in units.T], axis=-1))
    expected = vectors.T @ space.apply(vectors)
    found = units.T @ (gram @ units)
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def verify_energy(energy, ansatz, theta: np.ndarray, space, generator: np.random.Generator,
                  hessians: Sequence[str] = HESSIANS) -> list[Check]:
    """Taylor rates, smoothness, symmetry of the Hessians, adjoint identity and Gram error at one point.

    Where the slope of a law jumps, so does the derivative of the energy: integrals stand in for the rates of the
    energy, and the second derivative, which is not all of the derivative's change then, is only found symmetric.

    Parameters
    ----------
    energy, ansatz, theta, space
        As a flow takes them; the checks are made at ``realize(ansatz, theta, space)``. Choose parameters at which
        the network is not constant.
    generator
        Draws the directions.
    hessians
        What is checked of ``"gauss-newton"`` and the exact ``"newton"`` Hessian.

    Returns
    -------
    list of Check
    """
    energy, m = unbounded(energy), realize(ansatz, theta, space)
    v, w = (smooth_direction(space, generator, 0.1 * max(np.abs(m).max(), 1e-3)) for _ in range(2))
    here, rate = energy.linearize(m), _rate if smooth_laws(energy) else _integral
    checks = [rate("Taylor rate of the energy", _value_and_derivative(energy), m, v),
              rate("Taylor rate in the parameters", *_of_parameters(energy, ansatz, theta, space, generator))]
    if "newton" in hessians and smooth_laws(energy):
        checks.append(_rate("Taylor rate of the derivative", _derivative_and_hessian(energy, w), m, v))
        kinks = kink_error(_derivative_and_hessian(energy, v), m, v)
        checks.append(Check("smoothness: the derivative and the integral of the Hessian", kinks, KINK))
    checks += _regularization_checks(energy, m, v, w, hessians)
    if hasattr(energy, "observation"):
        checks.append(Check("directions of two that the data do not see", _unseen(energy, here, (v, w)), 0.5))
    exact = max(1e-10, 100.0 * getattr(getattr(here, "state", None), "inexactness", 0.0))
    for kind in hessians:
        checks.append(Check(f"symmetry of the {kind} Hessian", symmetry_error(here, v, w, kind), exact))
    if hasattr(here, "state"):
        covector = generator.standard_normal(here.state.u.shape)
        checks.append(Check("adjoint identity", adjoint_error(here.state, v, covector), exact))
    return [*checks, Check("Gram matrix", gram_error(ansatz, theta, space), 1e-10)]


def unbounded(energy):
    """The energy also outside its bounds, so that differences can be taken next to them."""
    return energy if getattr(energy, "bounds", None) is None else replace(energy, bounds=None)


def verify_flow(flow, generator: np.random.Generator) -> list[Check]:
    """`verify_energy` at the start of a flow, with every derivative that the energy has.

    Every parameter of the start is disturbed, so that no part of the derivative vanishes. The exact Hessian may be
    missing: no flow uses it.

    Parameters
    ----------
    flow
        Has ``energy``, ``ansatz`` and ``space``.
    generator
        Draws the start and the directions.
    """
    energy, ansatz, space = unbounded(flow.energy), flow.ansatz, flow.space
    theta, size = ansatz.initial(generator), ansatz.size
    if isinstance(ansatz, FiniteElement):
        theta = theta + smooth_direction(space, generator, 0.1)
    else:
        theta = theta + 0.1 * generator.standard_normal(size)
    try:
        energy.linearize(realize(ansatz, theta, space)).hessian_action(np.zeros(space.size), "newton")
    except InputError:
        return verify_energy(energy, ansatz, theta, space, generator, HESSIANS[:1])
    return verify_energy(energy, ansatz, theta, space, generator)


def smooth_direction(space, generator: np.random.Generator, size: float) -> np.ndarray:
    """Random vector ``(n,)`` of largest entry `size`: the Riesz representative of white noise in the space."""
    vector = space.riesz(space.mass @ generator.standard_normal(space.size))
    return vector * (size / np.abs(vector).max())


def relative(left: float, right: float) -> float:
    """``|left - right|`` relative to the larger of the two."""
    return abs(left - right) / max(abs(left), abs(right), np.finfo(float).tiny)


def smooth_laws(energy) -> bool:
    """False where the equation calls a law whose slope jumps: Taylor's formula of second order does not hold then."""
    return getattr(getattr(getattr(energy, "pde", None), "form", None), "smooth", True)


def _rate(name: str, function: Callable, m: np.ndarray, direction: np.ndarray) -> Check:
    return Check(name, taylor_rate(function, m, direction), 0.02, 2.0, exact=True)


def _integral(name: str, function: Callable, m: np.ndarray, direction: np.ndarray) -> Check:
    """In the place of a rate, where a law's slope jumps: the integral of a derivative exists all the same."""
    return Check(f"{name.replace('Taylor rate', 'integral')} (no rate: the slope of a law jumps)",
                 integral_error(function, m, direction), JUMPS)


def _value_and_derivative(energy):
    def function(m):
        here = energy.linearize(m)
        return here.value, here.derivative

    return function


def _derivative_and_hessian(energy, w):
    """The number ``E'(m).w`` with its derivative ``H w``."""

    def function(m):
        here = energy.linearize(m)
        return float(here.derivative @ w), here.hessian_action(w, "newton")

    return function


def _unseen(energy, here, directions) -> float:
    """How many directions change the state, and what is observed of it by rounding only."""
    changes = [here.state.tangent(each) for each in directions]
    return float(sum(np.abs(energy.observation(du)).max() <= 1e-12 * np.abs(du).max() for du in changes))


def _regularization_checks(energy, m, v, w, hessians: Sequence[str]) -> list[Check]:
    """The Hessians of the regularisation by themselves: beside the misfit's their errors may be too small to see."""
    if "newton" not in hessians or not hasattr(energy.linearize(m), "regularization_derivative"):
        return []

    def function(at):
        here = energy.linearize(at)
        return float(here.regularization_derivative @ w), here.regularization_hessian("newton") @ w

    checks = [_rate("Taylor rate of the regularisation's derivative", function, m, v)]
    if checks[0].value == np.inf:  # quadratic: its two Hessians are one
        newton, gauss = (energy.linearize(m).regularization_hessian(kind) @ v for kind in ("newton", "gauss-newton"))
        error = np.linalg.norm(gauss - newton) / max(np.linalg.norm(newton), np.finfo(float).tiny)
        checks.append(Check("Gauss-Newton Hessian of the quadratic regularisation", float(error), 1e-8))
    return checks


def _of_parameters(energy, ansatz, theta, space, generator) -> tuple[Callable, np.ndarray, np.ndarray]:
    """The energy as a function of the parameters, where it is checked, and a direction."""
    def function(parameters):
        here = energy.linearize(realize(ansatz, parameters, space))
        return here.value, TangentSpace.at(ansatz, parameters, space).pull_back(here.derivative)

    direction = generator.standard_normal(ansatz.size)
    direction *= 0.1 * max(float(np.linalg.norm(theta)), 1e-3) / np.linalg.norm(direction)
    return function, theta, direction
