"""How are the layers of a body called? In their order; what stands round neurons is computed with them if that pays.

A neuron and the 2x2 mean pooling after it are one kernel. So are a residual join, a batch norm in eval mode and the
neuron after them, where no constant wants a gradient. Each is the same function as the layers called one by one, which
is what happens where a kernel does not pay, or where somebody watches a layer (`record`, or any hook).
"""

from collections import deque
from typing import NamedTuple, TypeGuard, cast

import torch
from torch import Tensor, nn

from spikeproof.snn.gradients import Slope
from spikeproof.snn.joined import can_join, joined_spikes
from spikeproof.snn.kernels import wide
from spikeproof.snn.layers import ConvexCombination, MeanPool, Norm, PerStep, per_step
from spikeproof.snn.neurons import LeakyLayer, SpikingLayer


class Branches(NamedTuple):
    """Currents ``[T, B, C, ...]`` of one branch, or of two that have not met yet."""

    x: Tensor
    past: Tensor | None = None
    join: ConvexCombination | None = None  # where they will meet

    def met(self) -> Tensor:
        """What they are together."""
        return self.x if self.join is None else self.join(self.x, self.past)


class Residual(nn.Module):
    """A block `Branches` -> `Branches`: its last two meet where the next layer reads them."""


class Body(nn.Sequential):
    """Layers ``[T, B, ...]`` -> ``[T, B, ...]``, called in their order, several as one kernel where that pays."""

    def forward(self, x: Tensor) -> Tensor:
        at, layers = Branches(x), deque(self)
        while layers:
            layer = layers.popleft()
            following = layers[0] if layers else None
            if isinstance(layer, Residual):
                at = layer(at)
            elif isinstance(layer, Norm) and following is not None:
                at = Branches(fire(at, layer, layers.popleft())[0])
            elif isinstance(layer, SpikingLayer) and _begins_with_pooling(following):
                layers.popleft()
                at = Branches(_pooled(layer, following, at.met()))
            else:
                at = Branches(layer(at.met()))
        return at.met()


def fire(at: Branches, norm: Norm, neurons: nn.Module) -> tuple[Tensor, Tensor]:
    """The spikes of `neurons` after a `norm`, and what the branches are together."""
    if _are_one_kernel(neurons, norm, at):
        constants = _constants(at, norm, neurons)
        slope = cast(Slope, neurons.gradient)
        return joined_spikes(at.x, at.past, constants, neurons.dynamics(), slope, neurons.steps)
    y = at.met()
    return neurons(norm(y)), y


def _are_one_kernel(neurons: nn.Module, norm: Norm, at: Branches) -> TypeGuard[LeakyLayer]:
    """Whether there is a kernel for them that pays, and nobody who watches."""
    if not isinstance(neurons, LeakyLayer) or not _is_called_as_ours(neurons):
        return False
    path = neurons.gradient
    plain = (
        neurons.gain is None and not neurons.charge and isinstance(path, Slope) and type(path).spikes is Slope.spikes
    )
    modules = [norm, neurons] if at.join is None else [at.join, norm, neurons]
    return (
        plain
        and norm.fixed
        and not _watched(*modules)
        and not (torch.is_grad_enabled() and any(p.requires_grad for m in modules for p in m.parameters()))
        and len(at.x) in (1, neurons.steps)
        and can_join(at.x, at.past, neurons.steps)
    )


@torch.no_grad()
def _constants(at: Branches, norm: Norm, neurons: LeakyLayer) -> Tensor:
    """What `joined_spikes` takes ``[6, C]``, in the type of potentials."""
    dynamics, like = neurons.dynamics(), wide(at.x.new_empty(0))
    one = torch.ones_like(dynamics.leak)
    a, b = (one, one) if at.join is None else at.join.weights
    scalars = torch.stack([a, b, dynamics.leak, dynamics.threshold]).to(like.dtype)
    rows = scalars.unsqueeze(1).expand(4, at.x.shape[2])
    return torch.cat([rows[:2], norm.affine().to(like.dtype), rows[2:]])


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
