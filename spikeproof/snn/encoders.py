"""How does an image become a sequence? Encoders, each with a gradient that an attack can follow.

An encoder maps pixels ``[B, C, H, W]`` in [0, 1] to ``[T, B, C, H, W]``. Where every step sees the same it returns
``[1, B, C, H, W]``. Event frames ``[B, T, P, H, W]`` are a sequence already.
"""

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor

from spikeproof.choices import AtLeast, Choice, Pixels, Seed, Within
from spikeproof.randomness import Streams
from spikeproof.snn.filters import Filter, filtered

__all__ = ["RSC", "Direct", "Encoder", "Frames", "Latency", "Poisson", "Thresholds"]


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
    """A spike with probability m + (1 - 2 m) x at each step, drawn anew; the gradient passes straight through.

    Binary input, hence not normalised. Stochastic: attacks must average over draws. A `margin` m above 0 lowers the
    contrast: black pixels spike now and then, white ones pause, and one pixel tells less. Certificates grow by it.
    """

    stochastic: ClassVar[bool] = True

    margin: Annotated[float, Within(0, 0.5, "[)")] = 0.0

    def rates(self, x: Tensor) -> Tensor:
        """The probability of a spike, of the shape of `x`."""
        return self.margin + (1 - 2 * self.margin) * x if self.margin else x

    def __call__(self, x: Tensor, steps: int) -> Tensor:
        rates = self.rates(x).expand(steps, *x.shape)
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
class Thresholds(Encoder):
    """A spike where x > u, the same at every step: u = ((v + k) mod levels + 1/2) / 255, and k is drawn for each image.

    v is a whole number of each pixel's own, fixed by `seed`; k is shared by all pixels, so there are `levels` codes of
    an image and no more. A bright pixel spikes in more of them: in 255 x of `levels`. Above 255 levels contrast is
    lower and a certificate larger. The gradient is that of the mean code. Source: Levine and Feizi, ICML 2021, whose
    noise of split intervals it is; that it codes spikes is ours.
    """

    stochastic: ClassVar[bool] = True

    levels: Annotated[int, AtLeast(255)] = 255
    seed: Seed = 0

    def codes(self, x: Tensor, k: Tensor) -> Tensor:
        """The code number `k` ``[B]``, from 0 to levels - 1, of each image."""
        return (x > ((self._own(x) + k.view(-1, *[1] * (x.ndim - 1))) % self.levels + 0.5) / 255).to(x.dtype)

    def _own(self, x: Tensor) -> Tensor:
        """v ``[1, C, H, W]``."""
        return Streams.of(self.seed, torch.zeros(1, dtype=torch.int64, device=x.device)).below(
            self.levels, *x.shape[1:]
        )

    def __call__(self, x: Tensor, steps: int) -> Tensor:
        drawn = self.codes(x.detach(), torch.randint(self.levels, (len(x),), device=x.device))
        mean = x * (255 / self.levels)
        return (drawn + (mean - mean.detach())).unsqueeze(0)


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
