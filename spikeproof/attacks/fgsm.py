"""FGSM and RFGSM: one gradient, one step."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from spikeproof.attacks.attack import Attack, Query
from spikeproof.attacks.losses import AttackLoss, CrossEntropy
from spikeproof.attacks.threats import Threat
from spikeproof.specs import UserError


@dataclass(frozen=True, kw_only=True)
class FGSM(Attack):
    """One step of length eps along the gradient. Weak: a network that only withstands FGSM is not robust.

    Source: Goodfellow et al., ICLR 2015.
    """

    under: ClassVar[tuple[str, ...]] = ("images", "frames")

    loss: AttackLoss = CrossEntropy()
    eot: int = 1

    def __post_init__(self) -> None:
        self.refuse_below_one("eot")

    def search(self, query: Query, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        everyone = torch.arange(len(x), device=x.device)
        slope, _ = query.gradient(x, y, self.loss, everyone, self.eot)
        return threat.project(x + threat.eps * threat.ascent(slope, x), x)


@dataclass(frozen=True, kw_only=True)
class RFGSM(Attack):
    """A random step of `relative_start` eps, then a gradient step of the rest. Source: Tramer et al., ICLR 2018."""

    under: ClassVar[tuple[str, ...]] = ("images", "frames")

    relative_start: float = 0.5
    loss: AttackLoss = CrossEntropy()
    eot: int = 1

    def __post_init__(self) -> None:
        self.refuse_below_one("eot")
        if not 0 <= self.relative_start <= 1:
            raise UserError(f"relative_start is a share of eps in [0, 1], not {self.relative_start}")

    def search(self, query: Query, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        everyone = torch.arange(len(x), device=x.device)
        first = threat.eps * self.relative_start
        z = threat.project(x + first * threat.ascent(torch.randn_like(x), x), x)
        slope, _ = query.gradient(z, y, self.loss, everyone, self.eot)
        return threat.project(z + (threat.eps - first) * threat.ascent(slope, z), x)
