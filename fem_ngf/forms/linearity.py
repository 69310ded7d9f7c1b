"""What a residual must be before it is differentiated: real, in double precision, and linear in its test function.

Only derivatives with respect to the test function are assembled, so that a forgotten ``* v`` would solve for zero and
say nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..errors import InputError
from .fields import OF_NUMPY, Field, Points

TEST = 1  # its number among the fields of a density
ROUNDING = 1e-7


@dataclass(frozen=True, eq=False)
class Given:
    """A test function with random values and gradients, in the place of a density's `Argument`."""

    zero: object
    weights: tuple[float, float]

    def field(self, block, density):
        """The sum, by `weights`, of two random functions that are the same at every call."""
        zero = self.zero.field(block, density)

        def sample(kind):
            shape, generator = getattr(zero, kind).shape, torch.Generator().manual_seed(block.start)
            one, two = (torch.randn(shape, dtype=torch.float64, generator=generator) for _ in range(2))
            return (self.weights[0] * one + self.weights[1] * two).to(density.dx.device)

        return Field(sample)


def is_linear(integrals, vectors) -> bool:
    """True when every residual is real and linear in its test function at these vectors; False if one is not finite.

    Raises
    ------
    InputError
        If one is neither.
    """
    finite = True
    with torch.no_grad():
        for integral in integrals:
            density, arguments = integral.density, integral.arguments(vectors, ())
            if not density.blocks():
                continue
            _check_type(density, integral.arguments(vectors, range(len(arguments))))
            for block in density.blocks():
                finite &= _check_block(density, arguments, block)
    return finite


def _check_type(density, arguments) -> None:
    block = density.blocks()[0]
    fields = [argument.field(block, density) for argument in arguments]
    try:
        with torch.enable_grad():
            found = density.function(fields, Points(density.arrays, block))
    except RuntimeError as error:
        if "numpy()" not in str(error):
            raise
        raise InputError(OF_NUMPY) from error
    found = found.value if isinstance(found, Field) else found
    if isinstance(found, torch.Tensor) and found.dtype != torch.float64:
        what = "complex; write it for real and imaginary part, a pair of real fields" if found.is_complex() else (
            f"of type {found.dtype}; compute in torch.float64")
        raise InputError(f"the residual is {what}")
    if not isinstance(found, torch.Tensor | int | float):
        raise InputError(f"the residual returned a {type(found).__name__}; return a torch tensor, from torch functions "
                         "and fem_ngf's dot, grad, ...")


def _check_block(density, arguments, block) -> bool:
    def at(one: float, two: float) -> torch.Tensor:
        test = Given(arguments[TEST], (one, two))
        return density.evaluate([*arguments[:TEST], test, *arguments[TEST + 1:]], block)[1]

    without, one, two, both = at(0.0, 0.0), at(1.0, 0.0), at(0.0, 1.0), at(1.0, 1.0)
    if not all(torch.isfinite(values).all() for values in (without, one, two, both)):
        return False
    bound = ROUNDING * max(values.abs().max() for values in (one, two, both))
    if without.abs().max() > bound:
        raise InputError("the residual does not vanish where the test function v does: a term lacks its factor v or "
                         "grad(v)")
    if (one + two - both).abs().max() > bound:
        raise InputError("the residual is not linear in the test function v; let v enter every term once, as a factor")
    return True
