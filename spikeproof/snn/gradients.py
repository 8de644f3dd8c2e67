"""What is the gradient of a spike? Gradient paths; those here are surrogate gradients.

A path never changes the forward. A slope is the surrogate derivative ds/du, at u = potential - threshold. With it,
back-propagation through time is exact: through the reset too, or with the reset held constant (detached).
"""

import math
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from spikeproof.choices import Choice, Positive
from spikeproof.snn.dynamics import Dynamics
from spikeproof.snn.kernels import pooled_spikes, spikes_of
from spikeproof.snn.layers import mean_pool

__all__ = [
    "ATan",
    "Exponential",
    "Gaussian",
    "GradientPath",
    "Rectangle",
    "Sigmoid",
    "Slope",
    "StraightThrough",
    "Triangle",
]


class GradientPath(Choice):
    """Turns currents into spikes, and a gradient on spikes into one on currents."""

    of_batch: ClassVar[bool] = False  # whether the gradient at an image depends on the images beside it

    @abstractmethod
    def spikes(self, x: Tensor, dynamics: Dynamics, steps: int) -> Tensor:
        """Spikes ``[steps, B, *n]`` of currents `x` ``[steps, B, *n]``, or ``[1, B, *n]`` constant in time."""

    def pooled(self, x: Tensor, dynamics: Dynamics, steps: int) -> Tensor:
        """`spikes` of currents ``[steps or 1, B, C, H, W]``, averaged over 2x2 pixels."""
        return mean_pool(self.spikes(x, dynamics, steps))

    def detaches(self, own: bool) -> bool:
        """Whether it holds the reset constant; `own` is what the neurons say."""
        return own

    def follows(self, dynamics: Dynamics) -> bool:
        """Whether it answers for neurons of these dynamics; what is derived for leaky ones alone does not."""
        return True

    def for_layer(self) -> "GradientPath":
        """The path as one layer of a view follows it; one that remembers needs a place for it."""
        return self

    def parts(self) -> "tuple[GradientPath, ...]":
        """The paths that it is made of."""
        return (self,)


@dataclass(frozen=True, kw_only=True)
class ThroughTime(GradientPath):
    """Back-propagation through time. With `detach_reset` the reset counts as constant; None: as the neurons say.

    All neurons of an `attack_view` say that it does. A sharp slope answers through the reset with as much as it answers
    directly, and with the other sign. So the gradient of an attack along it is nearly noise.
    """

    detach_reset: bool | None = field(default=None, repr=False)

    def detaches(self, own: bool) -> bool:
        return own if self.detach_reset is None else self.detach_reset


class Slope(ThroughTime):
    """Back-propagation through time with this surrogate derivative."""

    @abstractmethod
    def derivative(self, u: Tensor) -> Tensor:
        """ds/du at ``u = potential - threshold``, elementwise."""

    def spikes(self, x: Tensor, dynamics: Dynamics, steps: int) -> Tensor:
        return spikes_of(x, dynamics, self, steps)

    def pooled(self, x: Tensor, dynamics: Dynamics, steps: int) -> Tensor:
        return pooled_spikes(x, dynamics, self, steps)


@dataclass(frozen=True, kw_only=True)
class Triangle(Slope):
    """max(0, w - |u|) / w^2: the field's default, also called ZIF or PCW.

    Source: Esser et al., PNAS 2016; Deng et al., ICLR 2022. A narrow one hides gradients from an attacker.
    """

    width: Positive = 1.0

    def derivative(self, u: Tensor) -> Tensor:
        return (self.width - u.abs()).clamp(min=0) / self.width**2


@dataclass(frozen=True, kw_only=True)
class Rectangle(Slope):
    """1[|u| < w/2] / w. Source: Wu et al., STBP, 2018."""

    width: Positive = 1.0

    def derivative(self, u: Tensor) -> Tensor:
        return (u.abs() < self.width / 2).to(u.dtype) / self.width


@dataclass(frozen=True, kw_only=True)
class ATan(Slope):
    """(a/2) / (1 + (pi a u / 2)^2). Source: Fang et al., ICCV 2021."""

    alpha: Positive = 2.0

    def derivative(self, u: Tensor) -> Tensor:
        return (self.alpha / 2) / (1 + (math.pi / 2 * self.alpha * u) ** 2)


@dataclass(frozen=True, kw_only=True)
class Sigmoid(Slope):
    """a sig(a u) (1 - sig(a u))."""

    alpha: Positive = 4.0

    def derivative(self, u: Tensor) -> Tensor:
        s = torch.sigmoid(self.alpha * u)
        return self.alpha * s * (1 - s)


@dataclass(frozen=True, kw_only=True)
class Exponential(Slope):
    """h exp(-b |u|). Source: Shrestha and Orchard, SLAYER, 2018; h = 0.3 is the damped form of the ANN-SNN
    conversion literature."""

    height: Positive = 1.0
    sharpness: Positive = 1.0

    def derivative(self, u: Tensor) -> Tensor:
        return self.height * torch.exp(-self.sharpness * u.abs())


@dataclass(frozen=True, kw_only=True)
class Gaussian(Slope):
    """The density of a normal variable with deviation `sigma`: exp(-u^2 / 2 sigma^2) / (sigma sqrt(2 pi))."""

    sigma: Positive = 0.5

    def derivative(self, u: Tensor) -> Tensor:
        return torch.exp(-0.5 * (u / self.sigma) ** 2) / (self.sigma * math.sqrt(2 * math.pi))


@dataclass(frozen=True, kw_only=True)
class StraightThrough(Slope):
    """1 everywhere. Source: Bengio et al., 2013."""

    def derivative(self, u: Tensor) -> Tensor:
        return torch.ones_like(u)
