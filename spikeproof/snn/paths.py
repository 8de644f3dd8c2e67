"""Which gradients are there beside surrogate gradients? Gradient paths from the literature on attacks.

Each leaves the forward exactly as it is: the spikes are those of the neuron's own dynamics. Only the gradient differs.
An attack that follows several paths sees what one of them hides.
"""

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from spikeproof.choices import Positive, Share, Within
from spikeproof.snn.dynamics import Dynamics, Leaky, integrate
from spikeproof.snn.gradients import GradientPath, Slope, ThroughTime, Triangle
from spikeproof.snn.kernels import pooled_spikes, sharpened, sharpness_of, spikes_of
from spikeproof.snn.memory import Remembering

__all__ = ["ASSG", "BPTR", "DSR", "HART", "PDSG", "RGA", "AsANN", "Mixture", "RatePath"]


class RatePath(GradientPath):
    """Time is passed over: a spike's gradient goes to its own step's current, times a slope of the mean current."""

    @abstractmethod
    def derivative(self, mean: Tensor, rate: Tensor, dynamics: Dynamics) -> Tensor:
        """The slope ``[B, *n]`` at the mean current and the firing rate over time, both ``[B, *n]``."""

    def spikes(self, x: Tensor, dynamics: Dynamics, steps: int) -> Tensor:
        fired = own_spikes(x, dynamics, steps)
        with torch.no_grad():
            slope = self.derivative(x.mean(0), fired.mean(0), dynamics)
        return as_answered(fired, x.expand(steps, *x.shape[1:]) * slope)


@dataclass(frozen=True, kw_only=True)
class BPTR(RatePath):
    """Back-propagation through the rate: 1 where a neuron fires at all, 0 where it is silent.

    Source: Ding et al., SNN-RAT, NeurIPS 2022.
    """

    def derivative(self, mean: Tensor, rate: Tensor, dynamics: Dynamics) -> Tensor:
        return (rate > 0).to(mean.dtype)


@dataclass(frozen=True, kw_only=True)
class RGA(RatePath):
    """Rate gradient approximation: a slope in three pieces of the mean current m, in units of the threshold.

        (1 - g + g leak) / (1 + leak)    for 1 - leak <= m <= 2, where g is `gamma`
        g                                for 0 <= m < 1 - leak
        0                                elsewhere

    All three are divided by the threshold, which the published code leaves out: without it, twice the currents and
    twice the threshold, which is the same neuron, would have another gradient. At m = 1 - leak exactly, the code adds
    the first two. For leaky neurons alone. Source: Bu et al., CVPR 2023.
    """

    gamma: Share = 0.2

    def follows(self, dynamics: Dynamics) -> bool:
        return isinstance(dynamics, Leaky)

    def derivative(self, mean: Tensor, rate: Tensor, dynamics: Dynamics) -> Tensor:
        assert isinstance(dynamics, Leaky)
        leak, threshold = dynamics.leak, dynamics.threshold
        m = mean / threshold
        steep = (1 - self.gamma + self.gamma * leak) / (1 + leak)
        inside = (m >= 1 - leak) & (m <= 2)
        below = (m >= 0) & (m < 1 - leak)
        return ((inside * steep + below * self.gamma) / threshold).to(mean.dtype)


@dataclass(frozen=True, kw_only=True)
class AsANN(RatePath):
    """The spiking network's loss, through the derivative of an ANN's unit at the mean current m: 1 for m > 0, a ReLU's.

    With `clipped` it is 0 above the threshold, as of QCFS; this is for leaky neurons alone. It is ours. The published
    attacks through an ANN run that ANN forward too, and so climb another loss: `TwinTransfer` does so (Ozdenizci and
    Legenstein, TMLR 2024; clipped: Bu et al., CVPR 2023).
    """

    clipped: bool = False

    def follows(self, dynamics: Dynamics) -> bool:
        return isinstance(dynamics, Leaky) or not self.clipped

    def derivative(self, mean: Tensor, rate: Tensor, dynamics: Dynamics) -> Tensor:
        inside = (mean > 0) & (mean < dynamics.threshold) if self.clipped else mean > 0
        return inside.to(mean.dtype)


