"""Which adversarial image lies nearest? What attacks that minimise a norm keep, and what they give back."""

from abc import abstractmethod
from typing import ClassVar, final

import torch
from torch import Tensor

from spikeproof.attacks.engine import Iterative, State
from spikeproof.attacks.losses import others
from spikeproof.attacks.query import Answer, Query, per_image


class Nearest(Iterative):
    """An attack that keeps the adversarial image nearest to each image, in the threat's norm, inside it or not.

    One inside the threat breaks the image. What is nearest but outside is projected into the threat in the end.
    """

    looks_first: ClassVar[bool] = True

    @final
    def begin(self, query: Query) -> State:
        wrong = query.slots.first.argmax(1) != query.y
        offer(query, query.x, wrong)
        query.finish(wrong)  # nothing lies nearer than the image itself
        return self.start(query)

    @abstractmethod
    def start(self, query: Query) -> State:
        """Where the search starts for each image."""

    def settled(self, query: Query) -> Tensor:
        found, x, threat = query.slots.found, query.x, query.threat
        return torch.where(per_image(query.slots.broken, x), found, threat.project(found, x))


def offer(query: Query, z: Tensor, wrong: Tensor, rows: Tensor | None = None) -> None:
    """Keep `z` where it is `wrong` ``[b]``, and nearer to its image than all before."""
    x = query.x if rows is None else query.x[rows]
    distance = query.threat.distance(z, x)
    query.offer(z, Answer(torch.where(wrong, -distance, -torch.inf), wrong & (distance <= query.threat.eps)), rows)


def rivals(query: Query) -> Tensor:
    """The classes that are not the label ``[B, K - 1]``, the likeliest at the image itself first."""
    return others(query.slots.first, query.y).argsort(1, descending=True)[:, :-1]


def pairs(query: Query, classes: int) -> Tensor:
    """The label with each of the likeliest rivals, as targets (label, class to reach) ``[B, classes, 2]``."""
    goals = rivals(query)[:, :classes]
    return torch.stack([query.y.unsqueeze(1).expand_as(goals), goals], 2)
