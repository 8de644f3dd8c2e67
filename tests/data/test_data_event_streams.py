"""Is a recording checked once, with an error that names its first wrong event, or repaired?"""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from spikeproof.choices import UserError
from spikeproof.data import Events, Sensor
from spikeproof.data.events.streams import checked

SENSOR = Sensor(height=4, width=6)
quick = settings(max_examples=100, deadline=None, derandomize=True, database=None)
Event = tuple[int, int, int, int]  # t in us, x, y, p


def of(events: Sequence[Event], sensor: Sensor = SENSOR, *, repair: bool = False) -> Events:
    t, x, y, p = np.array(events, np.int64).reshape(-1, 4).T
    return checked(t, x, y, p, sensor, "a file", repair=repair)


def listed(events: Events) -> list[Event]:
    return list(zip(*(column.tolist() for column in (events.t, events.x, events.y, events.p)), strict=True))


GOOD: list[Event] = [(0, 0, 0, 0), (5, 5, 3, 1), (5, 1, 2, 1), (9, 2, 2, 0)]
WRONG = [
    ((7, 6, 0, 0), "event 4: x 6 is outside the sensor, 0 to 5"),
    ((9, -1, 0, 0), "event 4: x -1 is outside"),
    ((9, 0, 4, 0), "event 4: y 4 is outside the sensor, 0 to 3"),
    ((9, 0, -7, 0), "event 4: y -7 is outside"),
    ((9, 0, 0, 2), "event 4: polarity 2 is none of 0 to 1"),
    ((9, 0, 0, -1), "event 4: polarity -1 is none of 0 to 1"),
    ((-3, 0, 0, 0), "event 4: time -3 us is negative"),
    ((8, 0, 0, 0), "event 4: time 8 us comes after 9 us"),
]


def test_what_is_right_is_kept_as_it_is() -> None:
    for repair in (False, True):
        events = of(GOOD, repair=repair)
        assert listed(events) == GOOD
        assert len(events) == 4
        assert events.duration == 9
        assert events.sensor == SENSOR
        assert [a.dtype for a in (events.t, events.x, events.y, events.p)] == [np.int64, np.int16, np.int16, np.uint8]


@pytest.mark.parametrize(("event", "said"), WRONG)
def test_the_first_wrong_event_is_named(event: Event, said: str) -> None:
    with pytest.raises(UserError, match=rf"^a file: {said}.*; repair leaves out what is wrong and sorts the rest"):
        of([*GOOD, event, (9, 1, 1, 1), (20, 99, 99, 99)])


@pytest.mark.parametrize(("event", "said"), WRONG)
def test_repair_leaves_out_what_is_wrong_and_sorts_the_rest(event: Event, said: str) -> None:
    events = of([*GOOD, event, (9, 1, 1, 1), (20, 99, 99, 99)], repair=True)
    kept = [*GOOD, (9, 1, 1, 1)]
    late = said.endswith("comes after 9 us")  # which is wrong in its place alone
    assert listed(events) == (sorted([*kept, event], key=lambda e: e[0]) if late else kept)


def test_events_of_one_time_keep_their_order() -> None:
    assert listed(of([(5, 3, 0, 0), (1, 2, 0, 0), (5, 1, 0, 0), (1, 4, 0, 0)], repair=True)) == [
        (1, 2, 0, 0),
        (1, 4, 0, 0),
        (5, 3, 0, 0),
        (5, 1, 0, 0),
    ]


@given(
    events=st.lists(
        st.tuples(st.integers(-3, 30), st.integers(-2, 8), st.integers(-2, 6), st.integers(-1, 3)), max_size=25
    ),
    polarities=st.integers(1, 2),
)
@quick
def test_checking_and_repairing_are_what_a_loop_does(events: list[Event], polarities: int) -> None:
    sensor = Sensor(polarities=polarities, height=4, width=6)

    def right(event: Event) -> bool:
        t, x, y, p = event
        return t >= 0 and 0 <= x < 6 and 0 <= y < 4 and 0 <= p < polarities

    first = next((i for i, e in enumerate(events) if not right(e) or (i and e[0] < events[i - 1][0])), None)
    assume(polarities == 1 or tuple({e[3] for e in events}) not in {(1, -1), (-1, 1), (1, 2), (2, 1)})  # other codings
    kept = sorted((e for e in events if right(e)), key=lambda e: e[0])
    if first is None and events:
        assert listed(of(events, sensor)) == events
    else:
        with pytest.raises(UserError, match="no events" if first is None else rf"^a file: event {first}: "):
            of(events, sensor)
    if kept:
        assert listed(of(events, sensor, repair=True)) == kept
    else:
        with pytest.raises(UserError, match="a file: there are no events"):
            of(events, sensor, repair=True)


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", ">i4", ">u8"])
def test_numbers_of_any_type(dtype: str) -> None:
    t, x, y, p = np.array(GOOD, dtype).T
    events = checked(t, x, y, p.astype(bool), SENSOR, "a file")
    assert listed(events) == GOOD
    assert events.t.dtype == np.int64
    with pytest.raises(UserError, match="event 2: x 7 is outside"):
        checked(t, np.array([0, 1, 7, 0], dtype), y, p, SENSOR, "a file")


