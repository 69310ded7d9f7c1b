"""``fem-ngf verify``: the derivatives of a case, measured and judged."""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_limits

from ..verify import verify_energy
from .identification import Identification


def check(identification: Identification) -> int:
    """Print what `verify_energy` measures on the coarsest mesh in use; 0 if all of it passed, else 1.

    The point is the start with every parameter of the unknown disturbed, so that no part of the derivative vanishes.
    """
    flow, options = identification.continuation.flows[0], identification.options
    generator = np.random.default_rng(options.seed)
    theta = identification.ansatz.initial(generator)
    theta = theta + disturbance(identification, generator)
    print(f"{identification.case.name}, mesh {identification.levels[0].label}, {options.ansatz} unknown with "
          f"{len(theta)} parameters, metric {options.metric}")
    with threadpool_limits(options.threads):
        checks = verify_energy(flow.energy, identification.ansatz, theta, flow.space, generator)
    for result in checks:
        print(result)
    failed = sum(not result.passed for result in checks)
    print(f"{failed} of {len(checks)} checks failed" if failed else f"all {len(checks)} checks passed")
    return 1 if failed else 0


def disturbance(identification: Identification, generator: np.random.Generator) -> np.ndarray:
    """Random change of the parameters: smooth for nodal values, small and normal for a network."""
    flow = identification.continuation.flows[0]
    noise = generator.standard_normal(identification.ansatz.size)
    if identification.options.ansatz == "finite-element":
        smooth = flow.space.riesz(flow.space.mass @ noise)
        return 0.1 * smooth / np.abs(smooth).max()
    return 0.1 * noise
