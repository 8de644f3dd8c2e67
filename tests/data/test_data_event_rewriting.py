"""Has a rewritten recording exactly the frames that were asked for, and nothing else changed?"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spikeproof.attacks import EventEdits
from spikeproof.choices import UserError
from spikeproof.data.events.framing import Framing
from spikeproof.data.events.rewriting import rewritten, told_apart
from spikeproof.data.events.streams import Events, Sensor

Event = tuple[int, int, int, int]  # t in us, x, y, p
Example = tuple[Events, Tensor, Tensor, Framing]

LINE = Sensor(polarities=1, height=1, width=4)
BY_TEN = Framing(steps=3, span=10, since="zero")


def recording(events: list[Event], sensor: Sensor = LINE) -> Events:
    t, x, y, p = np.array(sorted(events, key=lambda e: e[0]), np.int64).reshape(-1, 4).T
    return Events(t=t, x=x.astype(np.int16), y=y.astype(np.int16), p=p.astype(np.uint8), sensor=sensor)


def listed(events: Events) -> list[Event]:
    columns = (events.t, events.x, events.y, events.p)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def example(seed: int, values: str = "count") -> Example:
    """A random recording, its frames, and others; some events are outside the crop or after the last frame."""
    rng = np.random.default_rng(seed)
    sensor = Sensor(polarities=int(rng.integers(1, 3)), height=int(rng.integers(1, 6)), width=int(rng.integers(1, 6)))
    framing = Framing(
        steps=int(rng.integers(1, 5)),
        span=int(rng.choice([1, 2, 30, 1000])),
        since="zero",
        values=values,
        crop=(int(rng.integers(1, sensor.height + 1)), int(rng.integers(1, sensor.width + 1))) if seed % 3 else None,
        pool=int(rng.integers(1, 4)),
    )
    count, end = rng.integers(0, 60), framing.steps * framing.span * 5 // 4 + 1
    events = Events(
        t=np.sort(rng.integers(0, end, count)),
        x=rng.integers(0, sensor.width, count).astype(np.int16),
        y=rng.integers(0, sensor.height, count).astype(np.int16),
        p=rng.integers(0, sensor.polarities, count).astype(np.uint8),
        sensor=sensor,
    )
    before = framing([events])[0].numpy()
    other = rng.integers(0, 2 if values == "binary" else 4, before.shape).astype(np.float32)
    after = np.where(rng.random(before.shape) < rng.choice([0.0, 0.1, 0.5, 1.0]), other, before)
    return events, torch.from_numpy(before), torch.from_numpy(after), framing


every_seed = given(st.integers(0, 2**30))
many = settings(max_examples=200, deadline=None, derandomize=True, database=None)


def is_recording(events: Events, like: Events) -> None:
    assert (np.diff(events.t) >= 0).all()
    assert events.sensor == like.sensor
    for name in "txyp":
        assert getattr(events, name).dtype == getattr(like, name).dtype
    height, width = events.sensor.height, events.sensor.width
    assert ((events.x >= 0) & (events.x < width) & (events.y >= 0) & (events.y < height)).all()


@many
@every_seed
def test_the_frames_are_those_asked_for_and_the_edits_those_of_the_frames(seed: int) -> None:
    """Of pooled frames too: what a cell loses and gains are never other pixels, or it would not be as many moves."""
    events, before, after, framing = example(seed)
    found = rewritten(events, before, after, framing)
    is_recording(found, events)
    assert torch.equal(framing([found])[0], after)
    edits = EventEdits().told_apart(after.unsqueeze(0), before.unsqueeze(0))
    assert told_apart(events, found) == tuple(int(count) for count in edits)


@many
@every_seed
def test_binary_frames_too(seed: int) -> None:
    events, before, after, framing = example(seed, "binary")
    found = rewritten(events, before, after, framing)
    is_recording(found, events)
    assert torch.equal(framing([found])[0], after)
    added, removed, moved = told_apart(events, found)
    counts = replace(framing, values="count")([events])[0]
    fewer, more = (before > after), (after > before)
    pairs = torch.minimum(fewer.sum(0), more.sum(0)).sum()
    assert added == more.sum() - pairs
    assert removed + moved == (counts * fewer).sum()  # all events of the cells that are lost
    assert moved >= pairs
    if (fewer.sum(0) == more.sum(0)).all():
        assert (added, removed) == (0, 0)  # a retiming of frames is one of events


@many
@every_seed
def test_what_is_not_framed_and_what_is_not_changed_stays(seed: int) -> None:
    events, before, after, framing = example(seed)
    found = rewritten(events, before, after, framing)
    outside = framing.cells(events) < 0
    assert listed(events.where(outside)) == listed(found.where(framing.cells(found) < 0))
    same = (before == after).flatten().numpy()
    kept, still = (one.where(same[framing.cells(one)] & (framing.cells(one) >= 0)) for one in (events, found))
    assert sorted(listed(kept)) == sorted(listed(still))
    if same.all():
        assert listed(found) == listed(events)


def test_the_seed_decides() -> None:
    events, before, after, framing = example(1)
    once, again, other = (listed(rewritten(events, before, after, framing, seed=seed)) for seed in (3, 3, 4))
    assert once == again
    assert once != other


def frames(*counts: list[int]) -> Tensor:
    return torch.tensor(counts).view(3, 1, 1, 4).float()


def test_by_hand() -> None:
    """Pixel 0 moves an event and loses one, pixel 1 gains two in a frame, pixel 2 stays, pixel 3 moves twice."""
    events = recording([(1, 0, 0, 0), (2, 0, 0, 0), (5, 2, 0, 0), (13, 3, 0, 0), (24, 3, 0, 0), (31, 1, 0, 0)])
    before, after = frames([2, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 1]), frames([0, 0, 1, 2], [0, 2, 0, 0], [1, 0, 0, 0])
    found = rewritten(events, before, after, BY_TEN)
    assert [(t, x) for t, x, _, _ in listed(found) if x] == [(3, 3), (4, 3), (5, 2), (12, 1), (17, 1), (31, 1)]
    (left,) = [t for t, x, _, _ in listed(found) if x == 0]
    assert left in (21, 22)  # which of two alike is moved is drawn
    assert told_apart(events, found) == (2, 1, 3)


def test_earlier_losses_go_to_earlier_gains() -> None:
    """The assignment with the least delay in all, which is the one that `Retiming` bounds."""
    events = recording([(1, 0, 0, 0), (12, 0, 0, 0)])
    framing = Framing(steps=4, span=10, since="zero")
    before = framing([events])[0]
    after = before.flip(0)
    assert [t for t, *_ in listed(rewritten(events, before, after, framing))] == [21, 32]


def test_events_are_told_apart_by_hand() -> None:
    before = recording([(1, 0, 0, 0), (1, 0, 0, 0), (5, 1, 0, 0), (6, 2, 0, 0)])
    after = recording([(1, 0, 0, 0), (4, 0, 0, 0), (5, 1, 0, 0), (5, 1, 0, 0), (6, 3, 0, 0)])
    assert told_apart(before, after) == (2, 1, 1)  # another pixel's event is another event
    assert told_apart(after, before) == (1, 2, 1)
    assert told_apart(before, before) == (0, 0, 0)
    none = recording([])
    assert told_apart(none, before) == (4, 0, 0)
    assert told_apart(none, none) == (0, 0, 0)


def test_all_events_may_go() -> None:
    events = recording([(1, 0, 0, 0)])
    found = rewritten(events, frames([1, 0, 0, 0], [0] * 4, [0] * 4), frames([0] * 4, [0] * 4, [0] * 4), BY_TEN)
    assert len(found) == 0
    assert BY_TEN([found]).sum() == 0


def test_a_new_event_of_a_pool_is_in_any_of_its_pixels() -> None:
    framing = Framing(steps=1, span=100, since="zero", pool=3, crop=(3, 4))
    events = recording([(0, 0, 0, 0)], Sensor(polarities=1, height=5, width=8))
    before = framing([events])[0]
    for cell, columns in ((0, {2, 3, 4}), (1, {5})):  # the second pool is cut off by the crop
        after = before.clone()
        after[0, 0, 0, cell] = 90
        found = rewritten(events, before, after, framing, seed=1).where(np.arange(1, 91))
        assert {(x, y) for _, x, y, _ in listed(found)} == {(x, y) for x in columns for y in (1, 2, 3)}
        assert np.diff(found.t).max() <= 2  # spread over the frame


@pytest.mark.parametrize(
    ("framing", "said"),
    [
        (Framing(steps=3, by="number"), "its own affair, by Framing.span=..., since='zero'.* not Framing.*number"),
        (Framing(steps=3), "its own affair, by"),
        (Framing(steps=3, span=10), r"its own affair, .*since='first'.*those of events.from_zero\(\) since zero"),
    ],
    ids=["by number", "no span", "since the first"],
)
def test_frames_that_depend_on_other_events_are_refused(framing: Framing, said: str) -> None:
    events = recording([(1, 0, 0, 0), (30, 1, 0, 0)])
    before = framing([events])[0]
    with pytest.raises(UserError, match=said):
        rewritten(events, before, before, framing)


def test_frames_that_are_not_the_recordings_are_refused() -> None:
    events = recording([(1, 0, 0, 0)])
    before, binary = BY_TEN([events])[0], replace(BY_TEN, values="binary")
    for wrong, after, framing, said in (
        (before[:2], before, BY_TEN, r"before is the frames of one recording, \[3, 1, 1, 4\], not \[2, 1, 1, 4\]"),
        (before, before.unsqueeze(0), BY_TEN, "after is the frames of one recording"),
        (before + 1, before, BY_TEN, r"before is not what framing makes of these events.*from_zero\(\)"),
        (before, before - 1, BY_TEN, "whole and 0 or more"),
        (before, before + 0.5, BY_TEN, "whole and 0 or more"),
        (before, before + float("inf"), BY_TEN, "whole and 0 or more"),
        (before, before + 1, binary, "0 or 1 everywhere"),
    ):
        with pytest.raises(UserError, match=said):
            rewritten(events, wrong, after, framing)


def test_frames_since_the_first_event_are_rewritten_from_zero() -> None:
    """And with the first event gone, time since the first event is another."""
    events = recording([(7, 0, 0, 0), (16, 1, 0, 0), (28, 2, 0, 0)])
    since_first = replace(BY_TEN, since="first")
    before = since_first([events])[0]
    after = before.clone()
    after[0, 0, 0, 0] = 0
    found = rewritten(events.from_zero(), before, after, BY_TEN)
    assert listed(found) == [(9, 1, 0, 0), (21, 2, 0, 0)]
    assert torch.equal(BY_TEN([found])[0], after)
    assert not torch.equal(since_first([found])[0], after)


def test_recordings_of_two_sensors_are_not_told_apart() -> None:
    with pytest.raises(UserError, match="of one sensor"):
        told_apart(recording([]), recording([], Sensor(height=2, width=2)))
