r"""Stored energy of a rubber from displacements and reaction forces of a plate with a hole (plane strain).

.. math::
    W = W_1(\tilde I_1 - 3) + W_2(\tilde I_2 - 3) + W_3(J - 1), \qquad
    \tilde I_1 = J^{-2/3} I_1, \quad \tilde I_2 = J^{-4/3} I_2,

a quarter of the plate, symmetry on the left and at the bottom, given displacements on the right and at the top that
grow from load step to load step. The unknowns are the three slopes :math:`w_i = W_i'`, laws of one argument each, with
:math:`w_1, w_2 > 0` and :math:`w_3(0) = 0`: there is no energy and no stress without deformation. Where they do not
explain the data, one family of fibres or two join them, with a law and an unknown angle, or a law of
:math:`\tilde I_1 + \tilde I_2`, which couples the invariants (`rubber.material`). Data are displacements at the nodes
and the reaction forces of every step.

First the equation error, linear in the laws: residuals at the measured displacements, turned into displacements by a
frozen tangent, and reactions; laws that hardly bend, the angle where the least value is least. They are what the
networks start from, after a few Gauss-Newton steps if they must bend, and with them the equation is solved on finer
meshes, whose hole is a circle: what the measured mesh misses, extrapolated to the limit, is taken off the
displacements, and off the reactions if they are ``measured``: those of a file are sums of nodal forces of its very
``mesh``. Then the equation constrains the state. In both the laws are held smooth by
:math:`\tfrac12 \sum_i \alpha_i \int w_i''^2`; in the end with the weights :math:`\alpha_i \le \alpha` of the greatest
evidence, which also tells whether the invariants are coupled.

With ``--data`` a file as `fem_ngf.LoadSteps.read` takes it, of a plate whose hole has the radius 0.1 around the origin;
one that is named after a known material, ``NeoHookean_high.npz``, is compared with it.

References
----------
P. Thakolkaran, A. Joshi, Y. Zheng, M. Flaschel, L. De Lorenzis, S. Kumar, NN-EUCLID: deep-learning hyperelasticity
without stress data, J. Mech. Phys. Solids 169 (2022).
"""

from pathlib import Path
from typing import Literal

import numpy as np

import fem_ngf as ngf
from rubber.judge import TRUTHS, law_errors
from rubber.plate import synthetic
from rubber.prediction import fit, mesh_error, predicted
from rubber.start import coupled_where_needed, improved, inverse_problem, started

LABELS = {"first": "$I_1 - 3$, isochoric", "second": "$I_2 - 3$, isochoric", "volume": "$J - 1$",
          "sum": "$I_1 + I_2 - 6$, isochoric", "fibre": "$I_a - 1$, isochoric"}
ENERGIES = Literal["", *TRUTHS]


