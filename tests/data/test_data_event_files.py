"""Are files of events read as their publishers describe them, and refused when they are anything else?"""

import os
import random
import struct
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.event_files import readings
from spikeproof.choices import UserError
from spikeproof.data.events.files import SUFFIXES, read_events
from spikeproof.data.events.gestures import labels_of, read_gestures
from spikeproof.data.events.hdf5 import SpikeFile
from spikeproof.data.events.matlab import parse_mat
from spikeproof.data.events.npz import write_npz
from spikeproof.data.events.streams import Events, Sensor, checked
from tests.data.event_files import (
    AEDAT_2,
    AEDAT_3,
    DAT,
    LAYOUTS,
    Event,
    Layout,
    aedat_2_bytes,
    aedat_3_bytes,
    bin_bytes,
    dat_bytes,
    mat_bytes,
    npz_bytes,
    packet,
    save_spikes,
)

NMNIST = Sensor(height=34, width=34)
VGA = Sensor(height=480, width=640)
FOUR: list[Event] = [(10, 1, 2, 1), (10, 3, 4, 0), (25, 5, 6, 1), (40, 7, 8, 0)]
LATER: list[Event] = [(t + 50, x, y, p) for t, x, y, p in FOUR]

every_layout = pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
cut_at_records = pytest.mark.parametrize("layout", [at for at in LAYOUTS if at.record], ids=lambda layout: layout.name)