def test_a_time_that_no_clock_has_is_not_wrapped_round() -> None:
    t = np.array([0, 5, 2**64 - 10, 2**64 - 5], np.uint64)
    zero = np.zeros(4, np.int64)
    with pytest.raises(UserError, match="event 2: time 18446744073709551606 us is later than"):
        checked(t, zero, zero, zero, SENSOR, "a file")
    assert checked(t, zero, zero, zero, SENSOR, "a file", repair=True).t.tolist() == [0, 5]


def test_columns_that_are_none_are_refused() -> None:
    t, x, y, p = np.array(GOOD).T
    for columns, said in (
        ((t, x[:3], y, p), "4 times, 3 and 4 coordinates and 4 polarities"),
        ((t, x, y, p[:0]), "4 times, 4 and 4 coordinates and 0 polarities"),
        ((t.astype(float), x, y, p), "t is whole numbers"),
        ((t, x, y.astype(complex), p), "y is whole numbers"),
        ((t, x.reshape(4, 1), y, p), r"x is whole numbers \[N\], not int64 \[4, 1\]"),
        ((t[:0], x[:0], y[:0], p[:0]), "there are no events"),
    ):
        for repair in (False, True):
            with pytest.raises(UserError, match=rf"^a file: .*{said}"):
                checked(*columns, SENSOR, "a file", repair=repair)


def test_time_from_zero_and_some_of_the_events() -> None:
    later = of([(t + 1000, x, y, p) for t, x, y, p in GOOD])
    assert listed(later.from_zero()) == GOOD
    assert listed(later)[0][0] == 1000
    assert listed(of(GOOD).where(np.array([True, False, True, False]))) == [GOOD[0], GOOD[2]]
    assert listed(of(GOOD).where(np.array([1, 3]))) == [GOOD[1], GOOD[3]]
    assert len(of(GOOD).where(np.zeros(4, bool))) == 0


def test_pixels_count_row_by_row() -> None:
    assert of(GOOD).pixels().tolist() == [0, 23, 13, 14]
    assert of(GOOD).pixels(margin=1).tolist() == [9, 38, 26, 27]


def test_errors_name_the_places_in_the_source() -> None:
    t, x, y, p = np.array([*GOOD, (9, 6, 0, 0)], np.int64).T
    with pytest.raises(UserError, match="event 17: x 6"):
        checked(t, x, y, p, SENSOR, "a file", places=np.array([0, 3, 4, 9, 17]))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"height": 0, "width": 3}, r"height of Sensor must be a whole number in \[1, 32768\], not 0"),
        ({"height": 2.5, "width": 3}, r"height of Sensor must be a whole number in \[1, 32768\], not 2.5"),
        ({"height": 2, "width": 3.0}, "width of Sensor must be a whole number .*, not 3.0"),
        ({"polarities": 1.0, "height": 3, "width": 3}, "polarities of Sensor must be 1 or 2, not 1.0"),
        ({"height": 3, "width": 2**15 + 1}, r"width of Sensor must be a whole number in \[1, 32768\], not 32769"),
        ({"polarities": 3, "height": 3, "width": 3}, "polarities of Sensor must be 1 or 2, not 3"),
        ({"polarities": 0, "height": 3, "width": 3}, "polarities of Sensor must be 1 or 2, not 0"),
    ],
    ids=str,
)
def test_impossible_sensors_are_refused(fields: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Sensor(**fields)


def test_a_pixel_of_the_largest_sensor_is_kept() -> None:
    sensor = Sensor(height=2**15, width=2**15)
    assert sensor.shape == (2, 2**15, 2**15)
    assert listed(of([(0, 2**15 - 1, 2**15 - 1, 1)], sensor)) == [(0, 2**15 - 1, 2**15 - 1, 1)]
