"""Are AEDAT 4 and the HDF5 of Metavision read as their layouts say? The files are written here, byte by byte."""

import struct
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from spikeproof.choices import UserError
from spikeproof.data import Events, Sensor, read_events

Event = tuple[int, int, int, int]  # t in us, x, y, p
EVENTS: list[Event] = [
    (1_700_000_000_000_000, 0, 0, 1),
    (1_700_000_000_000_000, 345, 259, 0),
    (1_700_000_000_000_007, 12, 200, 1),
    (1_700_000_000_050_000, 99, 3, 0),
]
SENSOR = Sensor(height=260, width=346)
NONE, LZ4, ZSTD = 0, 1, 3  # of the field compression
STREAM = (
    '<node name="{number}"><attr key="typeIdentifier">{kind}</attr>'
    '<node name="info"><attr key="sizeX">346</attr><attr key="sizeY">260</attr></node></node>'
)


def listed(events: Events) -> list[Event]:
    return list(zip(*(column.tolist() for column in (events.t, events.x, events.y, events.p)), strict=True))


def header(compression: int = NONE, kinds: Sequence[str] = ("EVTS",)) -> bytes:
    """The version, and a flatbuffer IOHE: compression, the place of a table of contents (-1: none), a text of XML."""
    streams = "".join(STREAM.format(number=number, kind=kind) for number, kind in enumerate(kinds))
    text = f'<dv version="2.0"><node name="outInfo">{streams}</node></dv>'.encode()
    buffer = struct.pack("<I4s", 20, b"IOHE")  # where the table is, and what it is
    buffer += struct.pack("<HHHHHxx", 10, 20, 8, 12, 4)  # vtable: its bytes, the table's, where the fields are in it
    buffer += struct.pack("<iIiq", 12, 16, compression, -1)  # the table, 12 bytes after its vtable
    buffer += struct.pack("<I", len(text)) + text + b"\0"
    return b"#!AER-DAT4.0\r\n" + struct.pack("<I", len(buffer)) + buffer


def packet_of_events(events: Sequence[Event]) -> bytes:
    """A flatbuffer EVTS with its size in front: a vector of t (8 bytes), x, y (2 each) and on, in 16 bytes each."""
    buffer = struct.pack("<I4s", 16, b"EVTS") + struct.pack("<HHHxx", 6, 8, 4)
    buffer += struct.pack("<iI", 8, 4)  # the table, 8 bytes after its vtable, and where its vector is from here
    buffer += struct.pack("<I", len(events)) + b"".join(struct.pack("<qhh?xxx", *event) for event in events)
    return struct.pack("<I", len(buffer)) + buffer


def zstd(content: bytes) -> bytes:
    """A Zstandard frame of one raw block: magic, a descriptor with a size of 4 bytes, the block."""
    return struct.pack("<IBI", 0xFD2FB528, 0xA0, len(content)) + (len(content) << 3 | 1).to_bytes(3, "little") + content


def lz4(content: bytes) -> bytes:
    """An LZ4 frame of one raw block: magic, two descriptors, their checksum, a size whose top bit says raw, an end."""
    return bytes.fromhex("04224d18 604082") + struct.pack("<I", 1 << 31 | len(content)) + content + bytes(4)


PACKS = {NONE: bytes, LZ4: lz4, ZSTD: zstd}


def packed(stream: int, content: bytes) -> bytes:
    return struct.pack("<ii", stream, len(content)) + content


def aedat4(events: Sequence[Event], compression: int = NONE) -> bytes:
    """Two events a packet."""
    pack = PACKS[compression]
    parts = [packet_of_events(events[i : i + 2]) for i in range(0, len(events), 2)]
    return header(compression) + b"".join(packed(0, pack(part)) for part in parts)


@pytest.fixture
def aedat() -> ModuleType:
    return pytest.importorskip("aedat")


@pytest.fixture
def h5py() -> ModuleType:
    return pytest.importorskip("h5py")


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    def write(content: bytes, name: str = "a.aedat4") -> Path:
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return write


@pytest.mark.parametrize("compression", PACKS)
def test_aedat_4_is_read_whatever_packs_it(compression: int, written, aedat: ModuleType) -> None:
    for name in ("a.aedat4", "b.aedat"):
        found = read_events(written(aedat4(EVENTS, compression), name))
        assert listed(found) == EVENTS
        assert found.sensor == SENSOR
    with pytest.raises(UserError, match="it is of a sensor of"):
        read_events(written(aedat4(EVENTS)), Sensor(height=4, width=4))


def test_other_streams_are_passed_over_and_two_of_events_refused(written, aedat: ModuleType) -> None:
    triggers = packet_of_events([]).replace(b"EVTS", b"TRIG")  # none, in a vector of the same layout
    content = header(kinds=("TRIG", "EVTS")) + packed(0, triggers) + packed(1, packet_of_events(EVENTS))
    assert listed(read_events(written(content))) == EVENTS
    with pytest.raises(UserError, match="it has 2 streams of events, and one is read"):
        read_events(written(header(kinds=("EVTS", "EVTS"))))
    with pytest.raises(UserError, match="it has 0 streams of events"):
        read_events(written(header(kinds=("TRIG",))))


def test_what_is_cut_short_is_refused_and_repair_keeps_the_packets_before(written, aedat: ModuleType) -> None:
    path = written(aedat4(EVENTS)[:-3])
    with pytest.raises(UserError, match=r"a.aedat4: truncated, damaged or no AEDAT 4 file: "):
        read_events(path)
    assert listed(read_events(path, repair=True)) == EVENTS[:2]
    with pytest.raises(UserError, match=r"it starts with b'no', not with #!AER-DAT4\.0"):
        read_events(written(b"no"))