def listed(events: Events) -> list[Event]:
    columns = (events.t, events.x, events.y, events.p)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def saved(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def refused(path: Path, message: str, sensor: Sensor | None = None, *, repair: bool = False) -> None:
    """With an error that names the file."""
    with pytest.raises(UserError, match=message) as error:
        read_events(path, sensor, repair=repair)
    assert path.name in str(error.value)


def test_an_nmnist_event_by_hand(tmp_path: Path) -> None:
    path = saved(tmp_path / "00002.bin", bytes([3, 7, 0x81, 0x02, 0x03, 33, 0, 0x7F, 0xFF, 0xFF]))
    events = read_events(path, NMNIST)
    assert listed(events) == [(0x010203, 3, 7, 1), (2**23 - 1, 33, 0, 0)]
    assert [a.dtype for a in (events.t, events.x, events.y, events.p)] == [np.int64, np.int16, np.int16, np.uint8]
    assert events.sensor == NMNIST


def test_a_cifar10_dvs_event_by_hand(tmp_path: Path) -> None:
    on = bytes.fromhex("0000090a 00000100")  # row bits 9, column bits 5, polarity bit 0
    off = bytes.fromhex("00007f01 7fffffff")  # row bits 127, column bits 0, polarity bit 1
    events = read_events(saved(tmp_path / "cifar10_cat_0.aedat", AEDAT_2 + on + off))
    assert listed(events) == [(256, 118, 122, 1), (2**31 - 1, 0, 127, 0)]
    assert events.sensor == Sensor(height=128, width=128)


def test_a_gesture_event_by_hand(tmp_path: Path) -> None:
    header = bytes.fromhex("0100 0100 08000000 04000000 01000000 02000000 02000000 02000000")  # one overflow
    body = bytes.fromhex("0f000400 05000000 0d00fe00 06000000")
    events = read_events(saved(tmp_path / "user01_lab.aedat", AEDAT_3 + header + body))
    assert listed(events) == [(2**31 + 5, 2, 3, 1), (2**31 + 6, 127, 3, 0)]


def test_a_metavision_event_by_hand(tmp_path: Path) -> None:
    body = bytes.fromhex("0c08 04030201 01800010 ffffffff 7fc20000")
    events = read_events(saved(tmp_path / "cars.dat", DAT + body))
    assert listed(events) == [(0x01020304, 1, 2, 1), (2**32 - 1, 0x27F, 3, 0)]
    assert events.sensor == VGA


def test_an_asl_event_by_hand(tmp_path: Path) -> None:
    """Written by Matlab's rules: y = 0 is the lowest of 180 rows."""
    events = read_events(saved(tmp_path / "a_0001.mat", mat_bytes([(12, 239, 179, 1), (12, 0, 0, 0)], "f8")))
    assert listed(events) == [(12, 239, 179, 1), (12, 0, 0, 0)]
    assert scipy.io.loadmat(tmp_path / "a_0001.mat")["y"].tolist() == [[0], [179]]


@every_layout
def test_what_was_written_is_read(layout: Layout, tmp_path_factory: pytest.TempPathFactory) -> None:
    sensor = layout.sensor
    path = tmp_path_factory.mktemp("events") / layout.file
    times = st.integers(0, min(2**layout.bits - 1, 86_399 * 10**6))  # a day at most
    event = st.tuples(times, st.integers(0, sensor.width - 1), st.integers(0, sensor.height - 1), st.integers(0, 1))

    @settings(max_examples=50, deadline=None)
    @given(st.lists(event, min_size=1, max_size=20))
    def check(events: list[Event]) -> None:
        ordered = sorted(events, key=lambda e: e[0])
        path.write_bytes(layout.written(ordered))
        assert listed(read_events(path, sensor)) == ordered
        path.write_bytes(layout.written(events))
        found = read_events(path, sensor, repair=True)
        assert found.repairs is not None
        assert len(found) == len(ordered) - found.repairs.left_out >= len(ordered) - 1  # one may be a glitch
        assert [each for each in ordered if each in listed(found)] == listed(found)

    check()


@every_layout
def test_time_must_not_decrease(layout: Layout, tmp_path: Path) -> None:
    path = saved(tmp_path / layout.file, layout.written([*FOUR[2:], *FOUR[:2]]))
    refused(path, "event 2: time 10 us comes after 40 us", layout.sensor)
    assert listed(read_events(path, layout.sensor, repair=True)) == FOUR


@every_layout
def test_coordinates_are_on_the_sensor(layout: Layout, tmp_path: Path) -> None:
    written = layout.written([(5, 0, 0, 1), (6, 30, 0, 1), (7, 1, 1, 0)])
    for size in (b"#Source 1: DVS128\r\n", b"% Width 640\n"):  # or another one is refused for itself
        written = written.replace(size, b"")
    path = saved(tmp_path / layout.file, written)
    narrow = Sensor(height=layout.sensor.height, width=20)
    refused(path, "event 1: x 30 is outside the sensor, 0 to 19", narrow)
    assert listed(read_events(path, narrow, repair=True)) == [(5, 0, 0, 1), (7, 1, 1, 0)]


@every_layout
def test_no_events_are_no_recording(layout: Layout, tmp_path: Path) -> None:
    path = saved(tmp_path / layout.file, layout.written([]))
    for repair in (False, True):
        refused(path, "there are no events", layout.sensor, repair=repair)


@cut_at_records
def test_a_truncated_event(layout: Layout, tmp_path: Path) -> None:
    whole = layout.written(FOUR[:3])
    for missing in range(1, layout.record or 0):
        path = saved(tmp_path / layout.file, whole[:-missing])
        refused(path, "truncated", layout.sensor)
        assert listed(read_events(path, layout.sensor, repair=True)) == FOUR[:2]


@pytest.mark.parametrize("layout", [at for at in LAYOUTS if not at.record], ids=lambda layout: layout.name)
def test_a_truncated_archive_is_beyond_repair(layout: Layout, tmp_path: Path) -> None:
    whole = layout.written(FOUR)
    for length in (0, 5, 60, 130, len(whole) // 2, len(whole) - 30):
        path = saved(tmp_path / layout.file, whole[:length])
        for repair in (False, True):
            refused(path, "truncated|it has no", layout.sensor, repair=repair)


@every_layout
def test_damage_is_never_another_error(layout: Layout, tmp_path: Path) -> None:
    chance = random.Random(0)
    whole = layout.written([*FOUR, *LATER])
    outcomes = set()
    for _ in range(150):
        content = bytearray(whole[: chance.choice((len(whole), chance.randrange(len(whole))))])
        for _ in range(chance.randrange(4)):
            if content:
                content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        path = saved(tmp_path / layout.file, bytes(content))
        try:
            events = read_events(path, layout.sensor, repair=chance.random() < 0.5)
            assert len(events)
            outcomes.add("read")
        except UserError as error:
            assert layout.file in str(error)  # noqa: PT017
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


def test_files_that_are_not_there(tmp_path: Path) -> None:
    assert SUFFIXES == (".bin", ".aedat", ".dat", ".npz", ".mat", ".raw", ".aedat4", ".hdf5")
    for suffix in SUFFIXES:
        refused(tmp_path / f"nowhere{suffix}", "there is no such file", NMNIST)
    refused(tmp_path / "a.rar", r"unknown suffix '.rar'; recordings are .bin, .aedat, .dat, .npz, .mat, .raw, .aedat4")
    refused(saved(tmp_path / "b.aedat", b"#!AER-DAT3.0\r\n"), r"AEDAT 3.0 is not read; 2.0, 3.1 and 4.0 are")
    refused(tmp_path / "a.csv", "it is a table: read it with numpy.loadtxt")


def test_suffixes_in_capitals_and_paths_as_text(tmp_path: Path) -> None:
    assert listed(read_events(str(saved(tmp_path / "A.BIN", bin_bytes(FOUR))), NMNIST)) == FOUR


def test_a_bin_file_needs_the_size_of_its_sensor(tmp_path: Path) -> None:
    refused(saved(tmp_path / "a.bin", bin_bytes(FOUR)), r"does not hold the size.*height=34, width=34")


def test_overflows_of_the_atis_clock(tmp_path: Path) -> None:
    """Each mark adds 8192 us to all that follows it, and its own time is of no account."""
    mark = (99, 49, 240, 0)
    path = saved(tmp_path / "a.bin", bin_bytes([(100, 1, 1, 0), mark, (5, 2, 2, 1), mark, mark, (7, 3, 3, 0)]))
    assert listed(read_events(path, NMNIST)) == [(100, 1, 1, 0), (8197, 2, 2, 1), (24583, 3, 3, 0)]
    refused(path, "event 1: time 99 us comes after 100 us", Sensor(height=241, width=304))


def test_errors_name_the_record_of_the_file(tmp_path: Path) -> None:
    """Marks of overflow and events marked as invalid are no events, but records that count."""
    mark = (0, 0, 240, 0)
    path = saved(tmp_path / "a.bin", bin_bytes([FOUR[0], mark, mark, (4, 50, 0, 1)]))
    refused(path, "event 3: x 50 is outside the sensor, 0 to 33", NMNIST)
    path = saved(tmp_path / "b.bin", bin_bytes([FOUR[0], mark, (9, 1, 1, 1), mark, FOUR[1], (9, 1, 1, 0)]))
    refused(path, "event 5: time 16393 us comes after 16394 us", NMNIST)
    path = tmp_path / "a.aedat"
    saved(
        path, AEDAT_3 + packet(FOUR[:2], valid=0) + packet(FOUR[:1]) + packet(FOUR, kind=0) + packet([(30, 0, 128, 1)])
    )
    refused(path, "event 3: y 128 is outside the sensor, 0 to 127")


@pytest.mark.parametrize("name", ["aedat-3.1", "dat", "npz"])
def test_a_file_of_another_sensor_is_refused(name: str, tmp_path: Path) -> None:
    [layout] = [layout for layout in LAYOUTS if layout.name == name]
    polarities, height, width = layout.sensor.shape
    written = npz_bytes(FOUR, sensor=np.array([2, height, width])) if name == "npz" else layout.written(FOUR)
    path = saved(tmp_path / layout.file, written)
    for sensor in (None, layout.sensor):
        assert read_events(path, sensor).sensor == layout.sensor
    others = [NMNIST, Sensor(height=width, width=height + 1), Sensor(polarities=1, height=height, width=width)]
    for other in others:
        refused(path, rf"of a sensor of \({polarities}, {height}, {width}\) .*, not of \({other.polarities}, ", other)
    repaired = read_events(path, NMNIST, repair=True)
    assert repaired.sensor == NMNIST
    assert listed(repaired) == FOUR
    assert listed(read_events(path, Sensor(height=5, width=4), repair=True)) == FOUR[:2]


def test_other_starts_of_aedat_files(tmp_path: Path) -> None:
    path = tmp_path / "a.aedat"
    refused(saved(path, b""), "starts with b''")
    refused(saved(path, b"\x89PNG" + bytes(40)), "not with #!AER-DAT2.0, 3.1 or 4.0")
    for version in ("1.0", "3.0"):
        refused(saved(path, f"#!AER-DAT{version}\r\n".encode() + bytes(16)), f"AEDAT {version} is not read")
    refused(saved(path, AEDAT_2 + b"# a line that does not"), "its header does not end")
    refused(saved(path, b"#!AER-DAT3.1\r\n#Format: RAW\r\n" + packet(FOUR)), "does not end with a line #!END-HEADER")
    refused(saved(path, b"#!AER-DAT3.1\r\n#Format: SerialTS\r\n#!END-HEADER\r\n"), "packets are SerialTS")


def test_addresses_of_another_camera(tmp_path: Path) -> None:
    sync = struct.pack(">Ii", 0x8000, 15)  # a signal at the input of a DVS128
    davis = struct.pack(">Ii", 0x00C01800, 16)
    content = aedat_2_bytes(FOUR[:2]) + sync + davis + aedat_2_bytes(FOUR[2:], b"")
    path = saved(tmp_path / "a.aedat", content)
    refused(path, "event 2: address 0x00008000 is none of the DVS128 camera")
    assert listed(read_events(path, repair=True)) == FOUR


def test_negative_times(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.aedat", AEDAT_2 + struct.pack(">Ii", 0, -1) + aedat_2_bytes(FOUR, b""))
    refused(path, "event 0: time -1 us is negative")
    assert listed(read_events(path, repair=True)) == FOUR


def test_packets_that_hold_more_than_polarity_events(tmp_path: Path) -> None:
    """Other types, events marked as invalid, room that is not used; and each packet has its own overflows."""
    special = packet([(3, 0, 0, 0)], kind=0)
    path = tmp_path / "a.aedat"
    saved(
        path,
        AEDAT_3 + special + packet(FOUR[:2], capacity=5) + packet(FOUR, valid=0) + special + packet(FOUR, overflow=2),
    )
    assert listed(read_events(path)) == [*FOUR[:2], *((t + 2**32, x, y, p) for t, x, y, p in FOUR)]


def test_packets_that_are_wrong(tmp_path: Path) -> None:
    path = tmp_path / "a.aedat"
    for field, value in ((4, 12), (4, 0), (8, 0), (12, -1), (16, 1), (20, -1)):
        wrong = bytearray(packet(LATER))
        struct.pack_into("<i", wrong, field, value)
        saved(path, AEDAT_3 + packet(FOUR) + wrong)
        refused(path, f"packet 1, at byte {len(AEDAT_3) + 60:,}, has a wrong header: type 1")
        assert listed(read_events(path, repair=True)) == FOUR


def test_packets_that_are_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "a.aedat"
    first, second = AEDAT_3 + packet(FOUR), packet(LATER)
    for length, kept in ((1, 0), (27, 0), (28, 0), (35, 0), (36, 1), (59, 3)):
        saved(path, first + second[:length])
        refused(path, "packet 1, at byte .* is truncated")
        assert listed(read_events(path, repair=True)) == [*FOUR, *LATER[:kept]]
    saved(path, first + packet(LATER[:1], kind=3)[:-1])
    refused(path, "packet 1, at byte .* is truncated: 7 of 8 bytes")
    assert listed(read_events(path, repair=True)) == FOUR


def test_the_size_of_an_unknown_camera(tmp_path: Path) -> None:
    for source, named in ((b"#Source 0: DAVIS346\r\n", "DAVIS346"), (b"", "no camera")):
        header = b"#!AER-DAT3.1\r\n" + source + b"#!END-HEADER\r\n"
        path = saved(tmp_path / "a.aedat", header + packet([(1, 300, 200, 1)]))
        refused(path, f"header names {named}; give the size")
        assert listed(read_events(path, Sensor(height=260, width=346))) == [(1, 300, 200, 1)]


@pytest.fixture
def gestures(tmp_path: Path) -> Path:
    """Events at 10, 20, .. 90 us; x tells which."""
    events = [(10 * i, i, 0, 1) for i in range(1, 10)]
    saved(
        tmp_path / "user01_lab_labels.csv", b"class,startTime_usec,endTime_usec\r\n2,20,40\r\n11,35,61\r\n1,90,95\r\n"
    )
    return saved(tmp_path / "user01_lab.aedat", aedat_3_bytes(events))


def test_gestures_last_from_their_start_to_before_their_end(gestures: Path) -> None:
    found = read_gestures(gestures)
    assert [(events.x.tolist(), label) for events, label in found] == [([2, 3], 1), ([4, 5, 6], 10), ([9], 0)]
    assert found[0][0].t.tolist() == [20, 30]
    assert labels_of(gestures) == [1, 10, 0]
    assert all(events.sensor == Sensor(height=128, width=128) for events, _ in found)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0,20,40", "line 3: '0,20,40' is no class from 1 to 11"),
        ("12,20,40", "is no class from 1 to 11"),
        ("3,40,40", "is no class"),
        ("3,40", "is no class"),
        ("3,4e1,50", "is no class"),
        ("3,-40,50", "is no class"),
        ("3,41,50", r"line 3: user01_lab.aedat has no events from 41 to 50 us"),
    ],
)
def test_labels_that_are_wrong(gestures: Path, line: str, message: str) -> None:
    labels = gestures.with_name("user01_lab_labels.csv")
    labels.write_text(f"class,startTime_usec,endTime_usec\n2,20,40\n{line}\n5,10,20\n\n")
    with pytest.raises(UserError, match=message) as error:
        read_gestures(gestures)
    assert labels.name in str(error.value)
    assert [label for _, label in read_gestures(gestures, repair=True)] == [1, 4]
    if "no events" in message:
        assert labels_of(gestures) == [1, 2, 4]
    else:
        with pytest.raises(UserError, match=message):
            labels_of(gestures)
        assert labels_of(gestures, repair=True) == [1, 4]


def test_labels_that_are_not_there(gestures: Path) -> None:
    labels = gestures.with_name("user01_lab_labels.csv")
    labels.write_text("class,startTime_usec,endTime_usec\n")
    with pytest.raises(UserError, match="there are no gestures"):
        read_gestures(gestures)
    labels.write_text("class,start,end\n2,20,40\n")
    with pytest.raises(UserError, match="its first line is 'class,start,end', not"):
        read_gestures(gestures, repair=True)
    labels.write_text("")
    with pytest.raises(UserError, match="its first line is ''"):
        read_gestures(gestures)
    labels.unlink()
    with pytest.raises(UserError, match=r"user01_lab_labels\.csv: there is no such file"):
        read_gestures(gestures)


def test_a_recording_of_gestures_that_is_cut_short(gestures: Path) -> None:
    gestures.write_bytes(gestures.read_bytes()[:-1])  # the event at 90 us
    with pytest.raises(UserError, match="truncated"):
        read_gestures(gestures)
    assert [label for _, label in read_gestures(str(gestures), repair=True)] == [1, 10]


def test_headers_of_dat_files(tmp_path: Path) -> None:
    path = tmp_path / "a.dat"
    refused(saved(path, b"RIFF" + bytes(40)), "starts with b'RI', not %")
    refused(saved(path, DAT[:-1]), "its header does not end")
    refused(saved(path, DAT + b"\x0c"), "its header does not end")
    refused(saved(path, dat_bytes(FOUR, b"% Width 640\n% Height 480\n")), "no version, not % Version 2")
    refused(saved(path, dat_bytes(FOUR, DAT.replace(b"Version 2", b"Version 1"))), "% Version 1, not % Version 2")
    refused(saved(path, dat_bytes(FOUR, DAT.replace(b"480", b"0"))), "height of Sensor must be a whole number")
    refused(saved(path, dat_bytes(FOUR, kind=14)), "events of type 14, 8 bytes each")
    refused(saved(path, dat_bytes(FOUR, size=16)), "events of type 12, 16 bytes each")
    assert listed(read_events(saved(path, dat_bytes(FOUR, kind=0)))) == FOUR


def test_a_dat_file_without_a_size(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.dat", dat_bytes(FOUR, b"% Version 2\n% Width 640\n"))
    refused(path, "its header has no size")
    assert read_events(path, VGA).sensor == VGA


@pytest.mark.parametrize(
    ("file", "written", "value"), [("a.dat", dat_bytes, 2), ("a.npz", npz_bytes, -1), ("a.mat", mat_bytes, -1)]
)
def test_polarities_of_another_coding(tmp_path: Path, file: str, written: object, value: int) -> None:
    assert callable(written)
    path = saved(tmp_path / file, written([FOUR[0], (20, 1, 1, value), FOUR[3]]))
    refused(path, f"event 1: polarity {value} is none of 0 to 1", VGA)
    assert len(read_events(path, VGA, repair=True)) == 2


def recording(sensor: Sensor = VGA, events: list[Event] = FOUR) -> Events:
    t, x, y, p = np.array(events).T
    return checked(t, x, y, p, sensor, "test")


def test_npz_keeps_the_sensor(tmp_path: Path) -> None:
    for sensor in (VGA, Sensor(polarities=1, height=9, width=700)):
        events = recording(sensor, [(2**40, 1, 2, 0), (2**40 + 1, 3, 4, 0)])
        write_npz(tmp_path / "a.npz", events)
        again = read_events(tmp_path / "a.npz")
        assert again.sensor == sensor
        assert listed(again) == listed(events)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_npz_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_npz(str(tmp_path / "a.npz"), recording())

    def interrupted(stream: object, **_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_npz(tmp_path / "a.npz", recording(events=FOUR[:1]))
    assert listed(read_events(tmp_path / "a.npz")) == FOUR
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_npz_is_written_as_such_into_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "a.npy", tmp_path / "nowhere" / "a.npz"):
        with pytest.raises(UserError, match=r"is written as \.npz, into a folder that exists"):
            write_npz(path, recording())


def test_npz_files_of_spikingjelly_have_no_sensor(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.npz", npz_bytes(FOUR, "u4"))
    refused(path, "no array sensor")
    assert listed(read_events(path, NMNIST)) == FOUR


def test_npz_files_that_are_something_else(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, t=np.arange(3), x=np.arange(3))
    refused(path, "no array y, p", VGA)
    refused(saved(path, npz_bytes(FOUR, sensor=np.array([34, 34]))), "sensor is .polarities, height, width., not int64")
    refused(saved(path, npz_bytes(FOUR, sensor=np.array([3, 34, 34]))), "polarities of Sensor must be 1 or 2, not 3")
    np.savez(path, t=np.array([{}, {}]), x=np.zeros(2), y=np.zeros(2), p=np.zeros(2))
    refused(path, "allow_pickle", VGA)
    np.savez(path, t=np.array(["1", "2"]), x=np.zeros(2), y=np.zeros(2), p=np.zeros(2))
    refused(path, "t is numbers, not <U1", VGA)
    for t in (np.arange(3), np.zeros((2, 2)), np.array(5)):
        np.savez(path, t=t, x=np.zeros(2), y=np.zeros(2), p=np.zeros(2))
        refused(path, r"columns are equally long, \[N\] each; not t \[", VGA, repair=True)
    with path.open("wb") as stream:
        np.save(stream, np.arange(4))
    refused(path, "no .npz file", VGA)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 10.5, 2.0**53])
def test_floating_point_numbers_are_whole(tmp_path: Path, wrong: float) -> None:
    columns = np.array(FOUR, np.float64).T.copy()
    columns[0][1] = wrong
    path = tmp_path / "a.npz"
    np.savez(path, **dict(zip("txyp", columns, strict=True)))
    refused(path, "event 1: t .* is no whole number", VGA)
    assert listed(read_events(path, VGA, repair=True)) == [FOUR[0], *FOUR[2:]]


def test_numbers_beyond_64_bits(tmp_path: Path) -> None:
    """They would become negative times, unnoticed."""
    path = tmp_path / "a.npz"
    np.savez(path, t=np.array([1, 2**63], np.uint64), x=np.zeros(2, int), y=np.zeros(2, int), p=np.zeros(2, bool))
    refused(path, "event 1: t 9223372036854775808 is no whole number of 64 bits", VGA)
    assert listed(read_events(path, VGA, repair=True)) == [(1, 0, 0, 0)]


@pytest.mark.parametrize("dtype", ["u1", "i2", "f4", "f8"])
@pytest.mark.parametrize("row", [False, True])
def test_types_and_shapes_of_matlab(tmp_path: Path, dtype: str, row: bool) -> None:
    for events in (FOUR, FOUR[:1]):
        path = saved(tmp_path / "a.mat", mat_bytes(events, dtype, row))
        assert listed(read_events(path)) == events


def test_mat_files_that_are_something_else(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"ts": np.arange(3), "x": np.arange(3)})
    refused(path, "no variable y, pol")
    columns = {name: np.zeros(2) for name in ("ts", "x", "y")}
    for pol in (np.zeros((2, 2)), np.array([[[1, 2]], [[3, 4]]])):
        scipy.io.savemat(path, columns | {"pol": pol})
        refused(path, r"its pol is no row or column of numbers, but \[2, ")
    for pol in (np.array([1j, 2j]), "text", {"a": 1}, np.array([1, "a"], object)):
        scipy.io.savemat(path, columns | {"pol": pol})
        refused(path, "its pol is no array of numbers")
    refused(saved(path, b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(400)), "versions 5 to 7.2")
    path.write_bytes(mat_bytes([(1, 0, 0, 1), (2, 0, -70, 1)]))
    refused(path, "event 1: y 249 is outside the sensor, 0 to 179")


