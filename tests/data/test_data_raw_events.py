"""Are .raw files of EVT2 and EVT3 read as a loop over their words would read them?"""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from spikeproof.choices import UserError
from spikeproof.data import Events, Sensor, read_events

Event = tuple[int, int, int, int]  # t in us, x, y, p
SENSOR = Sensor(height=480, width=640)
HEADERS = (
    "% evt {0}.0\n% geometry 640x480\n% end\n",
    "% format EVT{0};height=480;width=640\n% end\n",
    "% evt {0}.0\n% height 480\n% width 640\n",
)


def listed(events: Events) -> list[Event]:
    return list(zip(*(column.tolist() for column in (events.t, events.x, events.y, events.p)), strict=True))


def drawn(count: int, start: int = 0, seed: int = 0) -> list[Event]:
    random = np.random.default_rng(seed)
    t = start + np.cumsum(random.integers(0, 3000, count))
    return [(int(time), *(int(random.integers(0, end)) for end in (640, 480, 2))) for time in t]


def evt2(events: list[Event]) -> bytes:
    words, high = [], None
    for t, x, y, p in events:
        if t >> 6 != high:
            high = t >> 6
            words += [0x8 << 28 | (high & 0xFFFFFFF), 0xE << 28 | 7]
        words += [p << 28 | (t & 0x3F) << 22 | x << 11 | y, 0xA << 28]
    return np.array(words, "<u4").tobytes()


def evt3(events: list[Event]) -> bytes:
    words: list[int] = []
    for t, x, y, p in events:
        words += [8 << 12 | (t >> 12 & 0xFFF), 6 << 12 | (t & 0xFFF), y, 2 << 12 | p << 11 | x, 0xE << 12 | 5]
    return np.array(words, "<u2").tobytes()


WRITERS = {"2": evt2, "3": evt3}


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("version", WRITERS)
def test_what_was_written_is_read(version: str, header: str, tmp_path: Path) -> None:
    events, path = drawn(300), tmp_path / "a.raw"
    path.write_bytes(header.format(version).encode() + WRITERS[version](events))
    found = read_events(path)
    assert listed(found) == events
    assert found.sensor == SENSOR
    assert listed(read_events(path, SENSOR)) == events
    with pytest.raises(UserError, match="it is of a sensor of"):
        read_events(path, Sensor(height=4, width=4))


@pytest.mark.parametrize(("version", "bits"), [("2", 34), ("3", 24)])
def test_a_clock_that_begins_again_goes_on(version: str, bits: int, tmp_path: Path) -> None:
    events = drawn(200, start=2**bits - 100_000)
    path = tmp_path / "a.raw"
    path.write_bytes(HEADERS[0].format(version).encode() + WRITERS[version](events))
    assert events[-1][0] > 2**bits
    assert listed(read_events(path)) == events


def test_vectors_of_evt3_are_pixels_side_by_side(tmp_path: Path) -> None:
    words = [
        *(3 << 12 | 9, 4 << 12 | 0xFFF),  # before any time: passed over
        *(8 << 12 | 1, 6 << 12 | 2, 40),  # t = 4098, y = 40
        *(3 << 12 | 1 << 11 | 100, 4 << 12 | 0b100000000101, 5 << 12 | 0b11, 4 << 12 | 1),  # on, from x = 100
        *(2 << 12 | 7, 6 << 12 | 3, 41),  # one at x = 7, off; t = 4099, y = 41
        *(3 << 12 | 200, 5 << 12 | 0b10000001),
    ]
    (tmp_path / "a.raw").write_bytes(HEADERS[0].format("3").encode() + np.array(words, "<u2").tobytes())
    on = [(4098, 100 + place, 40, 1) for place in (0, 2, 11, 12, 13, 20)]
    off = [(4098, 7, 40, 0), (4099, 200, 41, 0), (4099, 207, 41, 0)]
    assert listed(read_events(tmp_path / "a.raw")) == on + off


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"% evt 2.1\n% end\n1234", "it is encoded as EVT21, which is not read; EVT2 and EVT3 are; convert it"),
        (b"% format EVT4;height=4;width=4\n% end\n1234", "encoded as EVT4"),
        (b"GIF89a and so on", "no .raw file of Metavision"),
        (b"", "no .raw file of Metavision"),
        (b"% evt 3.0\n% end\n1234", "its header has no size; give it"),
        (b"% evt 3.0\n% geometry 0x7\n% end\n1234", "height|width"),
        (HEADERS[0].format("2").encode() + evt2(drawn(5))[:-1], "truncated"),
        (HEADERS[0].format("2").encode(), "there are no events"),
        (HEADERS[0].format("3").encode(), "there are no events"),
    ],
)
def test_what_is_not_read_is_named(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(content)
    with pytest.raises(UserError, match=said):
        read_events(tmp_path / "a.raw")


@pytest.mark.parametrize("version", WRITERS)
def test_damage_never_ends_in_anything_but_an_error_or_events(version: str, tmp_path: Path) -> None:
    random, path = np.random.default_rng(0), tmp_path / "a.raw"
    whole = HEADERS[0].format(version).encode() + WRITERS[version](drawn(40))
    for _ in range(300):
        damaged = bytearray(whole)
        for place in random.integers(0, len(whole), 3):
            damaged[place] = int(random.integers(0, 256))
        path.write_bytes(damaged[: int(random.integers(1, len(whole) + 1))])
        with suppress(UserError):
            assert len(read_events(path, SENSOR, repair=bool(random.integers(0, 2))))
