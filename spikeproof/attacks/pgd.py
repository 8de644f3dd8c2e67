"""PGD: projected gradient ascent, the work-horse of training and evaluation."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from spikeproof.attacks.attack import Attack, Best, Query, per_image
from spikeproof.attacks.losses import AttackLoss, CrossEntropy
from spikeproof.attacks.threats import Threat
from spikeproof.specs import UserError


@dataclass(frozen=True, kw_only=True)
class PGD(Attack):
    """`steps` steps of steepest ascent, each projected back; the best iterate of all restarts is kept.

    `relative_step` is the step size in units of eps (default 2.5 / steps); `start` is "random" in the threat,
    "near" (0.001 times normal noise, as TRADES does) or "clean"; `momentum` averages L1-normalised gradients, taken,
    with `nesterov`, where the momentum alone would lead (MI-FGSM and NI-FGSM are momentum 1 from a clean start);
    `eot` is the number of passes a gradient is averaged over (EOT, for stochastic models). `keep="last"` returns
    the last iterate and saves a pass, which is what training wants. Source: Madry et al., ICLR 2018; momentum:
    Dong et al., CVPR 2018; Nesterov: Lin et al., ICLR 2020; EOT: Athalye et al., ICML 2018.
    """

    under: ClassVar[tuple[str, ...]] = ("images", "frames")

    steps: int = 10
    relative_step: float | None = None
    loss: AttackLoss = CrossEntropy()
    momentum: float = 0.0
    nesterov: bool = False
    restarts: int = 1
    eot: int = 1
    start: Literal["random", "near", "clean"] = "random"
    keep: Literal["best", "last"] = "best"

    def __post_init__(self) -> None:
        self.refuse_below_one("steps", "restarts", "eot")
        if self.relative_step is not None and not self.relative_step > 0:
            raise UserError(f"relative_step is the step size in units of eps, and positive; not {self.relative_step}")
        if not 0 <= self.momentum < float("inf"):
            raise UserError(f"momentum weighs the past gradients and is 0 or more, not {self.momentum}")
        if self.nesterov and not self.momentum:
            raise UserError("nesterov looks ahead along the momentum, which is 0: set it to 1 for NI-FGSM")
        if self.start not in ("random", "near", "clean"):
            raise UserError(f"unknown start {self.start!r}: it is 'random', 'near' or 'clean'")
        if self.keep not in ("best", "last"):
            raise UserError(f"unknown keep {self.keep!r}: it is 'best' or 'last'")
        if self.keep == "last" and self.restarts > 1:
            raise UserError("with several restarts the best iterate has to be kept: set keep to 'best'")

    def search(self, query: Query, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        best = Best(x)
        last = x
        for _ in range(self.restarts):
            if len(who := query.left(best)):
                last = self._climb(query, x, y, threat, best, who)
        return last if self.keep == "last" and not query.stop else best.x

    def _climb(self, query: Query, x: Tensor, y: Tensor, threat: Threat, best: Best, who: Tensor) -> Tensor:
        keeps_best = self.keep == "best" or query.stop  # a stopped image has no last iterate
        size = threat.eps * (self.relative_step or 2.5 / self.steps)
        z = self._start(x[who], threat)
        velocity = torch.zeros_like(z)
        unit = threat.distance(torch.ones_like(z[:1]), velocity[:1])  # of a change of 1 everywhere: 1 in Linf
        for _ in range(self.steps):
            ahead = z + self.momentum * size * velocity / unit if self.nesterov else z
            slope, answer = query.gradient(ahead, y[who], self.loss, who, self.eot)
            if self.nesterov and keeps_best:
                answer = query.answer(z, y[who], self.loss, who, self.eot)  # what lies ahead may not be allowed
            if keeps_best:
                best.offer(z, answer, who)
            if query.stop and answer.broken.any():
                z, slope, velocity, who = (t[~answer.broken] for t in (z, slope, velocity, who))
                if not len(who):
                    return z
            if self.momentum:
                length = slope.abs().flatten(1).mean(1).clamp(min=torch.finfo(x.dtype).tiny)
                slope = velocity = self.momentum * velocity + slope / per_image(length, x)
            z = threat.project(z + size * threat.ascent(slope, z), x[who])
        if keeps_best:
            best.offer(z, query.answer(z, y[who], self.loss, who, self.eot), who)
        return z

    def _start(self, x: Tensor, threat: Threat) -> Tensor:
        if self.start == "random":
            return threat.start(x)
        return threat.project(x + 0.001 * torch.randn_like(x), x) if self.start == "near" else x
