r"""What is known of the Hessian of an energy: one object for step, realisation, certificate (METHOD section 3d).

Around one parameter the Gauss-Newton Hessian is :math:`H = A' + M`: the regularisation's, completed to a positive
definite :math:`A'`, and the misfit's :math:`M = J^T W J`, known by its action at the price of two solves an
experiment. A `Curvature` holds a factor ``F`` with :math:`M \approx F F^T`, and stands for

.. math:: H_\mu = (1 + \mu) A' + \sum_i (\lambda_i - \mu)_+ A' v_i v_i^T A', \qquad F F^T v_i = \lambda_i A' v_i.

Its spectrum against :math:`A'` is :math:`1 + \max(\lambda_i, \mu)` for the Ritz values :math:`\lambda_i` of the factor
and :math:`1 + \mu` on everything else: :math:`\mu` is the curvature that a direction is given of which the data have
told less.

References
----------
R. H. Byrd, J. Nocedal, R. B. Schnabel, Representations of quasi-Newton matrices, Math. Program. 63 (1994).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ..errors import InputError
from ..linalg.cg import conjugate_gradients
from ..linalg.dense import symmetric_product
from ..linalg.low_rank import LowRankPlus, nystrom_factor
from ..linalg.operators import Matrix, SymmetricOperator
from ..tangent.rows import TangentRows, gram_and_image

NEGLIGIBLE = 1e-2
"""Ritz value below which the data say nothing beside the regularisation."""
MANY = 2000
"""Most solves for a whole Hessian."""
EPS = float(np.finfo(float).eps)
AGREES = 0.5
"""Share of the curvature along a direction that must be new for the old curvature to be kept there."""


@dataclass(frozen=True, eq=False)
class Curvature(SymmetricOperator):
    r"""Inner product :math:`H_\mu`, of the spectrum :math:`1 + \max(\lambda_i, \mu)` against ``A'``.

    Parameters
    ----------
    base
        Inner product ``A'`` of the regularisation, completed to a positive definite one.
    factor
        ``F`` (n, r).
    mu
        Curvature of the directions of which ``F`` knows less: a Levenberg-Marquardt parameter in function space.
    """

    base: SymmetricOperator
    factor: np.ndarray
    mu: float = 0.0

    @classmethod
    def of(cls, linearization, factor: np.ndarray | None = None, mu: float = 0.0) -> Curvature:
        """The regularisation's Hessian at a linearisation of an inverse problem, and a factor (None: nothing known)."""
        base = linearization.preconditioner
        return cls(base, np.zeros((base.size, 0)) if factor is None else factor, mu)

    @property
    def size(self) -> int:
        return self.base.size

    @property
    def rank(self) -> int:
        """Number r of columns of the factor."""
        return self.factor.shape[1]

    # ---- the inner product --------------------------------------------------------------------------------------

    def apply(self, vector: np.ndarray) -> np.ndarray:
        """Covector ``H_mu v`` of (n,) or (n, k)."""
        factor = self._lifted
        return (1.0 + self.mu) * self.base.apply(vector) + factor @ (factor.T @ vector)

    def solve(self, covector: np.ndarray) -> np.ndarray:
        """Vector ``H_mu^-1 g`` of (n,) or (n, k), by Woodbury's formula."""
        values, modes = self._spectrum
        excess = np.maximum(values - self.mu, 0.0)
        shares = excess / (1.0 + self.mu + excess)
        vector = self.base.solve(covector)
        return (vector - modes @ (shares * (modes.T @ covector).T).T) / (1.0 + self.mu)

    def gram(self, vectors: np.ndarray | TangentRows) -> np.ndarray:
        """``T^T H_mu T`` (k, k)."""
        gram, low = gram_and_image(self.base, self._lifted, vectors)
        return (1.0 + self.mu) * gram + symmetric_product(low, low)

    def restricted(self, free: np.ndarray) -> LowRankPlus:
        """``H_mu`` with its inverse on the unknowns numbered `free` only.

        Raises
        ------
        InputError
            If the regularisation has no sparse matrix.
        """
        base = Matrix(self.base.sparse_matrix(), free)
        return LowRankPlus(base, self._lifted, 1.0 + self.mu)

    def coarsened(self, space) -> LowRankPlus:
        """``P^T H_mu P`` on the coarser mesh of a space.

        Raises
        ------
        InputError
            If the regularisation has no sparse matrix.
        """
        base = self.base.galerkin(space.prolongation, space.coarse.free)
        return LowRankPlus(base, space.prolongation.T @ self._lifted, 1.0 + self.mu)

    @cached_property
    def _lifted(self) -> np.ndarray:
        """Factor (n, r') of ``H_mu - (1 + mu) A'``: what the known curvature has above mu."""
        if self.mu == 0.0:
            return self.factor
        values, modes = self._spectrum
        above = values > self.mu
        return self.base.apply(modes[:, above]) * np.sqrt(values[above] - self.mu)

    @property
    def ritz_values(self) -> np.ndarray:
        """Eigenvalues (r,) of ``F F^T`` against ``A'``, largest first: what the data say beside the regularisation."""
        return self._spectrum[0][::-1]

    @cached_property
    def _spectrum(self) -> tuple[np.ndarray, np.ndarray]:
        """Positive eigenvalues and ``A'``-orthonormal eigenvectors (n, r) of the factor's part."""
        values, rotation = np.linalg.eigh(symmetric_product(self.factor, self._solved))
        keep = values > 1e-14 * max(values.max(initial=0.0), 1e-300)
        return values[keep], self._solved @ (rotation[:, keep] / np.sqrt(values[keep]))

    @cached_property
    def _solved(self) -> np.ndarray:
        """``A'^-1 F`` (n, r)."""
        return self.base.solve(self.factor)

    @property
    def smallest(self) -> float:
        """Smallest Ritz value, what a direction may have of which nothing is known; 0 where nothing is known at all."""
        return float(self._spectrum[0].min(initial=np.inf)) if self.rank else 0.0

    # ---- learning -----------------------------------------------------------------------------------------------

    def with_mu(self, mu: float) -> Curvature:
        """Another mu."""
        moved = replace(self, mu=mu)
        moved.__dict__.update({name: self.__dict__[name] for name in ("_spectrum", "_solved") if name in self.__dict__})
        return moved

    def forgotten(self) -> Curvature:
        """Nothing known of the misfit any more."""
        return replace(self, factor=self.factor[:, :0])

    def with_pairs(self, directions: np.ndarray, images: np.ndarray) -> Curvature:
        r"""A factor that is exact along given directions: ``F F^T V = Y`` for ``Y = M V``, all of one linearisation.

        The directions are rotated so that :math:`V^T Y = I` and :math:`V^T F F^T V = I - diag(t)`. Where ``t`` is
        near one, the old factor misses the curvature, and what it misses is added (symmetric rank one, which is
        Nystrom's approximation on the larger space when old and new are of one linearisation). Elsewhere the old
        curvature along the direction is replaced (Broyden, Fletcher, Goldfarb, Shanno), so that pairs of another
        linearisation are never mixed with these uncorrected.

        Parameters
        ----------
        directions, images
            ``V``, ``Y`` (n, j); directions without positive curvature are left out.
        """
        lengths = np.sqrt(np.abs(np.einsum("ij,ij->j", directions, self.base.apply(directions) + images)))
        directions, images = directions / lengths, images / lengths
        values, rotation = np.linalg.eigh(symmetric_product(directions, images))
        keep = values > 1e-10 * max(values.max(initial=0.0), 0.0)
        if not keep.any():
            return self
        turn = rotation[:, keep] / np.sqrt(values[keep])
        directions, images = directions @ turn, images @ turn
        low = self.factor.T @ directions
        known, turn = np.linalg.eigh(symmetric_product(low, low))
        images, low = images @ turn, low @ turn
        replaced = known > 1.0 - AGREES
        factor = _without(self.factor, low[:, replaced])
        missing = (images - self.factor @ low)[:, ~replaced] / np.sqrt(1.0 - known[~replaced])
        new = np.column_stack([missing, images[:, replaced]])
        grown = Curvature(self.base, np.column_stack([factor, new]), self.mu)
        solved = _without(self._solved, low[:, replaced])
        grown.__dict__["_solved"] = np.column_stack([solved, self.base.solve(new)])
        return grown.compressed()

    def compressed(self) -> Curvature:
        """The factor without directions of negligible Ritz value; its columns become M-orthogonal."""
        values, modes = self._spectrum
        keep = values > NEGLIGIBLE
        if keep.sum() == self.rank:
            return self
        values, modes = values[keep], modes[:, keep]
        left = replace(self, factor=self.base.apply(modes) * np.sqrt(values))
        left.__dict__.update(_spectrum=(values, modes), _solved=modes * np.sqrt(values))
        return left

    def prolonged(self, old_space, new_space, base: SymmetricOperator) -> Curvature:
        """The curvature on another mesh: its modes are carried there as functions, its Ritz values stay.

        Parameters
        ----------
        old_space, new_space
            Spaces of the unknown.
        base
            ``A'`` on the new mesh.
        """
        values, modes = self._spectrum
        carried = prolonged_columns(modes, old_space, new_space)
        carried[new_space.fixed] = 0.0
        return Curvature(base, base.apply(carried) * np.sqrt(values), self.mu)


