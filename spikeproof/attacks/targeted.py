"""Targeted attacks: toward each of the likeliest wrong classes in turn."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from spikeproof.attacks.apgd import APGD
from spikeproof.attacks.attack import Attack, Best, Query
from spikeproof.attacks.losses import Margin, TargetedDLR, TargetedLoss, others
from spikeproof.attacks.threats import Threat
from spikeproof.specs import UserError


@dataclass(frozen=True, kw_only=True)
class Targeted(Attack):
    """`attack`, led to each of the `classes` likeliest wrong classes in turn; any mistake ends it.

    APGD-T is the default. Its loss has to be a targeted one. An image that one class breaks is not led to the next
    where the evaluation stops at a break. Source: Croce and Hein, ICML 2020.
    """

    attack: Attack = APGD(loss=TargetedDLR())
    classes: int = 9

    def __post_init__(self) -> None:
        self.refuse_below_one("classes")
        if not isinstance(loss := getattr(self.attack, "loss", None), TargetedLoss):
            raise UserError(
                f"Targeted leads an attack to a class, which {type(loss or self.attack).__name__} cannot: give it a "
                "targeted loss, TargetedDLR for example"
            )

    @property
    def white_box(self) -> bool:
        return self.attack.white_box

    def check(self, threat: Threat) -> None:
        self.attack.check(threat)

    def averaging(self, draws: int) -> "Targeted":
        return replace(self, attack=self.attack.averaging(draws))

    def search(self, query: Query, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        eot, best, everyone = getattr(self.attack, "eot", 1), Best(x), torch.arange(len(x), device=x.device)
        with torch.no_grad():
            logits = query.logits(x, y, eot)
        query.forwards[everyone] += eot
        goals = others(logits, y).argsort(1, descending=True)[:, : min(self.classes, logits.shape[1] - 1)]
        for goal in goals.unbind(1):
            if not len(who := query.left(best)):
                break
            with query.among(who) as toward:
                found = self.attack.search(toward, x[who], torch.stack([y[who], goal[who]], 1), threat)
            best.offer(found, query.answer(found, y[who], Margin(), who, eot), who)
        return best.x