@pytest.mark.parametrize("compressed", [False, True])
def test_matlab_files_are_read_as_scipy_reads_them(tmp_path: Path, compressed: bool) -> None:
    """Among other variables, which are passed over; one to three numbers of a byte are stored in another way."""
    variables: dict[str, object] = {"note": "text", "cell": np.array([1, "a"], object), "deep": {"a": np.eye(2)}}
    dtypes = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")
    for dtype in dtypes:
        for count in (0, 1, 2, 3, 50):
            variables[f"{dtype}_{count}"] = np.arange(count).astype(dtype)
    scipy.io.savemat(tmp_path / "a.mat", variables, do_compression=compressed)
    names = [name for name in variables if name[-1].isdigit()]
    ours, theirs = parse_mat((tmp_path / "a.mat").read_bytes(), names), scipy.io.loadmat(tmp_path / "a.mat")
    assert sorted(ours) == sorted(names)
    for name in names:
        assert ours[name].tolist() == theirs[name].ravel().tolist()
        assert ours[name].dtype == name[:2]


def test_compressed_bytes_that_are_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"ts": np.arange(100)}, do_compression=True)
    content = bytearray(path.read_bytes())
    content[140] ^= 255
    refused(saved(path, bytes(content)), "no .mat file to read: damaged: Error -3 while decompressing data")


