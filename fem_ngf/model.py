"""An equation written once, and the same on a mesh: basis, equation and Hilbert space with one quadrature."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from inspect import signature

import numpy as np
import scipy.sparse as sp
from skfem import AbstractBasis, Basis, Element, ElementLineP1, FacetBasis, LinearForm, MeshLine

from .bases import LeanBasis, forgetful
from .data.measurements import Measurements, TimeSeries, WholeField
from .data.observation import MatrixObservation, point_values, time_weights
from .energies.inverse_problem import InverseProblem
from .errors import InputError, check_counts, check_function, check_has, check_not_negative, real_array
from .forms.laws import Law
from .forms.weak_form import WeakForm
from .meshes import boundary
from .pde.protocol import State
from .pde.stationary import StationaryProblem, columns
from .pde.time.checkpointed import CheckpointedEvolution
from .pde.time.evolution import EvolutionProblem
from .regularization.tikhonov import Tikhonov
from .spaces import protocol
from .spaces.hilbert import HilbertSpace
from .spaces.matrices import components_of
from .spaces.product import ProductSpace
from .spaces.sampling import is_lagrange
from .spaces.tensor import TensorSpace

Value = float | Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Evolution:
    """What makes the equation of a `Model` one in time, see `EvolutionProblem`.

    Parameters
    ----------
    mass
        ``mass(u, v, m, w)``: what is derived in time.
    times
        ``(N + 1,)``; or a function of the mesh that gives them, for steps that go with the cells.
    method
        ``"euler"``, ``"crank-nicolson"``, ``"bdf2"``, or ``"newmark"`` for two derivatives in time.
    initial
        The initial state: a number, a function of x or a vector (n_u,), or a list with one an experiment.
    start
        Residual of an equation for the initial state in its place: ``(u - m) * v`` where that is unknown.
    damping, absorbing
        Newmark: what is derived once, in the domain, and on boundaries ``{name: residual}``.
    pulse
        Function of t that multiplies all fluxes, which need not be integrated anew at every time then.
    parameter_times
        ``(n_t,)``, or a function of the mesh: the parameter is a field m(x, t), linear between these times; None: it
        stays.
    memory
        Bytes for the states of a trajectory: an inverse problem keeps as many snapshots as that allows, and computes
        the other states again, see `CheckpointedEvolution`. None: all states are kept.
    disk
        Snapshots on disk beside those in memory.
    """

    mass: Callable
    times: np.ndarray | Callable
    method: str = "euler"
    initial: Value | Sequence[Value] = 0.0
    start: Callable | None = None
    damping: Callable | None = None
    absorbing: Mapping[str, Callable] = field(default_factory=dict)
    pulse: Callable[[float], float] | None = None
    parameter_times: np.ndarray | Callable | None = None
    memory: float | None = None
    disk: int = 0

    def __post_init__(self):
        check_has("absorbing", self.absorbing, "a dict {name: residual}", "items")
        check_function("mass", self.mass)
        for name in ("start", "damping", "pulse"):
            if (given := getattr(self, name)) is not None:
                check_function(name, given)
        check_not_negative(disk=self.disk, **({} if self.memory is None else {"memory": self.memory}))
        if self.memory is None and self.disk:
            raise InputError(f"disk is {self.disk}, but without memory all states are kept; give memory in bytes, 0 "
                             "for snapshots on disk alone")


@dataclass(frozen=True, eq=False)
class Model:
    r"""An equation for a state u with an unknown parameter m, for any mesh: stationary, or an evolution.

    Values on boundaries are numbers or functions of the points ``x`` (d, ...), or a list with one of them an
    experiment; functions of vector elements return their components first (c, ...), and in an evolution they may be
    functions of x and t. Boundaries go by their names in the mesh; what no name mentions is insulated.

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
    evolution
        What is derived in time, and how; None for a stationary equation.

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
    evolution: Evolution | None = None

    def __post_init__(self):
        check_function("residual", self.residual)
        parameters = self.parameter if isinstance(self.parameter, tuple) else (self.parameter,)
        for name, element in (("state", self.state), *(("parameter", each) for each in parameters)):
            if not isinstance(element, Element) and not (name == "parameter" and isinstance(element, Law)):
                named = f"the class {element.__name__}" if isinstance(element, type) else f"a {type(element).__name__}"
                raise InputError(f"{name} is {named}; give a scikit-fem element such as ElementTriP1()")
        if not (self.evolution is None or isinstance(self.evolution, Evolution)):
            raise InputError(f"evolution is a {type(self.evolution).__name__}; give an Evolution, or None")
        for name in ("neumann", "boundary", "data"):
            check_has(name, getattr(self, name), "a dict {name: value}", "items")
        names = [self.dirichlet] if isinstance(self.dirichlet, str) else self.dirichlet
        if isinstance(names, list | tuple) and all(isinstance(name, str) for name in names):
            object.__setattr__(self, "dirichlet", dict.fromkeys(names, 0.0))
        if isinstance(self.parameter, tuple) and self.evolution and self.evolution.parameter_times is not None:
            raise InputError("parameter_times is for one field m(x, t), but parameter is a tuple; use EvolutionProblem "
                             "for several fields of which some move")

    def __repr__(self):
        parameters = self.parameter if isinstance(self.parameter, tuple) else (self.parameter,)
        kinds = ", ".join(type(each).__name__ for each in parameters)
        equation = "evolution" if self.evolution else "linear" if self.linear else "nonlinear"
        return f"Model({equation}, state {type(self.state).__name__}, parameter {kinds})"

    def on(self, mesh) -> Discretization:
        """The model on a mesh.

        Raises
        ------
        InputError
            If the mesh has no boundary of a name that the model mentions.
        """
        check_has("mesh", mesh, "a scikit-fem mesh", "elem", "boundaries")
        if mesh.elem.refdom is not self.state.refdom:
            raise InputError(f"the mesh is a {type(mesh).__name__} and state a {type(self.state).__name__}; they need "
                             "the same kind of cells")
        if self.intorder is not None:
            check_counts(intorder=self.intorder)
        with forgetful(mesh):
            return self._on(mesh)

    def _on(self, mesh) -> Discretization:
        state = LeanBasis(mesh, self.state, intorder=self.intorder)
        entries = self.parameter if isinstance(self.parameter, tuple) else (self.parameter,)
        fields = tuple(each if isinstance(each, Law) else state.with_element(each) for each in entries)
        form = self._form(state, self.residual, self.boundary, fields)
        dofs, values = self._given(state)
        how = {"dirichlet": dofs, "linear": self.linear, "symmetric": self.definite or self.symmetric,
               "definite": self.definite, "backend": self.backend}
        if self.evolution is None:
            equation = StationaryProblem(form, values=values, loads=self._loads(state), **how)
        else:
            equation = self._evolution(state, form, how)
        bases = tuple(each.basis if isinstance(each, Law) else each for each in fields)
        return Discretization(state, bases if isinstance(self.parameter, tuple) else bases[0], equation, self.evolution)

    @property
    def experiments(self) -> int:
        """Number of experiments k: columns of the state."""
        initial = [] if self.evolution is None else [self.evolution.initial]
        return max(len(_listed(value)) for value in (0.0, *initial, *self._values()))

    def _values(self) -> list:
        """All that is given on boundaries, with its lists."""
        given = self.dirichlet.values() if isinstance(self.dirichlet, Mapping) else [self.dirichlet]
        return [*given, *self.neumann.values()]

    def _form(self, state: Basis, residual: Callable | None, boundary: Mapping[str, Callable],
              fields: tuple | None = None) -> WeakForm | None:
        """The form with its parts on boundaries; `fields` are the parameters on the cells, where they are made already.
        """
        parameter = self.parameter
        if fields is not None:
            parameter = fields if isinstance(parameter, tuple) else fields[0]
        forms = [] if residual is None else [WeakForm(residual, state, parameter, **self._data(state))]
        for name, each in boundary.items():
            facets = self._facets(state.mesh, name)
            forms.append(WeakForm(each, facets, self.parameter, **self._data(facets)))
        return sum(forms[1:], forms[0]) if forms else None

    def _evolution(self, state: Basis, form: WeakForm, how: dict) -> EvolutionProblem:
        given = self.evolution
        initial = self._form(state, given.start, {})
        if initial is None:
            initial = np.stack([_nodal(state, each) if callable(each) else columns("initial", each, state.N)[:, 0]
                                for each in self._each(given.initial, "initial")], axis=1)
        values, loads = self._given(state)[1], self._loads(state)
        if any(_moves(each) for value in self._values() for each in _listed(value)):
            values, loads = lambda t: self._given(state, t)[1], lambda t: self._loads(state, t)
        pulse, fluxes = given.pulse, loads
        if pulse is not None:
            loads = lambda t: columns("pulse", pulse(t), 1) * (fluxes(t) if callable(fluxes) else fluxes)  # noqa: E731
        times, moving = (each(state.mesh) if callable(each) else each for each in (given.times, given.parameter_times))
        return EvolutionProblem(self._form(state, given.mass, {}), form, times, given.method, initial=initial,
                                damping=self._form(state, given.damping, given.absorbing), values=values, loads=loads,
                                parameter_times=moving, **how)

    def _facets(self, mesh, name: str) -> FacetBasis:
        return FacetBasis(mesh, self.state, facets=boundary(mesh, name), intorder=self.intorder)

    def _data(self, basis: AbstractBasis) -> dict:
        points = np.asarray(basis.global_coordinates()) if any(map(callable, self.data.values())) else None
        return {name: value(points) if callable(value) else value for name, value in self.data.items()}

    def _given(self, state: Basis, t: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Dirichlet unknowns, and the values (n, k) there at a time."""
        values, dofs = np.zeros((state.N, self.experiments)), [np.zeros(0, dtype=np.int64)]
        given = self.dirichlet
        if given is not None and not isinstance(given, Mapping):
            given = {None: given}
        for name, value in (given or {}).items():
            facets = None if name is None else boundary(state.mesh, name)
            dofs.append(state.get_dofs(facets).all())
            for j, each in enumerate(_at(self._each(value), t)):
                values[dofs[-1], j] = _nodal(state, each, dofs[-1]) if callable(each) else each
        return np.unique(np.concatenate(dofs)), values

    def _loads(self, state: Basis, t: float = 0.0) -> np.ndarray:
        """Integrals (n, k) of the fluxes at a time."""
        loads = np.zeros((state.N, self.experiments))
        for name, value in self.neumann.items():
            facets = self._facets(state.mesh, name)
            for j, each in enumerate(_at(self._each(value), t)):
                flux = each(np.asarray(facets.global_coordinates())) if callable(each) else each
                loads[:, j] += LinearForm(lambda v, w, flux=flux: _work(flux, np.asarray(v))).assemble(facets)
        return loads

    def _each(self, value, name: str = "a value on a boundary") -> Sequence[Value]:
        """One value an experiment."""
        listed = [each if callable(each) else real_array(name, each) for each in _listed(value)]
        if len(listed) not in (1, self.experiments):
            raise InputError(f"{name} has entries of {len(listed)} experiments, another one of {self.experiments}; "
                             "give one for all, or one an experiment")
        return listed * self.experiments if len(listed) == 1 else listed


def _listed(value) -> list[Value]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _moves(value) -> bool:
    """Whether a value is a function of x and t: takes two arguments."""
    if not callable(value) or isinstance(value, np.ufunc):
        return False
    return sum(each.default is each.empty for each in signature(value).parameters.values()) == 2


def _at(values: Sequence[Value], t: float) -> list[Value]:
    """The values at a time, functions of x at most."""
    return [partial(lambda value, x: value(x, t), value) if _moves(value) else value for value in values]


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
    evolution
        The model's, which knows how much memory its states may take.
    """

    state: Basis
    parameter: AbstractBasis | tuple[AbstractBasis, ...]
    equation: StationaryProblem | EvolutionProblem
    evolution: Evolution | None = None

    @property
    def mesh(self):
        """The mesh."""
        return self.state.mesh

    @cached_property
    def space(self) -> HilbertSpace | ProductSpace | TensorSpace:
        """L2 of the parameter, in space and time where it moves; of several fields the product."""
        if isinstance(self.parameter, tuple):
            return ProductSpace(tuple(HilbertSpace.l2(basis) for basis in self.parameter))
        if isinstance(self.equation, StationaryProblem) or self.equation.parameter.steady:
            return HilbertSpace.l2(self.parameter)
        in_time = Basis(MeshLine(self.equation.parameter.nodes[0]), ElementLineP1())
        return TensorSpace(HilbertSpace.l2(self.parameter), HilbertSpace.l2(in_time))

    def nodal(self, m) -> np.ndarray:
        """Vector (n_m,) of a parameter: a vector, or nodal values of a function of x (of a tuple of functions).

        Where it moves, of a function of (x, t), coordinates first.
        """
        if callable(m) and isinstance(self.space, TensorSpace):
            return np.broadcast_to(np.asarray(m(self.space.nodes.T), dtype=float), self.space.size).copy()
        if isinstance(self.parameter, tuple) and isinstance(m, tuple):
            return np.concatenate([_nodal(basis, each) for basis, each in zip(self.parameter, m, strict=True)])
        return _nodal(self.parameter, m)

    def solve(self, m, start=None) -> State:
        """The state for a parameter, given as for `nodal`; `start` as for the equation's `solve`."""
        return self.equation.solve(self.nodal(m), start)

    def inverse_problem(self, data, regularization=None, weight: float = 1.0, bounds=None) -> InverseProblem:
        """The energy ``misfit(u(m)) + weight * regularization(m)``.

        Parameters
        ----------
        data
            What was measured: `Measurements` at points, or a `WholeField`; anything whose ``on(basis)`` gives
            (observation, data, noise), see `InverseProblem`. Of an evolution a `TimeSeries`, whose ``on(basis, times)``
            does.
        regularization
            ``space -> regularization``: ``lambda space: Tikhonov(space.stiffness)``; None where the data determine the
            unknown.
        weight, bounds
            See `InverseProblem`: ``bounds=(1e-3, 1.0)`` keeps the unknown between two numbers.
        """
        equation, times = self.equation, getattr(self.equation, "times", None)
        if isinstance(data, TimeSeries if times is None else Measurements | WholeField):
            fit = "Measurements or a WholeField: this is stationary" if times is None else "a TimeSeries: this evolves"
            raise InputError(f"data is a {type(data).__name__}; give {fit}")
        observation, values, noise = data.on(self.state) if times is None else data.on(self.state, times)
        if self.evolution is not None and self.evolution.memory is not None:
            check_has("data of an evolution with a budget of memory", data, "a TimeSeries", "points", "times")
            equation = CheckpointedEvolution(equation, point_values(self.state, data.points),
                                             time_weights(times, data.times), memory=self.evolution.memory,
                                             disk=self.evolution.disk)
            observation = MatrixObservation(sp.eye_array(equation.state_size, format="csr"), observation.points)
        if regularization is None:
            regularization, weight = Tikhonov, 0.0
        return InverseProblem(equation, observation, values, noise, regularization(self.space), self.space, weight,
                              bounds)


def _nodal(basis: AbstractBasis, m, unknowns=slice(None)) -> np.ndarray:
    """Values of a function of x at the nodes of (some of) the unknowns, or the vector `m` itself.

    An element whose unknowns are not all values takes the L2 projection.
    """
    if not callable(m):
        return np.asarray(m, dtype=float)
    if not isinstance(unknowns, np.ndarray) and not is_lagrange(basis):
        space = HilbertSpace.l2(basis)
        return space.project(np.broadcast_to(m(space.points.T), protocol.sample_shape(space)[::-1]).T)
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
