"""Bases that share their quadrature points, and data given at these points."""

from __future__ import annotations

import numpy as np
import torch
from skfem import Basis, FacetBasis
from skfem.assembly.basis.abstract_basis import AbstractBasis
from skfem.element import Element

from ..errors import InputError, real_array
from .fields import Lazy, as_tensor
from .laws import Law

RESERVED = ("x", "h", "n", "t")


def bases_of(parameter, state):
    """Resolve a parameter (Basis, Element, Law or a tuple of them) to a tuple of bases at the state's points, and laws.

    Raises
    ------
    InputError
        When an entry is something else, or a basis has other quadrature points.
    """
    entries = parameter if isinstance(parameter, (tuple, list)) else (parameter,)
    return tuple(_basis_of(entry, state) for entry in entries)


def _basis_of(entry, state):
    if isinstance(entry, Element):
        return state.with_element(entry)
    if isinstance(entry, Law):
        return entry
    if not isinstance(entry, AbstractBasis):
        raise InputError(f"parameter is a {type(entry).__name__}; give a Basis, an Element, a Law or a tuple of them")
    if not same_points(entry, state):
        raise InputError(f"parameter basis has other quadrature points ({describe(entry)}) than the state basis "
                         f"({describe(state)}); build it with state_basis.with_element(element)")
    return entry


def describe(basis):
    """Short description of a basis' points for messages."""
    return f"{basis.nelems} {'cells' if isinstance(basis, Basis) else 'facets'}, {basis.X.shape[-1]} points each"


def same_points(one, other):
    """Whether two bases integrate over the same points of the same mesh."""
    if one is other:
        return True
    same_kind = type(one) is type(other) or isinstance(one, Basis) and isinstance(other, Basis)
    same_shape = one.nelems == other.nelems and one.X.shape == other.X.shape
    if not (same_kind and same_shape and np.allclose(one.X, other.X) and np.allclose(one.W, other.W)):
        return False
    if not _same_mesh(one.mesh, other.mesh):
        return False
    sets = [tuple(getattr(basis, name, None) for name in ("tind", "find")) for basis in (one, other)]
    return all((a is None and b is None) or np.array_equal(a, b) for a, b in zip(*sets, strict=True))


def _same_mesh(one, other):
    if one is other:
        return True
    return one.p.shape == other.p.shape and np.allclose(one.p, other.p) and np.array_equal(one.t, other.t)


def point_arrays(basis, data, device):
    """Coordinates, mesh size, normals and data as torch arrays (..., ne, nq), by name; geometry when it is asked for.

    Raises
    ------
    InputError
        For data whose shape fits neither samples (q,), (q, k) nor component-first arrays (..., ne, nq).
    """
    geometry = {"x": basis.global_coordinates, "h": basis.mesh_parameters}
    if isinstance(basis, FacetBasis):
        geometry["n"] = lambda: basis.normals
    shape = basis.nelems, basis.X.shape[-1]
    arrays = {name: Lazy(lambda make=make: as_tensor(make(), device)) for name, make in geometry.items()}
    for name, value in data.items():
        if name in RESERVED or name.startswith("_"):
            raise InputError(f"data is called {name!r}, which is taken; choose another name")
        arrays[name] = _data(name, value, shape, device)
    return arrays


def _data(name, value, shape, device):
    if callable(value):
        return value
    if np.isscalar(value):
        return float(real_array(f"data {name!r}", value))
    value = real_array(f"data {name!r}", value.detach().cpu() if isinstance(value, torch.Tensor) else value)
    if value.ndim >= 2 and value.shape[-2:] == tuple(shape):
        return as_tensor(value, device)
    if value.ndim in (1, 2) and value.shape[0] == shape[0] * shape[1]:
        return as_tensor(value.T.reshape(*value.shape[1:], *shape), device)
    raise InputError(f"data {name!r} has shape {value.shape}; give samples ({shape[0] * shape[1]},) or "
                     f"({shape[0] * shape[1]}, k), one row a quadrature point")
