"""Multilayer perceptron with hand-written derivatives."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
import torch

from ..errors import InputError, check_memory, is_number, real_array
from . import widen as widening
from .activations import value_alone, value_and_slope
from .checks import checked_box, parameters, points, tensor, torch_device
from .propagate import Affine, NetworkLinearization, affine_maps, backward, blocks, forward

PROBES = 256  # random points of the box on which the layers are scaled
SMALLEST = 1e-8  # a layer of constant inputs is not scaled up beyond this


@dataclass(frozen=True)
class MLP:
    r"""Multilayer perceptron :math:`N_\theta` on a box, with start value `start`.

    Parameters
    ----------
    widths : tuple of int
        Inputs d, neurons of every hidden layer, outputs c.
    activation : str
        One of `activations.ACTIVATIONS`: tanh, sigmoid, softplus, gelu, silu, sine, relu, relu2, relu3, gauss. Sines
        (V. Sitzmann et al., arXiv 2006.09661) follow a search with half the parameters of tanh where there are two
        hidden layers, or where the network grows (docs/following.md); what must be extrapolated, as a law, and a
        single layer of fixed size take tanh or softplus.
    box : pair of tuples of float
        Lower and upper corner; the inputs are scaled from it to [-1, 1]^d. Default: the unit cube.
    start : float or tuple of float
        Value of the network at `initial` parameters; one number, or one per output.
    scale : float
        Steepness of the hidden neurons at `initial`: standard deviation of their pre-activations over the box.
    output_scale : float
        Size of the output weights at `initial`. Zero makes the network equal to `start` exactly.
    device : str
        "cpu" or "cuda", where the work is done. Arguments and results are numpy arrays in either case.

    Raises
    ------
    InputError
        If a field cannot be used.

    Notes
    -----
    With c = 1, samples have shape (q,) and Jacobians (q, P); otherwise (q, c) and (q, c, P). The parameter vector
    holds, layer by layer, W row by row and b.

    Examples
    --------
    >>> import numpy as np
    >>> mlp = MLP((2, 8, 8, 1), start=0.5)
    >>> theta = mlp.initial(np.random.default_rng(0))
    >>> mlp.size, mlp(theta, np.array([[0.1, 0.2]]))
    (105, array([0.5]))
    """

    widths: tuple[int, ...] = (2, 8, 8, 1)
    activation: str = "sine"
    box: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    start: float | tuple[float, ...] = 0.0
    scale: float = 1.5
    output_scale: float = 0.0
    device: str = "cpu"

    def __post_init__(self):
        for name, value in normalized_fields(self).items():
            object.__setattr__(self, name, value)

    @property
    def inputs(self) -> int:
        """Dimension d of the points."""
        return self.widths[0]

    @property
    def outputs(self) -> int:
        """Number c of components of the value."""
        return self.widths[-1]

    @property
    def size(self) -> int:
        """Number P of parameters."""
        return self.maps[-1].stop

    @property
    def hidden_layers(self) -> int:
        """Number of layers that can be widened."""
        return len(self.widths) - 2

    @cached_property
    def maps(self) -> tuple[Affine, ...]:
        """The affine maps with their places in theta."""
        return affine_maps(self.widths)

    def initial(self, generator: np.random.Generator) -> np.ndarray:
        """Random parameters (P,) at which the network equals `start` (exactly if ``output_scale == 0``)."""
        return initial_parameters(self, generator)

    # ---- values and derivatives ---------------------------------------------------------------------------------

    def features(self, x: np.ndarray) -> torch.Tensor:
        """What the first layer sees, (q, d), of points x (q, d): the box scaled to [-1, 1]^d."""
        lower, factor = self._scaling
        return tensor((points(x, self.inputs) - lower) * factor - 1.0, self._torch_device)

    def __call__(self, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Samples (q,) or (q, c) at points x (q, d)."""
        weights, z = self._weights(theta), self.features(x)
        sigma, out = value_alone(self.activation), np.empty((len(z), self.outputs))
        for block in blocks(len(z)):
            out[block] = forward(self.maps, sigma, weights, z[block]).cpu().numpy()
        return out[:, 0] if self.outputs == 1 else out

    def linearize(self, theta: np.ndarray, x: np.ndarray) -> NetworkLinearization:
        """Value and Jacobian at points x (q, d)."""
        weights, z = self._weights(theta), self.features(x)
        sigma = value_and_slope(self.activation)
        parts = [backward(self.maps, sigma, weights, z[block]) for block in blocks(len(z))]
        return NetworkLinearization(tuple(parts), self.size, self.outputs)

    def _weights(self, theta) -> torch.Tensor:
        return tensor(parameters(theta, self.size), self._torch_device)

    @cached_property
    def _scaling(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower corner of the box, and 2 over its sides, both (d,)."""
        lower, upper = np.array(self.box)
        return lower, 2.0 / (upper - lower)

    @cached_property
    def _torch_device(self) -> torch.device:
        return torch_device(self.device)

    # ---- growth -------------------------------------------------------------------------------------------------

    widen = widening.widen
    layer_inputs = widening.layer_inputs
    candidate_samples = widening.candidate_samples
    outgoing = widening.outgoing

    def as_dict(self) -> dict:
        """Numbers, strings and lists from which `ansatz_from_dict` rebuilds the network (its device apart)."""
        fields = asdict(self)
        del fields["device"]
        return {"kind": "MLP", **{name: _listed(value) for name, value in fields.items()}}


def _listed(value):
    return [_listed(item) for item in value] if isinstance(value, tuple) else value


# ---- start ----------------------------------------------------------------------------------------------------------


def initial_parameters(net, generator: np.random.Generator) -> np.ndarray:
    """Parameters (P,) of an `MLP` at which its value is ``net.start``.

    Every hidden neuron gets a random direction on its layer's inputs, scaled so
    that its pre-activation has standard deviation ``net.scale`` (times a factor
    between 1/2 and 2, log-uniform) over random points of the box, and a bias that
    puts its zero between the 5 % and 95 % quantiles of these: no neuron starts
    dead or saturated, at any depth and for any activation.
    """
    theta = np.zeros(net.size)
    lower, upper = (np.array(corner) for corner in net.box)
    z = net.features(generator.uniform(lower, upper, (PROBES, net.inputs))).cpu()
    sigma = value_and_slope(net.activation)
    *hidden, output = net.maps
    for affine in hidden:
        affine.matrix(theta)[:], affine.bias(theta)[:] = neurons_across(z.numpy(), affine.rows, net.scale, generator)
        z = sigma(affine.apply(tensor(theta), z))[0]
    shape = (output.rows, output.columns)
    output.matrix(theta)[:] = net.output_scale * generator.standard_normal(shape) / np.sqrt(shape[1])
    output.bias(theta)[:] = net.start
    return theta


def neurons_across(
    z: np.ndarray, count: int, steepness: float, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Weights (count, n) and biases (count,) of random neurons whose zeros divide the inputs z (q, n)."""
    directions = generator.standard_normal((count, z.shape[1]))
    spread = np.std(z @ directions.T, axis=0)
    slopes = steepness * 2.0 ** generator.uniform(-1.0, 1.0, count) / np.maximum(spread, SMALLEST)
    weights = directions * slopes[:, None]
    levels = generator.uniform(0.05, 0.95, count)
    offsets = [np.quantile(values, level) for values, level in zip((z @ weights.T).T, levels, strict=True)]
    return weights, -np.array(offsets)


# ---- fields ---------------------------------------------------------------------------------------------------------


def normalized_fields(net) -> dict:
    """The fields of a network as plain tuples and numbers, with defaults filled in.

    Raises
    ------
    InputError
        Naming the first field that cannot be used.
    """
    widths = _widths(net.widths)
    size = sum((a + 1) * b for a, b in zip(widths[:-1], widths[1:], strict=True))
    check_memory(f"a network of widths {widths}", size, 100)
    value_and_slope(net.activation)
    torch_device(net.device)
    if not _finite(net.scale) or net.scale <= 0:
        raise InputError(f"scale={net.scale!r} must be a positive number")
    if not _finite(net.output_scale) or net.output_scale < 0:
        raise InputError(f"output_scale={net.output_scale!r} must be a number that is not negative")
    return {"widths": widths, "box": checked_box(net.box, widths[0]), "start": _start(net.start, widths[-1])}


def _finite(value) -> bool:
    return is_number(value) and bool(np.isfinite(value))


def _widths(widths) -> tuple[int, ...]:
    try:
        result = tuple(int(width) for width in widths)
    except (TypeError, ValueError) as error:
        raise InputError(f"widths={widths!r} must be integers such as (2, 8, 8, 1)") from error
    if len(result) < 2 or min(result) < 1 or any(a != b for a, b in zip(result, widths, strict=True)):
        raise InputError(f"widths={widths!r} must be at least two positive integers: inputs, hidden layers, outputs")
    return result


def _start(start, outputs: int):
    values = np.atleast_1d(real_array("start", start))
    if values.shape not in ((1,), (outputs,)) or not np.all(np.isfinite(values)):
        raise InputError(f"start={start!r} must be one finite number or {outputs}, one for each output")
    return float(values[0]) if np.ndim(start) == 0 or outputs == 1 else tuple(float(value) for value in values)
