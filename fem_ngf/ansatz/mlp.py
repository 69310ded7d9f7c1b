"""Multilayer perceptron with hand-written derivatives."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
import torch

from . import widen as widening
from .activations import value_and_slope
from .checks import jacobian_buffer, parameters, points, samples_of, tensor, torch_device
from .initial import initial_parameters
from .linearized import Linearized
from .mlp_fields import normalized_fields
from .propagate import Affine, affine_maps, backward, blocks, forward, pull, push, write_jacobian


@dataclass(frozen=True)
class MLP:
    r"""Multilayer perceptron :math:`N_\theta` on a box, with start value `start`.

    Parameters
    ----------
    widths : tuple of int
        Inputs d, neurons of every hidden layer, outputs c.
    activation : str
        One of `activations.ACTIVATIONS`: tanh, sigmoid, softplus, gelu, silu, sine, relu, relu2, relu3, gauss.
    box : pair of tuples of float
        Lower and upper corner; the inputs are scaled from it to [-1, 1]^d. Default: the unit cube.
    start : float or tuple of float
        Value of the network at `initial` parameters; one number, or one per output.
    frequencies : int or tuple of tuples
        Fourier features: the number of random frequency vectors f, or the vectors themselves. The first layer then
        sees y, sin(pi f.y) and cos(pi f.y), y the scaled point.
    frequency_scale, frequency_seed : float, int
        Standard deviation and seed of the random frequencies.
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
    With c = 1, samples have shape (q,), Jacobians (q, P) and gradients (q, d);
    otherwise (q, c), (q, c, P) and (q, c, d). The parameter vector holds, layer by layer, W row by row and b.

    Examples
    --------
    >>> import numpy as np
    >>> mlp = MLP((2, 8, 8, 1), start=0.5)
    >>> theta = mlp.initial(np.random.default_rng(0))
    >>> mlp.size, mlp(theta, np.array([[0.1, 0.2]]))
    (105, array([0.5]))
    """

    widths: tuple[int, ...] = (2, 8, 8, 1)
    activation: str = "tanh"
    box: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    start: float | tuple[float, ...] = 0.0
    frequencies: int | tuple[tuple[float, ...], ...] = 0
    frequency_scale: float = 1.0
    frequency_seed: int = 0
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

    @cached_property
    def maps(self) -> tuple[Affine, ...]:
        """The affine maps with their places in theta."""
        return affine_maps((self.inputs + 2 * len(self.frequencies), *self.widths[1:]))

    def initial(self, generator: np.random.Generator) -> np.ndarray:
        """Random parameters (P,) at which the network equals `start` (exactly if ``output_scale == 0``)."""
        return initial_parameters(self, generator)

    # ---- values and derivatives ---------------------------------------------------------------------------------

    def features(self, x: np.ndarray) -> torch.Tensor:
        """What the first layer sees, (q, n), of points x (q, d)."""
        lower, upper = (tensor(np.array(corner), self.device) for corner in self.box)
        y = (tensor(points(x, self.inputs), self.device) - lower) * (2.0 / (upper - lower)) - 1.0
        if not self.frequencies:
            return y
        phase = np.pi * y @ tensor(np.array(self.frequencies), self.device).T
        return torch.cat((y, torch.sin(phase), torch.cos(phase)), dim=1)

    def __call__(self, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Samples (q,) or (q, c) at points x (q, d)."""
        weights, x = self._weights(theta), points(x, self.inputs)
        sigma, out = value_and_slope(self.activation), np.empty((len(x), self.outputs))
        for block in blocks(len(x)):
            out[block] = forward(self.maps, sigma, weights, self.features(x[block])).cpu().numpy()
        return out[:, 0] if self.outputs == 1 else out

    def jacobian(self, theta: np.ndarray, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """dN/dtheta (q, P) or (q, c, P), written into `out` if given."""
        weights, x = self._weights(theta), points(x, self.inputs)
        out = jacobian_buffer(out, len(x), self.outputs, self.size)
        target = torch.from_numpy(out[:, None, :] if out.ndim == 2 else out)
        for block in blocks(len(x)):
            sites = self.sites(weights, x[block])[1]
            if target.device == weights.device:
                write_jacobian(sites, target[block])
            else:
                there = torch.empty(target[block].shape, dtype=torch.float64, device=weights.device)
                write_jacobian(sites, there)
                target[block] = there.to(target.device)
        return out

    def jvp(self, theta: np.ndarray, x: np.ndarray, dtheta: np.ndarray) -> np.ndarray:
        """J dtheta, samples (q,) or (q, c), of a direction dtheta (P,); J is not formed."""
        weights, x = self._weights(theta), points(x, self.inputs)
        direction, out = self._weights(dtheta, "dtheta"), np.empty((len(x), self.outputs))
        for block in blocks(len(x)):
            out[block] = push(self.sites(weights, x[block])[1], direction).cpu().numpy()
        return out[:, 0] if self.outputs == 1 else out

    def vjp(self, theta: np.ndarray, x: np.ndarray, samples: np.ndarray) -> np.ndarray:
        """J^T samples (P,) of samples (q,) or (q, c); J is not formed."""
        weights, x = self._weights(theta), points(x, self.inputs)
        samples = samples_of(samples, len(x), self.outputs)
        out = torch.zeros_like(weights)
        for block in blocks(len(x)):
            pull(self.sites(weights, x[block])[1], tensor(samples[block], self.device), out)
        return out.cpu().numpy()

    def gradient(self, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
        """dN/dx (q, d) or (q, c, d)."""
        weights, x = self._weights(theta), points(x, self.inputs)
        out = np.empty((len(x), self.outputs, self.inputs))
        for block in blocks(len(x)):
            z = self.features(x[block])
            delta = backward(self.maps, value_and_slope(self.activation), weights, z)[2]
            out[block] = self._to_points(z, delta).cpu().numpy()
        return out[:, 0] if self.outputs == 1 else out

    def linearize(self, theta: np.ndarray, x: np.ndarray) -> Linearized:
        """J at points x (q, d) as an operator on cached activations and deltas (memory O(q x neurons))."""
        weights, x = self._weights(theta), points(x, self.inputs)
        parts = [self.sites(weights, x[block])[:2] for block in blocks(len(x), 4096)]
        return Linearized(tuple(parts), self.size, self.outputs)

    def sites(self, weights: torch.Tensor, x: np.ndarray):
        """Value (q, c) and sites (see `propagate`) at one block of points, tensors on the device."""
        return backward(self.maps, value_and_slope(self.activation), weights, self.features(x))[:2]

    def _weights(self, theta, name: str = "theta") -> torch.Tensor:
        return tensor(parameters(theta, self.size, name), torch_device(self.device))

    def _to_points(self, z: torch.Tensor, delta: torch.Tensor) -> torch.Tensor:
        """Chain rule from features z (q, n) to points: (q, c, n) -> (q, c, d)."""
        d, k = self.inputs, len(self.frequencies)
        result = delta[..., :d]
        if k:
            sine, cosine = z[:, None, d:d + k], z[:, None, d + k:]
            phase = np.pi * (delta[..., d:d + k] * cosine - delta[..., d + k:] * sine)
            result = result + phase @ tensor(np.array(self.frequencies), self.device)
        lower, upper = (np.array(corner) for corner in self.box)
        return result * tensor(2.0 / (upper - lower), self.device)

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
