"""The solved complete electrode model: tangents, adjoints and sensitivities from one factorisation."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import scipy.sparse as sparse

from ..errors import SolveError
from ..forms.weak_form import SecondDerivatives
from ..linalg.factorize import factorize


class ElectrodeState:
    """The solved complete electrode model, which is also its linearisation point.

    Attributes
    ----------
    m
        (n_m,) log-conductivity.
    u
        (n_u, k): nodal potentials, then electrode voltages, one injection a column.
    """

    def __init__(self, model, m):
        self.model, self.m = model, m
        self.sigma = model.conductivity(m)
        self.factors = factorize(model.matrix(m), symmetric=True, definite=True)
        patterns, rank = model.patterns
        self._forward = self._solve_patterns(patterns[:, :rank])
        model.counts.forward += rank
        self._coordinates = patterns[:, :rank].T @ model.currents
        self.u = self._forward @ self._coordinates

    def _solve_patterns(self, patterns):
        load = np.zeros((self.model.state_size, patterns.shape[1]))
        load[self.model.state.N:] = patterns
        fields = self.factors.solve(load)
        if not np.isfinite(fields).all():
            raise SolveError("the complete electrode model gave a potential that is not finite")
        return fields

    @cached_property
    def fields(self):
        """(n_u, L - 1): K(m)^-1 for all of ``model.patterns``; those beyond the injected ones count as adjoint."""
        patterns, rank = self.model.patterns
        self.model.counts.adjoint += patterns.shape[1] - rank
        return np.hstack([self._forward, self._solve_patterns(patterns[:, rank:])])

    def tangent(self, dm):
        """du (n_u, k) for dm (n_m,), or (n_u, k, b) for dm (n_m, b): one solve per independent current pattern."""
        dm = np.asarray(dm, dtype=float)
        block = dm[:, None] if dm.ndim == 1 else dm
        model, forward = self.model, self._gradients(self._forward)
        change = (self.sigma * model.weights)[:, None] * (model.samples @ block)
        flux = np.tile(change, (2, 1))[:, None, :] * forward[:, :, None]
        load = np.zeros((model.state_size, forward.shape[1] * block.shape[1]))
        load[:model.state.N] = -(model.gradients.T @ flux.reshape(flux.shape[0], -1))
        model.counts.incremental += load.shape[1]
        du = self.factors.solve(load).reshape(model.state_size, forward.shape[1], -1)
        du = np.einsum("nrb,rk->nkb", du, self._coordinates, optimize=True)
        return du[:, :, 0] if dm.ndim == 1 else du

    def adjoint_state(self, covector, kind="adjoint"):
        """p with K p = -covector, for a covector (n_u, k) or (n_u, k, b) on the states.

        A covector that lives on the electrode voltages alone (any electrode measurement) is a combination of
        `fields` and costs no further solve.
        """
        covector = np.asarray(covector, dtype=float)
        flat, n = covector.reshape(self.model.state_size, -1), self.model.state.N
        if flat[:n].any():
            setattr(self.model.counts, kind, getattr(self.model.counts, kind) + flat.shape[1])
            return -self.factors.solve(flat).reshape(covector.shape)
        mean = flat[n:].mean(axis=0)
        p = self.fields @ (self.model.patterns[0].T @ flat[n:])
        # an equal load on all electrodes raises everything by a constant: K 1 = s L on each electrode
        p += mean / self.model.contact_matrix[n:].sum(axis=1).mean()
        return -p.reshape(covector.shape)

    def pull_back(self, p):
        """Covector on m, (n_m,) for p (n_u, k) or (n_m, b) for p (n_u, k, b): sum over injections of (dR/dm)^T p."""
        p = np.asarray(p, dtype=float)
        block = p[:, :, None] if p.ndim == 2 else p
        reduced = np.einsum("nkb,rk->nrb", block, self._coordinates, optimize=True)
        gradients = self._gradients(reduced.reshape(reduced.shape[0], -1)).reshape(-1, *reduced.shape[1:])
        product = np.einsum("xrb,xr->xb", gradients, self._gradients(self._forward), optimize=True)
        density = (self.sigma * self.model.weights)[:, None] * product.reshape(2, -1, block.shape[2]).sum(axis=0)
        covector = self.model.samples.T @ density
        return covector[:, 0] if p.ndim == 2 else covector

    def adjoint(self, covector, kind="adjoint"):
        """``pull_back(adjoint_state(covector))``."""
        return self.pull_back(self.adjoint_state(covector, kind))

    def second_derivatives(self, p):
        """One `SecondDerivatives` of p_k^T R(u_k, m) per injection; p (n_u, k)."""
        model = self.model
        u, p = self._gradients(self.u), self._gradients(np.asarray(p, dtype=float))
        scale, q = self.sigma * model.weights, model.weights.size
        zero = sparse.csr_matrix((model.state_size, model.state_size))
        no_voltages = sparse.csr_matrix((len(model.electrodes), model.parameter_size))
        results = []
        for k in range(u.shape[1]):
            both = sparse.vstack([sparse.diags_array(scale * half) @ model.samples for half in (p[:q, k], p[q:, k])])
            cross = sparse.vstack([model.gradients.T @ both, no_voltages])
            density = scale * (u[:q, k] * p[:q, k] + u[q:, k] * p[q:, k])
            own = model.samples.T @ sparse.diags_array(density) @ model.samples
            results.append(SecondDerivatives(uu=zero, um=cross.tocsr(), mm=own.tocsr()))
        return results

    def _gradients(self, states):
        return self.model.gradients @ states[:self.model.state.N]

    def resistance(self):
        """(L - 1, L - 1) symmetric matrix S: pattern Q a injects voltages U with Q^T U = S a."""
        return self.model.patterns[0].T @ self.fields[self.model.state.N:]

    def sensitivity(self, chunk=1000):
        """Derivative of `resistance` by m, from products of fields: no further solve.

        Parameters
        ----------
        chunk
            Elements handled at once, a bound on the memory.

        Returns
        -------
        ndarray (L (L - 1) / 2, n_m)
            Rows: the upper triangle of S, in the order of ``np.triu_indices(L - 1)``.
            dS_ab[dm] = - integral of sigma dm grad u_a . grad u_b.
        """
        model = self.model
        elements, points = model.state.nelems, model.state.X.shape[-1]
        gradients = self._gradients(self.fields).reshape(2, elements, points, -1)
        scale = (self.sigma * model.weights).reshape(elements, points)
        first, second = np.triu_indices(gradients.shape[-1])
        jacobian = np.zeros((model.parameter_size, first.size))
        for start in range(0, elements, chunk):
            part = slice(start, min(start + chunk, elements))
            block = np.moveaxis(gradients[:, part], 0, 2).reshape(-1, 2 * points, gradients.shape[-1])
            for local, dofs in zip(model.parameter.basis, model.parameter.element_dofs, strict=True):
                shape = np.broadcast_to(local[0], (elements, points))[part]
                factor = np.repeat(scale[part] * shape, 2, axis=1)
                products = np.matmul(block.transpose(0, 2, 1), factor[:, :, None] * block)[:, first, second]
                scatter = sparse.csr_matrix((np.ones(products.shape[0]), (dofs[part], np.arange(products.shape[0]))),
                                            shape=(model.parameter_size, products.shape[0]))
                jacobian -= scatter @ products
        return jacobian.T
