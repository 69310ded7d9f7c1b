r"""Laws: unknown functions of quantities of the state, on a mesh of their arguments (METHOD section 7).

A law k is called in a residual, ``k(u)``, ``k(dot(grad(u), grad(u)))``. On a cell of its mesh it is a polynomial in its
arguments, evaluated by torch with its coefficients there as leaves: derivatives of any order with respect to the
arguments are those of the polynomial, and derivatives with respect to the unknowns go through the table that takes
these to the coefficients. Which cells the points of an integral lie in moves with the state.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from skfem import Basis, MeshHex, MeshLine, MeshQuad

from ..errors import InputError
from .fields import Field, as_tensor

CONTINUATIONS = ("linear", "constant")
HIGHEST = 6


@dataclass(frozen=True, eq=False)
class Law:
    """A law as a parameter of a `WeakForm`: a function of one to three arguments on an interval, rectangle or box.

    Parameters
    ----------
    basis : skfem.Basis
        On a MeshLine, MeshQuad or MeshHex whose cells are a tensor grid; a scalar element, or an `ElementVector` for a
        law of several values. Laws whose slope enters the residual need one that is continuous: ElementLineHermite,
        ElementQuadBFS.
    continuation : {"linear", "constant"}
        Outside the mesh: by value and slope of the nearest point of the mesh, or by its value alone.

    Raises
    ------
    InputError
        For meshes of other kinds, or elements that are not polynomials on the cells.

    Examples
    --------
    >>> import numpy as np, skfem
    >>> from fem_ngf import WeakForm, dot, grad, unit_square
    >>> arguments = skfem.Basis(skfem.MeshLine(np.linspace(0.0, 2.0, 5)), skfem.ElementLineP1())
    >>> state = skfem.Basis(unit_square(4), skfem.ElementTriP1())
    >>> form = WeakForm(lambda u, v, k, w: k(u) * dot(grad(u), grad(v)), state, Law(arguments))
    >>> form.parameter_tangent(np.ones(25), np.ones(5)).shape
    (25, 5)
    """

    basis: Basis
    continuation: str = "linear"

    def __post_init__(self):
        if self.continuation not in CONTINUATIONS:
            raise InputError(f"continuation is {self.continuation!r}; choose {' or '.join(CONTINUATIONS)}")
        mesh = getattr(self.basis, "mesh", None)
        if not isinstance(self.basis, Basis) or not isinstance(mesh, (MeshLine, MeshQuad, MeshHex)):
            raise InputError(f"a law is on a {type(mesh).__name__}; give a Basis on a MeshLine, MeshQuad or MeshHex")

    @property
    def dimension(self) -> int:
        """Number d of arguments."""
        return int(self.basis.mesh.dim())

    def evaluate(self, vector, y: np.ndarray) -> np.ndarray:
        """Values (q,) or (q, c) of the law with coefficients (n,) at arguments y (q, d), continued beyond the mesh."""
        table = LawTable.of(self, "cpu")
        values = LocalLaw(table, table.coefficients(vector), False)(*(as_tensor(row[None]) for row in np.transpose(y)))
        return values[..., 0, :].numpy().T

    @cached_property
    def grid(self) -> Grid:
        """The cells of the mesh."""
        return Grid.of(self.basis.mesh)

    @cached_property
    def polynomials(self) -> np.ndarray:
        """Coefficients (cells, nb, c, p + 1, ..., p + 1) of the basis functions, lowest powers first."""
        return _polynomials(self.basis, self.grid)

    @cached_property
    def smooth(self) -> bool:
        """Whether the slopes of its functions are continuous from cell to cell; otherwise none has a second derivative.
        """
        vector = np.random.default_rng(0).standard_normal(self.basis.N)
        local = np.einsum("ebc...,eb->ec...", self.polynomials, vector[self.basis.element_dofs.T])
        for axis, halves in enumerate(self.grid.boxes[1]):
            powers, numbers = np.arange(local.shape[2 + axis]), np.moveaxis(self.grid.numbers, axis, 0)
            ends = [np.tensordot(local, powers * float(side) ** (powers + 1), axes=(2 + axis, 0)) for side in (1, -1)]
            above, below = ((each.T / halves).T for each in ends)
            jumps = above[numbers[:-1].ravel()] - below[numbers[1:].ravel()]
            if np.abs(jumps).max(initial=0.0) > 1e-8 * np.abs(above).max(initial=0.0):
                return False
        return True


@dataclass(frozen=True, eq=False)
class Grid:
    """Cells of a tensor grid: breaks (k_i,) of each axis, and the number of the cell (k_1 - 1, ..., k_d - 1)."""

    breaks: tuple
    numbers: np.ndarray

    @classmethod
    def of(cls, mesh):
        """The grid that a mesh is; InputError when it is none."""
        corners, cells = mesh.p[:, mesh.t], mesh.nelements
        breaks = tuple(np.unique(np.round(row / np.ptp(row), 12)) * np.ptp(row) for row in mesh.p)
        lower, upper = corners.min(axis=1), corners.max(axis=1)
        places = [np.searchsorted(each, 0.5 * (a + b)) - 1 for each, a, b in zip(breaks, lower, upper, strict=True)]
        shape, numbers = tuple(len(each) - 1 for each in breaks), np.arange(cells)
        sides = np.stack([np.diff(each)[place] for each, place in zip(breaks, places, strict=True)])
        found = np.full(shape, -1)
        found[tuple(places)] = numbers
        if cells != found.size or found.min() < 0 or not np.allclose(upper - lower, sides, rtol=1e-8):
            raise InputError(f"a law's mesh of {cells} cells is no tensor grid; make it with MeshLine, "
                             "MeshQuad.init_tensor or MeshHex.init_tensor")
        return cls(breaks, found)

    @cached_property
    def boxes(self):
        """Centres and half widths of the cells, both (d, cells)."""
        centres = np.meshgrid(*(0.5 * (each[1:] + each[:-1]) for each in self.breaks), indexing="ij")
        halves = np.meshgrid(*(0.5 * np.diff(each) for each in self.breaks), indexing="ij")
        order = np.argsort(self.numbers.ravel())
        return tuple(np.stack([each.ravel()[order] for each in axes]) for axes in (centres, halves))


def _polynomials(basis, grid):
    """See `Law.polynomials`; the lowest degree that reproduces the basis functions between its nodes."""
    d, checks = grid.numbers.ndim, np.random.default_rng(0).random((grid.numbers.ndim, 9))
    for degree in range(HIGHEST):
        axes = np.meshgrid(*[np.linspace(0.0, 1.0, degree + 1) if degree else np.array([0.5])] * d, indexing="ij")
        nodes = np.stack([axis.ravel() for axis in axes])
        monomials, values = _sampled(basis, grid, nodes, degree)
        found = np.linalg.solve(monomials[:, None, None], values[..., None])[..., 0]
        monomials, values = _sampled(basis, grid, checks, degree)
        if np.abs(np.einsum("eqj,ebcj->ebcq", monomials, found) - values).max() <= 1e-7 * np.abs(values).max():
            return found.reshape(*found.shape[:3], *[degree + 1] * d)
    raise InputError(f"element {type(basis.elem).__name__} is no polynomial of degree below {HIGHEST} on the cells")


def _sampled(basis, grid, reference, degree):
    """Monomials (cells, q, (degree + 1)^d) and basis functions (cells, nb, c, q) at reference points (d, q)."""
    centres, halves = grid.boxes
    y = (basis.mapping.F(reference) - centres[:, :, None]) / halves[:, :, None]
    powers = [axis[..., None] ** np.arange(degree + 1) for axis in y]
    monomials = powers[0]
    for power in powers[1:]:
        monomials = (monomials[..., :, None] * power[..., None, :]).reshape(*monomials.shape[:-1], -1)
    fields = [np.asarray(basis.elem.gbasis(basis.mapping, reference, i)[0]) for i in range(basis.Nbfun)]
    shape = (-1, grid.numbers.size, reference.shape[1])
    values = [np.broadcast_to(f, (*f.shape[:-2], *shape[1:])).reshape(shape) for f in fields]
    return monomials, np.stack(values).transpose(2, 0, 1, 3)


@dataclass(frozen=True, eq=False)
class LawTable:
    """What a form keeps of a law, on its device; the counterpart of the tables of a field in `shapes`.

    polynomials (cells, nb, c, J) with J = prod(powers); dofs (cells, nb); breaks and numbers as in `Grid`; centres and
    halves (d, cells).
    """

    size: int
    powers: tuple
    values: int
    polynomials: torch.Tensor
    dofs: np.ndarray
    breaks: tuple
    numbers: torch.Tensor
    centres: torch.Tensor
    halves: torch.Tensor
    linear: bool
    smooth: bool

    @classmethod
    def of(cls, law, device):
        """The table of a law."""
        found, grid = law.polynomials, law.grid
        flat = found.reshape(*found.shape[:3], -1)
        return cls(int(law.basis.N), found.shape[3:], found.shape[2], as_tensor(flat, device),
                   np.ascontiguousarray(law.basis.element_dofs.T), tuple(as_tensor(b, device) for b in grid.breaks),
                   torch.from_numpy(grid.numbers).to(device), *(as_tensor(each, device) for each in grid.boxes),
                   law.continuation == "linear", law.smooth)

    def restricted(self, chosen):
        """A law has no elements of the state's mesh: itself."""
        return self

    @property
    def device(self):
        """Where the tables are."""
        return self.polynomials.device

    def coefficients(self, vector):
        """Polynomials on the cells (cells, c, J) of a vector (n,)."""
        return torch.einsum("ebcj,eb->ecj", self.polynomials, as_tensor(np.take(vector, self.dofs), self.device))

    def located(self, arguments):
        """Cells (ne, nq) of arguments, d of them (ne, nq); those of the nearest points where they are outside."""
        places = [torch.searchsorted(inner[1:-1].contiguous(), y.detach().contiguous(), right=True)
                  for inner, y in zip(self.breaks, arguments, strict=True)]
        return self.numbers[tuple(places)]


