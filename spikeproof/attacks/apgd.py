"""APGD: PGD that finds its own step size, image by image."""

from dataclasses import dataclass, fields
from typing import ClassVar

import torch
from torch import Tensor

from spikeproof.attacks.attack import Attack, Best, Query, per_image
from spikeproof.attacks.losses import AttackLoss, CrossEntropy
from spikeproof.attacks.threats import Threat
from spikeproof.specs import UserError

MOMENTUM = 0.75
FIRST, SHORTER, SHORTEST = 0.22, 0.03, 0.06  # shares of the steps: the first period, by how much less each next, least


@dataclass(frozen=True, kw_only=True)
class APGD(Attack):
    """Steps of 2 eps with momentum, halved for an image whose loss rose in fewer than `rho` of a period's steps, or
    stayed at its best; it then goes on from its best point.

    Periods grow shorter, from 22 % of the steps down to 6 %. Source: Croce and Hein, ICML 2020, algorithm 1, and its
    code.
    """

    under: ClassVar[tuple[str, ...]] = ("images", "frames")

    steps: int = 100
    loss: AttackLoss = CrossEntropy()
    restarts: int = 1
    rho: float = 0.75
    eot: int = 1

    def __post_init__(self) -> None:
        self.refuse_below_one("steps", "restarts", "eot")
        if not 0 <= self.rho <= 1:
            raise UserError(f"rho is a share of steps in [0, 1], not {self.rho}")

    def search(self, query: Query, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        best = Best(x)
        for _ in range(self.restarts):
            if len(who := query.left(best)):
                climb(query, x, y, threat, self, best, who)
        return best.x


@dataclass
class Course:
    """Where every image of a climb stands; rows of all tensors belong together."""

    who: Tensor  # places in the batch
    x: Tensor  # the image that is attacked
    y: Tensor
    z: Tensor  # the iterate, the one before, and the gradient there
    before: Tensor
    slope: Tensor
    step: Tensor  # in units of the threat's eps
    best: Tensor  # the best iterate, its gradient and its loss
    best_slope: Tensor
    best_loss: Tensor
    last_loss: Tensor  # at the iterate, 0 at the start as in the published code; how often it rose since the last check
    rises: Tensor
    checked_loss: Tensor  # the best loss at the last check, and whether the step was halved there
    halved: Tensor  # True before the first check: there only the rises are looked at, as in the published code

    def of(self, rows: Tensor) -> "Course":
        """The course of some of the images."""
        return Course(*(getattr(self, field.name)[rows] for field in fields(self)))


def periods(steps: int) -> dict[int, int]:
    """The steps that are followed by a check, and how many steps each looks back on."""
    length, found, passed = max(int(FIRST * steps), 1), {}, 0
    while passed + length <= steps:
        passed += length
        found[passed] = length
        length = max(length - max(int(SHORTER * steps), 1), max(int(SHORTEST * steps), 1))
    return found


def climb(query: Query, x: Tensor, y: Tensor, threat: Threat, attack: APGD, best: Best, who: Tensor) -> None:
    """One run from a random start in the threat; what it finds is offered to `best`."""
    z = threat.start(x[who])
    slope, answer = query.gradient(z, y[who], attack.loss, who, attack.eot)
    best.offer(z, answer, who)
    zero, one = torch.zeros_like(answer.loss), torch.ones_like(answer.loss)
    course = Course(
        who, x[who], y[who], z, z, slope, 2 * one, z, slope, answer.loss, zero, zero, answer.loss, one.bool()
    )
    checks = periods(attack.steps)
    for number in range(1, attack.steps + 1):
        if query.stop:
            course = course.of(~best.broken[course.who])
        if not len(course.who):
            return
        _step(course, query, threat, attack, best, MOMENTUM if number > 1 else 1.0)
        if number in checks:
            _check(course, checks[number], attack.rho)


def _step(course: Course, query: Query, threat: Threat, attack: APGD, best: Best, momentum: float) -> None:
    c = course
    length = per_image(c.step * threat.eps, c.x)
    ahead = threat.project(c.z + length * threat.ascent(c.slope, c.z), c.x)
    onward = c.z + momentum * (ahead - c.z) + (1 - momentum) * (c.z - c.before)
    c.before, c.z = c.z, threat.project(onward, c.x)
    c.slope, answer = query.gradient(c.z, c.y, attack.loss, c.who, attack.eot)
    best.offer(c.z, answer, c.who)
    c.rises = c.rises + (answer.loss > c.last_loss)
    c.last_loss = answer.loss
    better = answer.loss > c.best_loss
    c.best_loss = torch.where(better, answer.loss, c.best_loss)
    rows = per_image(better, c.x)
    c.best, c.best_slope = torch.where(rows, c.z, c.best), torch.where(rows, c.slope, c.best_slope)


def _check(course: Course, period: int, rho: float) -> None:
    """Halve the step where it does not help, and go back to the best point there."""
    c = course
    stuck = (c.rises <= rho * period) | (~c.halved & (c.best_loss <= c.checked_loss))
    c.step = torch.where(stuck, c.step / 2, c.step)
    rows = per_image(stuck, c.x)
    c.z, c.slope = torch.where(rows, c.best, c.z), torch.where(rows, c.best_slope, c.slope)
    c.halved, c.checked_loss, c.rises = stuck, c.best_loss, torch.zeros_like(c.rises)