def test_events_that_cannot_be_are_named_by_their_index(written, aedat: ModuleType) -> None:
    outside = [*EVENTS[:3], (EVENTS[3][0], 346, 3, 0)]
    with pytest.raises(UserError, match="event 3: x 346 is outside the sensor, 0 to 345"):
        read_events(written(aedat4(outside)))
    with pytest.raises(UserError, match="event 1: time 1700000000000000 us comes after"):
        read_events(written(aedat4([EVENTS[2], EVENTS[0]])))
    with pytest.raises(UserError, match="there are no events"):
        read_events(written(header()))


def test_a_packet_that_unpacks_to_gigabytes_ends_the_process_and_not_this_one(written, aedat: ModuleType) -> None:
    """Each block of 4 bytes says: 128 KiB of zeros."""
    blocks = ((1 << 17) << 3 | 1 << 1).to_bytes(3, "little") + b"\0"
    content = struct.pack("<IBB", 0xFD2FB528, 0x00, 0x70) + blocks * 24_000  # 3 GiB, in a window of 16 MiB
    with pytest.raises(UserError, match=r"a.aedat4: truncated, damaged or no AEDAT 4 file: "):
        read_events(written(header(ZSTD) + packed(0, content)))


def test_damage_never_ends_in_anything_but_an_error_or_events(written, aedat: ModuleType) -> None:
    random, whole = np.random.default_rng(0), aedat4(EVENTS)
    for _ in range(4):
        damaged = bytearray(whole)
        for place in random.integers(0, len(whole), 3):
            damaged[place] = int(random.integers(0, 256))
        with suppress(UserError):
            assert len(read_events(written(bytes(damaged)), SENSOR, repair=True))


def test_without_the_library_it_is_named(written, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aedat", None)
    with pytest.raises(UserError, match=r"read by the library aedat.*pip install 'spikeproof\[events\]'"):
        read_events(written(aedat4(EVENTS)))


TABLE = np.dtype([("x", "<u2"), ("y", "<u2"), ("p", "<i2"), ("t", "<i8")])


def metavision(path: Path, h5py: ModuleType, events: Sequence[Event], **packing: object) -> Path:
    """The layout that Prophesee documents: a table of events, triggers, and attributes."""
    table = np.array([(x, y, p, t) for t, x, y, p in events], TABLE)
    with h5py.File(path, "w") as file:
        file.attrs["geometry"] = "346x260"
        file.attrs["format"] = "ECF"
        file.create_dataset("CD/events", data=table, **packing)
        file.create_dataset("CD/indexes", data=np.zeros(1, [("id", "<u8"), ("ts", "<i8")]))
        file.create_dataset("EXT_TRIGGER/events", data=np.zeros(1, [("p", "<i2"), ("t", "<i8"), ("id", "<i2")]))
    return path


@pytest.mark.parametrize("packing", [{}, {"chunks": (2,), "compression": "gzip"}])
def test_hdf5_of_metavision_is_read(packing: dict, tmp_path: Path, h5py: ModuleType) -> None:
    path = metavision(tmp_path / "a.hdf5", h5py, EVENTS, **packing)
    assert listed(read_events(path)) == EVENTS
    assert read_events(path).sensor == SENSOR
    with pytest.raises(UserError, match="it is of a sensor of"):
        read_events(path, Sensor(height=4, width=4))
    with h5py.File(path, "a") as file:
        del file.attrs["geometry"]
    with pytest.raises(UserError, match="it states no geometry; give it"):
        read_events(path)
    assert listed(read_events(path, SENSOR)) == EVENTS


def test_hdf5_that_is_packed_by_what_is_not_here_is_told_how_to_convert_it(tmp_path: Path, h5py: ModuleType) -> None:
    for number, said in ((0x8ECF, r"Prophesee's filter ECF \(36559\), .*hdf5_ecf"), (32015, "pip install hdf5plugin")):
        path = tmp_path / f"{number}.hdf5"
        with h5py.File(path, "w") as file:
            file.attrs["geometry"] = "346x260"
            how = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            how.set_chunk((4,))
            how.set_filter(number, h5py.h5z.FLAG_OPTIONAL)
            space, kind = h5py.h5s.create_simple((4,)), h5py.h5t.py_create(TABLE)
            h5py.h5d.create(file.create_group("CD").id, b"events", kind, space, how)
        with pytest.raises(UserError, match=f"{said}.*metavision_file_to_dat of OpenEB"):
            read_events(path)


def test_a_table_far_larger_than_its_file_is_not_unpacked(tmp_path: Path, h5py: ModuleType) -> None:
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file.attrs["geometry"] = "346x260"
        file.create_dataset("CD/events", (50_000_000,), TABLE, chunks=(1 << 16,), compression="gzip")
    with pytest.raises(UserError, match=r"unpacks to 700,000,000 bytes, and [\d,]+ are allowed"):
        read_events(tmp_path / "a.hdf5")


def test_other_hdf5_is_told_who_reads_it(tmp_path: Path, h5py: ModuleType) -> None:
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["spikes/times"] = np.zeros(2)
    with pytest.raises(UserError, match=r"it has no CD/events/t, .*; SpikeFile reads SHD and SSC"):
        read_events(tmp_path / "a.hdf5")
    (tmp_path / "b.hdf5").write_bytes(b"no HDF5")
    with pytest.raises(UserError, match="truncated, damaged or no HDF5 file"):
        read_events(tmp_path / "b.hdf5")
    with pytest.raises(UserError, match=r"those of Metavision end in \.hdf5"):
        read_events(tmp_path / "a.h5")
