"""MART: the same answer nearby, most of all where the network is unsure."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeproof.attacks import PGD, Attack, Linf, Threat
from spikeproof.choices import NonNegative, Share
from spikeproof.objectives.objective import Objective, adversarial_images, consistency

SMALL = 1e-4  # keeps log(1 - p) finite, as in the published form log(1.0001 - p)


@dataclass(frozen=True, kw_only=True)
class MART(Objective):
    """BCE(p~, y) + beta mean_i [ KL(p_i || p~_i) (1 - p_i,y) ], where p = p(x), p~ = p(x~), and
    BCE = -log p~_y - log(1 - max over k != y of p~_k).

    Source: Wang et al., ICLR 2020, eq. 11-12; beta is their lambda, 5 by default. The objective has no weight that
    makes it plain training: beta = 0 leaves the boosted cross-entropy on x~.
    """

    beta: NonNegative = 5.0
    threat: Threat = Linf()
    attack: Attack = PGD(steps=10, start="near", keep="last")
    label_smoothing: Share = 0.0

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        perturbed = adversarial_images(model, x, y, self.attack, self.threat)
        clean, logits = model(x), model(perturbed)
        own = y.unsqueeze(1)
        wrong = logits.softmax(1).scatter(1, own, 0).amax(1)
        unsure = 1 - clean.softmax(1).gather(1, own).squeeze(1)
        boosted = F.cross_entropy(logits, y, label_smoothing=self.label_smoothing)
        return {
            "boosted_cross_entropy": boosted - torch.log(1 + SMALL - wrong).mean(),
            "consistency": self.beta * (consistency(clean, logits) * unsure).mean(),
        }