def test_a_big_endian_matlab_file_by_hand() -> None:
    """x = [1 515], int16, as a machine of the other order of bytes writes it: elements of 8, 8, 1 and 4 bytes."""
    flags = bytes.fromhex("00000006 00000008 0000000a 00000000")
    shape = bytes.fromhex("00000005 00000008 00000001 00000002")
    name = bytes.fromhex("00010001") + b"x\0\0\0"
    numbers = bytes.fromhex("00040003 00010203")
    matrix = bytes.fromhex("0000000e 00000030") + flags + shape + name + numbers
    (x,) = parse_mat(b"MATLAB 5.0".ljust(124) + b"\x01\x00MI" + matrix, ["x"]).values()
    assert x.tolist() == [1, 515]


@pytest.fixture
def h5py() -> ModuleType:
    return pytest.importorskip("h5py")


def test_spikes_of_a_cochlea(tmp_path: Path, h5py: ModuleType) -> None:
    """16 bits hold 0.1 s as 0.0999755859375 s, and would overflow at 65,504 us."""
    spikes = SpikeFile(save_spikes(tmp_path / "shd.h5", h5py, [([0.0, 0.1, 1.0], [0, 699, 5]), ([0.5], [3])], [19, 4]))
    assert (len(spikes), spikes.labels.tolist(), spikes.labels.dtype) == (2, [19, 4], np.int64)
    assert listed(spikes[0]) == [(0, 0, 0, 0), (99976, 699, 0, 0), (1_000_000, 5, 0, 0)]
    assert listed(spikes[-1]) == [(500_000, 3, 0, 0)]
    assert spikes[0].sensor == Sensor(polarities=1, height=1, width=700)
    assert [len(events) for events in spikes] == [3, 1]  # type: ignore[attr-defined]
    for beyond in (2, -3):
        with pytest.raises(IndexError, match=f"no recording {beyond}, but 2"):
            spikes[beyond]


