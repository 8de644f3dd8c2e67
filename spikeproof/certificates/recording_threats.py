"""What may happen to raw events? Threats that certificates speak of; no attack of ours searches them."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from spikeproof.attacks import Threat
from spikeproof.choices import EventCount, NonNegative, UserError
from spikeproof.randomness import Streams

__all__ = ["DelayL1", "DelayL2", "RecordingEdits"]


class RecordingThreat(Threat):
    """A threat on raw events ``[B, N, 4]`` (t in us, x, y, p; int64; what has polarity -1 is none)."""

    kind: ClassVar[str] = "recordings"
    largest: ClassVar[float] = 2.0**31

    def check(self, x: Tensor) -> None:
        if x.ndim != 3 or x.shape[-1] != 4 or x.dtype != torch.int64:
            raise UserError(f"{self} is about raw events, int64 [B, N, 4], not {x.dtype} {list(x.shape)}")

    def contains(self, perturbed: Tensor, x: Tensor) -> Tensor:
        return self.distance(perturbed, x) <= self.eps

    def project(self, perturbed: Tensor, x: Tensor) -> Tensor:
        return self._refuse()

    def start(self, x: Tensor, streams: Streams | None = None) -> Tensor:
        return self._refuse()

    def ascent(self, gradient: Tensor, z: Tensor) -> Tensor:
        return self._refuse()

    def _refuse(self) -> Tensor:
        raise UserError(
            f"{self} is a threat that is certified against, and no attack searches it: attack frames, under "
            "EventEdits or Retiming"
        )


@dataclass(frozen=True)
class RecordingEdits(RecordingThreat):
    """At most `eps` raw events are inserted, deleted, or put in place of another one: other time, pixel or polarity."""

    eps: EventCount = 1
    norm: ClassVar[str] = "edits of raw events"

    @property
    def unit(self) -> str:
        return "raw events inserted, deleted or moved"

    def distance(self, perturbed: Tensor, x: Tensor) -> Tensor:
        return torch.tensor([_edits(after, before) for after, before in zip(perturbed, x, strict=True)])

    def __str__(self) -> str:
        return f"{self.eps} edits of raw events"


class Delay(RecordingThreat):
    """Raw events move in time, each row of the list its own; none appears or vanishes."""

    order: ClassVar[int]

    def distance(self, perturbed: Tensor, x: Tensor) -> Tensor:
        same = (perturbed[..., 1:] == x[..., 1:]).flatten(1).all(1)
        length = (perturbed - x)[..., 0].double().norm(p=self.order, dim=1)
        return torch.where(same, length, torch.inf)

    @property
    def unit(self) -> str:
        return "us"

    def __str__(self) -> str:
        return f"{self.norm} of {self.eps:g} us"


@dataclass(frozen=True)
class DelayL1(Delay):
    """At most `eps` us, added up over all events."""

    eps: NonNegative = 1000.0
    norm: ClassVar[str] = "delay in all"
    order: ClassVar[int] = 1


@dataclass(frozen=True)
class DelayL2(Delay):
    """The root of the squared delays of all events, added up, is at most `eps` us."""

    eps: NonNegative = 1000.0
    norm: ClassVar[str] = "delay in L2"
    order: ClassVar[int] = 2


def _edits(after: Tensor, before: Tensor) -> int:
    """How many edits lead from one list of events to the other: one more and one less are one edit."""
    rows = torch.cat([row[row[:, 3] >= 0] for row in (after, before)])
    sign = torch.ones(len(rows), dtype=torch.int64)
    sign[int((after[:, 3] >= 0).sum()) :] = -1
    _, same = rows.unique(dim=0, return_inverse=True)
    change = torch.zeros(len(rows), dtype=torch.int64).index_add_(0, same.cpu(), sign)
    return max(int(change.clamp(min=0).sum()), int((-change).clamp(min=0).sum()))
