"""Adversarial training."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from spikeproof.attacks import PGD, Attack, Linf, Threat
from spikeproof.choices import Share
from spikeproof.objectives.objective import Objective, adversarial_images


@dataclass(frozen=True, kw_only=True)
class Adversarial(Objective):
    """(1 - w) CE(z(x~), y) + w CE(z(x), y), with x~ found by `attack` and w = `clean_weight`.

    Source: Madry et al., ICLR 2018 (w = 0); the mix: Goodfellow et al., ICLR 2015 (w = 1/2).
    """

    threat: Threat = Linf()
    attack: Attack = PGD(steps=7, keep="last")
    clean_weight: Share = 0.0
    label_smoothing: Share = 0.0

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        terms = {}
        if self.clean_weight < 1:
            perturbed = adversarial_images(model, x, y, self.attack, self.threat)
            loss = F.cross_entropy(model(perturbed), y, label_smoothing=self.label_smoothing)
            terms["adversarial"] = (1 - self.clean_weight) * loss
        if self.clean_weight > 0:
            loss = F.cross_entropy(model(x), y, label_smoothing=self.label_smoothing)
            terms["cross_entropy"] = self.clean_weight * loss
        return terms