def test_times_are_rounded_and_not_cut(tmp_path: Path, h5py: ModuleType) -> None:
    """0.000003 of 32 bits is 2.9999999e-06 and 0.289999 is 0.28999898: 3 and 289,999 us."""
    times = [0.000003, 0.289999, 0.5000014, 0.5000016]
    spikes = SpikeFile(save_spikes(tmp_path / "ssc.h5", h5py, [(times, [1, 2, 3, 4])], [0], "f4"))
    assert spikes[0].t.tolist() == [3, 289_999, 500_001, 500_002]


@pytest.mark.parametrize(
    ("times", "units", "message"),
    [
        ([0.25, 0.125, 0.5], [1, 2, 3], "event 1: time 125000 us comes after 250000 us"),
        ([0.125, 0.25, -1.0], [2, 1, 3], "event 2: time -1000000 us is negative"),
        ([0.125, np.nan, 0.25], [2, 1, 1], "event 1: time nan is no whole number"),
        ([0.125, 0.25, np.inf], [2, 1, 3], "event 2: time inf is no whole number"),
        ([0.125, 0.125, 0.25], [2, 700, 1], "event 1: x 700 is outside the sensor, 0 to 699"),
    ],
)
def test_spikes_that_are_wrong(
    tmp_path: Path, h5py: ModuleType, times: list[float], units: list[int], message: str
) -> None:
    path = save_spikes(tmp_path / "shd.h5", h5py, [([0.5], [9]), (times, units)], [0, 1])
    with pytest.raises(UserError, match=f"shd.h5: recording 1: {message}"):
        SpikeFile(path)[1]
    assert len(SpikeFile(path)[0]) == 1
    assert listed(SpikeFile(path, repair=True)[1])[:2] == [(125_000, 2, 0, 0), (250_000, 1, 0, 0)]


