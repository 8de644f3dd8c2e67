"""What did the recording look like whose frames were attacked? Its events, moved in time, removed and added."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from torch import Tensor

from spikeproof.choices import UserError
from spikeproof.data.events.framing import Framing
from spikeproof.data.events.streams import Events, Sensor
from spikeproof.edit_counts import edit_counts

__all__ = ["rewritten", "told_apart"]


def rewritten(events: Events, before: Tensor, after: Tensor, framing: Framing, seed: int = 0) -> Events:
    """The recording whose frames are `after` instead of `before`, both ``[T, P, H, W]`` by `framing`.

    Of what a pixel and polarity gains in some frames and loses in others as much as possible moves, by whole frames,
    from the earliest loss to the earliest gain. What is lost besides is removed; what is gained besides is added,
    evenly spread over the frame. Chance, with `seed`, chooses the events that a cell loses and, of a pool of pixels,
    those that get new ones. A cell of binary frames moves, or is removed, with all of its events, and is added as one.
    Every other event stays, those too that were left out of the frames; there may be none in the end.

    Frames with a `span` since the first event are those of `events.from_zero()` since zero, and are rewritten as such.
    The recording that is found then has its frames as long as zero stays where it was. Counted since the first event
    anew, it may have others, where that one is another now.

    Raises `UserError` for a framing other than by a `span` since "zero", where an event's frame depends on other
    events. It does so too for `before` that are not this recording's frames, and for `after` that are no frames of
    whole events.
    """
    before, after = before.cpu(), after.cpu()
    span = _span(events, before, after, framing)
    rng = np.random.default_rng(seed)
    cells = framing.cells(events)
    change = (after - before).round().long().flatten().numpy()  # of each cell (T, P, H, W)
    if framing.values == "count":
        gone = _drawn(cells, change, rng)
        parcel = np.arange(len(gone))  # what moves together: events by themselves
    else:
        gone = np.flatnonzero((cells >= 0) & (change[cells] < 0))
        _, parcel = np.unique(cells[gone], return_inverse=True)  # or all of a cell
    lost = np.zeros(parcel.max(initial=-1) + 1, np.int64)
    lost[parcel] = cells[gone]
    gained = np.repeat(np.arange(len(change)), change.clip(min=0))
    per_frame = len(change) // framing.steps
    pair = _paired(lost, gained, per_frame)
    to = np.full(len(lost), -1)
    to[pair.lost] = gained[pair.gained] // per_frame
    t, stays = events.t.copy(), np.ones(len(events), bool)
    t[gone] += (to[parcel] - cells[gone] // per_frame) * span
    stays[gone] = to[parcel] >= 0
    added = _added(np.delete(gained, pair.gained), events.sensor, framing, rng)
    return _together(replace(events, t=t).where(stays), added)


def told_apart(before: Events, after: Events) -> tuple[int, int, int]:
    """How many events were added, removed, and moved in time, with as many moves as there can be.

    Events of one pixel and polarity are alike: those of one recording are matched with as many of the other at the same
    time, and then at any. Raises `UserError` for recordings of two sensors.
    """
    if before.sensor != after.sensor:
        raise UserError(f"recordings of one sensor can be told apart, not of {before.sensor} and {after.sensor}")
    times, moment = np.unique(np.concatenate([before.t, after.t]), return_inverse=True)
    pixel = np.concatenate([_columns(before), _columns(after)])
    sign = np.repeat([-1, 1], [len(before), len(after)])
    one, where = np.unique(pixel * len(times) + moment, return_inverse=True)
    change = np.bincount(where, sign, len(one)).astype(np.int64)
    _, column = np.unique(one // max(len(times), 1), return_inverse=True)
    more, less = (np.bincount(column, part).astype(np.int64) for part in (change.clip(min=0), (-change).clip(min=0)))
    added, removed, moved = edit_counts(more, less)
    return int(added), int(removed), int(moved)


class _Pair(NamedTuple):
    """Which of the lost is one with which of the gained, places in both [M]."""

    lost: np.ndarray
    gained: np.ndarray


def _span(events: Events, before: Tensor, after: Tensor, framing: Framing) -> int:
    """How many us a frame takes; raises what `rewritten` raises."""
    if framing.span is None or framing.since != "zero":
        raise UserError(
            "a recording can be rewritten where each event's frame is its own affair, by Framing(span=..., "
            f"since='zero') and not {framing}; frames of a span since the first event are those of "
            "events.from_zero() since zero"
        )
    shape = framing.shape(events.sensor)
    for name, frames in (("before", before), ("after", after)):
        if tuple(frames.shape) != shape:
            raise UserError(f"{name} is the frames of one recording, {list(shape)}, not {list(frames.shape)}")
    most = 1 if framing.values == "binary" else float("inf")
    if not ((after >= 0) & (after <= most) & (after == after.round()) & after.isfinite()).all():
        values = "0 or 1" if framing.values == "binary" else "whole and 0 or more"
        raise UserError(f"frames of whole events are {values} everywhere, and after is not")
    if not (framing([events])[0] == before).all():
        raise UserError(
            "before is not what framing makes of these events; where it counts time from the first: events.from_zero()"
        )
    return framing.span


def _drawn(cells: np.ndarray, change: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As many events of each cell as it has fewer, at random [M]."""
    among = np.flatnonzero((cells >= 0) & (change[cells] < 0))
    among = among[np.lexsort((rng.random(len(among)), cells[among]))]
    cell = cells[among]
    return among[np.arange(len(among)) - np.searchsorted(cell, cell) < -change[cell]]


