"""How are the layers of a body called? In their order; what stands round neurons is computed with them if that pays.

A neuron and the 2x2 mean pooling after it are one kernel. So are a residual join, a batch norm in eval mode and the
neuron after them, where no constant wants a gradient. Neurons of two phases see a mean over time: it is taken before
the linear layers in front of them, which are computed once. Each is the same function as the layers called one by one,
which is what happens where a kernel does not pay, or where somebody watches a layer (`record`, or any hook).
"""

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple, TypeGuard, cast

import torch
from torch import Tensor, nn

from spikeproof.snn.gradients import Slope
from spikeproof.snn.joined import can_join, joined_spikes
from spikeproof.snn.kernels import wide
from spikeproof.snn.layers import ConvexCombination, MeanPool, Norm, PerStep, Pointwise, per_step
from spikeproof.snn.neurons import GradedLayer, LeakyLayer, SpikingLayer

LINEAR = (nn.Linear, nn.Conv2d, Pointwise, MeanPool, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Flatten, nn.Identity)


class Branches(NamedTuple):
    """Two branches ``[T, B, C, ...]`` that have not met yet."""

    x: Tensor
    past: Tensor
    join: ConvexCombination  # where they will


class Residual(nn.Module):
    """A block from currents, or `Branches`, to `Branches`: they meet where the next layer reads them."""


class Body(nn.Sequential):
    """Layers ``[T, B, ...]`` -> ``[T, B, ...]``, called in their order, several as one kernel where that pays."""

    def forward(self, x: Tensor) -> Tensor:
        at: Tensor | Branches = x
        layers = deque(self)
        while layers:
            if (neurons := _collecting(layers)) is not None:
                at = neurons.collected(met(at))
            layer = layers.popleft()
            following = layers[0] if layers else None
            if isinstance(layer, Residual):
                at = layer(at)
            elif isinstance(layer, Norm) and following is not None:
                at, _ = fire(at, layer, layers.popleft())
            elif isinstance(layer, SpikingLayer) and _begins_with_pooling(following):
                layers.popleft()
                at = _pooled(layer, following, met(at))
            else:
                at = layer(met(at))
        return met(at)


def met(at: Tensor | Branches) -> Tensor:
    """What the branches are together."""
    return at.join(at.x, at.past) if isinstance(at, Branches) else at


def fire(at: Tensor | Branches, norm: Norm, neurons: nn.Module) -> tuple[Tensor, Tensor]:
    """The spikes of `neurons` after a `norm`, and what the branches before it are together."""
    if isinstance(at, Branches) and _are_one_kernel(neurons, norm, at):
        constants, slope = _constants(at, norm, neurons), cast(Slope, neurons.gradient)
        return joined_spikes(at.x, at.past, constants, neurons.dynamics(), slope, neurons.steps)
    y = met(at)
    return neurons(norm(y)), y


def _are_one_kernel(neurons: nn.Module, norm: Norm, at: Branches) -> TypeGuard[LeakyLayer]:
    """Whether there is a kernel for them that pays, and nobody who watches."""
    if not isinstance(neurons, LeakyLayer) or not _is_called_as_ours(neurons):
        return False
    path, modules = neurons.gradient, (at.join, norm, neurons)
    return (
        isinstance(path, Slope)
        and type(path).spikes is Slope.spikes
        and neurons.gain is None
        and not neurons.charge
        and not neurons.two_phases
        and norm.fixed
        and not _watched(*modules)
        and not (torch.is_grad_enabled() and any(p.requires_grad for m in modules for p in m.parameters()))
        and can_join(at.x, at.past, neurons.steps)
    )


@torch.no_grad()
def _constants(at: Branches, norm: Norm, neurons: LeakyLayer) -> Tensor:
    """What `joined_spikes` takes ``[6, C]``, in the type of potentials."""
    dynamics, like = neurons.dynamics(), wide(at.x.new_empty(0))
    scalars = torch.stack([*at.join.weights, dynamics.leak, dynamics.threshold]).to(like.dtype)
    rows = scalars.unsqueeze(1).expand(4, at.x.shape[2])
    return torch.cat([rows[:2], norm.affine().to(like.dtype), rows[2:]])


def _collecting(layers: Iterable[nn.Module]) -> SpikingLayer | None:
    """The next neurons, if they are of two phases and all layers before them are linear; nobody may watch these."""
    before: list[nn.Module] = []
    for layer in layers:
        neurons = layer.fire if type(layer) is GradedLayer else layer
        if isinstance(neurons, SpikingLayer):
            collects = neurons.two_phases and bool(before) and not _watched(*before, layer)
            return neurons if collects else None
        if not (isinstance(layer, PerStep) and all(_is_linear(part) for part in layer)):
            return None
        before.append(layer)
    return None


def _is_linear(layer: nn.Module) -> bool:
    """Whether it maps the mean of its inputs to the mean of its outputs, in the mode that it is in."""
    if isinstance(layer, (nn.modules.batchnorm._BatchNorm, nn.Dropout)):
        return not layer.training
    return type(layer) in LINEAR


def _begins_with_pooling(layer: nn.Module | None) -> TypeGuard[PerStep]:
    return type(layer) is PerStep and type(layer[0]) is MeanPool


def _pooled(neurons: SpikingLayer, after: PerStep, x: Tensor) -> Tensor:
    """``after(neurons(x))``, whose first layer is the pooling."""
    pool, *rest = after
    if not _is_called_as_ours(neurons) or _watched(neurons, after, pool) or x.ndim != 5:
        return after(neurons(x))
    return per_step(rest, neurons.pooled(x))


def _is_called_as_ours(neurons: SpikingLayer) -> bool:
    return type(neurons).forward is SpikingLayer.forward


def _watched(*modules: nn.Module) -> bool:
    """Whether somebody wants to see what goes in or out of these modules, or of parts of them."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return any(getattr(part, kind) for module in modules for part in module.modules() for kind in kinds)
