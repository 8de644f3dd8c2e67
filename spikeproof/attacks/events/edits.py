"""What is one edit of a recording? An event more, an event less, or both in one pixel and polarity: a move."""

from typing import NamedTuple

import torch
from torch import Tensor


class Edits(NamedTuple):
    """Changes of recordings ``[B, T, P, H, W]``, told apart [E].

    Each is made `units` times. Every time, `cells` ``[E, 2]`` of the flattened recording have as many events more as
    `ways` ``[E, 2]`` says: 1 and -1 for a move. For a single event it is 1 or -1, and 0 in the same cell again. `worth`
    is that of one time.
    """

    recording: Tensor
    cells: Tensor
    ways: Tensor
    units: Tensor
    worth: Tensor

    def within(self, budget: int | None) -> "Edits":
        """The most valuable ones of each recording, up to `budget` units; None: all."""
        if budget is None:
            return self
        left = budget - spent_before(self.recording, self.worth, self.units)
        return self._replace(units=left.clamp(min=0).minimum(self.units)).where(left > 0)

    def where(self, mask: Tensor) -> "Edits":
        return Edits(*(part[mask] for part in self))

    def change(self, x: Tensor) -> Tensor:
        """The change that they are together, of recordings like `x`."""
        index = self.recording.unsqueeze(1).expand_as(self.cells), self.cells
        steps = (self.ways * self.units.unsqueeze(1)).to(x.dtype)
        return torch.zeros_like(x).flatten(1).index_put(index, steps, accumulate=True).view_as(x)


def joined(*edits: Edits) -> Edits:
    return Edits(*(torch.cat(parts) for parts in zip(*edits, strict=True)))


def singles(change: Tensor, worth: Tensor) -> Edits:
    """Each cell's whole change ``[B, T, P, H, W]`` by itself; its `worth` is that of one event of it."""
    change, worth = change.flatten(1), worth.flatten(1)
    recording, cell = change.nonzero(as_tuple=True)
    units = change[recording, cell]
    ways = torch.stack([units.sign(), torch.zeros_like(units)], 1).long()
    return Edits(recording, cell.unsqueeze(1).expand(-1, 2), ways, units.abs().long(), worth[recording, cell])


def moves(change: Tensor, worth: Tensor) -> Edits:
    """In each pixel and polarity the most valuable events more, with the most valuable events less, as many as can be.

    Those with cells in common make one edit of many units. A move is worth what its two events are.
    """
    steps = change.shape[1]
    by_pixel = [part.flatten(2).transpose(1, 2) for part in (change, worth)]  # [B, P H W, T]
    both = (by_pixel[0] > 0).any(2) & (by_pixel[0] < 0).any(2)
    recording, pixel = both.nonzero(as_tuple=True)
    change, worth = (part[both] for part in by_pixel)  # [N, T]
    to, more = ranked(change, worth)
    origin, less = ranked(-change, worth)
    ends = torch.cat([more, less], 1).sort(1).values.minimum(more[:, -1:]).minimum(less[:, -1:])
    units = ends.diff(dim=1, prepend=torch.zeros_like(ends[:, :1]))  # of a stretch with one cell more, one cell less
    frames = [
        order.gather(1, torch.searchsorted(upto, ends).clamp(max=steps - 1))
        for order, upto in ((to, more), (origin, less))
    ]
    row, stretch = units.nonzero(as_tuple=True)
    frame = torch.stack([found[row, stretch] for found in frames], 1)
    cells = frame * by_pixel[0].shape[1] + pixel[row].unsqueeze(1)
    ways = torch.tensor([1, -1], device=change.device).expand_as(cells)
    return Edits(recording[row], cells, ways, units[row, stretch], worth[row.unsqueeze(1), frame].sum(1))


def ranked(change: Tensor, worth: Tensor) -> tuple[Tensor, Tensor]:
    """The frames of a pixel that have events more, those of the largest worth first, then all others. And how many
    events more these frames have up to each of them, itself too ``[N, T]``."""
    order = worth.masked_fill(change <= 0, -torch.inf).argsort(dim=1, descending=True, stable=True)
    return order, change.clamp(min=0).gather(1, order).long().cumsum(1)


def spent_before(recording: Tensor, worth: Tensor, cost: Tensor) -> Tensor:
    """What those of the same `recording` that are worth more cost together [E]; among equals, those before."""
    order = in_turn(recording, worth)
    owner, spent = recording[order], cost[order].cumsum(0) - cost[order]
    before = spent - spent[torch.searchsorted(owner, owner)]
    return torch.empty_like(before).scatter(0, order, before)


def in_turn(recording: Tensor, worth: Tensor) -> Tensor:
    """The order of recordings, and in each of them of worth, the largest first; equals stay in order [E]."""
    order = torch.argsort(worth, descending=True, stable=True)
    return order[torch.argsort(recording[order], stable=True)]
