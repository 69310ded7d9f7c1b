"""How the tangent of a form that is affine in its state varies with the parameter: one small array an element.

For ``F(u, m) = K(m) u + c(m)`` the parameter tangent at a state is ``L(u) = L(0) + D[u]`` with a tensor D of test
function, state and parameter that depends on no state. An evolution meets as many states as it has steps and
experiments: with D each costs one matrix product, where a parameter tangent of its own would have to be assembled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch

from .contraction import moves
from .density import Argument


@dataclass(frozen=True, eq=False)
class ElementTensor:
    """One integral's part: values (ne, V, U, M), and the unknowns of v and u (ne, V), (ne, U) and of m (ne, M)."""

    values: np.ndarray
    rows: np.ndarray
    cols: np.ndarray
    unknowns: np.ndarray


@dataclass(frozen=True, eq=False)
class Variation:
    """The tensor D of a form at a parameter; make it with `Variation.of`.

    Parameters
    ----------
    state_size, parameter_size
        n_u and n_m.
    parts
        One `ElementTensor` an integral that has one.
    """

    state_size: int
    parameter_size: int
    parts: tuple

    @classmethod
    def of(cls, form, m) -> Variation | None:
        """Of a `WeakForm` that is affine in its state, at m (n_m,); None for laws, whose unknowns move."""
        fields = form._fields
        integrals = form._assembler.integrals
        if any(moves(each.spaces[1], each.spaces[j]) for each in integrals for j in fields):
            return None
        vectors = form._vectors(np.zeros(form.state_size), m)
        parts = [_element_tensor(each, vectors, fields) for each in integrals]
        return cls(form.state_size, form.parameter_size, tuple(part for part in parts if part is not None))

    def along(self, dm: np.ndarray) -> sp.csr_matrix:
        """``dK/dm . dm``, csr (n_u, n_u), of a vector dm (n_m,)."""
        total = sp.csr_matrix((self.state_size, self.state_size))
        for part in self.parts:
            values = np.einsum("evum,em->evu", part.values, dm[part.unknowns])
            rows, cols = (np.broadcast_to(index, values.shape) for index in (part.rows[:, :, None],
                                                                             part.cols[:, None, :]))
            total = total + sp.coo_matrix((values.ravel(), (rows.ravel(), cols.ravel())), shape=total.shape).tocsr()
        return total

    def products(self, p: np.ndarray, u: np.ndarray) -> list[np.ndarray]:
        """Products of p (n_u, k[, b]) and u (n_u, k) on every element, summed over the columns: (b or 1, ne, V, U)."""
        blocks = np.moveaxis(p.reshape(*p.shape[:2], -1), 2, 0)
        return [np.matmul(blocks[:, part.rows], u[part.cols].transpose(0, 2, 1)) for part in self.parts]

    def pull_back(self, products: list[np.ndarray]) -> np.ndarray:
        """Covector (n_m, b) of ``p^T D[u]`` from the (sums of) `products`; (n_m, 1) zeros where D vanishes."""
        total = np.zeros((self.parameter_size, len(products[0]) if products else 1))
        for part, each in zip(self.parts, products, strict=True):
            values = np.einsum("evum,bevu->bem", part.values, each, optimize=True)
            for b, column in enumerate(values):
                total[:, b] += np.bincount(part.unknowns.ravel(), weights=column.ravel(),
                                           minlength=self.parameter_size)
        return total


def _element_tensor(integral, vectors, fields) -> ElementTensor | None:
    """The tensor of one integral, by a function that is one local shape function on every element at once."""
    state = integral.spaces[0]
    local = [(component, b) for component in range(state.layout.shape[0]) for b in range(state.layout.shape[2])]
    origin = _parameter_tangent(integral, vectors, fields, None)
    slices = []
    for component, b in local:
        shape = torch.zeros(state.layout.shape, dtype=torch.float64, device=state.device)
        shape[component, :, b] = 1.0
        slices.append(_parameter_tangent(integral, vectors, fields, shape) - origin)
    values = np.stack(slices, axis=2)
    if not values.any():
        return None
    unknowns = [_local(integral.spaces[j].layout) + integral.starts[j] for j in fields]
    return ElementTensor(values, _local(integral.spaces[1].layout), _local(state.layout),
                         np.concatenate(unknowns, axis=1))


def _parameter_tangent(integral, vectors, fields, coefficients) -> np.ndarray:
    """Element matrices (ne, V, M) of the parameter tangent at a state given by its coefficients on the elements."""
    arguments = integral.arguments(vectors, (1, *fields))
    if coefficients is not None:
        arguments[0] = Argument(arguments[0].shapes, coefficients, False)
    found = integral.density.second(arguments, [(1, j) for j in fields], integral.pairs)
    return np.concatenate([_matrices(found.get((1, j)), integral.spaces[1].layout, integral.spaces[j].layout)
                           for j in fields], axis=2)


def _matrices(values, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """Element values (cv, cm, ne, nv * nm) as matrices (ne, V, M), zero where there are none."""
    (cv, ne, nv), (cm, _, nm) = rows.shape, cols.shape
    if values is None:
        return np.zeros((ne, cv * nv, cm * nm))
    return values.cpu().numpy().reshape(cv, cm, ne, nv, nm).transpose(2, 0, 3, 1, 4).reshape(ne, cv * nv, cm * nm)


def _local(layout: np.ndarray) -> np.ndarray:
    """Unknowns (ne, components * nb) of a layout (components, ne, nb)."""
    return layout.transpose(1, 0, 2).reshape(layout.shape[1], -1)