def _uncalled(*_, **__):
    raise InputError("a residual used a law like a field; call it with its arguments, as in k(u)")


class LocalLaw:
    """A law on a block of elements: a callable of torch quantities.

    leaves[k] (c J, ne, nq), cells[k] (ne, nq) and arguments[k] belong to the call number k.
    """

    __add__ = __sub__ = __mul__ = __truediv__ = __pow__ = __neg__ = __getitem__ = _uncalled
    __radd__ = __rsub__ = __rmul__ = __rtruediv__ = __rpow__ = _uncalled
    __torch_function__ = classmethod(_uncalled)

    def __init__(self, table, coefficients, tracked):
        self._table, self._coefficients, self._tracked = table, coefficients, tracked
        self.leaves, self.cells, self.arguments = {}, {}, {}

    def __call__(self, *arguments):
        """Values (ne, nq), or (c, ne, nq) of a law of several values, at arguments (ne, nq)."""
        table = self._table
        if len(arguments) != len(table.breaks):
            raise InputError(f"a law of {len(table.breaks)} arguments was called with {len(arguments)}")
        like = table.polynomials.new_tensor
        given = (argument.value if isinstance(argument, Field) else argument for argument in arguments)
        y = torch.broadcast_tensors(*(a if isinstance(a, torch.Tensor) else like(a) for a in given))
        if y[0].ndim != 2:
            raise InputError(f"a law was called with an argument of shape {tuple(y[0].shape)}; every argument is one "
                             "number a point (elements, points)")
        cells, call = table.located(y), len(self.leaves)
        leaf = self._coefficients[cells].permute(2, 3, 0, 1).flatten(0, 1).contiguous()
        leaf = leaf.requires_grad_() if self._tracked else leaf
        self.leaves[call], self.cells[call], self.arguments[call] = leaf, cells, y
        result = self._continued(leaf.reshape(table.values, *table.powers, *cells.shape), y, cells)
        return result[0] if table.values == 1 else result

    def _continued(self, polynomial, y, cells):
        """The polynomials at the arguments, beyond the mesh continued from its nearest points."""
        table = self._table
        inside = [each.clamp(b[0], b[-1]) for each, b in zip(y, table.breaks, strict=True)]
        local = [(each - table.centres[i][cells]) / table.halves[i][cells] for i, each in enumerate(inside)]
        result = _horner(polynomial, local)
        if table.linear:
            for i, (each, near) in enumerate(zip(y, inside, strict=True)):
                beyond = each - near
                if beyond.any():
                    result = result + _horner(_slope(polynomial, i), local) * (beyond / table.halves[i][cells])
        return result


def _horner(polynomial, local):
    """Values (c, ne, nq) of polynomials (c, p_1, ..., p_d, ne, nq) at local arguments, d of them (ne, nq)."""
    for s in reversed(local):
        *lower, result = polynomial.unbind(-3)
        for coefficient in reversed(lower):
            result = result * s + coefficient
        polynomial = result
    return polynomial


def _slope(polynomial, axis):
    """The derivative of polynomials along a local argument."""
    count = polynomial.shape[1 + axis]
    if count == 1:
        return torch.zeros_like(polynomial)
    powers = torch.arange(1, count, dtype=polynomial.dtype, device=polynomial.device)
    higher = polynomial.narrow(1 + axis, 1, count - 1)
    return higher * powers.reshape(-1, *[1] * (higher.ndim - 2 - axis))