def test_recordings_without_spikes(tmp_path: Path, h5py: ModuleType) -> None:
    path = save_spikes(tmp_path / "shd.h5", h5py, [([], []), ([0.5, 0.5], [1])], [0, 1])
    for repair in (False, True):
        with pytest.raises(UserError, match="recording 0: there are no events"):
            SpikeFile(path, repair=repair)[0]
        with pytest.raises(UserError, match=r"recording 1: columns .* time \[2\], unit \[1\]"):
            SpikeFile(path, repair=repair)[1]


def test_hdf5_files_that_are_something_else(tmp_path: Path, h5py: ModuleType) -> None:
    path = tmp_path / "a.h5"
    with pytest.raises(UserError, match=r"a\.h5: there is no such file"):
        SpikeFile(path)
    for content in (b"", b"no HDF5", save_spikes(tmp_path / "b.h5", h5py, [([0.5], [1])], [0]).read_bytes()[:900]):
        with pytest.raises(UserError, match="truncated, damaged or no HDF5 file"):
            SpikeFile(saved(path, content))
    with h5py.File(path, "w") as file:
        file["labels"] = np.zeros(2)
        file.create_group("spikes/times")
    with pytest.raises(UserError, match="it has no spikes/times, spikes/units"):
        SpikeFile(path)
    with pytest.raises(UserError, match=r"spikes/times \[1\], spikes/units \[1\], labels \[2\] differ"):
        SpikeFile(save_spikes(path, h5py, [([0.5], [1])], [0, 1]))
    with pytest.raises(UserError, match="recording 0: spikes/times are int32 and"):
        SpikeFile(save_spikes(path, h5py, [([1], [1])], [0], "i4"))[0]
    with h5py.File(path, "a") as file:
        del file["labels"]
        file["labels"] = np.zeros(1)
    with pytest.raises(UserError, match="labels are whole numbers, not float64"):
        SpikeFile(path)


