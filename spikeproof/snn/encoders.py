"""How does an image become a sequence? Encoders, each with a gradient that an attack can follow.

An encoder maps pixels ``[B, C, H, W]`` in [0, 1] to ``[T, B, C, H, W]``. Where every step sees the same it returns
``[1, B, C, H, W]``. Event frames ``[B, T, P, H, W]`` are a sequence already.
"""

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor

from spikeproof.choices import Choice, Pixels, Within
from spikeproof.snn.filters import Filter, filtered

__all__ = ["RSC", "Direct", "Encoder", "Frames", "Latency", "Poisson"]


class Encoder(Choice):
    """Turns images, or event frames, into what the first layer sees at each step.

    `normalised` says whether the network's normalisation follows, `stochastic` whether it draws noise. A `framed` one
    takes event frames, as many as there are steps.
    """

    normalised: ClassVar[bool] = False
    stochastic: ClassVar[bool] = False
    framed: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, x: Tensor, steps: int) -> Tensor: ...

    def in_one_step(self) -> "Encoder":
        """What a network of one step sees in its place."""
        return self if self.normalised else Direct()  # a code of spikes needs time


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
class RSC(Encoder):
    """Randomised smoothing coding: the image plus normal noise of deviation `sigma`, in pixel units, not clamped.

    Variant "I" draws the noise once for all steps, "II" anew for each. `moments` "poisson" gives every pixel the
    variance x (1 - x) of Poisson coding instead of sigma^2, to compare the two. Normalisation follows. Stochastic:
    attacks must average over draws. Source: Wu et al., ACM MM 2024, arXiv 2407.20099. Their code is not published: that
    the noisy image enters as a current, and the default sigma, are our choices.
    """

    normalised: ClassVar[bool] = True
    stochastic: ClassVar[bool] = True

    variant: Literal["I", "II"] = "I"
    sigma: Annotated[Pixels, Within(0, 1, "(]")] = 0.1
    moments: Literal["fixed", "poisson"] = "fixed"

    def __call__(self, x: Tensor, steps: int) -> Tensor:
        copies = x.expand(1 if self.variant == "I" else steps, *x.shape)
        noise = torch.randn_like(copies.detach().contiguous())
        return copies + noise * (self.sigma if self.moments == "fixed" else (x * (1 - x)).clamp(min=0).detach().sqrt())


@dataclass(frozen=True, kw_only=True)
class Latency(Encoder):
    """One spike per pixel, the earlier the brighter: at the step nearest to (T - 1)(1 - x).

    The gradient is that of a spike shared linearly between the two steps around that time. Brightening a pixel moves it
    from the later to the earlier step.
    """

    def __call__(self, x: Tensor, steps: int) -> Tensor:
        return _LatencySpikes.apply(x, steps)


@dataclass(frozen=True, kw_only=True)
class Frames(Encoder):
    """Event frames ``[B, T, P, H, W]``, one a step, as `filters` leave them; with `merged`, their mean at every step.

    The first filter is the first to see them. A trained network is put behind filters by
    ``view(model, encoder=Frames(filters=(BackgroundActivity(),)))``.
    """

    framed: ClassVar[bool] = True

    merged: bool = False
    filters: tuple[Filter, ...] = ()

    def __call__(self, x: Tensor, steps: int) -> Tensor:
        frames = (filtered(x, self.filters) if self.filters else x).transpose(0, 1)
        return frames.mean(0, keepdim=True) if self.merged else frames

    def in_one_step(self) -> Encoder:
        return replace(self, merged=True)


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
