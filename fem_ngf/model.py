"""An equation written once, and the same on a mesh: basis, equation and Hilbert space with one quadrature."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from skfem import AbstractBasis, Basis, Element, FacetBasis, LinearForm

from .energies.inverse_problem import InverseProblem
from .errors import InputError
from .forms.laws import Law
from .forms.weak_form import WeakForm
from .meshes import boundary
from .pde.stationary import StationaryProblem, StationaryState
from .spaces.hilbert import HilbertSpace
from .spaces.matrices import components_of
from .spaces.product import ProductSpace

Value = float | Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Model:
    r"""A stationary equation for a state u with an unknown parameter m, for any mesh.

    Values on boundaries are numbers or functions of the points ``x`` (d, ...), or a list with one of them an
    experiment; functions of vector elements return their components first (c, ...). Boundaries go by their names in the
    mesh; what no name mentions is insulated.

    Parameters
    ----------
    residual
        ``residual(u, v, m, w)``, see `WeakForm`.
    state, parameter
        scikit-fem elements of u and m; a tuple of elements where the residual takes several fields m. A `Law` may
        stand in the place of an element: it has a mesh of its own.
    dirichlet
        Values of u: ``{name: value}``, or one value for the whole boundary; a name or a list of names: zero there.
    neumann
        Fluxes :math:`\int g v` into the domain: ``{name: value}``.
    boundary
        Further residuals on boundaries, ``{name: residual}``: Robin conditions, unknown coefficients of a boundary.
    data
        What the residuals find as ``w.NAME``: numbers, or functions of x that are evaluated at the quadrature points.
    intorder
        Order of the quadrature of the equation, and of the projection of functions onto the space of m; scikit-fem's
        choice for the state by default.
    linear, symmetric, definite, backend
        See `StationaryProblem`; what is definite is symmetric.

    Examples
    --------
    >>> from skfem import ElementTriP1, ElementTriP2
    >>> from fem_ngf import Model, dot, grad, unit_square
    >>> model = Model(lambda u, v, m, w: dot(grad(u), grad(v)) - m * v, ElementTriP2(), ElementTriP1(),
    ...               dirichlet=0.0, linear=True)
    >>> poisson = model.on(unit_square(8))
    >>> float(poisson.solve(lambda x: 1.0 + 0.0 * x[0]).u.max().round(4))
    0.0737
    """

    residual: Callable
    state: Element
    parameter: Element | Law | tuple[Element | Law, ...]
    dirichlet: Value | str | Sequence[str] | Mapping[str, Value | Sequence[Value]] | None = None
    neumann: Mapping[str, Value | Sequence[Value]] = field(default_factory=dict)
    boundary: Mapping[str, Callable] = field(default_factory=dict)
    data: Mapping[str, Value] = field(default_factory=dict)
    intorder: int | None = None
    linear: bool = False
    symmetric: bool | None = None
    definite: bool = False
    backend: str = "auto"

    def __post_init__(self):
        for name, element in (("state", self.state), ("parameter", self.parameter)):
            if isinstance(element, type):
                raise InputError(f"{name} is the class {element.__name__}; write {element.__name__}()")
        names = [self.dirichlet] if isinstance(self.dirichlet, str) else self.dirichlet
        if isinstance(names, list | tuple) and all(isinstance(name, str) for name in names):
            object.__setattr__(self, "dirichlet", dict.fromkeys(names, 0.0))

    def on(self, mesh) -> Discretization:
        """The model on a mesh.

        Raises
        ------
        InputError
            If the mesh has no boundary of a name that the model mentions.
        """
        state = Basis(mesh, self.state, intorder=self.intorder)
        form = WeakForm(self.residual, state, self.parameter, **self._data(state))
        for name, residual in self.boundary.items():
            facets = self._facets(mesh, name)
            form = form + WeakForm(residual, facets, self.parameter, **self._data(facets))
        dofs, values = self._given(state)
        equation = StationaryProblem(form, dirichlet=dofs, values=values, loads=self._loads(state), linear=self.linear,
                                     symmetric=self.definite or self.symmetric, definite=self.definite,
                                     backend=self.backend)
        entries = self.parameter if isinstance(self.parameter, tuple) else (self.parameter,)
        bases = tuple(each.basis if isinstance(each, Law) else state.with_element(each) for each in entries)
        return Discretization(state, bases if isinstance(self.parameter, tuple) else bases[0], equation)

    @property
    def experiments(self) -> int:
        """Number of experiments k: columns of the state."""
        given = self.dirichlet.values() if isinstance(self.dirichlet, Mapping) else [self.dirichlet]
        return max((len(_listed(value)) for value in (*given, *self.neumann.values())), default=1)

    def _facets(self, mesh, name: str) -> FacetBasis:
        return FacetBasis(mesh, self.state, facets=boundary(mesh, name), intorder=self.intorder)

    def _data(self, basis: AbstractBasis) -> dict:
        points = np.asarray(basis.global_coordinates())
        return {name: value(points) if callable(value) else value for name, value in self.data.items()}

    def _given(self, state: Basis) -> tuple[np.ndarray, np.ndarray]:
        """Dirichlet unknowns, and the values (n_u, k) there."""
        values, dofs = np.zeros((state.N, self.experiments)), [np.zeros(0, dtype=np.int64)]
        given = self.dirichlet
        if given is not None and not isinstance(given, Mapping):
            given = {None: given}
        for name, value in (given or {}).items():
            facets = None if name is None else boundary(state.mesh, name)
            dofs.append(state.get_dofs(facets).all())
            for j, each in enumerate(self._each(value)):
                values[dofs[-1], j] = _nodal(state, each, dofs[-1]) if callable(each) else each
        return np.unique(np.concatenate(dofs)), values

    def _loads(self, state: Basis) -> np.ndarray:
        """Integrals (n_u, k) of the fluxes."""
        loads = np.zeros((state.N, self.experiments))
        for name, value in self.neumann.items():
            facets = self._facets(state.mesh, name)
            for j, each in enumerate(self._each(value)):
                flux = each(np.asarray(facets.global_coordinates())) if callable(each) else each
                loads[:, j] += LinearForm(lambda v, w, flux=flux: _work(flux, np.asarray(v))).assemble(facets)
        return loads

    def _each(self, value) -> Sequence[Value]:
        """One value an experiment."""
        listed = _listed(value)
        if len(listed) not in (1, self.experiments):
            raise InputError(f"a boundary has values of {len(listed)} experiments, another one of {self.experiments}; "
                             "give one value for all, or one an experiment")
        return listed * self.experiments if len(listed) == 1 else listed


def _listed(value) -> list[Value]:
    return list(value) if isinstance(value, list | tuple) else [value]


@dataclass(frozen=True, eq=False)
class Discretization:
    """A model on a mesh.

    Parameters
    ----------
    state
        Basis of u.
    parameter
        Basis of m, or a tuple of them, with the state's quadrature points; of a law on the mesh of its arguments.
    equation
        Takes a vector m to the state and its derivatives.
    """

    state: Basis
    parameter: AbstractBasis | tuple[AbstractBasis, ...]
    equation: StationaryProblem

    @property
    def mesh(self):
        """The mesh."""
        return self.state.mesh

    @cached_property
    def space(self) -> HilbertSpace | ProductSpace:
        """L2 of the parameter; of several fields the product."""
        if isinstance(self.parameter, tuple):
            return ProductSpace(tuple(HilbertSpace.l2(basis) for basis in self.parameter))
        return HilbertSpace.l2(self.parameter)

    def nodal(self, m) -> np.ndarray:
        """Vector (n_m,) of a parameter: nodal values of a function of x (of a tuple of functions), or a vector."""
        if isinstance(self.parameter, tuple) and isinstance(m, tuple):
            return np.concatenate([_nodal(basis, each) for basis, each in zip(self.parameter, m, strict=True)])
        return _nodal(self.parameter, m)

    def solve(self, m, start=None) -> StationaryState:
        """The state for a parameter, given as for `nodal`; `start` as for `StationaryProblem.solve`."""
        return self.equation.solve(self.nodal(m), start)

    def inverse_problem(self, data, regularization, weight: float = 1.0) -> InverseProblem:
        """The energy ``misfit(u(m)) + weight * regularization(m)``.

        Parameters
        ----------
        data
            What was measured: `Measurements` at points, or a `WholeField`; anything whose ``on(basis)`` gives
            (observation, data, noise), see `InverseProblem`.
        regularization
            ``space -> regularization``: ``lambda space: Tikhonov(space.stiffness)``.
        weight
            Positive number.
        """
        observation, values, noise = data.on(self.state)
        return InverseProblem(self.equation, observation, values, noise, regularization(self.space), self.space, weight)


def _nodal(basis: AbstractBasis, m, unknowns=slice(None)) -> np.ndarray:
    """Values of a function of x at the nodes of (some of) the unknowns, or the vector `m` itself."""
    if not callable(m):
        return np.asarray(m, dtype=float)
    numbers, components = np.arange(basis.N)[unknowns], components_of(basis)
    shape = (components, len(numbers))[components == 1:]
    values = np.asarray(m(basis.doflocs[:, numbers]), dtype=float)
    try:
        values = np.broadcast_to(values, shape)
    except ValueError:
        raise InputError(f"a function of x gave values of shape {values.shape} at {len(numbers)} points; this element "
                         f"needs {shape}, components first, or one number") from None
    if components > 1:  # unknown i c + j is component j at node i
        values = values[numbers % components, np.arange(len(numbers))]
    return values.astype(float)


def _work(flux, v: np.ndarray):
    """``g v``, and of vectors ``g . v``, pointwise."""
    if v.ndim == 2:
        return flux * v
    if np.shape(flux) != v.shape:
        raise InputError(f"a flux has values of shape {np.shape(flux)}, and the state is a vector; give a function of "
                         f"x with values of shape {v.shape}")
    return np.einsum("i...,i...", flux, v)
