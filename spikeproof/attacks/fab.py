"""FAB: along the decision boundary to the nearest adversarial image."""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
from torch import Tensor

from spikeproof.attacks.hyperplanes import least_change
from spikeproof.attacks.losses import Margin, TargetedMargin
from spikeproof.attacks.nearest import Nearest, offer, pairs
from spikeproof.attacks.query import Query, per_image
from spikeproof.choices import AtLeast, Count, Share, Within


class State(NamedTuple):
    """The iterate, and (label, class to reach)."""

    z: Tensor
    toward: Tensor


@dataclass(frozen=True, kw_only=True)
class FAB(Nearest):
    """Led to each of the `classes` likeliest wrong classes in turn, for `steps` steps: FAB-T, as in AutoAttack.

    A step projects both the iterate and the image onto the linearised boundary, overshoots by `eta`, and mixes the two.
    The image's share is `alpha_max` at most. A misclassified iterate goes back to `beta` of its distance. The first
    start is the image itself, those of more `restarts` are random, at up to half the radius or half the distance found
    so far. The nearest adversarial image counts; one outside the threat is projected into it. Source: Croce and Hein,
    ICML 2020 (Minimally distorted adversarial examples), algorithm 1, and AutoAttack's code: without the final search.
    """

    steps: Count = 100
    classes: Count = 9
    restarts: Count = 1
    alpha_max: Share = 0.1
    eta: Annotated[float, AtLeast(1)] = 1.05
    beta: Annotated[float, Within(0, 1, "()")] = 0.9
    eot: Count = 1

    def legs(self, classes: int) -> int:
        return min(self.classes, classes - 1) * self.restarts

    def start(self, query: Query) -> State:
        goals = pairs(query, self.classes)
        goal = query.slots.leg // self.restarts
        toward = goals[torch.arange(len(goals), device=goals.device), goal]
        anew = per_image(query.slots.leg % self.restarts > 0, query.x)
        return State(torch.where(anew, _anywhere(query), query.x), toward)

    def step(self, query: Query, state: State) -> State:
        z, x = self._stepped(query, *state), query.x
        broken = query.answer(z, Margin(), offer=False).broken
        offer(query, z, broken)
        return state._replace(z=torch.where(per_image(broken, x), x + self.beta * (z - x), z))

    def _stepped(self, query: Query, z: Tensor, toward: Tensor) -> Tensor:
        x, threat = query.x, query.threat
        slope, answer = query.gradient(z, TargetedMargin(), y=toward, offer=False)
        normal, gap = slope.flatten(1), -answer.loss
        from_z = least_change(threat, z.flatten(1), normal, gap).view_as(z)
        gap = gap + (normal * (z - x).flatten(1)).sum(1)
        from_x = least_change(threat, x.flatten(1), normal, gap).view_as(z)
        near, far = (threat.distance(change, torch.zeros_like(change)).clamp(min=1e-8) for change in (from_z, from_x))
        alpha = per_image((near / (near + far)).clamp(max=self.alpha_max), z)
        return ((1 - alpha) * (z + self.eta * from_z) + alpha * (x + self.eta * from_x)).clamp(0, 1)


def _anywhere(query: Query) -> Tensor:
    """Points drawn within half the threat's radius, or half the distance found so far where that is less."""
    x, threat = query.x, query.threat
    share = per_image((-query.slots.loss / max(threat.eps, 1e-30)).clamp(max=1), x)
    return x + share * (threat.scaled(0.5).start(x, query.streams) - x)
