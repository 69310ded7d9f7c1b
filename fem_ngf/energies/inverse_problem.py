"""Reduced functional of a PDE-constrained inverse problem, with exact discrete derivatives."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from ..data.protocol import Noise, Observation
from ..errors import InputError, SolveError, check_has, check_not_negative, real_array, same_size
from ..linalg.operators import BlockDiagonal, Matrix, SymmetricOperator
from ..pde.protocol import PDE, State
from ..regularization.protocol import Regularization
from ..spaces.hilbert import HilbertSpace

FAINT = 1e-4


@dataclass(frozen=True, eq=False)
class InverseProblem:
    r"""``E(m) = misfit(B u(m) - data) + weight * regularization(m)`` where ``u(m)`` solves the PDE.

    Parameters
    ----------
    pde
        Maps a parameter ``(n_m,)`` to the states ``(n_u, k)`` of k experiments.
    observation
        Linear map from states ``(n_u, k)`` to observations ``(n_obs, k)``.
    data
        ``(n_obs,)`` or ``(n_obs, k)``.
    noise
        Misfit of the residual ``(n_obs, k)``.
    regularization
        Functional of parameter vectors ``(n_m,)``.
    space
        Hilbert space of the parameter: its mass completes a regularisation
        with a null space to a preconditioner.
    weight
        Factor of the regularisation; the rules of `fem_ngf.weights` find it. Zero where the data determine the unknown.
    bounds
        Lower and upper bound of the unknown: numbers or vectors ``(n_m,)``, infinite where there is none. `NewtonFlow`
        keeps between them, outside the energy is not defined. They bound the coefficients, which are the values at the
        nodes of a Lagrange element, and of the cells of a piecewise constant one.

    Raises
    ------
    InputError
        If two of these do not fit (the message names both sizes), the data are not finite, the weight is negative, or
        there is nothing between the bounds.
    """

    pde: PDE
    observation: Observation
    data: np.ndarray
    noise: Noise
    regularization: Regularization
    space: HilbertSpace
    weight: float = 1.0
    bounds: tuple[float | np.ndarray, float | np.ndarray] | None = None

    def __post_init__(self):
        check_not_negative(weight=self.weight)
        check_has("pde", self.pde, "a StationaryProblem, or another PDE", "solve", "experiments")
        check_has("observation", self.observation, "what point_values gives, or another Observation", "transpose",
                  "shape", "__call__")
        check_has("noise", self.noise, "a noise model such as GaussianNoise.from_std(0.1)", "value", "hessian")
        check_has("regularization", self.regularization, "a Regularization such as Tikhonov(space)", "size", "hessian")
        check_has("space", self.space, "a HilbertSpace, or another space", "size", "mass")
        data = real_array("data", self.data)
        data = data[:, None] if data.ndim == 1 else data
        expected = (self.observation.shape[0], self.pde.experiments)
        same_size("observation", self.observation.shape[1], "the state of pde", self.pde.state_size)
        same_size("the parameter of pde", self.pde.parameter_size, "space", self.space.size)
        if data.shape != expected:
            raise InputError(f"data have shape {data.shape}; {expected} (observations, experiments) is needed")
        if not np.isfinite(data).all():
            raise InputError(f"data contain {np.count_nonzero(~np.isfinite(data))} values that are not finite")
        self._check_sight()
        self.noise.value(np.zeros(data.shape))  # an InputError when it is a model of other data
        object.__setattr__(self, "data", data)
        same_size("regularization", self.regularization.size, "space", self.space.size)
        self.limits  # noqa: B018  checked

    def __repr__(self):
        shape = self.data.shape
        return (f"InverseProblem({self.space.size} unknowns, data {shape[0]} x {shape[1]}, "
                f"{type(self.regularization).__name__}, weight {self.weight:g})")

    def _check_sight(self) -> None:
        """InputError if what is observed are given values of the state, which no parameter changes."""
        free, matrix = getattr(self.pde, "free", np.zeros(0)), getattr(self.observation, "matrix", None)
        if matrix is None or not free.size or free[-1] >= matrix.shape[1]:
            return
        if free.size + len(self.pde.dirichlet) == matrix.shape[1] and abs(matrix[:, free]).max() < 1e-12 * (
                abs(matrix).max()):
            raise InputError("observation sees only values of the state that dirichlet gives; measure elsewhere too")

    @cached_property
    def limits(self) -> tuple[np.ndarray, np.ndarray] | None:
        """`bounds` as vectors (n_m,), infinite at fixed unknowns; None where there are none."""
        if self.bounds is None:
            return None
        limits = np.tile([[-np.inf], [np.inf]], self.space.size)
        try:
            for limit, bound in zip(limits, self.bounds, strict=True):
                limit[self.space.free] = np.broadcast_to(bound, self.space.size)[self.space.free]
        except (TypeError, ValueError):
            raise InputError(f"bounds are {self.bounds!r}; give two numbers, or vectors of {self.space.size} unknowns"
                             ) from None
        if not (limits[0] < limits[1]).all():
            raise InputError("bounds have nothing between them; each lower one must be below the upper one")
        return limits[0], limits[1]

    @property
    def counts(self):
        """PDE solves so far, one per right-hand side."""
        return self.pde.counts

    @property
    def work_per_solve(self) -> int:
        """State unknowns: the unit in which solves on different meshes are compared."""
        return self.pde.work_per_solve

    def __call__(self, m: np.ndarray) -> float:
        """Value; costs the forward solves."""
        return self.linearize(m).value

    def linearize(self, m: np.ndarray, start=None) -> InverseLinearization:
        """Solve the PDE at `m`; derivatives are computed from the result when asked for.

        Parameters
        ----------
        m
            Vector ``(n_m,)``.
        start
            State ``(n_u, k)`` from which a nonlinear solve starts.

        Raises
        ------
        SolveError
            If the PDE cannot be solved or the value is not finite.
        """
        if not np.isfinite(m).all():
            raise SolveError("the parameter contains values that are not finite")
        if self.limits is not None:
            slack = 1e-12 * np.abs(m).max()
            if not ((self.limits[0] - slack <= m) & (m <= self.limits[1] + slack)).all():
                raise SolveError("the parameter is outside its bounds")
        state = self.pde.solve(m, start=start)
        residual = self.observation(state.u) - self.data
        terms = {"misfit": float(self.noise.value(residual)),
                 "regularization": self.weight * float(self.regularization.value(m))}
        value = sum(terms.values())
        if not np.isfinite(value):
            raise SolveError(f"the energy is {value}")
        return InverseLinearization(self, state.m, state, residual, value, terms)

    def completed(self, hessian: SymmetricOperator) -> SymmetricOperator:
        """The Hessian of the regularisation made definite; the last one is kept, with its factorisation."""
        known, found = self._completed.get("last", (None, None))
        if known is not hessian and not _same_matrix(known, hessian):
            found = completed(hessian, self.space)
            self._completed["last"] = (hessian, found)
        return found

    @cached_property
    def _completed(self) -> dict:
        return {}

    def as_scipy(self):
        """``m -> (value, derivative)`` for ``scipy.optimize.minimize(..., jac=True)``."""

        def value_and_derivative(m):
            linearization = self.linearize(m)
            return linearization.value, linearization.derivative

        return value_and_derivative


@dataclass(frozen=True, eq=False)
class InverseLinearization:
    """The energy around one parameter; each derivative is computed once, when asked for."""

    energy: InverseProblem
    m: np.ndarray
    state: State
    residual: np.ndarray
    value: float
    terms: dict[str, float]

    def __repr__(self):
        terms = ", ".join(f"{name} {value:.6g}" for name, value in self.terms.items())
        return f"InverseLinearization(value {self.value:.6g}: {terms})"

    @cached_property
    def adjoint(self) -> np.ndarray:
        """Adjoint state ``p`` (n_u, k): ``K^T p = -B^T misfit'``."""
        energy = self.energy
        return self.state.adjoint_state(energy.observation.transpose(energy.noise.derivative(self.residual)))

    @cached_property
    def derivative(self) -> np.ndarray:
        """Covector ``E'(m)`` (n_m,); costs the adjoint solves."""
        return self.state.pull_back(self.adjoint) + self.regularization_derivative

    @property
    def regularization_derivative(self) -> np.ndarray:
        """The part of `derivative` that comes from the regularisation, at its weight."""
        return self.energy.weight * self.energy.regularization.derivative(self.m)

    def hessian_action(self, v: np.ndarray, kind: str = "gauss-newton") -> np.ndarray:
        """Covector ``H v`` of a vector ``v``; costs two incremental solves per experiment.

        Parameters
        ----------
        v
            Vector ``(n_m,)``.
        kind
            ``"gauss-newton"`` (positive semi-definite) or ``"newton"``.
        """
        return self.misfit_action(v, kind) + self.regularization_hessian(kind) @ v

    def misfit_action(self, v: np.ndarray, kind: str = "gauss-newton") -> np.ndarray:
        """The part of `hessian_action` that comes from the data."""
        energy, state = self.energy, self.state
        du = state.tangent(v)
        weight = energy.noise.hessian(self.residual, kind)
        covector = energy.observation.transpose(weight(energy.observation(du)))
        if kind == "gauss-newton":
            return state.adjoint(covector, kind="incremental")
        on_state, on_parameter = state.second_order(du, v, self.adjoint)
        return state.adjoint(covector + on_state, kind="incremental") + on_parameter

    def regularization_hessian(self, kind: str = "gauss-newton") -> SymmetricOperator:
        """Hessian of the regularisation at its weight; it may be semi-definite, see `preconditioner`."""
        return self.energy.weight * self.energy.regularization.hessian(self.m, kind)

    @cached_property
    def preconditioner(self) -> SymmetricOperator:
        """The Hessian of the regularisation, made definite.

        Without regularisation it is the inner product of the space, in a multiple of which the whole range of the
        unknown weighs `FAINT` of the energy.
        """
        if self.energy.weight > 0:
            return self.energy.completed(self.regularization_hessian())
        space = self.energy.space
        return FAINT * max(self.value, np.finfo(float).tiny) / self._range**2 * space.inner_product

    @property
    def _range(self) -> float:
        """Size of the unknown, in the norm of its space: between the bounds, or the largest of it and of 1."""
        energy, free = self.energy, self.energy.space.free
        ones = np.zeros(len(self.m))
        ones[free] = 1.0
        if energy.limits is not None:
            width = energy.limits[1] - energy.limits[0]
            if np.isfinite(width[free]).all():
                return energy.space.norm(np.where(ones > 0, width, 0.0))
        return max(energy.space.norm(self.m), energy.space.norm(ones))


