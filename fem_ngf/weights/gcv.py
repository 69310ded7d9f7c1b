"""Generalised cross-validation: no knowledge of the noise level, only that the noise is independent.

References
----------
G. H. Golub, M. Heath, G. Wahba, Generalized cross-validation as a method for
choosing a good ridge parameter, Technometrics 21 (1979).
E. Haber, D. Oldenburg, A GCV based method for nonlinear ill-posed problems,
Comput. Geosci. 4 (2000): cross-validate the linearised problem, then solve again.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.optimize import minimize_scalar

from ..errors import check_positive
from ..tangent.tangent_space import TangentSpace
from .choice import Solve, WeightChoice, WeightedRun, nearest, run_curve
from .model import WeightModel, weight_model


def gcv(solve: Solve, weight: float, *, space=None, variance=None, factor: float = 10.0, agreement: float = 1.5,
        runs: int = 10) -> WeightChoice:
    """The weight that minimises the cross-validation score of the problem linearised at its own minimiser.

    Around every run's minimiser the score is known at all weights (`weight_model`); the next run is made at the
    weight where it is smallest, until that weight is the one just used.

    Parameters
    ----------
    solve
        See `flow_solver`.
    weight
        Where the search starts; better too large than too small.
    space
        Hilbert space of the parameter: the model then lives in the network's tangent space there, and costs one
        tangent solve a parameter. Default: among all vectors.
    variance
        Of the data, see `weight_model`.
    factor
        Largest ratio of a weight to the one before: how far a linearisation is trusted.
    agreement
        Ratio of two weights that count as the same.
    runs
        Largest number of runs.
    """
    check_positive(weight=weight)
    made, models, following = [], [], weight
    while len(made) < runs:
        run = solve(following, nearest(made, following).start if made else None)
        model = _model(run, space, variance)
        made.append(replace(run, solves=run.solves + model.solves))
        models.append(model)
        following = _minimiser(model, run.weight, factor)
        if max(following / run.weight, run.weight / following) <= agreement or _repeats(made, following, agreement):
            break
    chosen = _best(made, models, following, agreement)
    found = max(following / chosen.weight, chosen.weight / following) <= agreement
    reason = (f"the cross-validation score is smallest at the weight used, after {len(made)} runs" if found else
              f"the weights did not settle within {len(made)} runs; this one has the smallest score")
    scores = {run.weight: model.score(run.weight) for run, model in zip(made, models, strict=True)}
    curve = run_curve(made)
    return WeightChoice("gcv", chosen, tuple(made), {**curve, "score": np.array([scores[w] for w in curve["weight"]])},
                        found, reason, {"degrees": models[made.index(chosen)].degrees(chosen.weight)})


def _model(run: WeightedRun, space, variance) -> WeightModel:
    iterate = run.start.iterate
    tangent = None if space is None else TangentSpace.at(iterate.ansatz, iterate.theta, space)
    return weight_model(iterate.linearization, tangent=tangent, variance=variance)


def _minimiser(model: WeightModel, weight: float, factor: float) -> float:
    """Weight of the smallest score within the factor: the best of a grid, refined."""
    grid = np.linspace(-np.log(factor), np.log(factor), 41)
    scores = [model.score(weight * np.exp(t)) for t in grid]
    best = int(np.argmin(scores))
    ends = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    refined = minimize_scalar(lambda t: model.score(weight * np.exp(t)), bounds=ends, method="bounded")
    return float(weight * np.exp(refined.x if refined.fun < scores[best] else grid[best]))


def _repeats(made, following: float, agreement: float) -> bool:
    """Whether the next weight has been used before: going on would go round in circles."""
    return any(max(run.weight / following, following / run.weight) <= np.sqrt(agreement) for run in made)


def _best(made, models, following: float, agreement: float) -> WeightedRun:
    """The last run if the rule agrees with it, else the one with the smallest score."""
    if max(following / made[-1].weight, made[-1].weight / following) <= agreement:
        return made[-1]
    scores = [model.score(run.weight) for run, model in zip(made, models, strict=True)]
    return made[int(np.argmin(scores))]
