"""How do output currents over time become one row of logits? ``[T, B, K]`` -> ``[B, K]``."""

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from spikeproof.choices import Choice, Positive, Share
from spikeproof.snn.dynamics import Leaky
from spikeproof.snn.gradients import GradientPath, Triangle

__all__ = ["FirstSpike", "LastPotential", "MeanCurrent", "Readout"]


class Readout(Choice):
    """Turns output currents ``[T, B, K]`` into logits ``[B, K]``."""

    @abstractmethod
    def __call__(self, currents: Tensor) -> Tensor: ...


@dataclass(frozen=True, kw_only=True)
class MeanCurrent(Readout):
    """The mean of the output currents over time: the field's default."""

    def __call__(self, currents: Tensor) -> Tensor:
        return currents.mean(0)


@dataclass(frozen=True, kw_only=True)
class LastPotential(Readout):
    """The last potential of leaky outputs that never fire: sum over t of leak^(T-1-t) x[t]."""

    leak: Share = 0.5

    def __call__(self, currents: Tensor) -> Tensor:
        ages = torch.arange(len(currents) - 1, -1, -1, device=currents.device, dtype=currents.dtype)
        return torch.einsum("t,tbk->bk", self.leak**ages, currents)


@dataclass(frozen=True, kw_only=True)
class FirstSpike(Readout):
    """The class whose output neuron fires first wins: logit = `scale` (T - t_first) / T, 0 if it never fires.

    Equal times are told apart by `tie_break` times tanh of the mean current (the choice is ours: with few steps
    most times are equal). The gradient goes through the output spikes: 1 - prod over t' <= t of (1 - s[t']). It goes
    through their resets too, unless `detach_reset`.
    """

    scale: float = 5.0
    tie_break: float = 0.5
    leak: Share = 0.5
    threshold: Positive = 1.0
    detach_reset: bool = False
    gradient: GradientPath = Triangle()

    def __call__(self, currents: Tensor) -> Tensor:
        steps = len(currents)
        leak, threshold = (currents.new_full((), value) for value in (self.leak, self.threshold))
        dynamics = Leaky(leak, threshold, detach_reset=self.gradient.detaches(self.detach_reset))
        spikes = self.gradient.spikes(currents, dynamics, steps)
        fired = 1 - (1 - spikes).cumprod(0)  # [T, B, K], 1 from the first spike on
        return self.scale * fired.mean(0) + self.tie_break * torch.tanh(currents.mean(0)) * self.scale / steps
