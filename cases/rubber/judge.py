"""Known materials, and the errors of identified laws along six paths of deformation."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from fem_ngf import derivative
from rubber.material import arguments, stress


@dataclass(frozen=True)
class Known:
    """A known material.

    Parameters
    ----------
    energy
        Function of the arguments that `rubber.material.arguments` returns.
    angles
        Of its fibres.
    separable
        Whether the energy is a sum of functions of one argument each.
    """

    energy: Callable
    angles: tuple = ()
    separable: bool = True

    def slopes(self, called) -> list:
        """Derivatives of the energy with respect to its arguments."""
        joined = torch.stack(list(called))
        return list(derivative(lambda each: self.energy(*each), joined))

    def slope(self, number: int) -> Callable:
        """Derivative with respect to one argument, a function of arrays; the others are zero."""
        def of(s):
            called = np.zeros((3 + len(self.angles), *np.shape(s)))
            called[number] = s
            return self.slopes(torch.from_numpy(called))[number].detach().numpy()

        return of


def _isihara(x, y, j):
    return 0.5 * x + y + x**2 + 1.5 * j**2


def _haines_wilson(x, y, j):
    return 0.5 * x + y + 0.7 * x * y + 0.2 * x**3 + 1.5 * j**2


def _arruda_boyce(x, y, j):
    """Chains of 28 links, the inverse Langevin function approximated by 1.31 tan(1.59 z) + 0.91 z."""
    stretch, root = torch.sqrt(x / 3.0 + 1.0), 28.0**0.5
    beta = 1.31 * torch.tan(1.59 * stretch / root) + 0.91 * stretch / root
    return 2.5 * root * (beta * stretch + root * torch.log(beta / torch.sinh(beta))) + 1.5 * j**2


def _ogden(x, y, j):
    """Of the squares of the isochoric stretches, one of which is that across the plane."""
    across, power = (1.0 + j) ** (-2.0 / 3.0), 0.65
    both = x + 3.0 - across
    apart = torch.sqrt(both**2 - 4.0 / across + 1e-10)
    squares = (0.5 * (both + apart), 0.5 * (both - apart), across)
    return 1.5 * j**2 + 1.3 / power * sum(each**power - 1.0 for each in squares)


def _holzapfel(x, y, j, *fibres):
    return 0.5 * x + j**2 + 0.5625 * sum(torch.exp(0.8 * s**2) - 1.0 for s in fibres)


def _fibres(x, y, j, s):
    return 0.5 * x + 0.75 * j**2 + 0.5 * s**2


TRUTHS = {"isihara": Known(_isihara),
          "neohookean": Known(lambda x, y, j: 0.5 * x + 0.0 * y + 1.5 * j**2),
          "haineswilson": Known(_haines_wilson, separable=False),
          "gentthomas": Known(lambda x, y, j: 0.5 * x + torch.log1p(y / 3.0) + 1.5 * j**2),
          "arrudaboyce": Known(_arruda_boyce),
          "ogden": Known(_ogden, separable=False),
          "anisotropy45": Known(_fibres, (np.pi / 4,)),
          "anisotropy60": Known(_fibres, (np.pi / 3,)),
          "holzapfel": Known(_holzapfel, (np.pi / 6, -np.pi / 6))}
"""Of the benchmarks of NN-EUCLID; energies are zero, up to a constant, and stresses are zero without deformation."""
PATHS = {"UT": (lambda g: (1 + g, 0, 1), (0, 0)), "UC": (lambda g: (1 / (1 + g), 0, 1), (0, 0)),
         "BT": (lambda g: (1 + g, 0, 1 + g), (0, 0)), "BC": (lambda g: (1 / (1 + g), 0, 1 / (1 + g)), (0, 0)),
         "SS": (lambda g: (1, g, 1), (0, 1)), "PS": (lambda g: (1 + g, 0, 1 / (1 + g)), (1, 1))}
"""Deformations F = [[a, b], [0, c]] by name, and the component of the stress that is looked at."""


def law_errors(slopes, angles, truth: Known, visited) -> dict:
    """Relative L2 errors of energy W and stress P along the paths, with their mean and the worst.

    Parameters
    ----------
    slopes, angles
        Identified: derivatives of the energy with respect to its arguments, a function of them, and angles of fibres.
    truth
        The true material.
    visited
        Ranges (2,) of the arguments in the data, the last one of all fibres. ``P_visited`` and ``P_beyond`` are the
        errors of the stress on the parts of the paths whose arguments are all between rest and these ranges' ends, and
        on the others.
    """
    errors = {"W": {}, "P": {}, "P_visited": {}, "P_beyond": {}}
    for name, (path, (i, j)) in PATHS.items():
        a, b, c = torch.tensor([path(g) for g in np.linspace(0.0, 1.0, 200)], dtype=torch.float64).T[:, None]
        F = torch.stack([torch.stack([a, b]), torch.stack([0.0 * c, c])])
        called, known = (arguments(F, _tensors(each, F)) for each in (angles, truth.angles))
        energies = _stored(slopes, called), truth.energy(*known) - truth.energy(*(0.0 * each for each in known))
        ours, true = (np.stack([energy.numpy()[0], stress(F, law, _tensors(at, F)).detach().numpy()[i, j, 0]])
                      for energy, law, at in zip(energies, (slopes, truth.slopes), (angles, truth.angles), strict=True))
        ends = zip(called, [*visited[:3], *visited[3:] * len(angles)], strict=True)
        inside = np.all([(min(low, 0.0) <= s[0].numpy()) & (s[0].numpy() <= high) for s, (low, high) in ends], axis=0)
        for kind, k, part in (("W", 0, slice(None)), ("P", 1, slice(None)), ("P_visited", 1, inside),
                              ("P_beyond", 1, ~inside)):
            if (size := np.linalg.norm(true[k][part])) > 1e-3 * np.linalg.norm(true[k]):
                errors[kind][name] = float(np.linalg.norm((ours - true)[k][part]) / size)
    return {kind: each | {"mean": float(np.mean(list(each.values()))), "worst": max(each.values())}
            for kind, each in errors.items() if each}


def _tensors(angles, F) -> list:
    return [torch.full(F.shape[2:], angle, dtype=torch.float64) for angle in angles]


def _stored(slopes, called) -> torch.Tensor:
    """Energy: the slopes' integral along the line from rest to the arguments, by Gauss' rule."""
    nodes, weights = np.polynomial.legendre.leggauss(40)
    return sum(0.5 * weight * sum(slope * end for slope, end in zip(
        slopes([0.5 * (node + 1.0) * each for each in called]), called, strict=True))
        for node, weight in zip(nodes, weights, strict=True))
