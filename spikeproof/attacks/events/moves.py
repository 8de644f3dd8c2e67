"""How do events move in time without two of them meeting? All pixels of all recordings at once."""

from typing import NamedTuple

import torch
from torch import Tensor

from spikeproof.attacks.events.edits import in_turn
from spikeproof.randomness import Streams


class Placed(NamedTuple):
    """Where the events of binary frames are [E]: the recording, the frame, and the cell of the frame."""

    recording: Tensor
    frame: Tensor
    cell: Tensor


def placed(x: Tensor) -> Placed:
    """The events of binary frames ``[B, T, P, H, W]``, in the order of recording, frame and cell."""
    return Placed(*x.flatten(2).nonzero(as_tuple=True))


def written(events: Placed, frame: Tensor, x: Tensor) -> Tensor:
    """Frames like `x` with the events in other frames [E]."""
    z = torch.zeros_like(x).flatten(2)
    z[events.recording, frame, events.cell] = 1
    return z.view_as(x)


def chosen(events: Placed, liking: Tensor, shifts: Tensor, steps: int, *, follow: bool) -> Tensor:
    """Which of `shifts` [S], the middle one 0, each event takes [E], by its `liking` ``[E, S]``.

    In every pixel the event that likes a possible shift best goes first, then the others in turn. It goes to a frame
    where no other event is going, and where none was before. With `follow`, one that was there may have left already.
    Otherwise it stays. Not the best for all together: of small linear networks, attacks under jitter reach 88 to 98 %
    of what is possible. The best order-preserving placement reaches all of it there, but led attacks on a trained
    network to no more errors. Source: the strict projection of Spike-Retiming Attacks, ICLR 2026, whose order is that
    of all events together.
    """
    pixel, index = (events.recording * 2**32 + events.cell).unique(return_inverse=True)
    columns, count, device = len(pixel), len(events.frame), liking.device
    taken = torch.zeros(columns, steps, dtype=torch.bool, device=device)
    taken[index, events.frame] = True
    to = events.frame.unsqueeze(1) + shifts
    liking = liking.masked_fill((to < 0) | (to >= steps), -torch.inf)
    to, stay = to.clamp(0, steps - 1), len(shifts) // 2
    choice = torch.full((count,), stay, device=device)
    left = torch.arange(count, device=device)
    while len(left):
        blocked = taken[index[left].unsqueeze(1), to[left]]
        blocked[:, stay] = False
        best, shift = liking[left].masked_fill(blocked, -torch.inf).max(1)
        first = torch.full((columns,), -torch.inf, dtype=best.dtype, device=device)
        first = first.scatter_reduce(0, index[left], best, "amax")
        leading = left[best == first[index[left]]]
        turn = torch.full((columns,), count, device=device).scatter_reduce(0, index[leading], leading, "amin")
        mine = turn[index[left]] == left  # one event a pixel
        moving = left[mine]
        choice[moving] = shift[mine]
        if follow:
            taken[index[moving], events.frame[moving]] = False
        taken[index[moving], to[moving, choice[moving]]] = True
        left = left[~mine]
    return choice


def affordable(recording: Tensor, gain: Tensor, cost: Tensor, budget: int) -> Tensor:
    """Which changes [E] are paid for: in each `recording` those of the largest `gain` first, but for the too dear.

    One too dear is passed over, and what costs less after it may still be paid. Each round pays up to the first that is
    too dear, so there are no more rounds than the largest cost, and one.
    """
    order = in_turn(recording, gain)
    owner, price = recording[order], cost[order]
    start = torch.searchsorted(owner, owner)  # of each recording, among all
    left = torch.full_like(owner, budget)  # the same in all rows of a recording
    asked, paid = price <= left, torch.zeros_like(owner, dtype=torch.bool)
    while asked.any():
        spent = (price * asked).cumsum(0)
        fits = asked & (spent - (spent - price * asked)[start] <= left)
        paid |= fits
        left = left - torch.zeros_like(left).index_add(0, start, price * fits)[start]
        asked = asked & ~fits & (price <= left)
    return torch.empty_like(paid).scatter(0, order, paid)


def drawn(possible: Tensor, count: int, streams: Streams) -> Tensor:
    """A mask like `possible` ``[B, ...]``: `count` of its cells in each recording at random, or all there are."""
    rows = possible.flatten(1)
    lot = streams.uniform(rows.shape[1], like=torch.zeros((), device=rows.device)).masked_fill(~rows, -1)
    first = lot.topk(min(count, rows.shape[1]), dim=1)
    return torch.zeros_like(rows).scatter(1, first.indices, first.values >= 0).view_as(possible)


def with_moves(x: Tensor, count: int, capacity: float, streams: Streams) -> Tensor:
    """Frames of counts, two steps at least, with a random event of `count` cells of each recording in another frame.
    Pixels of which a cell would hold more than `capacity` stay as they are.
    """
    taken = drawn(x > 0, count, streams).flatten(2)
    onward = 1 + streams.below(x.shape[1] - 1, *taken.shape[1:])
    recording, frame, cell = taken.nonzero(as_tuple=True)
    to = (frame + onward[recording, frame, cell]) % x.shape[1]
    one = torch.ones((), dtype=x.dtype, device=x.device)
    z = (x.flatten(2) - taken.to(x.dtype)).index_put((recording, to, cell), one, accumulate=True).view_as(x)
    return torch.where((z <= capacity).all(1, keepdim=True), z, x)
