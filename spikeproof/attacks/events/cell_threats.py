"""How may the counts of cells change, event by event?

What is not a whole event is projected to one, or refused.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from spikeproof.attacks.events.edits import Edits, joined, moves, singles
from spikeproof.attacks.events.moves import drawn, with_moves
from spikeproof.attacks.events.whole_events import EventThreat, check_binary
from spikeproof.attacks.inputs import check_frames
from spikeproof.choices import AtLeast, Count, EventCount, UserError
from spikeproof.edit_counts import edit_counts
from spikeproof.randomness import Streams

__all__ = ["EventEdits", "EventFlips"]

Cap = Annotated[int, AtLeast(0)] | None


class CellThreat(EventThreat):
    """At most `eps` events are added, removed, or moved in time, one by one.

    `add`, `remove` and `move` bound each by itself (None: `eps` alone does; 0: not allowed). A move takes an event of
    one pixel and polarity to another frame and counts once; a change is told apart into as many moves as there can be.
    A cell holds at most `most` events (None: any number).
    """

    kind: ClassVar[str] = "events"
    norm: ClassVar[str] = "L0"

    @property
    @abstractmethod
    def add(self) -> int | None: ...

    @property
    @abstractmethod
    def remove(self) -> int | None: ...

    @property
    @abstractmethod
    def move(self) -> int | None: ...

    @property
    @abstractmethod
    def most(self) -> int | None: ...

    @property
    def capacity(self) -> float:
        """How many events a cell can hold."""
        return float("inf") if self.most is None else self.most

    def project(self, perturbed: Tensor, x: Tensor) -> Tensor:
        """What is allowed stays; of anything else, rounded, the largest changes up to the budget."""
        return self.of_most_worth(perturbed, (perturbed - x).abs().nan_to_num(0), x)

    def of_most_worth(self, perturbed: Tensor, worth: Tensor, x: Tensor) -> Tensor:
        """Like `project`, but of what exceeds the budget the edits of most worth stay, not the largest.

        `worth`, like `x`, is that of each event more or less in a cell.
        """
        whole = torch.where(perturbed.isfinite(), perturbed, x).round().clamp(max=self.capacity)
        up, down = self.steps(x, x)
        whole = torch.where(up, whole, whole.minimum(x))
        whole = torch.where(down, whole, whole.maximum(x)).clamp(min=0)
        over = ~self.contains(whole, x)
        change = (whole[over] - x[over]).clamp(-self.budget, self.budget)
        kept = self.edits(change, worth[over]).within(self.budget)
        return whole.index_put((over.nonzero().squeeze(1),), x[over] + kept.change(change))

    def steps(self, z: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Where `z` may have one event more, and where one less, whatever was changed already; masks like `z`."""
        fixed = self.move == 0
        up, down = z < self.capacity, z > 0
        return (up & (z < x) if fixed and self.add == 0 else up), (
            down & (z > x) if fixed and self.remove == 0 else down
        )

    def start(self, x: Tensor, streams: Streams | None = None) -> Tensor:
        """Half of the budget moves random events (all of it where nothing else is allowed); with the rest, random
        cells have one event more or less each."""
        streams = streams or Streams.fresh(x)
        moves = self.budget if self.add == self.remove == 0 else self.budget // 2
        moves = moves if self.move is None else min(moves, self.move)
        z = with_moves(x, moves, self.capacity, streams) if moves and x.shape[1] > 1 else x
        up, down = (z < self.capacity) & (self.add != 0), (z > 0) & (self.remove != 0)
        changed = drawn(up | down, self.budget - moves, streams)
        rises = changed & up & (~down | (streams.uniform(*z.shape[1:], like=z) < 0.5))
        falls = changed & ~rises
        rises = rises if self.add is None else drawn(rises, self.add, streams)
        falls = falls if self.remove is None else drawn(falls, self.remove, streams)
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
        more, less = (part.clamp(min=0).sum(1).flatten(1) for part in (change, -change))  # of each pixel and polarity
        return edit_counts(more, less, self.move)

    def edits(self, change: Tensor, worth: Tensor) -> Edits:
        """What a whole change of recordings ``[B, T, P, H, W]`` consists of, each event of the `worth` of its cell.

        In each pixel and polarity the most valuable events more and less make moves, the others stay single. Where
        either could do without the other, and the other does harm (its worth is negative), both are single too. Where a
        kind of edit is bounded by itself, those of least worth are left out; the budget bounds nothing here.
        """
        if self.move == 0 and {self.add, self.remove} <= {None, 0}:  # 0: `steps` allows none
            return singles(change, worth)
        pairs = moves(change, worth)
        more, less = worth.flatten(1)[pairs.recording.unsqueeze(1), pairs.cells].unbind(1)
        apart = (self._alone(1) & (less < 0)) | (self._alone(-1) & (more < 0))
        pairs = pairs.where(~apart).within(self.move)
        rest = singles(change - pairs.change(change), worth)
        rise = rest.ways[:, 0] > 0
        return joined(pairs, rest.where(rise).within(self.add), rest.where(~rise).within(self.remove))

    def _alone(self, way: int) -> bool:
        """Whether the budget alone bounds the events that are added (`way` 1) or removed (-1)."""
        cap = self.add if way > 0 else self.remove
        return cap is None or cap >= self.budget

    def partnered(self, way: Tensor, uphill: Tensor, z: Tensor, x: Tensor) -> Tensor:
        """Steps `way` from `z`, of 1, -1 or 0 in each cell, and what other steps make edits of most gain of them.

        Gains are those of first order, by the gradient `uphill`; `x` is what `z` was before it was changed. In each
        pixel with more events more than less, or less than more, the missing step of the largest gain is added: where
        it gains, or where the others may not do without and gain more.
        """
        if self.move == 0:
            return way
        change = z - x
        lack = -(change + way).sum(1, keepdim=True).sign()  # [B, 1, P, H, W]
        free = ((lack > 0) & (z < self.capacity) & (change >= 0)) | ((lack < 0) & (z > 0) & (change <= 0))
        gain, frame = (lack * uphill).masked_fill(~free | (way == lack), -torch.inf).max(1, keepdim=True)
        waiting = (change + way) * lack < 0
        theirs = (-lack * uphill).masked_fill(~waiting, -torch.inf).amax(1, keepdim=True)
        alone = torch.where(lack < 0, self._alone(1), self._alone(-1))
        found = (gain > 0) | (~alone & (gain + theirs > 0))
        return torch.where(found, way.scatter(1, frame, lack), way)

    def gains(self, uphill: Tensor, x: Tensor) -> Tensor:
        """What an event more, and one less, gains in each cell ``[2, B, ...]``, to first order; -inf: none may be.

        Where events may move, so does the other end of the best move, if it gains or has to be.
        """
        up, down = self.steps(x, x)
        more, less = uphill.masked_fill(~up, -torch.inf), (-uphill).masked_fill(~down, -torch.inf)
        if self.move == 0:
            return torch.stack([more, less])
        ends = [gain.amax(1, keepdim=True) for gain in (less, more)]
        added = [end.clamp(min=0) if self._alone(way) else end for end, way in zip(ends, (1, -1), strict=True)]
        return torch.stack([more + added[0], less + added[1]])