def completed(hessian: SymmetricOperator, space) -> SymmetricOperator:
    """A definite operator close to the Hessian of a regularisation: itself, or with a little of the space's mass.

    Fields without regularisation take the largest multiple of the mass; with no regularisation at all it is the mass.
    """
    if hessian.definite:
        return hessian
    spaces = getattr(space, "spaces", (space,))
    if hessian.sparse is None and isinstance(hessian, BlockDiagonal):
        return BlockDiagonal(tuple(completed(part, one) for part, one in zip(hessian.parts, spaces, strict=True)))
    matrix = hessian.sparse_matrix()
    if matrix.diagonal().sum() <= 0:
        return Matrix(sp.csr_array(space.mass), space.free)
    sizes = [one.size for one in spaces]
    diagonals = np.split(matrix.diagonal(), np.cumsum(sizes)[:-1])
    shifts = [_shift(diagonal.sum(), one) for diagonal, one in zip(diagonals, spaces, strict=True)]
    shifts = np.repeat([shift or max(shifts) for shift in shifts], sizes)
    return Matrix(sp.csr_array(matrix + sp.diags_array(shifts) @ space.mass), space.free)


def _same_matrix(one: SymmetricOperator | None, other: SymmetricOperator) -> bool:
    if one is None or one.sparse is None or other.sparse is None or one.definite != other.definite:
        return False
    return one.sparse.nnz == other.sparse.nnz and np.array_equal(one.sparse.data, other.sparse.data)


def _shift(size: float, space: HilbertSpace) -> float:
    """Multiple of a field's mass that completes its part of the Hessian of the regularisation, of trace `size`."""
    gradients = space.stiffness.diagonal().sum()
    if gradients > 0:
        return 0.1 * size / gradients / space.diameter**2
    return 1e-3 * size / space.mass.diagonal().sum()
