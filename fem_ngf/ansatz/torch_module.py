"""Any torch module as an ansatz, and derivatives through torch.func.

`value` and `linearize` are methods of whatever is written in torch, in which points do not influence each other: they
need ``function(theta (P,), x (q, d)) -> (q, c)`` of torch tensors, ``size``, ``inputs``, ``outputs`` and
``device``.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from ..errors import InputError
from .checks import jacobian_buffer, parameters, points, samples_of, tensor, torch_device
from .propagate import blocks

BLOCK = 4096


def value(self, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Samples (q,) or (q, c) at points x (q, d)."""
    return linearize(self, theta, x).value


def linearize(self, theta: np.ndarray, x: np.ndarray) -> TorchLinearization:
    """Value and Jacobian at points x (q, d); nothing is computed before it is asked for."""
    return TorchLinearization(self, tensor(parameters(theta, self.size), self.device), points(x, self.inputs))


@dataclass(frozen=True, eq=False)
class TorchLinearization:
    """The `Linearization` of a torch function; each product is one pass over blocks of points.

    Parameters
    ----------
    ansatz
        With ``function``, ``size``, ``outputs`` and ``device``.
    weights
        Parameters (P,) on the device.
    x
        Points (q, d).
    """

    ansatz: object
    weights: torch.Tensor
    x: np.ndarray

    @cached_property
    def value(self) -> np.ndarray:
        """Samples (q,) or (q, c)."""
        return self._samples(lambda here: self.ansatz.function(self.weights, here))

    def jvp(self, dtheta: np.ndarray) -> np.ndarray:
        """J dtheta, samples: the transpose of the reverse pass, which is linear in its cotangent."""
        direction = tensor(parameters(dtheta, self.ansatz.size, "dtheta"), self.ansatz.device)

        def push(here):
            value, pull = self._reverse(here)
            return torch.func.vjp(lambda samples: pull(samples)[0], torch.zeros_like(value))[1](direction)[0]

        return self._samples(push)

    def vjp(self, samples: np.ndarray) -> np.ndarray:
        """J^T samples (P,), by reverse mode."""
        samples, out = samples_of(samples, len(self.x), self.ansatz.outputs), torch.zeros_like(self.weights)
        for block in blocks(len(self.x), BLOCK):
            here, cotangent = (tensor(array[block], self.ansatz.device) for array in (self.x, samples))
            out = out + self._reverse(here)[1](cotangent)[0]
        return out.detach().cpu().numpy()

    def jacobian(self, out: np.ndarray | None = None) -> np.ndarray:
        """J (q, P) or (q, c, P): reverse mode at each point, vectorised."""
        out = jacobian_buffer(out, len(self.x), self.ansatz.outputs, self.ansatz.size)
        target = out[:, None, :] if out.ndim == 2 else out
        one = torch.func.jacrev(lambda weights, point: self.ansatz.function(weights, point[None])[0])
        pointwise = torch.func.vmap(one, (None, 0))
        for block in blocks(len(self.x), BLOCK):
            target[block] = pointwise(self.weights, tensor(self.x[block], self.ansatz.device)).detach().cpu().numpy()
        return out

    def dual_gram(self) -> np.ndarray:
        """J J^T (q, q) or (q c, q c); J is formed."""
        rows = self.jacobian().reshape(-1, self.ansatz.size)
        return rows @ rows.T

    def _reverse(self, here: torch.Tensor):
        """Value (q, c) at a block of points, and the function samples (q, c) -> (J^T samples,)."""
        return torch.func.vjp(lambda weights: self.ansatz.function(weights, here), self.weights)

    def _samples(self, function) -> np.ndarray:
        """Samples of a function of blocks of points (q, d) -> (q, c), torch in and out."""
        out = np.empty((len(self.x), self.ansatz.outputs))
        for block in blocks(len(self.x), BLOCK):
            out[block] = function(tensor(self.x[block], self.ansatz.device)).detach().cpu().numpy()
        return out[:, 0] if self.ansatz.outputs == 1 else out


