"""How does an image become a sequence? Encoders, each with a gradient that an attack can follow.

An encoder maps pixels ``[B, C, H, W]`` in [0, 1] to ``[T, B, C, H, W]``, or to ``[1, B, C, H, W]`` where every
step sees the same.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

__all__ = ["Direct", "Encoder", "Latency", "Poisson"]


class Encoder(ABC):
    """`normalised`: whether the network's normalisation follows; `stochastic`: whether it draws noise."""

    normalised: ClassVar[bool] = False
    stochastic: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, x: Tensor, steps: int) -> Tensor: ...


@dataclass(frozen=True, kw_only=True)
class Direct(Encoder):
    """The image itself, as a current, at every step."""

    normalised: ClassVar[bool] = True

    def __call__(self, x: Tensor, steps: int) -> Tensor:
        return x.unsqueeze(0)


@dataclass(frozen=True, kw_only=True)
class Poisson(Encoder):
    """A spike with probability x at each step, drawn anew; the gradient passes straight through.

    Binary input, hence not normalised. Stochastic: attacks must average over draws.
    """

    stochastic: ClassVar[bool] = True

    def __call__(self, x: Tensor, steps: int) -> Tensor:
        rates = x.expand(steps, *x.shape)
        drawn = (torch.rand_like(rates.detach().contiguous()) < rates).to(x.dtype)
        return drawn + (rates - rates.detach())


@dataclass(frozen=True, kw_only=True)
class Latency(Encoder):
    """One spike per pixel, the earlier the brighter: at the step nearest to (T - 1)(1 - x).

    The gradient is that of sharing the spike linearly between the two steps around that time: brightening a
    pixel moves its spike from the later to the earlier step.
    """

    def __call__(self, x: Tensor, steps: int) -> Tensor:
        return _LatencySpikes.apply(x, steps)


class _LatencySpikes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, steps: int) -> Tensor:
        time = (steps - 1) * (1 - x)
        ctx.steps = steps
        ctx.save_for_backward(time)
        at = torch.arange(steps, device=x.device).view(-1, *[1] * x.ndim)
        return (time.round() == at).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (time,) = ctx.saved_tensors
        if ctx.steps == 1:
            return torch.zeros_like(time), None
        early = time.floor().clamp(0, ctx.steps - 2).long().unsqueeze(0)
        gain = grads[0].gather(0, early) - grads[0].gather(0, early + 1)
        return (ctx.steps - 1) * gain.squeeze(0), None