def misfit_factor(linearization) -> np.ndarray:
    """``F`` (n, r) with ``F F^T = J^T W J``: all of the misfit's Gauss-Newton Hessian.

    Costs a tangent solve an unknown and experiment, or an adjoint solve a datum and experiment, what is less.

    Raises
    ------
    InputError
        If that are more than `MANY` data and unknowns.
    """
    energy, state, shape = linearization.energy, linearization.state, linearization.residual.shape
    size, data = len(linearization.m), linearization.residual.size
    weight = energy.noise.hessian(linearization.residual)
    if min(size, data) > MANY:
        raise InputError(f"the Gauss-Newton Hessian of {size} unknowns and {data} data takes as many solves; it is for "
                         f"{MANY} of either at most")
    if size <= data:
        unit = np.eye(size)
        observed = energy.observation(state.tangent(unit))
        return nystrom_factor(unit, symmetric_product(observed.reshape(-1, size),
                                                      weight(observed).reshape(-1, size)), EPS)
    unit = np.eye(data)
    root = nystrom_factor(unit, weight(unit.reshape(*shape, data)).reshape(data, data), EPS)
    covector = energy.observation.transpose(root.reshape(*shape, -1))
    return state.adjoint(covector, kind="incremental")


def check_metric(metric: str, energy) -> None:
    """An InputError unless a flow's metric is known, and the energy has it."""
    if metric not in ("space", "gauss-newton"):
        raise InputError(f"metric is {metric!r}; choose 'space' or 'gauss-newton'")
    if metric == "gauss-newton" and not hasattr(energy, "noise"):
        raise InputError(f"metric 'gauss-newton' is for an InverseProblem, not a {type(energy).__name__}")


