"""How are .aedat files read, of version 2.0 (CIFAR10-DVS), 3.1 (DVS128 Gesture) and, elsewhere, 4.0?"""

import re
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from spikeproof.choices import UserError
from spikeproof.data.events.aedat4 import read_aedat4
from spikeproof.data.events.records import content_of, whole_records
from spikeproof.data.events.streams import Events, Sensor, agreed, checked

DVS128 = Sensor(height=128, width=128)
EVENT_2 = np.dtype([("address", ">u4"), ("t", ">i4")])
PACKET = struct.Struct("<hhiiiiii")  # type, source, size, offset of time, overflows, capacity, number, valid
POLARITY = 1
TIME_BITS = 31


def read_aedat(path: Path, sensor: Sensor | None, *, repair: bool = False) -> Events:
    """A recording of whichever version its first line says: `read_aedat_2`, `read_aedat_3` or `read_aedat4`.

    Source: https://docs.inivation.com/software/software-advanced-usage/file-formats/index.html.
    """
    content = content_of(path)
    version = re.match(rb"#!AER-DAT(\d\.\d)\r?\n", content)
    if version is None:
        raise UserError(f"{path}: it starts with {content[:16]!r}, not with #!AER-DAT2.0, 3.1 or 4.0")
    if version[1] == b"2.0":
        return read_aedat_2(content, path, sensor, repair=repair)
    if version[1] == b"3.1":
        return read_aedat_3(content, path, sensor, repair=repair)
    if version[1] == b"4.0":
        return read_aedat4(path, sensor, repair=repair)
    raise UserError(f"{path}: AEDAT {version[1].decode()} is not read; 2.0, 3.1 and 4.0 are")


def read_aedat_2(content: bytes, path: Path, sensor: Sensor | None, *, repair: bool) -> Events:
    """A recording of the DVS128 camera, 8 bytes an event, big-endian: an address, and the time in us.

    Of the address, bit 0 is the polarity, 0 for on; bits 1-7 count columns from the right and bits 8-14 rows from
    below. These are turned as CIFAR10-DVS is upright: x = 127 - bits 8-14, y = 127 - bits 1-7. An address with higher
    bits is refused: it is of another camera, or of a signal at the camera's input.
    Sources: for the bits, dat2mat.m, to which the README of CIFAR10-DVS refers, and jAER (iniVation's description of
    the format has on as 1); for upright, SpikingJelly and tonic, which agree.
    """
    start = re.match(rb"(?:#[^\n]*\n)*", content).end()  # type: ignore[union-attr]
    if content[start : start + 1] == b"#":
        raise UserError(f"{path}: truncated: its header does not end")
    records = whole_records(content, start, EVENT_2, path, repair=repair)
    address, t = records["address"].astype(np.int64), records["t"].astype(np.int64)
    foreign = address >= 2**15
    if foreign.any():
        if not repair:
            index = int(foreign.argmax())
            raise UserError(
                f"{path}: event {index}: address 0x{address[index]:08x} is none of the DVS128 camera, which has 15 "
                "bits; repair leaves it out"
            )
        address, t = address[~foreign], t[~foreign]
    x, y, p = 127 - (address >> 8), 127 - (address >> 1 & 127), 1 - (address & 1)
    return checked(t, x, y, p, sensor or DVS128, path, repair=repair)


def read_aedat_3(content: bytes, path: Path, sensor: Sensor | None, *, repair: bool) -> Events:
    """A recording in packets, little-endian, of which those of polarity events are read.

    An event is 32 bits (0: valid, 1: on, 2-16: y from above, 17-31: x) and the time in us, to which its packet adds
    2^31 an overflow. Events that are marked as invalid are none, but count in the index that errors name. The size of
    the sensor is known if the header says that the source is a DVS128, and a `sensor` of another size is refused then.
    `repair` reads it as the one that is given, keeps the whole events of a packet cut short, and nothing from a packet
    on whose own header is wrong.
    Sources: https://docs.inivation.com/software/software-advanced-usage/file-formats/aedat-3.1.html; libcaer.
    """
    header = re.match(rb"(?:#[^\n]*\n)*?#!END-HEADER\r?\n", content)
    if header is None:
        raise UserError(f"{path}: its header does not end with a line #!END-HEADER")
    encoding = re.search(rb"^#Format: *(\w+)", header[0], re.MULTILINE)
    if encoding and encoding[1] != b"RAW":
        raise UserError(f"{path}: its packets are {encoding[1].decode()}; only RAW ones are read")
    packets = list(_polarity_packets(content, header.end(), path, repair=repair))
    words = np.concatenate([np.empty(0, np.int64), *(events for _, events in packets)])
    counts = np.array([len(events) for _, events in packets], np.int64)
    overflows = np.repeat(np.array([overflow for overflow, _ in packets], np.int64), counts)
    t = (words >> 32) + (overflows << TIME_BITS)
    places = np.flatnonzero(words & 1)  # of the valid ones
    t, words = t[places], words[places]
    x, y, p = words >> 17 & 0x7FFF, words >> 2 & 0x7FFF, words >> 1 & 1
    sources = re.findall(rb"^#Source \d+: *([^\r\n]*)", header[0], re.MULTILINE)
    named = DVS128 if sources and all(b"DVS128" in source for source in sources) else None
    size = agreed(sensor, named, path, repair=repair)
    if size is None:
        names = b", ".join(sources).decode(errors="replace") or "no camera"
        raise UserError(f"{path}: its header names {names}; give the size, sensor=Sensor(height=..., width=...)")
    return checked(t, x, y, p, size, path, places=places, repair=repair)


def _polarity_packets(content: bytes, start: int, path: Path, *, repair: bool) -> Iterator[tuple[int, np.ndarray]]:
    """How often the clock had overflown, and the events as int64 (time above 32 bits), of each packet."""
    number = 0
    while start < len(content):
        where = f"{path}: packet {number}, at byte {start:,},"
        there = len(content) - start - PACKET.size
        if there < 0:
            if not repair:
                raise UserError(f"{where} is truncated in its header; repair leaves it out")
            return
        kind, _, size, offset, overflow, capacity, count, _ = PACKET.unpack_from(content, start)
        possible = size > 0 and 0 <= count <= capacity and overflow >= 0
        if not possible or (kind == POLARITY and (size, offset) != (8, 4)):
            if not repair:
                raise UserError(
                    f"{where} has a wrong header: type {kind}, {count} events of at most {capacity}, {size} bytes "
                    f"each with the time at {offset}, {overflow} overflows; repair leaves out all from there on"
                )
            return
        if there < size * capacity and not repair:
            raise UserError(f"{where} is truncated: {there:,} of {size * capacity:,} bytes; repair leaves out the rest")
        if kind == POLARITY:
            yield overflow, np.frombuffer(content, "<i8", min(count, max(there, 0) // size), start + PACKET.size)
        start += PACKET.size + size * capacity
        number += 1
