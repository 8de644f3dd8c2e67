"""Random noise as an attack: the control that every gradient attack must beat."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from spikeproof.attacks.attack import Best, BlackBox, Query
from spikeproof.attacks.losses import KullbackLeibler, Margin
from spikeproof.attacks.threats import Threat
from spikeproof.specs import UserError


@dataclass(frozen=True, kw_only=True)
class UniformNoise(BlackBox):
    """The best of `draws` images drawn uniformly from the threat; each is judged by the mean of `eot` passes."""

    under: ClassVar[tuple[str, ...]] = ("images", "frames", "events", "retiming")

    draws: int = 1
    eot: int = 1

    def __post_init__(self) -> None:
        self.refuse_below_one("draws", "eot")

    def search(self, query: Query, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        return _best_of(self.draws, self.eot, threat.start, query, x, y)


@dataclass(frozen=True, kw_only=True)
class GaussianNoise(BlackBox):
    """The best of `draws` images with normal noise of deviation `relative_sigma` eps, projected into the threat;
    each is judged by the mean of `eot` passes."""

    under: ClassVar[tuple[str, ...]] = ("images", "frames")

    relative_sigma: float = 1.0
    draws: int = 1
    eot: int = 1

    def __post_init__(self) -> None:
        self.refuse_below_one("draws", "eot")
        if not self.relative_sigma > 0:
            raise UserError(f"relative_sigma is the deviation in units of eps, and positive; not {self.relative_sigma}")

    def search(self, query: Query, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        sigma = threat.eps * self.relative_sigma
        return _best_of(self.draws, self.eot, lambda z: threat.project(z + sigma * torch.randn_like(z), z), query, x, y)


def _best_of(draws: int, eot: int, draw: Callable[[Tensor], Tensor], query: Query, x: Tensor, y: Tensor) -> Tensor:
    best = Best(x)
    loss = KullbackLeibler() if y.is_floating_point() else Margin()
    for _ in range(draws):
        if len(who := query.left(best)):
            z = draw(x[who])
            best.offer(z, query.answer(z, y[who], loss, who, eot), who)
    return best.x
