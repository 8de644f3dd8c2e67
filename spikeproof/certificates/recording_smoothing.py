"""Which radii follow from votes under noise on raw events, before any framing: deletion, and noise on their times?"""

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from spikeproof.attacks import Threat
from spikeproof.certificates.edit_smoothing import EditSmoothing, refuse_own_noise
from spikeproof.certificates.event_bounds import deletion_least
from spikeproof.certificates.recording_threats import DelayL1, DelayL2, RecordingEdits
from spikeproof.certificates.recordings import GONE, POLARITY, TIME, Framed, behind
from spikeproof.certificates.voting import Voted
from spikeproof.choices import Positive, UserError, short
from spikeproof.data.events.noise import Chance, uniform

__all__ = ["GaussianRetiming", "RecordingDeletion", "UniformRetiming"]


@dataclass(frozen=True, kw_only=True)
class RecordingDeletion(EditSmoothing):
    """Each raw event is deleted with `probability`; framing sees those that are left, whichever framing it is.

    It is for data sets of recordings. The radius is a number of raw events inserted, deleted, or changed in time, place
    or polarity. A recording of which nothing is left counts: its class is that of empty frames. Our derivation, see
    `event_bounds.deletion_least`.
    """

    threat: ClassVar[type[Threat]] = RecordingEdits

    probability: Chance = 0.9

    def about(self, model: nn.Module, pool: Any) -> tuple[nn.Module, Any]:
        return behind(model, pool, short(self))

    def network(self, model: nn.Module) -> nn.Module:
        return framed(super().network(model), self)

    def draw(self, x: Tensor, steps: int) -> Tensor:
        drawn = x.clone()
        drawn[..., POLARITY][uniform(x.shape[:2], x) < self.probability] = GONE
        return drawn

    def least(self, inserted: int, deleted: int, x: Tensor) -> float:
        return deletion_least(self.probability, inserted, deleted)


class Retimed(Voted):
    """Noise on the time of each raw event, in us, before framing; rounded to whole us.

    Events keep their pixel and polarity. One that noise moves out of all frames is left out by the framing.
    """

    def about(self, model: nn.Module, pool: Any) -> tuple[nn.Module, Any]:
        return behind(model, pool, short(self))

    def network(self, model: nn.Module) -> nn.Module:
        refuse_own_noise(model, self)
        return framed(model, self)

    def delayed(self, x: Tensor, delay: Tensor) -> Tensor:
        """Events ``[B, N, 4]``, each `delay` ``[B, N]`` us later."""
        drawn = x.clone()
        drawn[..., TIME] += delay.round().long()
        return drawn


@dataclass(frozen=True, kw_only=True)
class GaussianRetiming(Retimed):
    """Normal noise of deviation `sigma` us on the time of each event: the root of all squared delays, sigma Phi^-1(pA).

    A jitter of J us of all N events is certified for J sqrt(N) up to that. Cohen et al., ICML 2019, on times.
    """

    threat: ClassVar[type[Threat]] = DelayL2

    sigma: Positive = 20_000.0

    def draw(self, x: Tensor, steps: int) -> Tensor:
        return self.delayed(x, self.sigma * torch.randn(x.shape[:2], device=x.device, dtype=torch.float64))

    def radius(self, p: float, x: Tensor, steps: int) -> float:
        return self.sigma * NormalDist().inv_cdf(p)


@dataclass(frozen=True, kw_only=True)
class UniformRetiming(Retimed):
    """Uniform noise of up to `most` us either way on the time of each event: a delay of all events, added up.

    The noise of two recordings overlaps up to the sum of the delays over 2 `most`: the radius is 2 most (pA - 1/2),
    as for uniform noise on pixels in L1 (Yang et al., ICML 2020). That it is of times is ours.
    """

    threat: ClassVar[type[Threat]] = DelayL1

    most: Positive = 100_000.0

    def draw(self, x: Tensor, steps: int) -> Tensor:
        return self.delayed(x, self.most * (2 * uniform(x.shape[:2], x) - 1))

    def radius(self, p: float, x: Tensor, steps: int) -> float:
        return 2 * self.most * (p - 0.5)


def framed(model: nn.Module, certificate: Voted) -> Framed:
    """The model itself; raises `UserError` for one that does not take raw events."""
    if not isinstance(model, Framed):
        raise UserError(f"{short(certificate)} asks a network of raw events: Framed(model, framing, sensor)")
    return model
