"""What a case file returns: the problem on one mesh or several, and the unknown that it is solved for."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import skfem

from ..data.measurements import TimeSeries, WholeField
from ..errors import InputError, check_has, check_positive, is_number, real_array, same_size
from ..linalg.kronecker import KroneckerSum
from ..linalg.operators import SymmetricOperator
from ..model import Model
from ..output.film import Film
from ..output.vtk import checked_fields
from ..regularization.gaussian import Gaussian
from ..spaces.hilbert import HilbertSpace
from ..spaces.protocol import Space
from ..spaces.tensor import TensorSpace

Fields = dict[str, tuple[skfem.AbstractBasis, np.ndarray]]
FRAMES = 121
"""Of a film, at most: those of a long evolution are evenly spread."""


def _no_fields(linearization) -> Fields:
    return {}


@dataclass(frozen=True, eq=False)
class Level:
    """The problem on one mesh.

    Parameters
    ----------
    label
        Name of the mesh in tables: ``"64 x 64"``.
    energy
        `fem_ngf.energies.Energy` on vectors of `basis`.
    basis
        Basis of the parameter ``m`` (n unknowns).
    fixed
        Unknowns of ``m`` that are zero.
    truth
        The true parameter as a vector (n,), if it is known.
    noise_std
        Standard deviations of the data ``(n_obs,)`` or ``(n_obs, k)``, zero where they are exact; the rules that choose
        the weight need them where the misfit is no likelihood.
    fields
        Linearization -> further fields to export by name, each ``(basis, vector)``: the state, data, ...
    matrices
        Further inner products that ``--metric`` may name: ``{"prior": A}``, each a sparse matrix (n, n), or a
        `SymmetricOperator` such as the precision of a Gaussian prior.
    film
        Linearization -> the fields over time, which ParaView and the report show instead; None without time.
    """

    label: str
    energy: object
    basis: skfem.AbstractBasis
    fixed: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    truth: np.ndarray | None = None
    noise_std: np.ndarray | None = None
    fields: Callable[[object], Fields] = _no_fields
    matrices: Mapping[str, object] = field(default_factory=dict)
    film: Callable[[object], Film] | None = None

    def __post_init__(self):
        check_has(f"basis of level {self.label}", self.basis, "a scikit-fem Basis", "N", "mesh", "with_element")
        if hasattr(self.energy, "space"):
            same_size(f"the energy of level {self.label}", self.energy.space.size, "its basis", self.basis.N)
        if self.truth is None:
            return
        truth = real_array(f"truth of level {self.label}", self.truth)
        if truth.shape != (self.basis.N,) or not np.isfinite(truth).all():
            what = f"has shape {truth.shape}" if truth.shape != (self.basis.N,) else "is not finite"
            raise InputError(f"truth of level {self.label} {what}; give {self.basis.N} numbers, one an unknown of its "
                             "basis")

    def __repr__(self):
        return f"Level({self.label}: {self.energy!r})"

    def space(self, metric: str = "h1", length: float = 1.0, sampling: str = "quadrature") -> HilbertSpace:
        """Hilbert space of the parameter.

        Parameters
        ----------
        metric
            ``"l2"``, ``"h1"``, ``"hS"`` for a real order S in [-2, 2] (``"h0.5"``), or a name of `matrices`.
        length
            Length scale of the Sobolev inner products.
        sampling
            ``"quadrature"`` or ``"nodal"``, see `HilbertSpace`.

        Raises
        ------
        InputError
            If there is no inner product of that name.
        """
        how = {"fixed": self.fixed, "sampling": sampling}
        if metric in self.matrices:
            return self._named_space(self.matrices[metric], sampling)
        if metric == "l2":
            return HilbertSpace.l2(self.basis, **how)
        if metric == "h1":
            return HilbertSpace.h1(self.basis, length, **how)
        order = re.fullmatch(r"h([+-]?\d+(\.\d+)?)", metric)
        if order:
            return HilbertSpace.sobolev(self.basis, float(order[1]), length, **how)
        known = ", ".join(["l2", "h1", "hS with an order S in [-2, 2]", *self.matrices])
        raise InputError(f"metric is {metric!r}; this case knows {known}")

    def _named_space(self, inner_product, sampling: str) -> HilbertSpace:
        if isinstance(inner_product, SymmetricOperator):
            return HilbertSpace.l2(self.basis, fixed=self.fixed, sampling=sampling).with_inner_product(inner_product)
        return HilbertSpace.from_matrix(self.basis, inner_product, fixed=self.fixed, sampling=sampling)

    def exports(self, linearization) -> Fields:
        """The parameter, the truth and the error where there is a truth, and the case's further fields.

        Raises
        ------
        InputError
            If a further field is none, or has the name of one of these.
        """
        own, further = compared(self.basis, linearization.m, self.truth), checked_fields(self.fields(linearization))
        if taken := [name for name in own if name in further]:
            raise InputError(f"fields of level {self.label} give {taken[0]!r}, which is the unknown's own; choose "
                             "another name")
        return own | further


def compared(basis: skfem.AbstractBasis, m: np.ndarray, truth: np.ndarray | None) -> Fields:
    """The fields m, truth and error of a vector and of the true one, if it is known."""
    known = {} if truth is None else {"truth": (basis, truth), "error": (basis, m - truth)}
    return {"m": (basis, m)} | known


def levels(model: Model, meshes: Mapping[str, object], data, regularization: Callable | None = None,
           weight: float = 1.0, *, bounds=None, truth: Callable | None = None,
           fields: Callable[[object], Fields] | None = None) -> tuple[Level | SampleLevel, ...]:
    """The inverse problem of a model on every mesh.

    Parameters
    ----------
    model
        The equation.
    meshes
        Name -> mesh, coarse to fine: `halvings`, `refinements`.
    data, regularization, weight, bounds
        See `Discretization.inverse_problem`. A regularisation that is a Gaussian prior becomes the metric "prior"; of a
        field m(x, t) so does the norm of a `TensorSpace`, or the metric "h1" if it is one.
    truth
        The true parameter as a function of x (and t), if it is known.
    fields
        Linearization on the finest mesh -> fields to export besides states and data: standard deviations, say.
    """
    *coarser, finest = (_level(label, model.on(mesh), data, regularization, weight, bounds, truth)
                        for label, mesh in meshes.items())
    if fields is not None:
        usual, once = finest.fields, lru_cache(maxsize=1)(fields)  # pictures and files ask for the same linearization
        finest = replace(finest, fields=lambda at: usual(at) | once(at))
    return *coarser, finest


def _level(label: str, discrete, data, regularization, weight: float, bounds, truth) -> Level | SampleLevel:
    energy = discrete.inverse_problem(data, regularization, weight, bounds)
    if isinstance(energy.space, TensorSpace):
        return _moving_level(label, discrete, energy, data, truth)
    state, prior = discrete.state, energy.regularization
    measured = isinstance(data, WholeField)
    given = {"data": (state, energy.data[:, 0])} if measured else {}

    def fields(at) -> Fields:
        u = at.state.frames([len(discrete.equation.times) - 1])[0] if evolves else at.state.u
        return {name: (state, column) for name, column in zip(_names(u.shape[1]), u.T, strict=True)} | given

    evolves = discrete.equation.state_size != state.N
    known = None if truth is None else discrete.nodal(truth)
    return Level(label, energy, discrete.parameter, fields=fields, truth=known,
                 noise_std=data.noise_std if measured and state.mesh is data.basis.mesh else None,
                 matrices={"prior": prior.precision} if isinstance(prior, Gaussian) else {},
                 film=partial(_film, discrete, data, known) if evolves else None)


def _moving_level(label: str, discrete, energy, data, truth) -> SampleLevel:
    """Of a field m(x, t), which is sampled at the nodes: quadrature points of space and time are many."""
    own = getattr(energy.regularization, "metric", None)
    spaces = {"l2": energy.space.nodal_twin}
    if isinstance(own, TensorSpace):
        spaces["h1" if isinstance(own.inner_product, KroneckerSum) else "prior"] = own.nodal_twin
    known = None if truth is None else discrete.nodal(truth)
    return SampleLevel(f"{label} x {len(discrete.equation.times) - 1}", energy, spaces, truth=known,
                       film=partial(_film, discrete, data, known))


def _names(experiments: int) -> list[str]:
    return ["state"] if experiments == 1 else [f"state_{j + 1}" for j in range(experiments)]


def _film(discrete, data, truth: np.ndarray | None, at) -> Film:
    """Parameter and states of an evolution, at `FRAMES` steps at most, and its readings."""
    state, times = discrete.state, discrete.equation.times
    shown = np.unique(np.linspace(0, len(times) - 1, min(len(times), FRAMES)).round().astype(int))
    found = compared(discrete.parameter, at.m, truth) if discrete.parameter.mesh is state.mesh else {}
    if isinstance(discrete.space, TensorSpace):
        found = {name: (basis, discrete.space.at(vector, times[shown])) for name, (basis, vector) in found.items()}
    states = at.state.frames(shown)
    moving = {name: (state, states[:, :, j]) for j, name in enumerate(_names(states.shape[2]))}
    return Film(times[shown], found | moving, data.readings(at.residual) if isinstance(data, TimeSeries) else None)


@dataclass(frozen=True, eq=False)
class SampleLevel:
    """The counterpart of `Level` for spaces of other kinds: `SampleSpace`, `ProductSpace`, `TensorSpace`.

    Parameters
    ----------
    label
        Name of the data set, or of the mesh, in tables.
    energy
        `fem_ngf.energies.Energy` on vectors of these spaces.
    spaces
        Spaces that ``--metric`` may name.
    truth
        The true vector ``(n,)``, if it is known.
    fields
        Linearization -> fields to export by name, each ``(basis, vector)``.
    film, noise_std
        As for `Level`.
    """

    label: str
    energy: object
    spaces: Mapping[str, Space]
    truth: np.ndarray | None = None
    fields: Callable[[object], Fields] = _no_fields
    film: Callable[[object], Film] | None = None
    noise_std: np.ndarray | None = None

    @property
    def basis(self) -> SimpleNamespace:
        """What a `Case` asks of a basis: ``mesh.p`` with as many rows as the points have coordinates."""
        points = next(iter(self.spaces.values())).points
        return SimpleNamespace(mesh=SimpleNamespace(p=points.T))

    def space(self, metric: str = "l2", length: float = 1.0, sampling: str = "nodal") -> Space:
        """The space of that name; `length` and `sampling` have no meaning here.

        Raises
        ------
        InputError
            If there is none.
        """
        if metric not in self.spaces:
            raise InputError(f"metric is {metric!r}; this case knows {', '.join(self.spaces)}")
        return self.spaces[metric]

    def exports(self, linearization) -> Fields:
        """The case's fields."""
        return dict(self.fields(linearization))