@dataclass(frozen=True)
class EventFlips(CellThreat):
    """At most `eps` cells of binary frames flip: events are inserted, deleted, or both (`only` None).

    The same as `EventEdits` where a cell holds one event at most, and none moves.
    """

    eps: EventCount = 20
    only: Literal["insert", "delete"] | None = None
    move: ClassVar[int] = 0
    most: ClassVar[int] = 1

    @property
    def add(self) -> int | None:
        return 0 if self.only == "delete" else None

    @property
    def remove(self) -> int | None:
        return 0 if self.only == "insert" else None

    @property
    def unit(self) -> str:
        return {"insert": "events inserted", "delete": "events deleted"}.get(self.only or "", "cells flipped")

    def check(self, x: Tensor) -> None:
        check_binary(x, self)

    def __str__(self) -> str:
        return f"{self.eps} { ({'insert': 'insertions', 'delete': 'deletions'}.get(self.only or '', 'flips')) }"


@dataclass(frozen=True)
class EventEdits(CellThreat):
    """At most `eps` events are added, removed, or moved in time, in frames of counts.

    `add`, `remove` and `move` bound each by itself (None: `eps` alone does; 0: not allowed), and a cell holds at most
    `most` events (None: any number); with 1, frames stay binary. On frames of counts with a `span` since zero this is
    the threat on the raw events: `data.rewritten` makes the recording.
    """

    eps: EventCount = 20
    add: Cap = None
    remove: Cap = None
    move: Cap = None
    most: Count | None = None

    @property
    def unit(self) -> str:
        return "events added, removed or moved"

    def check(self, x: Tensor) -> None:
        check_frames(x)
        if not (x == x.round()).all():
            raise UserError(f"{self} is about frames that count whole events, and these hold fractions")
        if x.max() > self.capacity:
            raise UserError(f"a frame has {x.max().item():g} events in a cell, more than the {self.most} of {self}")

    def __str__(self) -> str:
        caps = [
            f"{name} {cap}" for name in ("add", "remove", "move", "most") if (cap := getattr(self, name)) is not None
        ]
        return f"{self.eps} edits" + (f" ({', '.join(caps)})" if caps else "")
