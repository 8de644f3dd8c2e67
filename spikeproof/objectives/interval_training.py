"""Training for the worst answer that intervals allow."""

from dataclasses import dataclass, replace
from typing import Annotated, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeproof.bounds import How, Range, margins
from spikeproof.choices import NonNegative, Pixels, Share, Within
from spikeproof.objectives.objective import Objective, in_range
from spikeproof.snn import SpikingNetwork


@dataclass(frozen=True, kw_only=True)
class IntervalTraining(Objective):
    """kappa CE(z(x), y) + (1 - kappa) CE(z', y), where z' are the worst logits that bounds allow within Linf `eps`:
    the label has 0, and each other class -(z_y - z_j) at its least.

    Over the first `ramp` epochs the radius grows from 0 to `eps`, and kappa falls from 1. The bounds are plain
    intervals, of batch norms with their running statistics. The gradient of a spike's bound is the neurons' surrogate.
    Loose bounds lie far from the threshold, where `Triangle` has no gradient and `ATan` has one. `IntervalBounds`
    certifies the network. Source: Gowal et al., arXiv 1810.12715; for spikes Liang et al., NeurIPS 2022. The ramp in
    epochs is ours.
    """

    eps: Annotated[Pixels, Within(0, 1)] = 0.02
    kappa: Share = 0.5
    ramp: NonNegative = 10.0
    label_smoothing: Share = 0.0

    def at(self, epoch: float) -> Self:
        if epoch >= self.ramp:
            return self
        share = epoch / self.ramp
        return replace(self, eps=share * self.eps, kappa=1 - share * (1 - self.kappa))

    def check(self, model: nn.Module) -> None:
        if isinstance(model, SpikingNetwork):
            black = torch.zeros(1, *model.shape, device=next(model.parameters()).device)
            with torch.no_grad():
                self.margins(model, black, torch.zeros(1, dtype=torch.int64, device=black.device))

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        loss = F.cross_entropy(model(x), y, label_smoothing=self.label_smoothing)
        if self.kappa == 1:
            return {"cross_entropy": loss}
        worst = -self.margins(model, x, y)
        return {
            "cross_entropy": self.kappa * loss,
            "worst_cross_entropy": (1 - self.kappa) * F.cross_entropy(worst, y, label_smoothing=self.label_smoothing),
        }

    def margins(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """At least z_y - z_j over all images within `eps` ``[B, K]``, differentiable in the weights."""
        around = Range(in_range(x - self.eps, x), in_range(x + self.eps, x))
        return margins(model, around, y, How(trains=False, rounding=False))