@dataclass(frozen=True, kw_only=True)
class DSR(GradientPath):
    """Differentiation on the spike representation: a layer maps a mean current to a mean rate.

    The slope is 1 / threshold for means between 0 and the threshold, and 0 elsewhere. Both means weigh step t of T by
    leak^(T - t). For leaky neurons alone. Source: Meng et al., CVPR 2022; there the reset is soft, and the spikes weigh
    the threshold.
    """

    def follows(self, dynamics: Dynamics) -> bool:
        return isinstance(dynamics, Leaky)

    def spikes(self, x: Tensor, dynamics: Dynamics, steps: int) -> Tensor:
        assert isinstance(dynamics, Leaky)
        currents = x.expand(steps, *x.shape[1:])
        fired = own_spikes(x, dynamics, steps)
        with torch.no_grad():
            age = torch.arange(steps - 1, -1, -1, device=x.device, dtype=dynamics.leak.dtype)
            weight = (dynamics.leak**age).view(-1, *[1] * (x.ndim - 1))
            weight = (weight / weight.sum()).to(x.dtype)
            mean = (weight * currents).sum(0)
            slope = ((mean > 0) & (mean < dynamics.threshold)) / dynamics.threshold
        route = (weight * currents).sum(0) * slope.to(x.dtype)
        return as_answered(fired, route.expand_as(fired))


@dataclass(frozen=True, kw_only=True)
class HART(GradientPath):
    """A triangle's slope at the true potentials, and gradients on currents that are averaged over time.

    No gradient passes through what the membrane keeps from step to step. Source: Hao et al., HART, ICLR 2024; they
    choose the width by a search over what succeeds.
    """

    width: Positive = 1.0

    def spikes(self, x: Tensor, dynamics: Dynamics, steps: int) -> Tensor:
        currents = x.expand(steps, *x.shape[1:])
        with torch.no_grad():
            trace = integrate(currents, dynamics, Triangle())
            slope = Triangle(width=self.width).derivative(trace.distances).to(x.dtype)
        return as_answered(trace.spikes, _AveragedBackward.apply(currents) * slope)