def _paired(lost: np.ndarray, gained: np.ndarray, per_frame: int) -> _Pair:
    """In each pixel and polarity the first of the lost cells with the first of the gained ones, and so on."""
    most = max(len(lost), len(gained))

    def turns(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        order = np.lexsort((cells // per_frame, cells % per_frame))
        column = cells[order] % per_frame
        return order, column * most + np.arange(len(order)) - np.searchsorted(column, column)

    (of_lost, turn), (of_gained, other) = turns(lost), turns(gained)
    _, first, second = np.intersect1d(turn, other, assume_unique=True, return_indices=True)
    return _Pair(of_lost[first], of_gained[second])


def _added(cells: np.ndarray, sensor: Sensor, framing: Framing, rng: np.random.Generator) -> Events:
    """An event for each of these cells (T, P, H, W), in ascending order [M]."""
    assert framing.span is not None
    per_frame = int(np.prod(framing.shape(sensor)[1:]))
    turn = np.arange(len(cells)) - np.searchsorted(cells, cells)  # among those of its cell
    _, cell, total = np.unique(cells, return_inverse=True, return_counts=True)
    t = cells // per_frame * framing.span + (2 * turn + 1) * framing.span // (2 * total[cell])
    p, y, x = _places(cells % per_frame, sensor, framing, rng)
    return Events(t=t, x=x, y=y, p=p, sensor=sensor)


def _together(events: Events, others: Events) -> Events:
    """All of both in the order of time."""
    order = np.argsort(np.concatenate([events.t, others.t]), kind="stable")

    def joined(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return np.concatenate([first, second.astype(first.dtype)])[order]

    t, x, y, p = (joined(getattr(events, name), getattr(others, name)) for name in ("t", "x", "y", "p"))
    return Events(t=t, x=x, y=y, p=p, sensor=events.sensor)


def _places(cells: np.ndarray, sensor: Sensor, framing: Framing, rng: np.random.Generator) -> np.ndarray:
    """Polarity, row and column of a random pixel of each cell of a frame, int64 [3, M]."""
    p, y, x = places = np.indices(sensor.shape).reshape(3, -1)
    cell = framing.cells(Events(t=np.zeros(len(p), np.int64), x=x, y=y, p=p, sensor=sensor))
    order = np.argsort(cell, kind="stable")
    first, end = (np.searchsorted(cell[order], cells, side) for side in ("left", "right"))
    return places[:, order[first + (rng.random(len(cells)) * (end - first)).astype(np.int64)]]


def _columns(events: Events) -> np.ndarray:
    """The number of each event's polarity and pixel [N]."""
    return events.p.astype(np.int64) * (events.sensor.height * events.sensor.width) + events.pixels()
