"""Which adversarial image lies nearest? What attacks that minimise a norm keep, and what they give back."""

import torch
from torch import Tensor

from spikeproof.attacks.attack import Query, per_image
from spikeproof.attacks.losses import others
from spikeproof.attacks.threats import Threat


class Nearest:
    """The adversarial image nearest to each of `x` so far, in the threat's norm; none yet is at distance inf."""

    def __init__(self, x: Tensor, threat: Threat) -> None:
        self.x = x
        self.threat = threat
        self.found = x.clone()
        self.distance = x.new_full((len(x),), torch.inf)

    def offer(self, candidate: Tensor, broken: Tensor, who: Tensor) -> None:
        distance = self.threat.distance(candidate, self.x[who])
        nearer = broken & (distance < self.distance[who])
        self.found[who[nearer]] = candidate[nearer]
        self.distance[who[nearer]] = distance[nearer]

    def left(self, stop: bool) -> Tensor:
        """The places of the images still to be attacked: with `stop`, those without an adversarial in the threat."""
        return (self.distance > (self.threat.eps if stop else 0)).nonzero().squeeze(1)

    def allowed(self) -> Tensor:
        """The nearest ones in the threat; of those outside, what the threat allows of them; `x` where there is none."""
        inside = per_image(self.distance <= self.threat.eps, self.x)
        return torch.where(inside, self.found, self.threat.project(self.found, self.x))


def first_look(query: Query, x: Tensor, y: Tensor, threat: Threat, eot: int) -> tuple[Nearest, Tensor]:
    """What is wrong without an attack, at distance 0, and the other classes ``[B, K - 1]``, the likeliest first."""
    everyone, nearest = torch.arange(len(x), device=x.device), Nearest(x, threat)
    with torch.no_grad():
        logits = query.logits(x, y, eot)
    query.forwards[everyone] += eot
    nearest.offer(x, logits.argmax(1) != y, everyone)
    return nearest, others(logits, y).argsort(1, descending=True)[:, :-1]
