"""Do the filters of single events keep what a loop over the events keeps?"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeproof.choices import UserError
from spikeproof.data.events.filters import background_activity, hot_pixels, quantised_activity
from spikeproof.data.events.streams import Events, Sensor

Event = tuple[int, int, int, int]  # t in us, x, y, p

LINE = Sensor(height=1, width=6)


def recording(events: list[Event], sensor: Sensor) -> Events:
    t, x, y, p = np.array(sorted(events, key=lambda e: e[0]), np.int64).reshape(-1, 4).T
    return Events(t=t, x=x.astype(np.int16), y=y.astype(np.int16), p=p.astype(np.uint8), sensor=sensor)


def listed(events: Events) -> list[Event]:
    columns = (events.t, events.x, events.y, events.p)
    return list(zip(*(column.tolist() for column in columns), strict=True))


@st.composite
def recordings(draw: st.DrawFn) -> Events:
    """Up to 60 events on sensors of a few pixels, many at equal times, and none at all."""
    sensor = draw(st.builds(Sensor, polarities=st.integers(1, 2), height=st.integers(1, 6), width=st.integers(1, 6)))
    event = st.tuples(
        st.integers(0, draw(st.sampled_from([3, 40, 10_000]))),
        st.integers(0, sensor.width - 1),
        st.integers(0, sensor.height - 1),
        st.integers(0, sensor.polarities - 1),
    )
    return recording(draw(st.lists(event, max_size=60)), sensor)


every_recording = settings(max_examples=200, deadline=None)
radii, windows, thresholds = st.integers(1, 4), st.sampled_from([1, 2, 5, 20, 3000]), st.integers(0, 6)


def supported(events: Events, times: list[int], radius: int, window: int) -> list[bool]:
    """R-SNN's loop: each event writes its time into the pixels round its own, and looks up what its own holds."""
    last = np.full((events.sensor.height, events.sensor.width), -np.inf)
    found = []
    for time, (_, x, y, _) in zip(times, listed(events), strict=True):
        for row in range(max(y - radius, 0), min(y + radius + 1, events.sensor.height)):
            for column in range(max(x - radius, 0), min(x + radius + 1, events.sensor.width)):
                if (row, column) != (y, x):
                    last[row, column] = time
        found.append(bool(time - last[y, x] < window))
    return found


def not_hot(events: list[Event], most: int) -> list[Event]:
    counts: dict[tuple[int, int], int] = {}
    for _, x, y, _ in events:
        counts[x, y] = counts.get((x, y), 0) + 1
    return [event for event in events if counts[event[1], event[2]] <= most]


@every_recording
@given(recordings(), radii, windows)
def test_background_activity_is_the_loop_over_events(events: Events, radius: int, window: int) -> None:
    kept = supported(events, events.t.tolist(), radius, window)
    expected = [event for event, keeps in zip(listed(events), kept, strict=True) if keeps]
    assert listed(background_activity(events, radius, window)) == expected


@every_recording
@given(recordings(), thresholds)
def test_hot_pixels_are_counted_over_time_and_polarity(events: Events, most: int) -> None:
    assert listed(hot_pixels(events, most)) == not_hot(listed(events), most)


@every_recording
@given(recordings(), st.sampled_from([1, 2, 7, 100]), radii, windows, thresholds)
def test_quantised_activity_rounds_then_looks_round_then_counts(
    events: Events, quantum: int, radius: int, window: int, most: int
) -> None:
    rounded = [quantum * ((2 * t + quantum) // (2 * quantum)) for t in events.t.tolist()]
    kept = supported(events, rounded, radius, window)
    near = [event for event, keeps in zip(listed(events), kept, strict=True) if keeps]
    assert listed(quantised_activity(events, quantum, radius, window, most)) == not_hot(near, most)


def test_background_activity_by_hand() -> None:
    """The second event has a neighbour 4 us before, the third one 5 us before, the fourth only itself, at once."""
    events = recording([(10, 1, 0, 0), (14, 2, 0, 1), (19, 3, 0, 0), (19, 3, 0, 1), (20, 5, 0, 0)], LINE)
    assert [e[0] for e in listed(background_activity(events, radius=1, window_us=5))] == [14]
    assert [e[0] for e in listed(background_activity(events, radius=1, window_us=6))] == [14, 19, 19]
    assert [e[0] for e in listed(background_activity(events, radius=2, window_us=2))] == [20]


def test_of_events_at_one_time_the_later_is_supported() -> None:
    events = recording([(7, 0, 0, 0), (7, 1, 0, 0)], LINE)
    assert listed(background_activity(events, window_us=1)) == [(7, 1, 0, 0)]


def test_no_row_is_the_neighbour_of_another_ones_end() -> None:
    events = recording([(1, 5, 0, 0), (2, 0, 1, 0), (3, 5, 1, 0)], Sensor(height=2, width=6))
    assert listed(background_activity(events, radius=1, window_us=100)) == [(3, 5, 1, 0)]


def test_what_is_kept_is_as_it_was() -> None:
    events = recording([(10, 1, 0, 1), (13, 2, 0, 0)], LINE)
    kept = quantised_activity(events, quantum_us=10)
    assert listed(kept) == [(13, 2, 0, 0)]
    assert [a.dtype for a in (kept.t, kept.x, kept.y, kept.p)] == [np.int64, np.int16, np.int16, np.uint8]
    assert kept.sensor == LINE


def test_settings_that_keep_nothing_or_mean_nothing_are_refused() -> None:
    events = recording([(1, 0, 0, 0)], LINE)
    for call, said in (
        (lambda: background_activity(events, radius=0), "radius is a whole number from 1 on, not 0"),
        (lambda: background_activity(events, window_us=0), "window_us is a whole number from 1 on"),
        (lambda: background_activity(events, radius=1.5), "radius is a whole number from 1 on, not 1.5"),
        (lambda: hot_pixels(events, most=-1), "most is a whole number from 0 on"),
        (lambda: quantised_activity(events, quantum_us=0), "quantum_us is a whole number from 1 on"),
    ):
        with pytest.raises(UserError, match=said):
            call()