def case(cells: int = 10, alpha: float = 1e6, spread: float = 4e-4, force_error: float = 2e-4, noise: float = 1e-4,
         noise_seed: int = 1, steps: int = 8, held_out: int = 0, stretch: float = 0.6, neurons: int = 6,
         refinements: int = 2, fibres: Literal["auto", "none", "one", "two"] = "auto",
         coupled: Literal["auto", "no", "yes"] = "auto",
         forces: Literal["", "mesh", "measured"] = "", truth: ENERGIES = "", data: Path | None = None) -> ngf.Case:
    """Stored energy of a rubber from displacements and reactions.

    Parameters
    ----------
    cells
        Across the plate, without a file.
    alpha
        Largest weight of the smoothness of a law.
    spread, force_error
        Standard deviation of displacements, and of reactions relative to them, with which the states are fitted.
    steps
        Load steps that are used, spread evenly over those of the file.
    held_out
        Number of the last load steps that are left out, and predicted from the identified laws.
    stretch
        Displacement of the upper side in the last step, twice that of the right one, without a file.
    neurons
        Of each network.
    refinements
        Of the mesh, at most, for what it misses; with none nothing is taken off, and evidence is not asked.
    fibres
        Families of them, at an unknown angle to the first axis (and at its opposite); auto: where the equation error of
        laws without them is above two standard deviations, and twice that with them.
    coupled
        Whether there is a law of the sum of the first two invariants; auto: where there are no fibres, and the evidence
        is greater with it.
    forces
        What the reactions are; of a file those of the mesh, without one measured.
    truth
        Material with which the laws are compared; default: the one that the file is named after, without a file
        Isihara's.
    """
    ngf.check_positive(alpha=alpha)
    truth, forces = truth or (named(data) if data else "isihara"), forces or ("mesh" if data else "measured")
    every = ngf.LoadSteps.read(data) if data else synthetic(TRUTHS[truth], cells, steps + held_out, stretch, noise,
                                                            noise_seed)
    if not 0 <= held_out < len(every):
        raise ngf.InputError(f"held_out is {held_out}; give less than the {len(every)} load steps of the data")
    count = len(every) - held_out
    test = every.select(np.linspace(0, count, min(steps, count) + 1)[1:].round().astype(int) - 1)
    times = min(1, refinements)  # the second time of laws that the first has bettered
    try:
        material, m, weights = started(test, fibres, coupled == "yes", alpha)
        missed, guess, changes = mesh_error(test, material, m, spread, times, forces)
    except ngf.SolveError as error:
        raise ngf.SolveError("laws of the equation error have no state at every load step: leave the last ones out "
                             f"(--held-out) or give a finer mesh; {error}") from None

    def problem(material, weights, tolerance=1e-8):
        equation = test.equation(material.residual, material.laws, guess=guess, tolerance=tolerance)
        return inverse_problem(equation, test, test.values - missed, material, spread, force_error, weights)

    if times and coupled == "auto" and not material.fibres:
        material, m = coupled_where_needed(problem, material, m, alpha)
    if times:
        m, weights = improved(problem, material, m, alpha)
    if refinements > times:
        missed, guess, changes = mesh_error(test, material, m, spread, refinements, forces, guess)
        m, weights = improved(problem, material, m, alpha)
    energy = problem(material, weights, 1e-12)  # second derivatives of the energy feel the error of the states

    def outcome(at, folder):
        slopes, _ = material.functions(at.m)
        seen = [ngf.Visited.at(at, law, i) for i, law in enumerate(material.laws[:len(slopes)])]
        ranges = dict(zip(material.kinds, (each.range[0].tolist() for each in seen), strict=True))
        summary = fit(at.residual, test) | {"mesh_changes": changes, "smoothness_weights": weights.tolist(),
                                            "law_visited": ranges, "law_outside": [each.outside for each in seen]}
        if folder is not None:
            for i, (kind, each, band) in enumerate(zip(material.kinds, seen, ngf.law_bands(at), strict=False)):
                ngf.write_law(folder / f"law_{i + 1}.png", lambda y, i=i: slopes[i](y[:, 0]), each,
                              true_slope(kind), band, labels=(LABELS[kind], "slope of the energy"))
        if material.fibres:
            summary["fibre_angle"], summary["fibre_families"] = float(np.degrees(at.m[-1])), material.fibres
        if held_out:
            left = every.select(np.arange(count, len(every)))
            summary["held_out"] = predicted(left, material, at.m, mesh_error(left, material, at.m, spread, refinements,
                                                                             forces))
        if truth:
            arguments = [ranges[kind] for kind in material.kinds if kind != "sum"]
            summary["law_errors"] = law_errors(*material.energy_slopes(at.m), TRUTHS[truth], arguments)
        return summary

    def true_slope(kind):
        known, number = TRUTHS.get(truth), list(material.kinds).index(kind)
        if known is None or not known.separable or material.coupled or number >= 3 + len(known.angles):
            return None
        return lambda y: known.slope(number)(y[:, 0])

    basis = test.basis
    level = ngf.SampleLevel(f"{test.mesh.nelements} cells", energy, {"h1": material.space}, fields=lambda at: {
        f"displacement_{j + 1}": (basis, u[:basis.N]) for j, u in enumerate(at.state.u.T)})
    return ngf.Case("hyperelastic", (level,), material.networks(m, neurons), outcome=outcome,
                    defaults={"flow": "newton", "metric": "h1", "iterations": 20, "tolerance": 1e-3})


def named(data: Path) -> str:
    """The known material that a file is named after, as in NeoHookean_high.npz; "" for others."""
    name = Path(data).stem.split("_")[0].lower()
    return name if name in TRUTHS else ""


if __name__ == "__main__":
    ngf.main(case)
