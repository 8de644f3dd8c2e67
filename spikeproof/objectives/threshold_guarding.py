"""ThresholdGuarding: training that keeps membrane potentials away from the threshold."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeproof.choices import NonNegative, Positive, Share, UserError
from spikeproof.objectives.objective import Objective
from spikeproof.snn import Internals, record


@dataclass(frozen=True, kw_only=True)
class ThresholdGuarding(Objective):
    """CE(z(x), y) + weight sum over layers of mean max(0, distance - |u|), u = potential - threshold.

    Potentials that keep their distance change their spikes less easily. But they also leave the window in which
    surrogate gradients see them. Without adversarial training it hides gradients, and most of the robustness that weak
    attacks report is not there. Inspired by TGO, ICLR 2026, arXiv 2602.20548, whose weight grows while training and
    whose noisy neurons are left out here; its distance is not known, the default is ours.
    """

    weight: NonNegative = 0.5
    distance: Positive = 1.0
    label_smoothing: Share = 0.0

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        with record(model) as inside:
            logits = model(x)
        terms = {"cross_entropy": F.cross_entropy(logits, y, label_smoothing=self.label_smoothing)}
        if self.weight > 0:
            terms["near_threshold"] = self.weight * self.nearness(inside)
        return terms

    def nearness(self, inside: Internals) -> Tensor:
        """The mean lack of distance from the threshold, summed over layers, a scalar."""
        if not inside.layers:
            raise UserError("ThresholdGuarding needs spiking layers, and this network has none")
        lacking = []
        for name in inside.layers:
            lacking.append((self.distance - inside.distances(name).abs()).clamp(min=0).mean())
        return torch.stack(lacking).sum()
