"""How may events move in time, when none appears or vanishes?"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from spikeproof.attacks.events.moves import affordable, chosen, placed, written
from spikeproof.attacks.events.whole_events import EventThreat, check_binary
from spikeproof.choices import EventCount
from spikeproof.randomness import Streams

__all__ = ["Retiming"]


@dataclass(frozen=True)
class Retiming(EventThreat):
    """Events of binary frames move in time, none appears or vanishes, and a cell holds one event at most.

    `by` says what `eps` bounds: "jitter", how many frames any event moves; "delay", the frames that all events move,
    added up; "moved", how many events do. Events of one pixel and polarity are alike, so each is bounded by the
    pairing of events before and after that needs least. Source: Spike-Retiming Attacks, ICLR 2026 (Binf, B1 and B0).
    """

    eps: EventCount = 1
    by: Literal["jitter", "delay", "moved"] = "jitter"
    kind: ClassVar[str] = "retiming"

    @property
    def norm(self) -> str:  # type: ignore[override]
        return self.by

    @property
    def unit(self) -> str:
        return {
            "jitter": "frames that any one event moves",
            "delay": "frames that all events move, added up",
            "moved": "events moved",
        }[self.by]

    def check(self, x: Tensor) -> None:
        check_binary(x, self)

    def distance(self, perturbed: Tensor, x: Tensor) -> Tensor:
        binary = ((perturbed == 0) | (perturbed == 1)).flatten(1).all(1)
        kept = (perturbed.sum(1) == x.sum(1)).flatten(1).all(1)
        size = self.per_pixel(perturbed, x).flatten(1)
        total = size.amax(1) if self.by == "jitter" else size.sum(1)
        return torch.where(binary & kept, total, float("inf"))

    def per_pixel(self, perturbed: Tensor, x: Tensor) -> Tensor:
        """The size of the change of each pixel and polarity, by whatever is bounded ``[B, P, H, W]``."""
        if self.by == "moved":
            return (perturbed > x).sum(1).to(x.dtype)
        after, before = perturbed.cumsum(1), x.cumsum(1)
        if self.by == "delay":
            return (after - before).abs().sum(1)
        size = torch.zeros_like(x[:, 0])  # the least d with before[t - d] <= after[t] and after[t - d] <= before[t]
        for d in range(x.shape[1]):
            now, past = slice(d, None), slice(None, x.shape[1] - d)
            late = (before[:, past] > after[:, now]) | (after[:, past] > before[:, now])
            size += late.any(1)
        return size

    def project(self, perturbed: Tensor, x: Tensor) -> Tensor:
        """What is allowed stays; elsewhere pixels that break a rule go back, then the largest changes beyond `eps`."""
        z = torch.where((perturbed == 0) | (perturbed == 1), perturbed, -1.0)
        wrong = (z < 0).any(1) | (z.sum(1) != x.sum(1))
        size = self.per_pixel(z, x)
        if self.by == "jitter":
            wrong = wrong | (size > self.eps)
        else:
            cost = size.masked_fill(wrong, 0).flatten(1)
            smallest = cost.sort(1)
            over = torch.zeros_like(cost, dtype=torch.bool)
            over.scatter_(1, smallest.indices, smallest.values.cumsum(1) > self.eps)
            wrong = wrong | (over.view_as(wrong) & (size > 0))
        return torch.where(wrong.unsqueeze(1), x, z)

    def start(self, x: Tensor, streams: Streams | None = None) -> Tensor:
        """Events that have room move to random frames, up to the budget."""
        shape = (*x.shape[1:3], x.shape[3] * x.shape[4], len(self.shifts(x.shape[1])))
        liking = (streams or Streams.fresh(x)).uniform(*shape, like=x).flatten(2, 3)
        return self.moved(x, liking[placed(x)])

    def shifts(self, steps: int) -> Tensor:
        """By how many frames an event may move, one of `steps` frames [S]; 0 is in the middle."""
        most = min(self.budget, 1) * (steps - 1) if self.by == "moved" else min(self.budget, steps - 1)
        return torch.arange(-most, most + 1)

    def moved(self, x: Tensor, liking: Tensor) -> Tensor:
        """Each event moved as it likes best, within the budget; events [E] as `placed` has them, `liking` ``[E, S]``.

        Where `eps` bounds every event by itself, one may go where another has left. Where it is shared, events only go
        where none was, so that any of the moves can be taken back. Those with the largest gain in liking over staying
        are made first. Any that the budget has no room left for is passed over. No liking (NaN) is the least.
        """
        liking = liking.nan_to_num(torch.finfo(liking.dtype).min)  # finite: less is only what is not possible
        events, shifts = placed(x), self.shifts(x.shape[1]).to(x.device)
        shared = self.by != "jitter"
        choice = chosen(events, liking, shifts, x.shape[1], follow=not shared)
        shift = shifts[choice]
        if shared:
            gain = liking.gather(1, choice.unsqueeze(1)).squeeze(1) - liking[:, len(shifts) // 2]
            cost = shift.abs() if self.by == "delay" else (shift != 0).long()
            shift = torch.where(affordable(events.recording, gain, cost, self.budget), shift, 0)
        return written(events, events.frame + shift, x)

    def __str__(self) -> str:
        said = {"jitter": f"jitter of {self.eps} frames", "delay": f"delay of {self.eps} frames in all"}
        return f"retiming, {said.get(self.by, f'{self.eps} events moved')}"
