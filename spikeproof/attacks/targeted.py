"""Targeted attacks: toward each of the likeliest wrong classes in turn."""

from dataclasses import dataclass, replace

import torch
from torch import nn

from spikeproof.attacks.apgd import APGD
from spikeproof.attacks.attack import Attack, Outcome
from spikeproof.attacks.losses import Margin, TargetedDLR, TargetedLoss, others
from spikeproof.attacks.query import Query, Task
from spikeproof.attacks.threats import Threat
from spikeproof.choices import Count, UserError


@dataclass(frozen=True, kw_only=True)
class Targeted(Attack):
    """`attack`, led to each of the `classes` likeliest wrong classes in turn; any mistake ends it.

    APGD-T is the default. Its loss has to be a targeted one. An image that one class breaks is not led to the next
    where the evaluation stops at a break. Source: Croce and Hein, ICML 2020.
    """

    attack: Attack = APGD(loss=TargetedDLR())
    classes: Count = 9

    def __post_init__(self) -> None:
        super().__post_init__()
        check_led("Targeted", self.attack)

    @property
    def white_box(self) -> bool:
        return self.attack.white_box

    def check(self, threat: Threat) -> None:
        self.attack.check(threat)

    def on(self, model: nn.Module, *, trust: bool = False) -> "Targeted":
        return replace(self, attack=self.attack.on(model, trust=trust))

    def averaging(self, draws: int) -> "Targeted":
        return replace(self, attack=self.attack.averaging(draws))

    def search(self, task: Task) -> Outcome:
        query = Query.over(task, eot=getattr(self.attack, "eot", 1))
        logits = query.logits(task.x)
        ranked = others(logits, task.y).argsort(1, descending=True)
        for number, goal in enumerate(ranked[:, : min(self.classes, logits.shape[1] - 1)].unbind(1)):
            if not len(rows := query.left()):
                break
            toward = replace(task, y=torch.stack([task.y, goal], 1))
            found = self.attack.search(toward.of(rows).turned(number))
            query.spend(found.gradients, found.forwards, rows)
            query.answer(found.x, Margin(), rows=rows)
        return Outcome(query.slots.found, query.slots.gradients, query.slots.forwards)


def check_led(name: str, attack: Attack) -> None:
    """Raise `UserError` unless `attack`, which `name` leads to a class, has a targeted loss."""
    if not isinstance(loss := getattr(attack, "loss", None), TargetedLoss):
        raise UserError(
            f"{name} leads an attack to a class, which {type(loss or attack).__name__} cannot: give it a "
            "targeted loss, TargetedDLR for example"
        )