def reweighted(levels: tuple, weight: float) -> tuple:
    """The levels with the weight of their regularisation changed.

    Raises
    ------
    InputError
        If an energy has no regularisation.
    """
    if not all(hasattr(level.energy, "weight") for level in levels):
        raise InputError("weight is for energies with a regularisation; this case has none")
    return tuple(replace(level, energy=replace(level.energy, weight=weight)) for level in levels)


@dataclass(frozen=True, eq=False)
class Case:
    """An identification problem, ready to run.

    Parameters
    ----------
    name
        Short name; the default run directory is ``runs/NAME``.
    levels
        The problem on its meshes, coarse to fine.
    ansatz
        The neural unknown.
    start
        Constant start value of nodal values; default: they start from the function that the network starts from.
    length
        Length scale of the metric unless ``--length`` gives one.
    defaults
        Values of `RunOptions` that this case prefers to the general defaults.
    tuning
        Values of further fields of the case's default flow: ``{"share": 0.2}``.
    title
        One line for reports; the command line takes the first one of the case function's documentation.
    about
        The problem in words and formulas, as reStructuredText, for the report; the command line takes the documentation
        of the case file.
    units
        Name of a field -> its unit, ``"x"`` -> that of the coordinates and ``"t"`` -> that of the time, for pictures
        and files.
    outcome
        ``outcome(linearization, folder)`` draws the case's own conclusions from the result: it may write files into the
        run directory, and what it returns joins ``summary.json`` (numbers, strings, lists).
    """

    name: str
    levels: tuple[Level | SampleLevel, ...]
    ansatz: object
    start: float | None = None
    length: float = 1.0
    defaults: Mapping[str, object] = field(default_factory=dict)
    tuning: Mapping[str, object] = field(default_factory=dict)
    title: str = ""
    about: str = ""
    units: Mapping[str, str] = field(default_factory=dict)
    outcome: Callable[[object, Path], Mapping[str, object]] | None = None

    def __post_init__(self):
        if not isinstance(self.name, str) or not re.fullmatch(r"\w[\w .+-]*", self.name):
            raise InputError(f"name is {self.name!r}; give letters, digits, - and _: it names the run directory")
        for name in ("title", "about"):
            if not isinstance(getattr(self, name), str):
                raise InputError(f"{name} of case {self.name} is {getattr(self, name)!r}; give text")
        if not isinstance(self.units, Mapping) or not all(isinstance(unit, str) for unit in self.units.values()):
            raise InputError(f"units of case {self.name} is {self.units!r}; give a dict {{'name of a field': 'unit'}}")
        for name in ("defaults", "tuning"):
            given = getattr(self, name)
            if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
                raise InputError(f"{name} of case {self.name} is {given!r}; give a dict {{'name': value}}")
        if not (self.outcome is None or callable(self.outcome)):
            raise InputError(f"outcome of case {self.name} is {self.outcome!r}; give a function of (linearization, "
                             "folder)")
        if not (self.start is None or is_number(self.start) and math.isfinite(self.start)):
            raise InputError(f"start of case {self.name} is {self.start!r}; give a number")
        check_positive(length=self.length)
        if not isinstance(self.levels, tuple | list) or not all(hasattr(level, "energy") for level in self.levels):
            raise InputError(f"levels of case {self.name} is {self.levels!r}; give a tuple of Level")
        check_has(f"the ansatz of case {self.name}", self.ansatz, "an MLP, or another Ansatz", "inputs", "linearize")
        if not self.levels:
            raise InputError(f"case {self.name} has no levels; it needs the problem on one mesh at least")
        dimension = self.levels[-1].basis.mesh.p.shape[0]
        if self.ansatz.inputs != dimension:
            raise InputError(f"the ansatz of case {self.name} has {self.ansatz.inputs} inputs; its mesh has dimension "
                             f"{dimension}")