def test_the_benchmark_reads_all_that_it_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPIKEPROOF_DATA", raising=False)
    found = {name: read() for name, read in readings(2500, tmp_path).items()}
    assert found.pop("50 N-MNIST.bin of 4000") == 50 * 2500
    assert set(found.values()) == {2500}
    assert len(found) >= len(LAYOUTS)


def test_without_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UserError, match=r"pip install 'spikeproof\[events\]'"):
        SpikeFile(tmp_path / "shd.h5")


def test_real_nmnist_files() -> None:
    """Three saccades of 100 ms each, on all of the 34 x 34 pixels; the files' own order is that of time."""
    root = Path(os.environ.get("SPIKEPROOF_DATA") or "nowhere")
    files = sorted(root.glob("NMNIST/T*/*/*.bin"))[::20]
    if not files:
        pytest.skip("NMNIST is not in $SPIKEPROOF_DATA")
    recordings = [read_events(path, NMNIST) for path in files]
    for path, events in zip(files, recordings, strict=True):
        assert len(events) == path.stat().st_size / 5
        assert 290_000 < events.t[-1] < 340_000
        assert 0.3 < events.p.mean() < 0.7
        assert listed(events)[0] == first_event(path.read_bytes())
    assert max(events.x.max() for events in recordings) == max(events.y.max() for events in recordings) == 33


