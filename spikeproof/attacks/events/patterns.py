"""What breaks when one draws on a recording, without any gradient? The frames, corners and dashes of DVS-Attacks.

Source: Marchisio et al., DVS-Attacks, IJCNN 2021, and the code published with it. There a pattern lasts for the whole
recording, in both polarities, and grows until the network errs, however many events that takes. Here it stays in the
threat: an event is inserted where there can be one more, in the order that each class tells, until the budget is spent.
"""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from spikeproof.attacks.attack import BlackBox, Whole
from spikeproof.attacks.events.cell_threats import CellThreat
from spikeproof.attacks.losses import AttackLoss, Margin
from spikeproof.attacks.query import Query
from spikeproof.attacks.threats import Threat
from spikeproof.choices import Count, UserError, short

__all__ = ["CornerPattern", "DashPattern", "FramePattern"]

Drawings = Iterator[tuple[Tensor, Tensor]]
Pixels = list[tuple[int, int]]  # rows and columns


@dataclass(frozen=True, kw_only=True)
class DrawnPattern(Whole, BlackBox):
    """Draws on what is not broken yet, larger each time; a drawing is judged by the mean of `eot` passes."""

    under: ClassVar[tuple[str, ...]] = ("events",)

    loss: AttackLoss = Margin()
    eot: Count = 1

    def check(self, threat: Threat) -> None:
        super().check(threat)
        if threat.eps and not insertable(torch.zeros(1, 1, 1, 1, 1), threat).any():
            raise UserError(f"{short(self)} inserts events, and {threat} allows no insertion")

    def find(self, query: Query) -> Tensor:
        assert isinstance(query.threat, CellThreat)
        query.answer(query.x, self.loss)
        for rows, z in self.drawings(query, query.threat):
            query.answer(z, self.loss, rows=rows)
        return query.slots.found

    @abstractmethod
    def drawings(self, query: Query, threat: CellThreat) -> Drawings:
        """Rows of recordings [b] and drawings on them ``[b, T, P, H, W]``; each is looked at before the next."""


@dataclass(frozen=True, kw_only=True)
class FramePattern(DrawnPattern):
    """The border of the sensor, then the rings within it, in all frames and both polarities.

    The paper draws whole rings. Ours grow from the border in one frame to twice as many events each time: in the first
    polarity first, frame by frame, clockwise from the upper left corner.
    """

    def drawings(self, query: Query, threat: CellThreat) -> Drawings:
        x = query.x
        around = rings(*x.shape[-2:])
        cells = torch.cat([cells_of(ring, x).transpose(0, 1).flatten() for ring in around])
        room, spent = insertable(x, threat), torch.zeros(len(x), dtype=torch.long, device=x.device)
        count = len(around[0])
        while len(rows := places(~query.slots.broken & (spent < room))) and count < 2 * len(cells):
            z = drawn_on(x[rows], x[rows], cells[:count], room[rows], threat)
            spent[rows] = added(z, x[rows])
            yield rows, z
            count *= 2


@dataclass(frozen=True, kw_only=True)
class CornerPattern(DrawnPattern):
    """A line from each of the four corners in turn, along the row, 2, 5, 9, 13, ... pixels long.

    Where the budget is too small for all frames and both polarities, it is drawn in the first polarity first, from the
    first frame on, which is ours.
    """

    def drawings(self, query: Query, threat: CellThreat) -> Drawings:
        x = query.x
        height, width = x.shape[-2:]
        room = insertable(x, threat)
        for length in sorted({min(pixels, width) for pixels in (2, *range(5, width + 4, 4))}):
            for columns in (range(length), range(width - 1, width - 1 - length, -1)):
                for row in sorted({0, height - 1}):
                    if not len(rows := places(~query.slots.broken & (room > 0))):
                        return
                    line = cells_of([(row, column) for column in columns], x).transpose(0, 1)  # [P, T, N]
                    yield rows, drawn_on(x[rows], x[rows], line.flatten(), room[rows], threat)


