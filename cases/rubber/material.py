r"""Stored energies of rubbers as sums of laws of one invariant each, their stresses, and their networks.

.. math::
    W = W_1(\tilde I_1 - 3) + W_2(\tilde I_2 - 3) + W_3(J - 1) + \sum_a W_4(\tilde I_a - 1)

with :math:`\tilde I_1 = J^{-2/3} I_1`, :math:`\tilde I_2 = J^{-4/3} I_2` and, where there are one or two families of
fibres, :math:`\tilde I_a = J^{-2/3} |F a|^2` in their directions a: at an angle above the first axis, and the same
below. The unknowns are the slopes :math:`w_i = W_i'`, and the angle: a law that is constant.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
import torch
from skfem import Basis, BilinearForm, ElementLineHermite, ElementLineP0, MeshLine

import fem_ngf as ngf
from fem_ngf import cofactor, ddot, deformation_gradient, grad, isochoric_invariants

MESHES = tuple(np.linspace(a, b, cells + 1) for a, b, cells in (
    (0.0, 10.0, 11), (0.0, 8.0, 11), (-0.8, 3.6, 11), (-0.9, 5.1, 20)))
START = ((1.0, 0.0), (0.3, 0.0), (0.0, 3.0), (0.0, 0.1))
"""Value and slope of laws that are linear, to begin with."""
SIGNS, LEAST = (1.0, -1.0), 0.02
"""Of the angles; least value at the nodes of the first two laws. The others have a node at zero, where they vanish."""


def arguments(F, angles=()) -> list:
    """What the laws are called with at F (2, 2, ...), the last one for each of the angles (...) of fibres."""
    first, second, J = isochoric_invariants(F)
    return [first - 3.0, second - 3.0, J - 1.0, *(_stretch(F, J, _direction(angle))[0] - 1.0 for angle in angles)]


def stress(F, w, angles=()):
    """First Piola stress (2, 2, ...) of slopes w, functions of torch, at F (2, 2, ...)."""
    first, second, J = isochoric_invariants(F)
    volume, power = cofactor(F), J ** (-2.0 / 3.0)
    by_first = 2.0 * power * F - (2.0 / 3.0) * first / J * volume
    by_second = power**2 * (2.0 * F + 2.0 * J * volume) - (4.0 / 3.0) * second / J * volume
    found = w[0](first - 3.0) * by_first + w[1](second - 3.0) * by_second + w[2](J - 1.0) * volume
    for a in map(_direction, angles):
        stretch, line = _stretch(F, J, a)
        found = found + w[3](stretch - 1.0) * (2.0 * power * line[:, None] * a - (2.0 / 3.0) * stretch / J * volume)
    return found


def _direction(angle):
    """Unit vectors (2, ...) at angles (...) to the first axis."""
    return torch.stack([torch.cos(angle), torch.sin(angle)])


def _stretch(F, J, a):
    """``J^(-2/3) |F a|^2`` and ``F a``."""
    line = (F * a).sum(1)
    return J ** (-2.0 / 3.0) * (line**2).sum(0), line


@BilinearForm
def bending(u, v, w):
    return u.hess[0, 0] * v.hess[0, 0]


@dataclass(frozen=True, eq=False)
class Rubber:
    """The unknowns: three laws, with families of fibres, one or two, a law and an angle more."""

    fibres: int = 0

    @cached_property
    def laws(self) -> tuple[ngf.Law, ...]:
        """Slopes, cubic on each cell with a continuous derivative, and the angle."""
        slopes = [ngf.Law(Basis(MeshLine(nodes), ElementLineHermite(), intorder=6))
                  for nodes in MESHES[:4 if self.fibres else 3]]
        constant = ngf.Law(Basis(MeshLine(np.linspace(0.0, 1.0, 2)), ElementLineP0(), intorder=1))
        return (*slopes, constant) if self.fibres else tuple(slopes)

    @cached_property
    def space(self) -> ngf.ProductSpace:
        """Of all unknowns."""
        slopes = [ngf.HilbertSpace.h1(law.basis) for law in self.laws[:4]]
        return ngf.ProductSpace((*slopes, *(ngf.HilbertSpace.l2(law.basis) for law in self.laws[4:])))

    def residual(self, u, v, w, _):
        """The equation."""
        F = deformation_gradient(u)
        angles = [sign * w[4](0.0 * F[0, 0]) for sign in SIGNS[:self.fibres]]
        return ddot(stress(F, w, angles), grad(v))

    @cached_property
    def bends(self) -> list:
        """Matrices (n_m, n_m) of ``int w_i''^2`` of the slopes."""
        sizes, slopes = self.space.sizes, self.space.spaces[:4]
        parts = [bending.assemble(part.basis) for part in slopes]
        return [sp.block_diag([part if i == j else sp.csr_array((size, size)) for j, size in enumerate(sizes)],
                              format="csr") for i, part in enumerate(parts)]

    def smoothness(self, weights) -> sp.csr_array:
        """Matrix of ``sum a_i int w_i''^2``, one weight a slope, and a little of ``int w_i^2``."""
        return sp.csr_array(sum(a * part for a, part in zip(weights, self.bends, strict=True))
                            + 1e-6 * max(weights) * self.space.mass)

    def interpolated(self, slopes, angles=()) -> np.ndarray:
        """Vector of slopes, functions of arrays, and of the first angle."""
        values = (*slopes, *(lambda s, angle=angle: angle + 0.0 * s for angle in angles[:1]))
        return np.concatenate([part.project(each(part.points[:, 0]))
                               for part, each in zip(self.space.spaces, values, strict=True)])

    def start(self, angle: float = 0.0) -> np.ndarray:
        """Laws that are linear."""
        lines = [lambda s, a=a, b=b: a + b * s for a, b in START[:len(self.bends)]]
        return self.interpolated(lines, [angle] * bool(self.fibres))

    @property
    def known(self) -> np.ndarray:
        """Unknowns that are known: values of laws at rest, and the angle while it is not sought."""
        rest = [self._values(i)[np.isclose(MESHES[i], 0.0)] for i in range(2, len(self.bends))]
        return np.concatenate([*rest, [self.space.size - 1] if self.fibres else []]).astype(int)

    @property
    def bounds(self) -> tuple[np.ndarray, float]:
        """Of the unknowns: values at the nodes of laws that are positive are `LEAST` at least."""
        lower = np.full(self.space.size, -np.inf)
        lower[np.concatenate([self._values(0), self._values(1)])] = LEAST
        return lower, np.inf

    def _values(self, i: int) -> np.ndarray:
        """Unknowns that are values of law number i at its nodes."""
        return sum(self.space.sizes[:i]) + self.space.spaces[i].basis.nodal_dofs[0]

    def functions(self, m) -> tuple[list, list]:
        """The slopes as functions of arrays, and the angles."""
        slopes = [lambda s, law=law, part=part: law.evaluate(part, np.reshape(s, (-1, 1))).reshape(np.shape(s))
                  for law, part in zip(self.laws[:4], self.space.split(m), strict=False)]
        return slopes, [sign * float(m[-1]) for sign in SIGNS[:self.fibres]]

    def networks(self, m, neurons: int) -> ngf.PerField:
        """Corrections of given laws m, zero at the start: the first two positive, the others with the value 0 at 0."""
        (functions, _), mlp = self.functions(m), ngf.MLP((1, neurons, 1), "tanh", box=((-0.9,), (10.0,)))

        def positive(i):
            raised = lambda x: np.log(np.expm1(np.maximum(functions[i](x[:, 0]), LEAST)))  # noqa: E731
            return ngf.Transformed(ngf.BoundaryLift(mlp, lambda x: np.ones(len(x)), raised), "softplus")

        def at_rest(i):
            return ngf.BoundaryLift(mlp, lambda x: x[:, 0], lambda x: functions[i](x[:, 0]))

        parts = [positive(0), positive(1), *map(at_rest, range(2, len(self.bends)))]
        angle = [ngf.FiniteElement(self.space.spaces[4], float(m[-1]))] if self.fibres else []
        return ngf.PerField((*parts, *angle))
