"""FAB: along the decision boundary to the nearest adversarial image."""

from dataclasses import dataclass

import torch
from torch import Tensor

from spikeproof.attacks.attack import Attack, Query, per_image
from spikeproof.attacks.hyperplanes import least_change
from spikeproof.attacks.losses import Margin, TargetedMargin
from spikeproof.attacks.nearest import Nearest, first_look
from spikeproof.attacks.threats import Threat
from spikeproof.specs import UserError


@dataclass(frozen=True, kw_only=True)
class FAB(Attack):
    """Led to each of the `classes` likeliest wrong classes in turn, for `steps` steps: FAB-T, as in AutoAttack.

    A step projects both the iterate and the image onto the linearised boundary, overshoots by `eta`, and mixes the two,
    the image's share being `alpha_max` at most; a misclassified iterate goes back to `beta` of its distance. The first
    start is the image itself, those of more `restarts` are random, at up to half the radius or half the distance found
    so far. The nearest adversarial image counts; one outside the threat is projected into it. Source: Croce and Hein,
    ICML 2020 (Minimally distorted adversarial examples), algorithm 1, and AutoAttack's code: without the final search.
    """

    steps: int = 100
    classes: int = 9
    restarts: int = 1
    alpha_max: float = 0.1
    eta: float = 1.05
    beta: float = 0.9
    eot: int = 1

    def __post_init__(self) -> None:
        self.refuse_below_one("steps", "classes", "restarts", "eot")
        if not 0 <= self.alpha_max <= 1:
            raise UserError(f"alpha_max is a share in [0, 1], not {self.alpha_max}")
        if not 1 <= self.eta < float("inf"):
            raise UserError(f"eta overshoots the boundary and is 1 or more, not {self.eta}")
        if not 0 < self.beta < 1:
            raise UserError(f"beta is the share of the distance that is kept, in (0, 1), not {self.beta}")

    def search(self, query: Query, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        nearest, rivals = first_look(query, x, y, threat, self.eot)
        for goal in rivals[:, : self.classes].unbind(1):
            toward = torch.stack([y, goal], 1)
            for restart in range(self.restarts):
                if len(who := nearest.left(query.stop)):
                    self._follow(query, nearest, _start(nearest, who) if restart else x[who], toward, who)
        return nearest.allowed()

    def _follow(self, query: Query, nearest: Nearest, z: Tensor, toward: Tensor, who: Tensor) -> None:
        for _ in range(self.steps):
            x = nearest.x[who]
            z = self._step(query, z, x, toward[who], nearest.threat, who)
            broken = query.answer(z, toward[who, 0], Margin(), who, self.eot).broken
            nearest.offer(z, broken, who)
            z = torch.where(per_image(broken, x), x + self.beta * (z - x), z)
            if query.stop:
                left = nearest.distance[who] > nearest.threat.eps
                z, who = z[left], who[left]
                if not len(who):
                    return

    def _step(self, query: Query, z: Tensor, x: Tensor, toward: Tensor, threat: Threat, who: Tensor) -> Tensor:
        slope, answer = query.gradient(z, toward, TargetedMargin(), who, self.eot)
        normal, gap = slope.flatten(1), -answer.loss
        from_z = least_change(threat, z.flatten(1), normal, gap).view_as(z)
        gap = gap + (normal * (z - x).flatten(1)).sum(1)
        from_x = least_change(threat, x.flatten(1), normal, gap).view_as(z)
        near, far = (threat.distance(change, torch.zeros_like(change)).clamp(min=1e-8) for change in (from_z, from_x))
        alpha = per_image((near / (near + far)).clamp(max=self.alpha_max), z)
        return ((1 - alpha) * (z + self.eta * from_z) + alpha * (x + self.eta * from_x)).clamp(0, 1)


def _start(nearest: Nearest, who: Tensor) -> Tensor:
    """Points drawn within half the threat's radius, or half the distance found so far where that is less."""
    x, threat = nearest.x[who], nearest.threat
    share = per_image((nearest.distance[who] / max(threat.eps, 1e-30)).clamp(max=1), x)
    return x + share * (threat.scaled(0.5).start(x) - x)