@dataclass(frozen=True, kw_only=True)
class DashPattern(DrawnPattern):
    """A dash of two pixels of a row, in all frames, at the best of at most `positions` places; then another one.

    With `most`, the threshold of a mask filter, it is aware of that (MF-aware). A dash goes on by two pixels, inwards,
    every `most` frames. It has one polarity, and leaves no pixel with more than `most` events. The paper tries places
    on the border, from the left and the right in steps of 4 pixels, aware also in rows further in, one dash at a time.
    Ours are spread over all the sensor. Ours too: another dash is added to the best drawing as long as that helps, one
    polarity is drawn after the other, and the recording's own events count in `most`.
    """

    most: Count | None = None
    positions: Count = 100

    def drawings(self, query: Query, threat: CellThreat) -> Drawings:
        x = query.x
        dashes = [self.cells(end, x) for end in ends(x.shape[-2], x.shape[-1], self.positions)]
        room, helped = insertable(x, threat), torch.ones_like(query.slots.broken)
        while helped.any():
            base = query.slots.found
            left = room - added(base, x)
            for cells in dashes:
                if len(rows := places(~query.slots.broken & helped & (left > 0))):
                    yield rows, drawn_on(base[rows], x[rows], cells, left[rows], threat, self.most)
            helped = (query.slots.found != base).flatten(1).any(1)

    def cells(self, end: "End", x: Tensor) -> Tensor:
        """The cells of a dash in frames like `x`, in the order in which they are drawn [N]."""
        steps, polarities, height, width = x.shape[1:]
        step, polarity = torch.arange(steps).view(-1, 1), torch.arange(polarities).view(-1, 1, 1)
        polarity = polarity if end.way > 0 else polarity.flip(0)
        gone = 0 * step if self.most is None else step // self.most * 2
        column = end.column + end.way * (gone + torch.arange(2))  # [T, 2]
        shown = polarity if self.most is None else polarity[:1]
        cells = ((step * polarities + shown) * height + end.row) * width + column  # [P, T, 2]
        return cells[((column >= 0) & (column < width)).expand_as(cells)].to(x.device)


class End(NamedTuple):
    """The outer pixel of a dash, and which way the other one lies: 1 to the right, -1 to the left."""

    row: int
    column: int
    way: int


def ends(height: int, width: int, most: int) -> list[End]:
    """Where dashes may begin: at most `most` places, evenly spread, row after row from the border inwards."""
    for stride in range(1, max(height, width) + 1):
        outer = range(0, (height + 1) // 2, stride)
        rows = list(dict.fromkeys(row for top in outer for row in (top, height - 1 - top)))
        columns = range(0, (width + 1) // 2, stride)
        if 2 * len(rows) * len(columns) <= most:
            break
    found = [End(row, place, way) for row in rows for c in columns for place, way in ((c, 1), (width - 1 - c, -1))]
    return found[:most]


def rings(height: int, width: int) -> list[Pixels]:
    """The border of a sensor and the rings within it, each clockwise from its upper left corner."""
    found = []
    for k in range((min(height, width) + 1) // 2):
        bottom, right = height - 1 - k, width - 1 - k
        ring = [(k, column) for column in range(k, right + 1)]
        ring += [(row, right) for row in range(k + 1, bottom + 1)]
        ring += [(bottom, column) for column in range(right - 1, k - 1, -1) if bottom > k]
        ring += [(row, k) for row in range(bottom - 1, k, -1) if right > k]
        found.append(ring)
    return found


def cells_of(pixels: Pixels, x: Tensor) -> Tensor:
    """The cells of these pixels, as places in flattened frames like `x` ``[T, P, N]``."""
    rows, columns = torch.tensor(pixels, device=x.device).unbind(1)
    return torch.arange(x[0].numel(), device=x.device).view_as(x[0])[:, :, rows, columns]


def insertable(x: Tensor, threat: Threat) -> Tensor:
    """How many events may be inserted into each recording [B]."""
    return added(threat.project(x + 1, x), x)


def added(z: Tensor, x: Tensor) -> Tensor:
    """How many events more `z` has than `x` [B]."""
    return (z - x).flatten(1).sum(1).round().long()


def drawn_on(z: Tensor, x: Tensor, cells: Tensor, room: Tensor, threat: CellThreat, most: int | None = None) -> Tensor:
    """`z` ``[b, T, P, H, W]`` with an event more in the first `room` [b] of `cells` [N] that may have one.

    With `most`, no event is added to a pixel that has as many, over time and polarities.
    """
    free = threat.steps(z, x)[0].flatten(1)[:, cells]  # [b, N]
    if most is not None:
        pixel = cells % (z.shape[-2] * z.shape[-1])
        own = z.sum((1, 2)).flatten(1)[:, pixel]
        before = free.to(z.dtype) @ (pixel.unsqueeze(1) == pixel).triu().to(z.dtype)  # of the pixel, itself too
        free = free & (own + before <= most)
    chosen = free & (free.cumsum(1) <= room.unsqueeze(1))
    return z.flatten(1).index_add(1, cells, chosen.to(z.dtype)).view_as(z)


def places(mask: Tensor) -> Tensor:
    return mask.nonzero().squeeze(1)
