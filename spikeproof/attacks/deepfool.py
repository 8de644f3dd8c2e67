"""DeepFool: from one linearisation of the network to the next, over the nearest of the boundaries."""

from dataclasses import dataclass

import torch
from torch import Tensor

from spikeproof.attacks.attack import Attack, Query, per_image
from spikeproof.attacks.losses import Margin, TargetedMargin
from spikeproof.attacks.nearest import first_look
from spikeproof.attacks.threats import Threat
from spikeproof.specs import UserError

BEYOND = 1e-4  # added to each step, in the threat's norm, as in the published code: a step of 0 would stay a step of 0


@dataclass(frozen=True, kw_only=True)
class DeepFool(Attack):
    """Up to `steps` steps, each over the nearest of the linearised boundaries to the `classes` likeliest wrong classes.

    The steps are summed up, and the sum is made longer by `overshoot`. The first misclassified image counts, and ends
    the attack; outside the threat, it is projected into it. The threat's norm is the one that is kept small. It costs
    `classes` gradients a step. Source: Moosavi-Dezfooli et al., CVPR 2016, algorithm 2 and section 3.3, within [0, 1].
    """

    steps: int = 50
    classes: int = 10
    overshoot: float = 0.02
    eot: int = 1

    def __post_init__(self) -> None:
        self.refuse_below_one("steps", "classes", "eot")
        if not 0 <= self.overshoot < float("inf"):
            raise UserError(f"overshoot is a share of the change, and 0 or more; not {self.overshoot}")

    def search(self, query: Query, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        nearest, rivals = first_look(query, x, y, threat, self.eot)
        goals = torch.stack([y.unsqueeze(1).expand_as(rivals), rivals], 2)[:, : self.classes]  # [B, classes, 2]
        who = nearest.left(query.stop)
        z, change = x[who], torch.zeros_like(x[who])
        for _ in range(self.steps):
            if not len(who):
                break
            change = change + self._step(query, z, goals[who], threat, who)
            z = (x[who] + (1 + self.overshoot) * change).clamp(0, 1)
            broken = query.answer(z, y[who], Margin(), who, self.eot).broken
            nearest.offer(z, broken, who)
            z, change, who = z[~broken], change[~broken], who[~broken]
        return nearest.allowed()

    def _step(self, query: Query, z: Tensor, goals: Tensor, threat: Threat, who: Tensor) -> Tensor:
        """The least change over the nearest boundary, were the network linear and the box not there."""
        best, step = z.new_full((len(z),), torch.inf), torch.zeros_like(z)
        for goal in goals.unbind(1):
            slope, answer = query.gradient(z, goal, TargetedMargin(), who, self.eot)
            way = threat.ascent(slope, z)
            reach = answer.loss.abs() / ((slope * way).flatten(1).sum(1) + 1e-12)  # over the slope's dual norm
            step = torch.where(per_image(reach < best, z), per_image(reach + BEYOND, z) * way, step)
            best = best.minimum(reach)
        return step
