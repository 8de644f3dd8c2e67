"""What may an adversary do to a recording? Threats on event frames ``[B, T, P, H, W]``, whose values count events.

Under `FrameLinf` and `FrameL2` a frame's values are real numbers, as for images, up to a largest count. The others
change whole events, which is all that a camera delivers: what is not a whole event is projected to one, or refused.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from spikeproof.attacks.events.moves import affordable, chosen, drawn, placed, with_moves, written
from spikeproof.attacks.inputs import check_frames
from spikeproof.attacks.threats import ROUNDING, Threat, shrunk_and_clipped, unit
from spikeproof.specs import Pixels, UserError, pixels

__all__ = ["EventEdits", "EventFlips", "FrameL2", "FrameLinf", "Retiming"]


@dataclass(frozen=True)
class FrameThreat(Threat):
    """Frames of real values from 0 to `most` (None: the recording's own largest count), `eps` in events a cell."""

    eps: Pixels = 1.0
    most: float | None = None
    kind: ClassVar[str] = "frames"
    largest: ClassVar[float] = 1e6

    def __post_init__(self) -> None:
        object.__setattr__(self, "eps", pixels(self.eps, "eps"))
        if self.most is not None and not 0 < self.most < float("inf"):
            raise UserError(f"most is the largest count of events in a cell of a frame, and positive; not {self.most}")

    def check(self, x: Tensor) -> None:
        check_frames(x)
        if self.most is not None and x.max() > self.most:
            raise UserError(f"a frame has {x.max().item():g} events in a cell, more than the {self.most:g} of {self}")

    def top(self, x: Tensor) -> Tensor:
        """The largest value allowed in each recording, with as many axes as `x`."""
        own = x.flatten(1).amax(1) if self.most is None else torch.full_like(x[:, 0, 0, 0, 0], self.most)
        return own.view(-1, *[1] * (x.ndim - 1))

    def contains(self, perturbed: Tensor, x: Tensor) -> Tensor:
        inside = ((perturbed >= 0) & (perturbed <= self.top(x))).flatten(1).all(1)
        return inside & (self.distance(perturbed, x) <= self.eps * (1 + ROUNDING) + ROUNDING)

    def _rounded_inward(self, near: Tensor, x: Tensor, most: float | Tensor) -> Tensor:
        """One step back to `x` where x + change was rounded by more than `contains` forgives, in counts of hundreds."""
        near = torch.where((near.double() - x).abs() > most, near.nextafter(x), near)
        return near.clamp(min=0).minimum(self.top(x))

    def __str__(self) -> str:
        bound = "" if self.most is None else f", counts to {self.most:g}"
        return f"frame {self.norm} {self.eps:g}{bound}"


@dataclass(frozen=True)
class FrameLinf(FrameThreat):
    """Every cell of every frame may change by `eps` events, fractions too, between 0 and `most`."""

    norm: ClassVar[str] = "Linf"

    def project(self, perturbed: Tensor, x: Tensor) -> Tensor:
        wanted = torch.where(perturbed.isnan(), x, perturbed)
        near = torch.maximum(torch.minimum(wanted, x + self.eps), x - self.eps)
        return self._rounded_inward(near, x, self.eps * (1 + ROUNDING) + ROUNDING)

    def start(self, x: Tensor) -> Tensor:
        return self.project(x + self.eps * (2 * torch.rand_like(x) - 1), x)

    def ascent(self, gradient: Tensor, z: Tensor) -> Tensor:
        return gradient.sign()

    def distance(self, perturbed: Tensor, x: Tensor) -> Tensor:
        return (perturbed - x).abs().flatten(1).amax(1)


@dataclass(frozen=True)
class FrameL2(FrameThreat):
    """The change of all cells of all frames has Euclidean length at most `eps`; values stay between 0 and `most`."""

    eps: Pixels = 5.0
    norm: ClassVar[str] = "L2"

    def project(self, perturbed: Tensor, x: Tensor) -> Tensor:
        delta = (torch.where(perturbed.isfinite(), perturbed, x) - x).flatten(1)
        change = shrunk_and_clipped(delta, -x.flatten(1), (self.top(x) - x).flatten(1), self.eps).view_as(x)
        return self._rounded_inward(x + change, x, change.abs())

    def start(self, x: Tensor) -> Tensor:
        direction = torch.randn_like(x).flatten(1)
        size = torch.rand(len(x), 1, device=x.device, dtype=x.dtype) ** (1 / direction.shape[1])
        return self.project(x + (self.eps * size * unit(direction)).view_as(x), x)

    def ascent(self, gradient: Tensor, z: Tensor) -> Tensor:
        return unit(gradient.flatten(1)).view_as(gradient)

    def distance(self, perturbed: Tensor, x: Tensor) -> Tensor:
        return (perturbed.double() - x).flatten(1).norm(dim=1).to(x.dtype)


class EventThreat(Threat):
    """A threat of whole events: frames hold whole numbers, and `eps` counts what is changed."""

    largest: ClassVar[float] = 2.0**31

    @property
    def budget(self) -> int:
        return int(self.eps)

    def _count(self) -> None:
        """Make `eps`, which may be a text, a whole number."""
        eps = pixels(self.eps, "eps")
        if eps != int(eps):
            raise UserError(f"eps of {type(self).__name__} counts whole events (or bins), not {eps:g}")
        object.__setattr__(self, "eps", int(eps))

    def ascent(self, gradient: Tensor, z: Tensor) -> Tensor:
        raise UserError(f"{self} changes whole events: there is no step along a gradient")

    def contains(self, perturbed: Tensor, x: Tensor) -> Tensor:
        return self.distance(perturbed, x) <= self.eps  # infinite for what is not allowed at any size

    @abstractmethod
    def distance(self, perturbed: Tensor, x: Tensor) -> Tensor:
        """How much each recording is changed ``[B]``, a whole number; infinite where no budget would allow it."""


class CellThreat(EventThreat):
    """Events may appear and vanish, one by one, in the cells that `steps` tells."""

    kind: ClassVar[str] = "events"
    norm: ClassVar[str] = "L0"

    @property
    def capacity(self) -> float:
        """How many events a cell can hold."""
        return float("inf")

    @abstractmethod
    def steps(self, z: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Where `z` may have one event more, and where one less, whatever was changed already; masks like `z`."""

    def project(self, perturbed: Tensor, x: Tensor) -> Tensor:
        """What is allowed stays; of anything else, rounded, the largest changes up to the budget."""
        whole = torch.where(perturbed.isfinite(), perturbed, x).round().clamp(max=self.capacity)
        up, down = self.steps(x, x)
        whole = torch.where(up, whole, whole.minimum(x))
        whole = torch.where(down, whole, whole.maximum(x)).clamp(min=0)
        change = self._capped((whole - x).flatten(1), (perturbed - x).abs().nan_to_num(0).flatten(1)).view_as(x)
        return torch.where(self.contains(whole, x).view(-1, *[1] * (x.ndim - 1)), whole, x + change)

    def _capped(self, change: Tensor, size: Tensor) -> Tensor:
        return capped(change, size, self.budget)


@dataclass(frozen=True)
class EventFlips(CellThreat):
    """At most `eps` cells of binary frames flip: events are inserted, deleted, or both (`only` None)."""

    eps: Pixels = 20
    only: Literal["insert", "delete"] | None = None
    capacity: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        self._count()
        if self.only not in (None, "insert", "delete"):
            raise UserError(f"unknown only {self.only!r}: it is 'insert', 'delete' or None")

    def check(self, x: Tensor) -> None:
        check_binary(x, self)

    def steps(self, z: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        up, down = z == 0, z == 1
        if self.only == "insert":
            down = down & (x == 0)
        if self.only == "delete":
            up = up & (x == 1)
        return up, down

    def start(self, x: Tensor) -> Tensor:
        up, down = self.steps(x, x)
        return torch.where(drawn(up | down, self.budget), 1 - x, x)

    def distance(self, perturbed: Tensor, x: Tensor) -> Tensor:
        legal = ((perturbed == 0) | (perturbed == 1)).flatten(1).all(1)
        if self.only:
            legal &= ((perturbed >= x) if self.only == "insert" else (perturbed <= x)).flatten(1).all(1)
        flips = (perturbed != x).flatten(1).sum(1).to(x.dtype)
        return torch.where(legal, flips, float("inf"))

    def __str__(self) -> str:
        return f"{self.eps} { ({'insert': 'insertions', 'delete': 'deletions'}.get(self.only or '', 'flips')) }"


@dataclass(frozen=True)
class EventEdits(CellThreat):
    """At most `eps` events are added, removed, or moved in time, in frames of counts.

    `add`, `remove` and `move` bound each by itself (None: `eps` alone does; 0: not allowed). A move takes an event of
    one pixel and polarity to another frame and counts once; a change is told apart into as many moves as there can be.
    A cell holds at most `most` events (None: any number); with 1, frames stay binary. On frames of counts, by time with
    a fixed `span`, this is the threat on the raw events: `data.rewritten` makes the recording.
    """

    eps: Pixels = 20
    add: int | None = None
    remove: int | None = None
    move: int | None = None
    most: int | None = None

    def __post_init__(self) -> None:
        self._count()
        for name in ("add", "remove", "move"):
            if (cap := getattr(self, name)) is not None and cap < 0:
                raise UserError(f"{name} counts events and is 0 or more, or None; not {cap}")
        if self.most is not None and self.most < 1:
            raise UserError(f"most is how many events a cell can hold, 1 or more, or None; not {self.most}")

    @property
    def capacity(self) -> float:
        return float("inf") if self.most is None else self.most

    def check(self, x: Tensor) -> None:
        check_frames(x)
        if not (x == x.round()).all():
            raise UserError(f"{self} is about frames that count whole events, and these hold fractions")
        if x.max() > self.capacity:
            raise UserError(f"a frame has {x.max().item():g} events in a cell, more than the {self.most} of {self}")

    def steps(self, z: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        fixed = self.move == 0
        up, down = z < self.capacity, z > 0
        return (up & (z < x) if fixed and self.add == 0 else up), (
            down & (z > x) if fixed and self.remove == 0 else down
        )

    def start(self, x: Tensor) -> Tensor:
        """Half of the budget moves random events (all of it where nothing else is allowed); with the rest, random
        cells have one event more or less each."""
        moves = self.budget if self.add == self.remove == 0 else self.budget // 2
        moves = moves if self.move is None else min(moves, self.move)
        z = with_moves(x, moves, self.capacity) if x.shape[1] > 1 else x
        up, down = (z < self.capacity) & (self.add != 0), (z > 0) & (self.remove != 0)
        changed = drawn(up | down, self.budget - moves)
        rises = changed & up & (~down | (torch.rand(z.shape, device=z.device) < 0.5))
        falls = changed & ~rises
        rises = rises if self.add is None else drawn(rises, self.add)
        falls = falls if self.remove is None else drawn(falls, self.remove)
        return z + rises.to(x.dtype) - falls.to(x.dtype)

    def distance(self, perturbed: Tensor, x: Tensor) -> Tensor:
        added, removed, moved = self.told_apart(perturbed, x)
        legal = ((perturbed >= 0) & (perturbed <= self.capacity) & (perturbed == perturbed.round())).flatten(1).all(1)
        for count, cap in ((added, self.add), (removed, self.remove)):
            legal = legal if cap is None else legal & (count <= cap)
        return torch.where(legal, added + removed + moved, float("inf"))

    def told_apart(self, perturbed: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """How many events were added, removed and moved ``[B]``, with as many moves as are allowed."""
        change = perturbed - x
        more, less = change.clamp(min=0), (-change).clamp(min=0)
        moves = more.sum(1).minimum(less.sum(1)).flatten(1).sum(1)  # within each pixel and polarity
        moves = moves if self.move is None else moves.clamp(max=self.move)
        return more.flatten(1).sum(1) - moves, less.flatten(1).sum(1) - moves, moves

    def _capped(self, change: Tensor, size: Tensor) -> Tensor:
        """Moves counted twice, as an event less and one more: less than would be allowed, never more."""
        parts = []
        for part, cap in ((change.clamp(min=0), self.add), (change.clamp(max=0), self.remove)):
            parts.append(part if cap is None else capped(part, size, cap))
        return capped(parts[0] + parts[1], size, self.budget)

    def __str__(self) -> str:
        caps = [
            f"{name} {cap}" for name in ("add", "remove", "move", "most") if (cap := getattr(self, name)) is not None
        ]
        return f"{self.eps} edits" + (f" ({', '.join(caps)})" if caps else "")


@dataclass(frozen=True)
class Retiming(EventThreat):
    """Events of binary frames move in time, none appears or vanishes, and a cell holds one event at most.

    `by` says what `eps` bounds: "jitter", how many frames any event moves; "delay", the frames that all events move,
    added up; "moved", how many events do. Events of one pixel and polarity are alike, so each is bounded by the
    pairing of events before and after that needs least. Source: Spike-Retiming Attacks, ICLR 2026 (Binf, B1 and B0).
    """

    eps: Pixels = 1
    by: Literal["jitter", "delay", "moved"] = "jitter"
    kind: ClassVar[str] = "retiming"

    def __post_init__(self) -> None:
        self._count()
        if self.by not in ("jitter", "delay", "moved"):
            raise UserError(f"unknown by {self.by!r}: it is 'jitter', 'delay' or 'moved'")

    @property
    def norm(self) -> str:  # type: ignore[override]
        return self.by

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

    def start(self, x: Tensor) -> Tensor:
        """Events that have room move to random frames, up to the budget."""
        return self.moved(x, torch.rand(int(x.count_nonzero()), len(self.shifts(x.shape[1])), device=x.device))

    def shifts(self, steps: int) -> Tensor:
        """By how many frames an event may move, one of `steps` frames [S]; 0 is in the middle."""
        most = min(self.budget, 1) * (steps - 1) if self.by == "moved" else min(self.budget, steps - 1)
        return torch.arange(-most, most + 1)

    def moved(self, x: Tensor, liking: Tensor) -> Tensor:
        """Each event moved as it likes best, within the budget; events [E] as `placed` has them, `liking` ``[E, S]``.

        Where `eps` bounds every event by itself, one may go where another has left. Where it is shared, events only
        go where none was, so that any of the moves can be taken back, and those with the largest gain in liking over
        staying are made, until the first that the budget has no room for. No liking (NaN) is the least.
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


def check_binary(x: Tensor, threat: Threat) -> None:
    """Refuse event frames that hold other values than 0 and 1."""
    check_frames(x)
    if not ((x == 0) | (x == 1)).all():
        raise UserError(f"{threat} is about binary frames, and these hold counts: give the data framing.values: binary")


def capped(change: Tensor, size: Tensor, budget: int) -> Tensor:
    """Whole changes ``[B, D]``, those of the largest `size` first, until they add up to `budget`; the last in part."""
    ranked = torch.where(change != 0, size, -1.0).topk(min(budget, change.shape[1]), dim=1).indices
    units = change.gather(1, ranked).clamp(-budget, budget)  # so that sums stay exact
    spent = units.abs().cumsum(1) - units.abs()
    kept = (budget - spent).clamp(min=0).minimum(units.abs()) * units.sign()
    return torch.zeros_like(change).scatter(1, ranked, kept)
