"""SA-PGD: PGD with a step of its own for every pixel, as Adam takes it."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from spikeproof.attacks.apgd import periods
from spikeproof.attacks.attack import Attack, Best, Query, per_image
from spikeproof.attacks.losses import AttackLoss, CrossEntropy
from spikeproof.attacks.threats import Threat

MOMENTUM, DECAY = 0.5, 0.8


@dataclass(frozen=True, kw_only=True)
class SAPGD(Attack):
    """Steps m / sqrt(v) of at most eps a pixel from a corner of the threat, halved after each of APGD's periods.

    m and v are running sums of the gradient over its mean magnitude and of its square over its mean square. In
    other norms than Linf the step is the steepest one along m / sqrt(v). Source: CVPR 2026, arXiv 2512.22522.
    """

    under: ClassVar[tuple[str, ...]] = ("images", "frames")

    steps: int = 100
    loss: AttackLoss = CrossEntropy()
    restarts: int = 1
    eot: int = 1

    def __post_init__(self) -> None:
        self.refuse_below_one("steps", "restarts", "eot")

    def search(self, query: Query, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        best = Best(x)
        for _ in range(self.restarts):
            if len(who := query.left(best)):
                self._climb(query, x, y, threat, best, who)
        return best.x

    def _climb(self, query: Query, x: Tensor, y: Tensor, threat: Threat, best: Best, who: Tensor) -> None:
        z = threat.project(x[who] + threat.eps * threat.ascent(torch.randn_like(x[who]), x[who]), x[who])
        m, v = torch.zeros_like(z), torch.zeros_like(z)
        size, checks = threat.eps, periods(self.steps)
        for number in range(1, self.steps + 1):
            slope, answer = query.gradient(z, y[who], self.loss, who, self.eot)
            best.offer(z, answer, who)
            if query.stop and answer.broken.any():
                z, m, v, slope, who = (t[~answer.broken] for t in (z, m, v, slope, who))
                if not len(who):
                    return
            slope = slope / _mean(slope.abs())  # first of all: the squares of gradients near 1e-25 underflow
            m = MOMENTUM * m + slope
            v = DECAY * v + slope**2 / _mean(slope**2)
            way = m / (v.sqrt() + 1e-12)
            step = way.clamp(-1, 1) if threat.norm == "Linf" else threat.ascent(way, z)
            z = threat.project(z + size * step, x[who])
            if number in checks:
                size = size / 2
        best.offer(z, query.answer(z, y[who], self.loss, who, self.eot), who)


def _mean(values: Tensor) -> Tensor:
    """Over all but the first dimension, which it keeps; never 0."""
    return per_image(values.flatten(1).mean(1).clamp(min=torch.finfo(values.dtype).tiny), values)