class _AveragedBackward(torch.autograd.Function):
    """The identity, whose gradient is its mean over time at every step."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: object, *grads: Tensor) -> Tensor:
        return grads[0].mean(0, keepdim=True).expand_as(grads[0])


@dataclass(frozen=True, kw_only=True)
class PDSG(ThroughTime):
    """BPTT with a slope as wide as the potentials spread: the normal density of mean sigma / 2 and deviation sigma.

    At step t, sigma is the deviation (n - 1) of a channel's potentials over steps 1 to t, images and positions, or of a
    neuron's over steps and images where a layer has no positions. It is 1 where there is one value, or no spread.
    It depends on the batch, as in the paper. Source: Lun et al., PDSG, CVPR 2025, and its code.
    """

    of_batch: ClassVar[bool] = True

    def spikes(self, x: Tensor, dynamics: Dynamics, steps: int) -> Tensor:
        if not torch.is_grad_enabled():
            return own_spikes(x, dynamics, steps)
        currents = x.expand(steps, *x.shape[1:])
        with torch.no_grad():
            potentials = integrate(currents, dynamics, Triangle()).potentials  # [T, B, *n]
            slopes = [_Density(_spread(potentials[: t + 1])) for t in range(steps)]
        return integrate(currents, dynamics, slopes).spikes


def _spread(potentials: Tensor) -> Tensor:
    """The deviation of potentials ``[T, B, C, *n]`` a channel ``[1, C, 1, ..]``; 1 where there is none."""
    over = [d for d in range(potentials.ndim) if d != 2]
    if math.prod(potentials.shape[d] for d in over) < 2:
        return torch.ones_like(potentials[0])
    sigma = potentials.std(over, keepdim=True)[0]
    return torch.where(sigma > 0, sigma, torch.ones_like(sigma))


@dataclass(frozen=True, eq=False)
class _Density:
    sigma: Tensor

    def derivative(self, u: Tensor) -> Tensor:
        z = (u - 0.5 * self.sigma) / self.sigma
        return torch.exp(-0.5 * z**2) / (self.sigma * math.sqrt(2 * math.pi))


@dataclass(frozen=True, kw_only=True)
class ASSG(ThroughTime):
    """BPTT with an arctangent slope that is as sharp as each neuron's own potentials allow.

    Let u = potential - threshold. Each neuron has running means of |u|, for each image and step: M of the value, D of
    the deviation. Its slope is

        (a/2) / (1 + (pi a u / 2)^2),    a = 2 tan(pi share / 2) / (pi (M + 1.5 D))

    `share` in (0, 1) bounds the part of the gradient that is expected to vanish. The paper's is 0.8; its code has 0.85,
    and searches for the best one from 0.7 to 0.98 on the images that it attacks, which is not done here. The means run
    over the gradients of an attack, which keeps them with `recall` and `remembered`. Source: CVPR 2026, arXiv
    2512.22522.
    """

    share: Annotated[float, Within(0, 1, "()")] = 0.8

    def for_layer(self) -> "AdaptiveSharpness":
        return AdaptiveSharpness(self)

    def spikes(self, x: Tensor, dynamics: Dynamics, steps: int) -> Tensor:
        return self.for_layer().spikes(x, dynamics, steps)


class AdaptiveSharpness(Remembering):
    """`ASSG` in one layer of a view. Its memory is M - 1 and D, each ``[B, T, *n]``: M starts at 1, D at 0."""

    def __init__(self, path: ASSG | None = None) -> None:  # a copy is made without arguments
        self.path = path or ASSG()

    def __repr__(self) -> str:
        return repr(self.path)

    def for_layer(self) -> GradientPath:
        return AdaptiveSharpness(self.path)

    def detaches(self, own: bool) -> bool:
        return self.path.detaches(own)

    def spikes(self, x: Tensor, dynamics: Dynamics, steps: int) -> Tensor:
        return self._answered(spikes_of, x, dynamics, steps)

    def pooled(self, x: Tensor, dynamics: Dynamics, steps: int) -> Tensor:
        return self._answered(pooled_spikes, x, dynamics, steps)

    def _answered(self, fire: Callable[..., Tensor], x: Tensor, dynamics: Dynamics, steps: int) -> Tensor:
        if not torch.is_grad_enabled():
            return fire(x, dynamics, Triangle(), steps)
        with torch.no_grad():
            sharpness = self._sharpness(x, dynamics, steps)
        return fire(x, dynamics, OwnATan(), steps, sharpness)

    def derivative(self, u: Tensor) -> Tensor:
        """The slope at u = potential - threshold ``[B, *n]`` of a neuron that is called once a step."""
        zero = u.new_zeros(())  # to a step that comes first, `u` is a current over no threshold
        sharpness = self._sharpness(u[None], Leaky(zero, zero), 1)
        return OwnATan().derivative(u, sharpness[0]).to(u.dtype)

    def _sharpness(self, x: Tensor, dynamics: Dynamics, steps: int) -> Tensor:
        """The sharpness ``[steps, B, *n]`` of every neuron, once these currents are learned."""
        wide = torch.promote_types(x.dtype, torch.float32)
        kept = self.recollection.take(x.new_empty((x.shape[1], steps, *x.shape[2:]), dtype=wide), 2)
        means, deviations = (rows.transpose(0, 1) for rows in kept)
        scale = means.new_full((), 2 * math.tan(math.pi * self.path.share / 2) / math.pi)
        if self.recollection.open and not self.recollection.learn:
            self.recollection.keep(*kept)
            return sharpness_of(means, deviations, scale)
        sharpness, *learned = sharpened(x, dynamics, steps, means, deviations, scale)
        self.recollection.keep(*(each.transpose(0, 1) for each in learned))
        return sharpness


@dataclass(frozen=True)
class OwnATan:
    """The arctangent's slope, as sharp as each neuron has it."""

    def derivative(self, u: Tensor, sharpness: Tensor) -> Tensor:
        return (sharpness / 2) / (1 + (math.pi / 2 * sharpness * u) ** 2)


@dataclass(frozen=True, kw_only=True)
class Mixture(GradientPath):
    """`share` of the gradient along one path and the rest along another: by default BPTT and the rate."""

    first: Slope = Triangle()
    second: GradientPath = BPTR()
    share: Share = 0.5

    def for_layer(self) -> GradientPath:
        return replace(self, second=self.second.for_layer())

    def detaches(self, own: bool) -> bool:
        return self.first.detaches(own)

    def follows(self, dynamics: Dynamics) -> bool:
        return self.first.follows(dynamics) and self.second.follows(dynamics)

    def parts(self) -> tuple[GradientPath, ...]:
        return (self.first, *self.second.parts())

    def spikes(self, x: Tensor, dynamics: Dynamics, steps: int) -> Tensor:
        one, other = (path.spikes(x, dynamics, steps) for path in (self.first, self.second))
        return as_answered(one.detach(), self.share * one + (1 - self.share) * other)


def own_spikes(x: Tensor, dynamics: Dynamics, steps: int) -> Tensor:
    """The spikes, without a gradient."""
    with torch.no_grad():
        return Triangle().spikes(x, dynamics, steps)


def as_answered(spikes: Tensor, route: Tensor) -> Tensor:
    """The value of `spikes`, exactly, with the gradient of `route`."""
    return _Answer.apply(spikes, route)


class _Answer(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, spikes: Tensor, route: Tensor) -> Tensor:
        return spikes.clone()

    @staticmethod
    def backward(ctx: object, *grads: Tensor) -> tuple[None, Tensor]:
        return None, grads[0]
