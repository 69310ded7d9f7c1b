"""Known materials, and the errors of identified laws along six paths of deformation."""

import numpy as np
import torch

from rubber.material import arguments, stress


def _constant(value):
    return lambda s: value + 0.0 * s


def _fibre(s):
    return 0.9 * s * np.exp(0.8 * s**2)


def _linear(s):
    return 3.0 * s


TRUTHS = {"isihara": ((lambda s: 0.5 + 2.0 * s, _constant(1.0), _linear), ()),
          "neohookean": ((_constant(0.5), _constant(0.0), _linear), ()),
          "holzapfel": ((_constant(0.5), _constant(0.0), lambda s: 2.0 * s, _fibre), (np.pi / 6, -np.pi / 6))}
"""Slopes of the energies, and the angles of the fibres."""
PATHS = {"UT": (lambda g: (1 + g, 0, 1), (0, 0)), "UC": (lambda g: (1 / (1 + g), 0, 1), (0, 0)),
         "BT": (lambda g: (1 + g, 0, 1 + g), (0, 0)), "BC": (lambda g: (1 / (1 + g), 0, 1 / (1 + g)), (0, 0)),
         "SS": (lambda g: (1, g, 1), (0, 1)), "PS": (lambda g: (1 + g, 0, 1 / (1 + g)), (1, 1))}
"""Deformations F = [[a, b], [0, c]] by name, and the component of the stress that is looked at."""


def law_errors(found, truth, visited) -> dict:
    """Relative L2 errors of energy W and stress P along the paths, with their mean and the worst.

    Parameters
    ----------
    found, truth
        Slopes, functions of arrays, and the angles of fibres.
    visited
        Range (2,) of each slope's arguments in the data. ``P_visited`` and ``P_beyond`` are the errors of the stress on
        the parts of the paths whose arguments are all between rest and these ranges' ends, and on the others.
    """
    errors = {"W": {}, "P": {}, "P_visited": {}, "P_beyond": {}}
    for name, (path, (i, j)) in PATHS.items():
        a, b, c = torch.tensor([path(g) for g in np.linspace(0.0, 1.0, 200)], dtype=torch.float64).T[:, None]
        F = torch.stack([torch.stack([a, b]), torch.stack([0.0 * c, c])])
        ours, true = (_along(F, each, i, j) for each in (found, truth))
        called = [each[0].numpy() for each in arguments(F, _tensors(found[1], F))]
        ends = zip(called, [*visited[:3], *visited[3:] * len(found[1])], strict=True)
        inside = np.all([(min(low, 0.0) <= s) & (s <= high) for s, (low, high) in ends], axis=0)
        for kind, k, part in (("W", 0, slice(None)), ("P", 1, slice(None)), ("P_visited", 1, inside),
                              ("P_beyond", 1, ~inside)):
            if (size := np.linalg.norm(true[k][part])) > 0:
                errors[kind][name] = float(np.linalg.norm((ours - true)[k][part]) / size)
    return {kind: each | {"mean": float(np.mean(list(each.values()))), "worst": max(each.values())}
            for kind, each in errors.items() if each}


def _tensors(angles, F) -> list:
    return [torch.full(F.shape[2:], angle, dtype=torch.float64) for angle in angles]


def _along(F, material, i: int, j: int) -> np.ndarray:
    """Energy, the slopes' integral from the undeformed state by Gauss' rule, and a component of the stress: (2, n)."""
    nodes, weights = np.polynomial.legendre.leggauss(40)
    slopes, angles = material[0], _tensors(material[1], F)
    pairs = zip(arguments(F, angles), [*slopes[:3], *slopes[3:] * len(angles)], strict=True)
    ends = [(each[0].numpy()[:, None], law) for each, law in pairs]
    energy = sum(0.5 * end[:, 0] * (law(0.5 * end * (nodes + 1.0)) @ weights) for end, law in ends)
    laws = [lambda s, law=law: torch.from_numpy(np.asarray(law(s.numpy()))) for law in slopes]
    return np.stack([energy, stress(F, laws, angles)[i, j, 0].numpy()])
