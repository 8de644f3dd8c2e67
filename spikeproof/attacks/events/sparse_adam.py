"""SparseAttack: a change of the frames found by Adam, which is kept small by the sum of the frames' mean sizes."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from spikeproof.attacks.attack import Attack, Best, Query
from spikeproof.attacks.losses import AttackLoss
from spikeproof.attacks.threats import Threat
from spikeproof.specs import UserError

DECAY, DECAY2 = 0.9, 0.999  # of Adam's means of gradients and of their squares
FLOOR = 1e-6  # of probabilities and sizes, as published


@dataclass(frozen=True)
class Unlikelihood(AttackLoss):
    """log(1 - p_y + 1e-6). Its gradient vanishes where the network is very sure."""

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        return (1 - logits.softmax(1).gather(1, target.unsqueeze(1)).squeeze(1) + FLOOR).log()


@dataclass(frozen=True, kw_only=True)
class SparseAttack(Attack):
    """`steps` steps of Adam on what is added to the frames, from 0: down on -log(1 - p_y + 1e-6) + `weight` size.

    The size is the sum over the frames of the root mean square of their change. Under threats on whole events the
    network is asked about the frames that the threat makes of them, events whose cell changed by half an event or more,
    those of the largest changes first, and the gradient is passed straight through. Source: R-SNN, IROS 2021, and
    DVS-Attacks, IJCNN 2021 (gradient-based "sparse" attack), after Wei et al., AAAI 2019. There the change begins at 1,
    frames are chosen by hand, and nothing but the range of the frames bounds it.
    """

    under: ClassVar[tuple[str, ...]] = ("frames", "events")

    steps: int = 20
    learning_rate: float = 0.1
    weight: float = 1.0
    eot: int = 1

    def __post_init__(self) -> None:
        self.refuse_below_one("steps", "eot")
        if not 0 < self.learning_rate < float("inf"):
            raise UserError(f"learning_rate is positive, not {self.learning_rate}")
        if not 0 <= self.weight < float("inf"):
            raise UserError(f"weight is that of the change's size, and 0 or more; not {self.weight}")

    def search(self, query: Query, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        best, who = Best(x), torch.arange(len(x), device=x.device)
        change, mean, mean2 = (torch.zeros_like(x) for _ in range(3))
        for step in range(1, self.steps + 1):
            z = threat.project(x[who] + change, x[who])
            slope, answer = query.gradient(z, y[who], Unlikelihood(), who, self.eot)
            best.offer(z, answer, who)
            if query.stop and answer.broken.any():
                change, mean, mean2, slope, z, who = (t[~answer.broken] for t in (change, mean, mean2, slope, z, who))
                if not len(who):
                    return best.x
            if threat.kind == "frames":
                change = z - x[who]  # what has not been projected would have to be undone first
            uphill = slope - self.weight * growth(z - x[who])
            mean = DECAY * mean + (1 - DECAY) * uphill
            mean2 = DECAY2 * mean2 + (1 - DECAY2) * uphill**2
            size = (mean2 / (1 - DECAY2**step)).sqrt() + 1e-8
            change = change + self.learning_rate * mean / (1 - DECAY**step) / size
        z = threat.project(x[who] + change, x[who])
        best.offer(z, query.answer(z, y[who], Unlikelihood(), who, self.eot), who)
        return best.x


def growth(change: Tensor) -> Tensor:
    """The gradient of the sum over frames ``[B, T, ...]`` of the root mean square of their change; 0 where it is 0."""
    frames = change.flatten(2)
    size = frames.square().mean(2, keepdim=True).sqrt().clamp(min=FLOOR)
    return (frames / size / frames.shape[2]).view_as(change)
