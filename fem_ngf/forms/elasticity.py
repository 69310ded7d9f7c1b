"""Finite deformations in torch, component-first as in `helpers`: kinematics, invariants, stresses of an energy."""

from __future__ import annotations

from collections.abc import Callable

import torch

from .fields import Field
from .helpers import det, eye, grad, mul, transpose


def deformation_gradient(u):
    """``F = I + grad u`` (d, d, ...) of a displacement field."""
    G = grad(u)
    return G + eye(torch.ones_like(G[0, 0]), G.shape[0])


def cauchy_green(F):
    """Right Cauchy-Green tensor ``F^T F``."""
    return mul(transpose(F), F)


def plane_strain(F):
    """The deformation gradient (3, 3, ...) of a plane one (2, 2, ...): no stretch across the plane."""
    zero, one = torch.zeros_like(F[0, 0]), torch.ones_like(F[0, 0])
    return torch.stack([torch.stack([F[0, 0], F[0, 1], zero]), torch.stack([F[1, 0], F[1, 1], zero]),
                        torch.stack([zero, zero, one])])


def invariants(F):
    """``tr C``, the second invariant ``((tr C)^2 - tr C^2) / 2`` and ``J = det F`` of F; of plane F in plane strain."""
    J, square = det(F), (F * F).sum((0, 1))
    if F.shape[0] == 2:
        return square + 1.0, square + J**2, J
    C = cauchy_green(F)
    return square, 0.5 * (square**2 - (C * C).sum((0, 1))), J


def isochoric_invariants(F):
    """``J^(-2/3) I1``, ``J^(-4/3) I2`` and J; not finite where J is not positive."""
    first, second, J = invariants(F)
    power = J ** (-2.0 / 3.0)
    return power * first, power**2 * second, J


def derivative(function: Callable, at):
    """Derivative of a scalar function of a torch quantity by torch, of the quantity's shape.

    Parameters
    ----------
    function
        ``function(at) -> (elements, points)``; it may call laws.
    at
        Tensor (..., elements, points), or a field: ``derivative(lambda F: W(det(F)), F)`` is the first Piola stress.
    """
    at = at.value if isinstance(at, Field) else at
    with torch.enable_grad():
        at = at if at.requires_grad else at.detach().requires_grad_()
        (found,) = torch.autograd.grad(function(at).sum(), at, create_graph=True)
    return found
