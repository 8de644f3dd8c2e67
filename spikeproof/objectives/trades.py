"""TRADES: clean accuracy, and the same answer nearby."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from spikeproof.attacks import PGD, Attack, KullbackLeibler, Linf, Threat
from spikeproof.choices import NonNegative, Share, UserError
from spikeproof.objectives.objective import Objective, adversarial_images, consistency
from spikeproof.snn import attack_view


@dataclass(frozen=True, kw_only=True)
class TRADES(Objective):
    """CE(z(x), y) + beta KL(p(x) || p(x~)), with x~ maximising that divergence from x + 0.001 n.

    Source: Zhang et al., ICML 2019, eq. 5 and algorithm 1; beta is their 1/lambda, 6 by default. `attack` is given the
    clean probabilities as its target, so its loss must take probabilities. beta = 0 is plain training.
    """

    beta: NonNegative = 6.0
    threat: Threat = Linf()
    attack: Attack = PGD(steps=10, loss=KullbackLeibler(), start="near", keep="last")
    label_smoothing: Share = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(getattr(self.attack, "loss", KullbackLeibler()), KullbackLeibler):
            raise UserError("TRADES maximises a divergence: give its attack the loss KullbackLeibler")

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        if self.beta == 0:
            return {"cross_entropy": F.cross_entropy(model(x), y, label_smoothing=self.label_smoothing)}
        frozen = attack_view(model)  # once for both
        target = frozen(x).softmax(1).detach()
        perturbed = adversarial_images(frozen, x, target, self.attack, self.threat)
        logits = model(x)
        return {
            "cross_entropy": F.cross_entropy(logits, y, label_smoothing=self.label_smoothing),
            "consistency": self.beta * consistency(logits, model(perturbed)).mean(),
        }
