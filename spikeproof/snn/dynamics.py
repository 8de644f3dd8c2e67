"""What does a spiking neuron compute? The readable reference over a whole sequence, in plain PyTorch.

    u[t] = leak * v[t-1] + x[t]          potential before the spike
    s[t] = 1[u[t] >= threshold]          spike
    v[t] = u[t] (1 - s[t])               hard reset, or
    v[t] = u[t] - threshold * s[t]       soft reset

`spikeproof.snn.kernels` computes the same, fused; a test holds the two equal in value and gradient.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor


class Derivative(Protocol):
    """Anything that gives the surrogate derivative ds/du of a spike at ``u = potential - threshold``."""

    def derivative(self, u: Tensor) -> Tensor: ...


class Dynamics(NamedTuple):
    """The constants of one layer of neurons; `leak` and `threshold` are scalar tensors, learned or not."""

    leak: Tensor
    threshold: Tensor
    hard_reset: bool = True
    detach_reset: bool = False


class Trace(NamedTuple):
    """What the reference returns: spikes and potentials ``[T, ...]`` and the last potential after its reset."""

    spikes: Tensor
    potentials: Tensor
    last: Tensor


class _Spike(torch.autograd.Function):
    """1[u >= 0] whose derivative is the slope's; the backward is itself differentiable."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, slope: Derivative) -> Tensor:
        ctx.save_for_backward(u)
        ctx.slope = slope
        return (u >= 0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (u,) = ctx.saved_tensors
        return grads[0] * ctx.slope.derivative(u), None


def integrate(
    x: Tensor, dynamics: Dynamics, slope: Derivative | Sequence[Derivative], v: Tensor | None = None
) -> Trace:
    """Spikes for the currents `x` ``[T, ...]``, starting from potential `v` ``[...]`` (zero where not given).

    `slope` is one for all steps, or one a step. Differentiable as often as the slope is. Feeding ``Trace.last`` back
    as `v` continues a stream exactly.
    """
    leak, threshold, hard_reset, detach_reset = dynamics
    wide = torch.promote_types(x.dtype, torch.float32)
    v = torch.zeros_like(x[0], dtype=wide) if v is None else v.to(wide)
    slopes = slope if isinstance(slope, Sequence) else [slope] * len(x)
    spikes, potentials = [], []
    for current, of_step in zip(x.to(wide), slopes, strict=True):
        u = leak * v + current
        s = _Spike.apply(u - threshold, of_step)
        reset = s.detach() if detach_reset else s
        v = u * (1 - reset) if hard_reset else u - threshold * reset
        spikes.append(s)
        potentials.append(u)
    return Trace(torch.stack(spikes).to(x.dtype), torch.stack(potentials), v)
