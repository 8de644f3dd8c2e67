"""Which optimisers and learning-rate schedules are there?"""

import math
from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import nn

from spikeproof.choices import Choice, NonNegative, Positive, Within

__all__ = ["SGD", "AdamW", "Constant", "Cosine", "Optimiser", "Schedule", "Step"]


class Optimiser(Choice):
    """Builds a torch optimiser; `learning_rate` is its largest rate, which a `Schedule` scales."""

    learning_rate: Positive

    @abstractmethod
    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer: ...


@dataclass(frozen=True, kw_only=True)
class SGD(Optimiser):
    """Stochastic gradient descent with momentum; weight decay acts on all parameters."""

    learning_rate: Positive = 0.1
    momentum: float = 0.9
    weight_decay: NonNegative = 5e-4
    nesterov: bool = False

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.SGD(
            parameters,
            lr=self.learning_rate,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            nesterov=self.nesterov,
        )


@dataclass(frozen=True, kw_only=True)
class AdamW(Optimiser):
    """Adam with decoupled weight decay. Source: Loshchilov and Hutter, ICLR 2019."""

    learning_rate: Positive = 1e-3
    weight_decay: NonNegative = 1e-2
    betas: tuple[float, float] = (0.9, 0.999)

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(parameters, lr=self.learning_rate, weight_decay=self.weight_decay, betas=self.betas)


class Schedule(Choice):
    """How the learning rate changes over the epochs."""

    @abstractmethod
    def factor(self, epoch: float, epochs: int) -> float:
        """The share of the learning rate that holds after `epoch` of `epochs` epochs."""


@dataclass(frozen=True, kw_only=True)
class Constant(Schedule):
    """The same learning rate throughout."""

    def factor(self, epoch: float, epochs: int) -> float:
        return 1.0


@dataclass(frozen=True, kw_only=True)
class Cosine(Schedule):
    """From 1 to `final` along half a cosine. Source: Loshchilov and Hutter, ICLR 2017."""

    final: float = 0.0

    def factor(self, epoch: float, epochs: int) -> float:
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * epoch / epochs)) / 2


@dataclass(frozen=True, kw_only=True)
class Step(Schedule):
    """Times `gamma` at each milestone, given as a share of all epochs."""

    milestones: tuple[Annotated[float, Within(0, 1, "()")], ...] = (0.5, 0.75)
    gamma: float = 0.1

    def factor(self, epoch: float, epochs: int) -> float:
        return self.gamma ** sum(epoch >= m * epochs for m in self.milestones)
