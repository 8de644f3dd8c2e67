"""What is known of a signal over time, for all images of a set? Bounds on every weighted sum of its steps.

A signal is ``[T, B, *n]``, or the same at every step. Bounds of each step alone forget which steps go together. So a
signal is asked for bounds on sums over time: the potential of the next layer is one, and the mean over time another.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor


class Range(NamedTuple):
    """All values between `low` and `high`, tensors of one shape."""

    low: Tensor
    high: Tensor

    def magnitude(self) -> Tensor:
        """The largest absolute value."""
        return torch.maximum(self.low.abs(), self.high.abs())

    def times(self, factor: Tensor | float) -> "Range":
        """`factor` may have any sign."""
        one, other = self.low * factor, self.high * factor
        return Range(torch.minimum(one, other), torch.maximum(one, other))

    def plus(self, other: "Range") -> "Range":
        return Range(self.low + other.low, self.high + other.high)

    def widened(self, slack: Tensor | float) -> "Range":
        return Range(self.low - slack, self.high + slack)


class Signal(ABC):
    """Values over time that lie in a known set, for each image and neuron."""

    steps: int  # 1: the same at every step, of which there may be any number

    @abstractmethod
    def summed(self, weights: Tensor) -> Range:
        """Bounds ``[F, B, *n]`` on the sum over t of ``weights[f, t]`` times step t, for each row of ``[F, T]``."""

    @property
    def constant(self) -> bool:
        return self.steps == 1

    @cached_property
    def each(self) -> Range:
        """Bounds of each step alone ``[T or 1, B, *n]``."""
        return self.summed(torch.eye(self.steps, dtype=self.kind.dtype, device=self.kind.device))

    @property
    @abstractmethod
    def kind(self) -> Tensor:
        """Any tensor of its type, on its device."""


@dataclass(frozen=True, eq=False)
class Box(Signal):
    """Each step lies between bounds ``[T or 1, B, *n]``, whatever the others do; with one step it never changes."""

    range: Range

    @property
    def steps(self) -> int:  # type: ignore[override]
        return len(self.range.low)

    @property
    def kind(self) -> Tensor:
        return self.range.low

    def summed(self, weights: Tensor) -> Range:
        if self.constant:
            return self.range.times(_along(weights.sum(1), self.range.low))
        up, down = weights.clamp(min=0), weights.clamp(max=0)
        low, high = self.range
        return Range(_mixed(up, low) + _mixed(down, high), _mixed(up, high) + _mixed(down, low))


@dataclass(frozen=True, eq=False)
class Trains(Signal):
    """The spikes of each neuron are one of a list of trains: `patterns` ``[M, T]``, from number `first` to `last`."""

    patterns: Tensor
    first: Tensor  # [B, *n]
    last: Tensor

    @property
    def steps(self) -> int:  # type: ignore[override]
        return self.patterns.shape[1]

    @property
    def kind(self) -> Tensor:
        return self.patterns

    def summed(self, weights: Tensor) -> Range:
        sums = self.patterns @ weights.T  # [M, F]
        shape = (len(weights), *self.first.shape)
        low, high = sums.new_full(shape, torch.inf), sums.new_full(shape, -torch.inf)
        for number, of_train in enumerate(sums):
            there = (self.first <= number) & (number <= self.last)
            value = _along(of_train, low)
            low = torch.where(there, low.minimum(value), low)
            high = torch.where(there, high.maximum(value), high)
        return Range(low, high)


@dataclass(frozen=True, eq=False)
class Paths(Signal):
    """The spikes of each neuron are a path in a graph whose nodes are the steps of its last spike, 0 for none yet.

    ``fires[t - 1][k]`` ``[B, *n]``: after a last spike in step k it may spike in step t; ``stays[t - 1][k]``: it may be
    silent. Bounds of a sum are the shortest and the longest path.
    """

    fires: Sequence[Sequence[Tensor]]
    stays: Sequence[Sequence[Tensor]]
    like: Tensor

    @property
    def steps(self) -> int:  # type: ignore[override]
        return len(self.fires)

    @property
    def kind(self) -> Tensor:
        return self.like

    def summed(self, weights: Tensor) -> Range:
        return Range(self._shortest(weights), -self._shortest(-weights))

    def _shortest(self, weights: Tensor) -> Tensor:
        shape = (len(weights), *self.like.shape)
        lengths = [weights.new_zeros(shape)]
        for fires, stays, weight in zip(self.fires, self.stays, weights.T, strict=True):
            spiking = [length.masked_fill(~may, torch.inf) for length, may in zip(lengths, fires, strict=True)]
            silent = [length.masked_fill(~may, torch.inf) for length, may in zip(lengths, stays, strict=True)]
            lengths = [*silent, torch.stack(spiking).amin(0) + _along(weight, spiking[0])]
        return torch.stack(lengths).amin(0)


def _along(rows: Tensor, like: Tensor) -> Tensor:
    """`rows` ``[F]`` in the first dimension of `like` ``[*, B, *n]``."""
    return rows.view(-1, *[1] * (like.ndim - 1))


def _mixed(weights: Tensor, steps: Tensor) -> Tensor:
    return torch.einsum("ft,t...->f...", weights, steps)