def metric_space(space, linearization, metric: str):
    """The space, or, for metric "gauss-newton", its functions measured by the Hessian at a linearisation."""
    if metric == "space":
        return space
    return space.with_inner_product(Curvature.of(linearization, misfit_factor(linearization)))


def krylov_pairs(linearization, curvature: Curvature, *, share: float = 0.1, maximum: int = 20,
                 held: np.ndarray | None = None):
    r"""What conjugate gradients meet on the way to the Gauss-Newton step: directions ``V`` and images ``M V`` (n, j).

    Solves :math:`(R'' + M) s = -g`, preconditioned by what is known of the curvature, until an iteration lowers the
    model by less than `share` of what all have, or the next one is expected to. Each costs two solves an experiment.
    The unknowns in `held` (n,), if there are any, do not move.

    Raises
    ------
    SolveError
        If the Hessian action is not finite.
    """
    prior = linearization.regularization_hessian()
    free = 1.0 if held is None else 1.0 - held
    directions, images = [], []

    def hessian_action(direction):
        images.append(linearization.misfit_action(direction))
        return images[-1] + prior @ direction

    def preconditioner(residual):
        return free * curvature.solve(free * residual)

    for step in conjugate_gradients(hessian_action, -linearization.derivative, preconditioner):
        if step.negative_curvature:
            break
        directions.append(step.direction)
        if len(directions) >= maximum or min(step.decreases[-1], step.expected) < share * sum(step.decreases):
            break
    empty = np.zeros((len(linearization.derivative), 0))
    return (np.column_stack(directions), np.column_stack(images[:len(directions)])) if directions else (empty, empty)


def prolonged_columns(vectors: np.ndarray, old_space, new_space) -> np.ndarray:
    """Coefficients (n', k) on another mesh of functions (n, k); the points are looked for once."""
    if hasattr(new_space, "spaces"):
        fields = zip(old_space.split(vectors), old_space.spaces, new_space.spaces, strict=True)
        return np.concatenate([prolonged_columns(*field) for field in fields])
    if new_space.is_lagrange:
        return old_space.interpolation(new_space.nodes) @ vectors
    return new_space.project(old_space.interpolation(new_space.points) @ vectors)


def _without(factor: np.ndarray, low: np.ndarray) -> np.ndarray:
    """``F Q`` with the orthonormal complement ``Q`` of the columns of ``F^T V`` (r, j)."""
    if low.shape[1] == 0 or factor.shape[1] == 0:
        return factor
    left, sizes, _ = np.linalg.svd(low, full_matrices=True)
    return factor @ left[:, np.count_nonzero(sizes > 1e-12 * sizes[0]):]
