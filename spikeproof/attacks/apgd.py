"""APGD: PGD that finds its own step size, image by image."""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from spikeproof.attacks.engine import Iterative
from spikeproof.attacks.losses import AttackLoss, CrossEntropy
from spikeproof.attacks.query import Answer, Query, per_image
from spikeproof.choices import Count, Share

MOMENTUM = 0.75
FIRST, SHORTER, SHORTEST = 0.22, 0.03, 0.06  # shares of the steps: the first period, by how much less each next, least


class State(NamedTuple):
    """Where every image of a climb stands."""

    z: Tensor  # the iterate, the one before, and the gradient there
    before: Tensor
    slope: Tensor
    size: Tensor  # of the step, in units of the threat's eps
    best: Tensor  # the best iterate of this climb, its gradient and its loss
    best_slope: Tensor
    best_loss: Tensor
    last_loss: Tensor  # at the iterate, 0 at the start as in the published code; how often it rose since the last check
    rises: Tensor
    checked_loss: Tensor  # the best loss at the last check, and whether the step was halved there
    halved: Tensor  # True before the first check: there only the rises are looked at, as in the published code


@dataclass(frozen=True, kw_only=True)
class APGD(Iterative):
    """Steps of 2 eps with momentum. They are halved for an image whose loss rose in fewer than `rho` of a period's
    steps, or stayed at its best. It then goes on from its best point.

    Periods grow shorter, from 22 % of the steps down to 6 %. Source: Croce and Hein, ICML 2020, algorithm 1, and its
    code.
    """

    under: ClassVar[tuple[str, ...]] = ("images", "frames")

    steps: Count = 100
    loss: AttackLoss = CrossEntropy()
    restarts: Count = 1
    rho: Share = 0.75
    eot: Count = 1

    @property
    def length(self) -> int:
        return self.steps + 1  # the first looks at the start and goes nowhere

    def begin(self, query: Query) -> State:
        z = query.threat.start(query.x, query.streams)
        zero = z.new_zeros(len(z))
        return State(z, z, torch.zeros_like(z), zero + 2, z, z, zero, zero, zero, zero, zero == 0)

    def step(self, query: Query, state: State) -> State:
        x, threat, s = query.x, query.threat, state
        moves = query.count - 1
        ahead = threat.project(s.z + per_image(s.size * threat.eps, x) * threat.ascent(s.slope, s.z), x)
        momentum = per_image(torch.where(moves > 1, MOMENTUM, 1.0).to(x.dtype), x)
        onward = threat.project(s.z + momentum * (ahead - s.z) + (1 - momentum) * (s.z - s.before), x)
        z = torch.where(per_image(moves > 0, x), onward, s.z)
        slope, answer = query.gradient(z, self.loss)
        moved = s._replace(z=z, before=s.z, slope=slope)
        return self._checked(self._noted(moved, answer, moves == 0), moves)

    def _noted(self, s: State, answer: Answer, first: Tensor) -> State:
        """What the answer at the iterate says: better or not, risen or not."""
        loss = answer.loss.to(s.best_loss.dtype)
        better = first | (loss > s.best_loss)
        rows = per_image(better, s.z)
        return s._replace(
            best=torch.where(rows, s.z, s.best),
            best_slope=torch.where(rows, s.slope, s.best_slope),
            best_loss=torch.where(better, loss, s.best_loss),
            rises=s.rises + (~first & (loss > s.last_loss)),
            last_loss=torch.where(first, s.last_loss, loss),
            checked_loss=torch.where(first, loss, s.checked_loss),
        )

    def _checked(self, s: State, moves: Tensor) -> State:
        """At the end of a period, halve the step where it does not help, and go back to the best point there."""
        period = lengths(self.steps, moves)
        ends = period > 0
        stuck = ends & ((s.rises <= self.rho * period) | (~s.halved & (s.best_loss <= s.checked_loss)))
        rows = per_image(stuck, s.z)
        return s._replace(
            z=torch.where(rows, s.best, s.z),
            slope=torch.where(rows, s.best_slope, s.slope),
            size=torch.where(stuck, s.size / 2, s.size),
            halved=torch.where(ends, stuck, s.halved),
            checked_loss=torch.where(ends, s.best_loss, s.checked_loss),
            rises=torch.where(ends, 0, s.rises),
        )


def periods(steps: int) -> dict[int, int]:
    """The steps that are followed by a check, and how many steps each looks back on."""
    length, found, passed = max(int(FIRST * steps), 1), {}, 0
    while passed + length <= steps:
        passed += length
        found[passed] = length
        length = max(length - max(int(SHORTER * steps), 1), max(int(SHORTEST * steps), 1))
    return found


def lengths(steps: int, number: Tensor) -> Tensor:
    """How long the period is that ends with step `number` ``[B]``; 0 where none ends."""
    return _lengths(steps, number.device)[number]


@lru_cache(maxsize=8)
def _lengths(steps: int, device: torch.device) -> Tensor:
    ends = periods(steps)
    return torch.tensor([ends.get(step, 0) for step in range(steps + 1)], device=device)