@dataclass(frozen=True, eq=False)
class TorchModule:
    """A `torch.nn.Module` that maps points (q, d) to values (q, c) or (q,), one point at a time.

    Parameters
    ----------
    module : torch.nn.Module
        Copied and converted to float64; the original is not touched.
    start : float, optional
        Constant value at `initial`: the weights of the last linear layer become zero, its bias `start`.
    inputs : int, optional
        Dimension d of the points; by default that of the first linear layer.
    device : str
        "cpu" or "cuda".

    Raises
    ------
    InputError
        If the module has no parameters or does not map (q, d) to (q, c), or a default cannot be found.
    """

    module: torch.nn.Module
    start: float | None = None
    inputs: int | None = None
    device: str = "cpu"

    def __post_init__(self):
        if not isinstance(self.module, torch.nn.Module):
            raise InputError(f"module is a {type(self.module).__name__}: give a torch.nn.Module")
        module = copy.deepcopy(self.module).to(torch_device(self.device), torch.float64).eval()
        object.__setattr__(self, "module", module.requires_grad_(False))
        linear = self._linear_layers
        if self.inputs is None and not linear:
            raise InputError("inputs=None: the module has no linear layer to tell the dimension of the points; give it")
        if self.start is not None and (not linear or linear[-1].bias is None):
            raise InputError("start needs a module whose last linear layer has a bias; leave it out otherwise")
        object.__setattr__(self, "inputs", linear[0].in_features if self.inputs is None else int(self.inputs))
        if not self._shapes:
            raise InputError("module has no parameters: there is nothing to identify")
        self._check_output()

    @property
    def size(self) -> int:
        """Number P of parameters, in the order of ``module.named_parameters()``."""
        return sum(shape.numel() for shape in self._shapes.values())

    @cached_property
    def outputs(self) -> int:
        """Number c of components of the value."""
        return self.function(torch.from_numpy(self._current()).to(self.device), self._probe()).shape[1]

    def initial(self, generator: np.random.Generator) -> np.ndarray:
        """Parameters (P,) drawn by the module's own `reset_parameters`, the global random state untouched."""
        fresh = copy.deepcopy(self.module).cpu()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(generator.integers(2**62)))
            for part in fresh.modules():
                if callable(getattr(part, "reset_parameters", None)):
                    part.reset_parameters()
        if self.start is not None:
            last = [part for part in fresh.modules() if isinstance(part, torch.nn.Linear)][-1]
            last.weight.zero_()
            last.bias.fill_(self.start)
        return torch.cat([value.reshape(-1) for value in dict(fresh.named_parameters()).values()]).numpy()

    __call__, linearize = value, linearize

    def function(self, theta: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """The module's value (q, c) at parameters (P,) and points (q, d), torch in and out."""
        pieces = torch.split(theta, [shape.numel() for shape in self._shapes.values()])
        named = {key: piece.view(shape) for (key, shape), piece in zip(self._shapes.items(), pieces, strict=True)}
        result = torch.func.functional_call(self.module, named, (x,))
        return result[:, None] if result.ndim == 1 else result

    def as_dict(self) -> dict:
        """Kind and size; the module must be given again to `ansatz_from_dict`."""
        return {"kind": "TorchModule", "size": int(self.size), "start": self.start}

    @property
    def _linear_layers(self) -> list[torch.nn.Linear]:
        return [part for part in self.module.modules() if isinstance(part, torch.nn.Linear)]

    @cached_property
    def _shapes(self) -> dict[str, torch.Size]:
        return {name: value.shape for name, value in self.module.named_parameters()}

    def _current(self) -> np.ndarray:
        return torch.cat([value.reshape(-1) for value in self.module.parameters()]).cpu().numpy()

    def _probe(self) -> torch.Tensor:
        return torch.zeros((3, self.inputs), dtype=torch.float64, device=self.device)

    def _check_output(self) -> None:
        try:
            shape = tuple(self.module(self._probe()).shape)
        except RuntimeError as error:
            raise InputError(f"module cannot be applied to points of shape (q, {self.inputs}): {error}") from error
        if len(shape) not in (1, 2) or shape[0] != 3:
            raise InputError(f"module maps (3, {self.inputs}) to {shape}: it must give one row for each point")
