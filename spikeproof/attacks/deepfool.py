"""DeepFool: from one linearisation of the network to the next, over the nearest of the boundaries."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from spikeproof.attacks.losses import Margin, TargetedMargin
from spikeproof.attacks.nearest import Nearest, offer, pairs
from spikeproof.attacks.query import Query, per_image
from spikeproof.choices import Count, NonNegative

BEYOND = 1e-4  # added to each step, in the threat's norm, as in the published code: a step of 0 would stay a step of 0


class State(NamedTuple):
    """The sum of all steps so far, where it leads, and the pairs (label, class to reach) ``[B, classes, 2]``."""

    change: Tensor
    z: Tensor
    goals: Tensor


@dataclass(frozen=True, kw_only=True)
class DeepFool(Nearest):
    """Up to `steps` steps, each over the nearest of the linearised boundaries to the `classes` likeliest wrong classes.

    The steps are summed up, and the sum is made longer by `overshoot`. The first misclassified image counts, and ends
    the attack; outside the threat, it is projected into it. The threat's norm is the one that is kept small. It costs
    `classes` gradients a step. Source: Moosavi-Dezfooli et al., CVPR 2016, algorithm 2 and section 3.3, within [0, 1].
    """

    steps: Count = 50
    classes: Count = 10
    overshoot: NonNegative = 0.02
    eot: Count = 1

    def start(self, query: Query) -> State:
        return State(torch.zeros_like(query.x), query.x, pairs(query, self.classes))

    def step(self, query: Query, state: State) -> State:
        change = state.change + self._stepped(query, state)
        z = (query.x + (1 + self.overshoot) * change).clamp(0, 1)
        broken = query.answer(z, Margin(), offer=False).broken
        offer(query, z, broken)
        query.finish(broken)
        return state._replace(change=change, z=z)

    def _stepped(self, query: Query, state: State) -> Tensor:
        """The least change over the nearest boundary, were the network linear and the box not there."""
        z = state.z
        best, step = z.new_full((len(z),), torch.inf), torch.zeros_like(z)
        for goal in state.goals.unbind(1):
            slope, answer = query.gradient(z, TargetedMargin(), y=goal, offer=False)
            way = query.threat.ascent(slope, z)
            reach = answer.loss.abs() / ((slope * way).flatten(1).sum(1) + 1e-12)  # over the slope's dual norm
            step = torch.where(per_image(reach < best, z), per_image(reach + BEYOND, z) * way, step)
            best = best.minimum(reach)
        return step
