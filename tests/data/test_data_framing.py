"""Are frames made as a plain loop over events makes them? By time and by number, cropped, pooled, counted or binary."""

import dataclasses
import json
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from spikeproof.choices import UserError
from spikeproof.configs import from_config, to_config
from spikeproof.data import Events, Framing, Sensor

Event = tuple[int, int, int, int]  # t in us, x, y, p


def recording(events: Sequence[Event], sensor: Sensor) -> Events:
    t, x, y, p = np.array(events, np.int64).reshape(-1, 4).T
    return Events(t=t, x=x.astype(np.int16), y=y.astype(np.int16), p=p.astype(np.uint8), sensor=sensor)


def random_recordings(random: np.random.Generator) -> list[Events]:
    """One to four of one sensor, of one event or more; with events at one time, and long pauses."""
    height, width, polarities = random.integers(1, (8, 8, 3)).tolist()
    found = []
    for _ in range(random.integers(1, 5)):
        count, latest = random.integers(1, 31), random.choice([30, 10**6, 2**62])
        t = np.sort(random.integers(0, latest, count))
        place = random.integers(0, (width, height, polarities), (count, 3)).tolist()
        events = [(time, *rest) for time, rest in zip(t.tolist(), place, strict=True)]
        found.append(recording(events, Sensor(polarities=polarities, height=height, width=width)))
    return found


def random_framing(random: np.random.Generator, sensor: Sensor) -> Framing:
    by = random.choice(["time", "number"]).item()
    crop = tuple(random.integers(1, (sensor.height + 1, sensor.width + 1)).tolist())
    span = [None, int(random.integers(1, 50)), int(random.integers(1, 10**6))][random.integers(3)]
    span = span if by == "time" else None
    return Framing(
        steps=int(random.integers(1, 9)),
        by=by,
        values=random.choice(["count", "binary"]).item(),
        span=span,
        since="zero" if span and random.random() < 0.5 else "first",
        crop=crop if random.random() < 0.5 else None,
        pool=int(random.integers(1, 5)),
    )