def first_event(content: bytes) -> Event:
    bits = f"{int.from_bytes(content[:5]):040b}"
    x, y, p, t = bits[:8], bits[8:16], bits[16], bits[17:]
    return int(t, 2), int(x, 2), int(y, 2), int(p)


def test_a_file_that_keeps_h5py_for_ever_or_crashes_it(
    tmp_path: Path, h5py: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_spikes(tmp_path / "shd.h5", h5py, [([0.5], [9])], [0])
    for program, said in (("while True: pass", "h5py reads for more than 0.5 s"), ("import os; os.abort()", "crashes")):
        saved(tmp_path / "hdf5_reader.py", program.encode())
        monkeypatch.setattr("spikeproof.data.events.asked.HERE", tmp_path)
        monkeypatch.setattr("spikeproof.data.events.asked.SECONDS", 0.5 if "True" in program else 60.0)
        with pytest.raises(UserError, match=rf"shd\.h5: .*{said}"):
            SpikeFile(path)


def test_labels_larger_than_their_file(tmp_path: Path, h5py: ModuleType) -> None:
    """Chunks that were never written take no place in the file, and all of it in the memory."""
    path = tmp_path / "shd.h5"
    with h5py.File(path, "w") as file:
        for name in ("spikes/times", "spikes/units"):
            file.create_dataset(name, (1 << 40,), h5py.vlen_dtype("f4"), chunks=(1000,))
        file.create_dataset("labels", (1 << 40,), "i8", chunks=(1000,))
    assert path.stat().st_size < 20_000
    with pytest.raises(UserError, match=r"shd\.h5: .*labels has 1,099,511,627,776 values"):
        SpikeFile(path)


def test_a_recording_is_read_after_a_fork_and_after_an_error(tmp_path: Path, h5py: ModuleType) -> None:
    spikes = SpikeFile(save_spikes(tmp_path / "shd.h5", h5py, [([0.5], [9]), ([0.25, 0.125], [1, 2])], [0, 1]))
    first = spikes._asked._process
    with pytest.raises(UserError, match="comes after"):
        spikes[1]
    assert len(spikes[0]) == 1
    assert spikes._asked._process is first
    spikes._asked._starter += 1  # as in a process that was forked
    assert len(spikes[0]) == 1
    assert spikes._asked._process is not first
    assert first is not None
    first.kill()
    first.communicate()


def test_one_byte_that_keeps_h5py_for_ever(tmp_path: Path, h5py: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """The size of an object in the heap of a file of 9 kB."""
    path = tmp_path / "shd.h5"
    with h5py.File(path, "w") as file:
        for name, kind, rows in (("times", "f2", [[0.1, 0.2], [0.3]]), ("units", "u2", [[1, 2], [3]])):
            data = file.create_dataset(f"spikes/{name}", (2,), h5py.vlen_dtype(np.dtype(kind)))
            for number, row in enumerate(rows):
                data[number] = np.array(row, kind)
        file["labels"] = np.array([0, 1])
    assert [len(SpikeFile(path)[number]) for number in range(2)] == [2, 1]
    content = bytearray(path.read_bytes())
    content[content.index(b"GCOL") + 48] = 255
    monkeypatch.setattr("spikeproof.data.events.asked.SECONDS", 2.0)
    with pytest.raises(UserError, match=r"shd\.h5: .*h5py reads for more than 2 s"):
        [SpikeFile(saved(path, bytes(content)))[number] for number in range(2)]
