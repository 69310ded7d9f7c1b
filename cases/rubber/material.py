r"""Stored energies of rubbers as sums of laws of one argument each, their stresses, and their networks.

.. math::
    W = W_1(x) + W_2(y) + W_3(J - 1) + W_{12}(x + y) + \sum_a W_4(\tilde I_a - 1), \quad
    x = \tilde I_1 - 3, \quad y = \tilde I_2 - 3,

with :math:`\tilde I_1 = J^{-2/3} I_1`, :math:`\tilde I_2 = J^{-4/3} I_2`. The law of x + y is there where the data need
one: with it the energy holds the products of x and y, the first coupling of the two invariants. Where there are one or
two families of fibres, :math:`\tilde I_a = J^{-2/3} |F a|^2` in their directions a: at an angle to the first axis, and
at its opposite. The unknowns are the slopes :math:`w_i = W_i'`, and the angle: a law that is constant.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
import torch
from skfem import Basis, BilinearForm, ElementLineHermite, ElementLineP0, MeshLine

import fem_ngf as ngf
from fem_ngf import cofactor, ddot, deformation_gradient, dot, grad, invariants, mul, prod

MESHES = {kind: np.linspace(a, b, cells + 1) for kind, a, b, cells in (
    ("first", 0.0, 10.0, 11), ("second", 0.0, 8.0, 11), ("volume", -0.8, 3.6, 11), ("sum", 0.0, 18.0, 12),
    ("fibre", -0.9, 5.1, 20))}
START = {"first": (1.0, 0.0), "second": (0.3, 0.0), "volume": (0.0, 3.0), "sum": (0.0, 0.0), "fibre": (0.0, 0.1)}
"""Value and slope of laws that are linear, to begin with."""
SIGNS, LEAST, DEFINITE = (1.0, -1.0), 0.02, 1e-3
"""Of the angles; least value at the nodes of laws that are positive; weight of ``int w_i^2``, a little."""


def arguments(F, angles=()) -> list:
    """Arguments of the energy at F (2, 2, ...): x, y, J - 1 and one for each of the angles (...) of fibres."""
    return _measures(F, [_direction(angle) for angle in angles])[-1]


def stress(F, slopes, angles=()):
    """First Piola stress (2, 2, ...) at F (2, 2, ...); slopes: the `arguments` -> derivatives of the energy in them."""
    directions = [_direction(angle) for angle in angles]
    J, power, lines, called = _measures(F, directions)
    by_first, by_second, by_volume, *by_fibres = slopes(called)
    isochoric = by_first * (called[0] + 3.0) + 2.0 * by_second * (called[1] + 3.0)
    isochoric = isochoric + sum(slope * (s + 1.0) for slope, s in zip(by_fibres, called[3:], strict=True))
    volume = by_volume + 2.0 * power**2 * J * by_second - (2.0 / 3.0) / J * isochoric
    found = 2.0 * power * (by_first + power * by_second) * F + volume * cofactor(F)
    for slope, line, a in zip(by_fibres, lines, directions, strict=True):
        found = found + prod(2.0 * power * slope * line, a)
    return found


def _measures(F, directions) -> tuple:
    """J, its power -2/3, F a for directions a (2, ...), and the `arguments`."""
    first, second, J = invariants(F)
    power, lines = J ** (-2.0 / 3.0), [mul(F, a) for a in directions]
    stretches = [power * dot(line, line) - 1.0 for line in lines]
    return J, power, lines, [power * first - 3.0, power**2 * second - 3.0, J - 1.0, *stretches]


def _direction(angle):
    """Unit vectors (2, ...) at angles (...) to the first axis."""
    return torch.stack([torch.cos(angle), torch.sin(angle)])


@BilinearForm
def bending(u, v, w):
    return u.hess[0, 0] * v.hess[0, 0]


@dataclass(frozen=True, eq=False)
class Rubber:
    """The unknowns: three laws, one more of a coupled rubber, and with families of fibres a law and an angle.

    Parameters
    ----------
    fibres
        Families: 0, 1 or 2.
    coupled
        Whether there is a law of x + y. The laws of x and y are then of any sign, otherwise they are positive.
    """

    fibres: int = 0
    coupled: bool = False

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of the slopes."""
        return tuple(kind for kind in MESHES if self.coupled or kind != "sum" if self.fibres or kind != "fibre")

    @cached_property
    def laws(self) -> tuple[ngf.Law, ...]:
        """Slopes, cubic on each cell with a continuous derivative, and the angle."""
        slopes = [ngf.Law(Basis(MeshLine(MESHES[kind]), ElementLineHermite(), intorder=6)) for kind in self.kinds]
        constant = ngf.Law(Basis(MeshLine(np.linspace(0.0, 1.0, 2)), ElementLineP0(), intorder=1))
        return (*slopes, constant) if self.fibres else tuple(slopes)

    @cached_property
    def space(self) -> ngf.ProductSpace:
        """Of all unknowns."""
        kinds = [ngf.HilbertSpace.h1] * len(self.kinds) + [ngf.HilbertSpace.l2] * bool(self.fibres)
        return ngf.ProductSpace(tuple(kind(law.basis) for kind, law in zip(kinds, self.laws, strict=True)))

    def residual(self, u, v, w, _):
        """The equation."""
        F = deformation_gradient(u)
        angle = w[-1](torch.zeros_like(F[0, 0])) if self.fibres else 0.0
        angles = [sign * angle for sign in SIGNS[:self.fibres]]
        return ddot(stress(F, self.slopes(w), angles), grad(v))

    def slopes(self, w):
        """Derivatives of the energy with respect to its `arguments`, a function of them, of laws w."""
        law = dict(zip(self.kinds, w, strict=False))

        def of(called):
            x, y, j, *stretches = called
            both = law["sum"](x + y) if self.coupled else 0.0
            fibres = [law["fibre"](s) for s in stretches]
            return [law["first"](x) + both, law["second"](y) + both, law["volume"](j), *fibres]

        return of

    @cached_property
    def bends(self) -> list:
        """Matrices (n_m, n_m) of ``int w_i''^2`` of the slopes."""
        sizes, slopes = self.space.sizes, self.space.spaces[:len(self.kinds)]
        parts = [bending.assemble(part.basis) for part in slopes]
        return [sp.block_diag([part if i == j else sp.csr_array((size, size)) for j, size in enumerate(sizes)],
                              format="csr") for i, part in enumerate(parts)]

    def smoothness(self, weights) -> sp.csr_array:
        """Matrix of ``sum a_i int w_i''^2``, one weight a slope, and a little of ``int w_i^2``."""
        return sp.csr_array(sum(a * part for a, part in zip(weights, self.bends, strict=True))
                            + DEFINITE * self.space.mass)

    def interpolated(self, slopes, angles=()) -> np.ndarray:
        """Vector of slopes, functions of arrays, and of the first angle."""
        values = (*slopes, *(lambda s, angle=angle: angle + 0.0 * s for angle in angles[:1]))
        return np.concatenate([part.project(each(part.points[:, 0]))
                               for part, each in zip(self.space.spaces, values, strict=True)])

    def start(self, angle: float = 0.0) -> np.ndarray:
        """Laws that are linear."""
        lines = [lambda s, line=START[kind]: line[0] + line[1] * s for kind in self.kinds]
        return self.interpolated(lines, [angle] * bool(self.fibres))

    @property
    def known(self) -> np.ndarray:
        """Unknowns that are known: values of laws at rest, and the angle while it is not sought."""
        return np.r_[self.fixed, [self.space.size - 1] if self.fibres else []].astype(int)

    @property
    def fixed(self) -> np.ndarray:
        """Unknowns that are known for good: values at rest of all laws but the first two."""
        return np.concatenate([self._values(i)[np.isclose(MESHES[kind], 0.0)]
                               for i, kind in enumerate(self.kinds) if i > 1])

    @property
    def bounds(self) -> tuple[np.ndarray, float]:
        """Of the unknowns: values at the nodes of laws that are positive are `LEAST` at least."""
        lower = np.full(self.space.size, -np.inf)
        if not self.coupled:
            lower[np.concatenate([self._values(0), self._values(1)])] = LEAST
        return lower, np.inf

    def unknowns(self, i: int) -> np.ndarray:
        """Those of law number i."""
        return sum(self.space.sizes[:i]) + np.arange(self.space.sizes[i])

    def _values(self, i: int) -> np.ndarray:
        """Unknowns that are values of law number i at its nodes."""
        return self.unknowns(i)[self.space.spaces[i].basis.nodal_dofs[0]]

    def functions(self, m) -> tuple[list, list]:
        """The laws of the slopes as functions of arrays, and the angles."""
        slopes = [lambda s, law=law, part=part: law.evaluate(part, np.reshape(s, (-1, 1))).reshape(np.shape(s))
                  for law, part in zip(self.laws[:len(self.kinds)], self.space.split(m), strict=False)]
        return slopes, [sign * float(m[-1]) for sign in SIGNS[:self.fibres]]

    def energy_slopes(self, m) -> tuple:
        """`slopes` of the laws m, of torch arguments, and the angles."""
        functions, angles = self.functions(m)
        return self.slopes([lambda s, law=law: torch.from_numpy(law(s.numpy())) for law in functions]), angles

    def networks(self, m, neurons: int) -> ngf.PerField:
        """Corrections of given laws m, zero at the start, that keep what is positive, and what vanishes at rest."""
        functions, _ = self.functions(m)
        last = max(10.0, *(MESHES[kind][-1] for kind in self.kinds))
        mlp = ngf.MLP((1, neurons, 1), "tanh", box=((-0.9,), (last,)))

        def of_invariant(law):
            everywhere = lambda x: np.ones(len(x))  # noqa: E731
            if self.coupled:
                return ngf.BoundaryLift(mlp, everywhere, lambda x: law(x[:, 0]))
            raised = lambda x: np.log(np.expm1(np.maximum(law(x[:, 0]), LEAST)))  # noqa: E731
            return ngf.Transformed(ngf.BoundaryLift(mlp, everywhere, raised), "softplus")

        def at_rest(law):
            return ngf.BoundaryLift(mlp, lambda x: x[:, 0], lambda x: law(x[:, 0]))

        angle = [ngf.FiniteElement(self.space.spaces[-1], float(m[-1]))] if self.fibres else []
        return ngf.PerField((*map(of_invariant, functions[:2]), *map(at_rest, functions[2:]), *angle))