def by_loop(framing: Framing, events: Events) -> Tensor:
    """In whole numbers of Python, which have no largest."""
    sensor, steps = events.sensor, framing.steps
    height, width = framing.crop or (sensor.height, sensor.width)
    top, left = (sensor.height - height) // 2, (sensor.width - width) // 2
    rows, columns = (height + framing.pool - 1) // framing.pool, (width + framing.pool - 1) // framing.pool
    frames = torch.zeros(steps, sensor.polarities, rows, columns)
    times = events.t.tolist()
    for i, (t, x, y, p) in enumerate(zip(times, events.x.tolist(), events.y.tolist(), events.p.tolist(), strict=True)):
        if framing.by == "number":
            frame = i * steps // len(times)
        elif framing.span is None:
            frame = (t - times[0]) * steps // (times[-1] - times[0] + 1)
        else:
            frame = (t - (times[0] if framing.since == "first" else 0)) // framing.span
        if frame < steps and top <= y < top + height and left <= x < left + width:
            frames[frame, p, (y - top) // framing.pool, (x - left) // framing.pool] += 1
    return frames.clamp(max=1) if framing.values == "binary" else frames


@pytest.mark.parametrize("seed", range(10))
def test_frames_are_those_of_a_plain_loop(seed: int) -> None:
    random = np.random.default_rng(seed)
    for _ in range(30):
        several = random_recordings(random)
        framing = random_framing(random, several[0].sensor)
        frames = framing(several)
        assert frames.dtype == torch.float32
        assert frames.shape == (len(several), *framing.shape(several[0].sensor))
        assert torch.equal(frames, torch.stack([by_loop(framing, events) for events in several])), framing
        cells = framing.cells(several[0])
        assert cells.shape == (len(several[0]),)
        counted = np.bincount(cells[cells >= 0], minlength=frames[0].numel())
        counted = counted.clip(max=1) if framing.values == "binary" else counted
        assert np.array_equal(counted, frames[0].flatten().numpy())


def test_no_event_is_lost_and_frames_by_number_are_equally_full() -> None:
    random = np.random.default_rng(0)
    for steps in range(1, 60):
        several = random_recordings(random)
        for by in ("time", "number"):
            frames = Framing(steps=steps, by=by)(several)
            assert frames.flatten(1).sum(1).tolist() == [len(events) for events in several]
        filled = frames.flatten(2).sum(2)
        assert (filled.amax(1) - filled.amin(1)).max() <= 1


def test_with_a_span_since_zero_the_frame_of_an_event_is_its_own_affair() -> None:
    """Frames of some of the events, and of the others, add up to those of all."""
    random = np.random.default_rng(0)
    for _ in range(50):
        framing = Framing(steps=4, span=int(random.integers(1, 10 ** random.integers(1, 7))), since="zero")
        for events in random_recordings(random):
            half = random.random(len(events)) < 0.5
            assert torch.equal(framing([events.where(half), events.where(~half)]).sum(0), framing([events])[0])


LINE = Sensor(height=1, width=4)
SIX: list[Event] = [(100, 0, 0, 0), (110, 1, 0, 1), (110, 1, 0, 1), (159, 2, 0, 0), (160, 3, 0, 0), (219, 0, 0, 1)]


def listed(frames: Tensor) -> list:
    """[T, P, W] of one recording of a line."""
    return frames[0].squeeze(2).long().tolist()


def test_frames_by_time_by_hand() -> None:
    """From 100 to 219 us: two frames of 60 us, the second from 160 on."""
    frames = Framing(steps=2)([recording(SIX, LINE)])
    assert frames.shape == (1, 2, 2, 1, 4)
    assert listed(frames) == [[[1, 0, 1, 0], [0, 2, 0, 0]], [[0, 0, 0, 1], [1, 0, 0, 0]]]


def test_frames_by_number_by_hand() -> None:
    """Six events in four frames: events 0 and 1, 2, 3 and 4, 5, as floor(4 i / 6) says."""
    frames = Framing(steps=4, by="number")([recording(SIX, LINE)])
    assert frames.flatten(2).sum(2).tolist() == [[2, 1, 2, 1]]
    assert listed(frames)[0] == [[1, 0, 0, 0], [0, 1, 0, 0]]
    assert listed(frames)[3] == [[0, 0, 0, 0], [1, 0, 0, 0]]


def test_frames_of_a_fixed_span_by_hand() -> None:
    """Since zero, or since the first event at 100 us; what comes after the last frame is left out."""
    since_zero, since_first = Framing(steps=2, span=80, since="zero"), Framing(steps=2, span=60)
    frames = since_zero([recording(SIX, LINE)])
    assert listed(frames) == [[[0, 0, 0, 0], [0, 0, 0, 0]], [[1, 0, 1, 0], [0, 2, 0, 0]]]
    for events in (recording(SIX, LINE), recording(SIX, LINE).from_zero()):
        frames = since_first([events])
        assert listed(frames) == [[[1, 0, 1, 0], [0, 2, 0, 0]], [[0, 0, 0, 1], [1, 0, 0, 0]]]


def test_an_event_before_all_others_moves_them_since_the_first_only() -> None:
    before, after = recording(SIX, LINE), recording([(30, 3, 0, 0), *SIX], LINE)
    since_first, since_zero = Framing(steps=9, span=60), Framing(steps=9, span=60, since="zero")
    assert since_first.frames(before).tolist() == [0, 0, 0, 0, 1, 1]
    assert since_first.frames(after).tolist() == [0, 1, 1, 1, 2, 2, 3]
    assert since_zero.frames(before).tolist() == [1, 1, 1, 2, 2, 3]
    assert since_zero.frames(after).tolist() == [0, 1, 1, 1, 2, 2, 3]


def test_binary_frames_by_hand() -> None:
    assert listed(Framing(steps=1, values="binary")([recording(SIX, LINE)])) == [[[1, 0, 1, 1], [1, 1, 0, 0]]]


def test_crop_and_pool_by_hand() -> None:
    """Of 5 x 6 pixels the middle 3 x 5 (from row 1, column 0), in squares of 2: the last row and column are cut."""
    sensor = Sensor(polarities=1, height=5, width=6)
    framing = Framing(steps=1, crop=(3, 5), pool=2)
    assert framing.shape(sensor) == (1, 1, 2, 3)
    every = [(0, x, y, 0) for y in range(5) for x in range(6)]
    assert framing([recording(every, sensor)])[0, 0, 0].tolist() == [[4, 4, 2], [2, 2, 1]]
    assert Framing(steps=1, pool=9).shape(sensor) == (1, 1, 1, 1)
    outside = recording([(0, 5, 2, 0), (1, 0, 0, 0), (2, 4, 4, 0)], sensor)
    assert not framing([outside]).any()
    assert framing.cells(outside).tolist() == [-1, -1, -1]


def test_one_event_and_events_of_one_time_are_in_the_first_frame() -> None:
    for events in ([(70, 1, 0, 1)], [(70, 1, 0, 1)] * 5):
        frames = Framing(steps=3)([recording(events, LINE)])
        assert frames.flatten(2).sum(2).tolist() == [[len(events), 0, 0]]
    assert Framing(steps=3, by="number")([recording([(70, 1, 0, 1)], LINE)]).flatten(2).sum(2).tolist() == [[1, 0, 0]]


def test_a_recording_that_has_lost_its_events_has_empty_frames() -> None:
    empty = recording(SIX, LINE).where(np.zeros(6, bool))
    for framing in (Framing(steps=2), Framing(steps=2, span=9), Framing(steps=2, by="number")):
        frames = framing([empty, recording(SIX, LINE)])
        assert not frames[0].any()
        assert torch.equal(frames[1:], framing([recording(SIX, LINE)]))


def test_a_time_far_away_does_not_overflow() -> None:
    far = recording([(0, 0, 0, 0), (2**61, 1, 0, 0), (2**62, 2, 0, 0)], LINE)
    assert Framing(steps=20).frames(far).tolist() == [0, 9, 19]
    assert Framing(steps=20, span=2**58).frames(far).tolist() == [0, 8, 16]


def test_events_by_time_are_framed_otherwise_than_spikingjelly_does() -> None:
    """SpikingJelly's `integrate_events_by_fixed_frames_number`, from its description: by number, frame j has the events
    from j floor(n / T) on, and the last one the rest; by time, the same with floor((t_last - t_first) / T) us, and an
    event at the end of a frame starts the next. Ours spread the rest over all frames, so that by number no frame is
    fuller than another by more than one."""
    n, steps = 11, 4
    events = recording([(7 * i, 0, 0, 0) for i in range(n)], LINE)
    theirs = [n // steps] * (steps - 1) + [n - (steps - 1) * (n // steps)]
    assert theirs == [2, 2, 2, 5]
    ours = Framing(steps=steps, by="number")([events]).flatten(2).sum(2)[0].tolist()
    assert ours == [3, 3, 3, 2]
    whole = recording([(i, 0, 0, 0) for i in range(12)], LINE)  # where nothing is left over, both are the same
    assert Framing(steps=4, by="number").frames(whole).tolist() == [i // 3 for i in range(12)]
    lasting = [min(t // (11 // 4), 3) for t in range(12)]  # 2 us a frame, and the last takes what is left
    assert lasting == [0, 0, 1, 1, 2, 2, 3, 3, 3, 3, 3, 3]
    assert Framing(steps=4).frames(whole).tolist() == [i // 3 for i in range(12)]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"steps": 0}, r"steps of Framing must be a whole number in \[1, 10000\], not 0"),
        ({"steps": 2.5}, r"steps of Framing must be a whole number in \[1, 10000\], not 2.5"),
        ({"pool": 0}, "pool of Framing must be a whole number from 1 on, not 0"),
        ({"pool": 2.0}, "pool of Framing must be a whole number from 1 on, not 2.0"),
        ({"by": "count"}, "by of Framing must be 'number' or 'time', not 'count'"),
        ({"values": "signed"}, "values of Framing must be 'count' or 'binary', not 'signed'"),
        ({"span": 0}, "span of Framing must be a whole number from 1 on( or None)?, not 0"),
        ({"span": 9.5}, "span of Framing must be a whole number from 1 on( or None)?, not 9.5"),
        ({"span": 5, "by": "number"}, "span is how many us a frame by time takes; not 5 by number"),
        ({"span": 5, "since": "start"}, "since of Framing must be 'first' or 'zero', not 'start'"),
        ({"since": "zero"}, "since='zero' is for frames of a fixed span"),
        ({"crop": (0, 3)}, r"crop\[0\] of Framing must be a whole number from 1 on, not 0"),
        ({"crop": (2, 2.5)}, r"crop\[1\] of Framing must be a whole number from 1 on, not 2.5"),
        (
            {"crop": (2,)},
            r"crop of Framing must be a list of 2, each of it a whole number from 1 on or None, not \(2,\)",
        ),
    ],
    ids=str,
)
def test_impossible_framings_are_refused(fields: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Framing(**fields)


def test_recordings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match=r"crop \(2, 4\) is larger than the sensor, 1 x 4 pixels"):
        Framing(crop=(2, 4))([recording(SIX, LINE)])
    with pytest.raises(UserError, match=r"crop \(1, 5\) is larger than the sensor"):
        Framing(crop=(1, 5)).shape(LINE)
    with pytest.raises(UserError, match="recordings of one sensor, not of 2"):
        Framing()([recording(SIX, LINE), recording(SIX, Sensor(height=1, width=5))])
    with pytest.raises(UserError, match="recordings of one sensor, not of 0"):
        Framing()([])


def test_round_trip() -> None:
    chosen = Framing(steps=3, span=9, since="zero", crop=(4, 5), pool=2, values="binary")
    for framing in (Framing(), chosen, Framing(by="number")):
        assert from_config(json.loads(json.dumps(to_config(framing))), Framing) == framing
        assert hash(framing) == hash(dataclasses.replace(framing))
