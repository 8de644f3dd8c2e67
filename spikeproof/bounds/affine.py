"""What is known behind a layer that is affine in its input and looks at one step at a time?

Sums over time pass through it: W sum_t w[t] x[t] + b sum_t w[t]. So whatever is known of sums before it is not lost.
Source of the interval form: Gowal et al., arXiv 1810.12715, eq. 6.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeproof.bounds.signals import Range, Signal
from spikeproof.snn.layers import Pointwise, affine

HALF = 2.0**-24  # a number of float32 is rounded by so much of its size at most


class Map(NamedTuple):
    """An affine function of rows ``[N, *n]``."""

    linear: Callable[[Tensor], Tensor]  # without its bias
    absolute: Callable[[Tensor], Tensor]  # the same with the absolute values of its weights
    bias: Tensor | None  # as it is added to one row
    terms: int  # how many numbers are added up for one of its outputs

    def reach(self, x: Range, ones: Tensor) -> Range:
        """Of all `x` ``[N, *n]``; the bias counts `ones` ``[N]`` times."""
        middle, half = self.linear((x.low + x.high) / 2), self.absolute((x.high - x.low) / 2)
        if self.bias is not None:
            middle = middle + ones.view(-1, *[1] * (middle.ndim - 1)) * self.bias
        return Range(middle - half, middle + half)

    def rounding(self, size: Tensor) -> Tensor:
        """How far float32 may be off at inputs of this size, whatever the order in which it adds.

        Source: Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1.
        """
        total = self.absolute(size) if self.bias is None else self.absolute(size) + self.bias.abs()
        return total * (1.01 * (self.terms + 2) * HALF)


@dataclass(frozen=True, eq=False)
class Mapped(Signal):
    """Every step of a signal behind an affine layer, computed with an error of `slack` ``[B, *n]`` at most."""

    signal: Signal
    map: Map
    slack: Tensor | None

    @property
    def steps(self) -> int:  # type: ignore[override]
        return self.signal.steps

    @property
    def kind(self) -> Tensor:
        return self.signal.kind

    def summed(self, weights: Tensor) -> Range:
        before = self.signal.summed(weights)
        rows, images = before.low.shape[:2]
        ones = weights.sum(1).repeat_interleave(images)
        found = self.map.reach(Range(*(end.flatten(0, 1) for end in before)), ones)
        after = Range(*(end.unflatten(0, (rows, images)) for end in found))
        if self.slack is None:
            return after
        return after.widened(weights.abs().sum(1).view(-1, *[1] * self.slack.ndim) * self.slack)


@dataclass(frozen=True, eq=False)
class Added(Signal):
    """Two signals, added step by step with an error of `slack` ``[B, *n]`` at most."""

    one: Signal
    other: Signal
    slack: Tensor | None

    @property
    def steps(self) -> int:  # type: ignore[override]
        return max(self.one.steps, self.other.steps)

    @property
    def kind(self) -> Tensor:
        return self.one.kind

    def summed(self, weights: Tensor) -> Range:
        found = self.one.summed(weights).plus(self.other.summed(weights))
        if self.slack is None:
            return found
        return found.widened(weights.abs().sum(1).view(-1, *[1] * self.slack.ndim) * self.slack)


def mapped(signal: Signal, map: Map, rounding: bool) -> Signal:
    return Mapped(signal, map, map.rounding(peak(signal)) if rounding else None)


def added(one: Signal, other: Signal, rounding: bool) -> Signal:
    return Added(one, other, (peak(one) + peak(other)) * (2 * HALF) if rounding else None)


def scaled(signal: Signal, factor: Tensor, rounding: bool) -> Signal:
    """Times one number, or one a channel ``[C, 1, ..]``."""
    return mapped(signal, Map(partial(torch.mul, factor), partial(torch.mul, factor.abs()), None, 1), rounding)


def peak(signal: Signal) -> Tensor:
    """The largest absolute value of any step ``[B, *n]``."""
    return signal.each.magnitude().amax(0)


def map_of(layer: nn.Conv2d | nn.Linear, weight: Tensor, bias: Tensor | None) -> Map:
    """A convolution or linear layer as a map, with other weights than its own perhaps."""

    def run(weight: Tensor, x: Tensor) -> Tensor:
        if isinstance(layer, nn.Linear):
            return F.linear(x, weight)
        seen = x[..., :: layer.every, :: layer.every] if isinstance(layer, Pointwise) else x
        return layer._conv_forward(seen, weight, None)

    placed = None if bias is None else bias.view(-1, *[1] * (weight.ndim - 2))
    return Map(partial(run, weight), partial(run, weight.abs()), placed, weight[0].numel())


def norm_map(norm: nn.Module) -> Map:
    """A batch norm in eval mode."""
    scale, shift = (each.view(-1, *[1] * (2 if isinstance(norm, nn.BatchNorm2d) else 0)) for each in affine(norm))
    return Map(partial(torch.mul, scale), partial(torch.mul, scale.abs()), shift, 2)


def normalise_map(layer: nn.Module) -> Map:
    """(x - mean) / std."""
    mean, std = cast(Tensor, layer.mean), cast(Tensor, layer.std)
    return Map(lambda x: x / std, lambda x: x / std, -mean / std, 3)


def mean_map(layer: nn.Module, terms: int) -> Map:
    """Means over `terms` pixels: weights that are not negative."""
    return Map(layer, layer, None, terms)
