"""Which layers are the nodes of a NIR graph? One function a kind of node; a node of any other kind is refused by name.

The neurons are spikeproof's own, so that their gradient paths, flags and probes are there as for any network.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spikeproof.choices import UserError
from spikeproof.exchange.simulations import Simulation
from spikeproof.snn.layers import PerStep
from spikeproof.snn.neurons import IF, LIF

SAME = 1e-6  # relative: gains that differ less from 1 are 1


class Gain(nn.Module):
    """Currents times a number, or times one a neuron."""

    def __init__(self, factor: Tensor) -> None:
        super().__init__()
        self.factor = nn.Buffer(factor)

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x

    def extra_repr(self) -> str:
        return f"factor={self.factor.item():g}" if self.factor.numel() == 1 else f"shape={list(self.factor.shape)}"


def layer_of(name: str, node: Any, simulation: Simulation) -> nn.Module:
    """The layer ``[T, B, ...]`` -> ``[T, B, ...]`` that computes what `node` does, in Euler steps.

    Raises `UserError`, which names the node, for a kind that is not known and for values that cannot be simulated.
    """
    kind = type(node).__name__
    if kind not in READERS:
        known = ", ".join(sorted(READERS))
        raise UserError(f"node {name!r} is of kind {kind}, which spikeproof does not know; it knows {known}")
    try:
        return READERS[kind](node, simulation)
    except UserError as error:
        raise UserError(f"node {name!r}, of kind {kind}: {error}") from error
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"node {name!r}, of kind {kind}, cannot be read ({error})") from error


def _identity(node: Any, simulation: Simulation) -> nn.Module:
    return nn.Identity()


def _linear(node: Any, simulation: Simulation) -> nn.Module:
    weight, bias = _tensor(node.weight), getattr(node, "bias", None)
    if weight.ndim != 2:
        raise UserError(f"its weight is {list(weight.shape)}, and a matrix can be read")
    return PerStep(_filled(nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None), weight, bias))


def _conv2d(node: Any, simulation: Simulation) -> nn.Module:
    weight, groups = _tensor(node.weight), int(node.groups)
    padding = node.padding if isinstance(node.padding, str) else _pair(node.padding)
    size = (weight.shape[2], weight.shape[3])
    outputs, inputs = weight.shape[0], weight.shape[1] * groups
    layer = nn.Conv2d(
        inputs,
        outputs,
        size,
        stride=_pair(node.stride),
        padding=padding,
        dilation=_pair(node.dilation),
        groups=groups,
        bias=node.bias is not None,
    )
    return PerStep(_filled(layer, weight, node.bias))


def _filled(layer: nn.Linear | nn.Conv2d, weight: Tensor, bias: Any) -> nn.Module:
    layer.weight = nn.Parameter(weight)
    if bias is not None:
        layer.bias = nn.Parameter(_tensor(bias))
    return layer


def _avg_pool(node: Any, simulation: Simulation) -> nn.Module:
    return PerStep(nn.AvgPool2d(_pair(node.kernel_size), _pair(node.stride), _pair(node.padding)))


def _sum_pool(node: Any, simulation: Simulation) -> nn.Module:
    size, stride, padding = map(_pair, (node.kernel_size, node.stride, node.padding))
    return PerStep(nn.AvgPool2d(size, stride, padding, divisor_override=1))


def _flatten(node: Any, simulation: Simulation) -> nn.Module:
    first, last = (int(dim) + 1 if dim >= 0 else int(dim) for dim in (node.start_dim, node.end_dim))
    return PerStep(nn.Flatten(first, last))  # a batch stands before what NIR counts


def _scale(node: Any, simulation: Simulation) -> nn.Module:
    return Gain(_tensor(node.scale))


def _if(node: Any, simulation: Simulation) -> nn.Module:
    _require_zero(node, "v_reset")
    return _amplified(_one(node, "r") * simulation.dt, IF(threshold=_threshold(node, simulation)), simulation)


def _lif(node: Any, simulation: Simulation) -> nn.Module:
    _require_zero(node, "v_reset", "v_leak")
    share = simulation.dt / _one(node, "tau")
    if not 0 < share <= 1:
        raise UserError(f"its tau of {_one(node, 'tau'):g} s is no step of {simulation.dt:g} s or more: choose dt")
    neuron = LIF(leak=1 - share, threshold=_threshold(node, simulation))
    return _amplified(_one(node, "r") * share, neuron, simulation)


def _amplified(gain: float, neuron: IF | LIF, simulation: Simulation) -> nn.Module:
    """The neurons, behind a gain where currents do not count as they are."""
    layer = neuron.layer(simulation.steps)
    return layer if abs(gain - 1) < SAME else nn.Sequential(Gain(torch.tensor(gain)), layer)


def _threshold(node: Any, simulation: Simulation) -> float:
    """What v >= threshold has to be held against, so that neurons which fire above it do not fire at it."""
    threshold = np.float32(_one(node, "v_threshold"))
    if not threshold > 0:
        raise UserError(f"its v_threshold is {threshold:g}, and must be above 0")
    return float(threshold if simulation.fires == "at" else np.nextafter(threshold, np.float32(np.inf)))


def _one(node: Any, name: str) -> float:
    """The value that all its neurons have."""
    values = np.unique(getattr(node, name))
    if len(values) != 1 or not np.isfinite(values[0]):
        raise UserError(f"its neurons have {len(values)} values of {name}, and one finite value a layer can be read")
    return float(values[0])


def _require_zero(node: Any, *names: str) -> None:
    for name in names:
        if np.any(getattr(node, name)):
            raise UserError(f"its {name} is not 0, and neurons that rest and reset elsewhere cannot be read")


def _tensor(values: Any) -> Tensor:
    return torch.from_numpy(np.array(values, np.float32))


def _pair(size: Any) -> tuple[int, int]:
    first, *rest = np.atleast_1d(size)
    return int(first), int(rest[0] if rest else first)


READERS: dict[str, Callable[[Any, Simulation], nn.Module]] = {
    "Affine": _linear,
    "AvgPool2d": _avg_pool,
    "Conv2d": _conv2d,
    "Flatten": _flatten,
    "IF": _if,
    "Input": _identity,
    "LIF": _lif,
    "Linear": _linear,
    "Output": _identity,
    "Scale": _scale,
    "SumPool2d": _sum_pool,
}
