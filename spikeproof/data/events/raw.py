"""How are the .raw files of Metavision read, in the encodings EVT2 and EVT3?"""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from spikeproof.choices import UserError
from spikeproof.data.events.records import content_of, whole_records
from spikeproof.data.events.streams import Events, Sensor, agreed, checked

Columns = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # t, x, y, p [N]

ON2, HIGH2 = 1, 8  # types of a word of EVT2; 0 is an event of polarity off
ROW, SINGLE, BASE, VECTOR12, VECTOR8, LOW, HIGH = 0, 2, 3, 4, 5, 6, 8  # of one of EVT3
BITS = 12  # of a value of EVT3: a part of a time, or so many pixels side by side
HINT = "convert it to .dat, metavision_file_to_dat of OpenEB does it, or to .npz with write_events"


def read_raw(path: Path, sensor: Sensor | None, *, repair: bool = False) -> Events:
    """A recording of EVT2, words of 32 bits, or EVT3, words of 16 bits; what comes before the first time has none.

    The header names the encoding and may name the size of the sensor. A `sensor` of another size is refused then, but
    for `repair`, with which it counts instead. Triggers and words of other types are passed over. There is no checksum
    in a file: a flipped bit that leaves an event possible is not seen. Sources: https://docs.prophesee.ai/stable/data/
    encoding_formats/evt2.html and evt3.html.
    """
    content = content_of(path)
    header = re.match(rb"(?:% [^\n]*\n|%end\n)*", content)[0]  # type: ignore[index]
    encoding = _encoding_of(header)
    if encoding not in ENCODINGS:
        seen = f"encoded as {encoding}, which is not read" if encoding else "no .raw file of Metavision: no encoding"
        raise UserError(f"{path}: it is {seen}; EVT2 and EVT3 are; {HINT}")
    word, decoded = ENCODINGS[encoding]
    words = whole_records(content, len(header), word, path, repair=repair).astype(np.int64)
    found = agreed(sensor, _sensor_named(header, path), path, repair=repair)
    if found is None:
        raise UserError(f"{path}: its header has no size; give it, sensor=Sensor(height=..., width=...)")
    return checked(*decoded(words), found, path, repair=repair)


def _encoding_of(header: bytes) -> str:
    """EVT2 or EVT3, or what else the header says."""
    named = re.search(rb"^% (?:format (\w+)|evt (\d)\.(\d))", header, re.MULTILINE)
    if named is None:
        return ""
    form = named[1].decode() if named[1] else f"EVT{named[2].decode()}"
    return f"EVT2{named[3].decode()}" if form == "EVT2" and named[3] not in (None, b"0") else form


def _sensor_named(header: bytes, path: Path) -> Sensor | None:
    geometry = re.search(rb"^% geometry (\d{1,9})x(\d{1,9})", header, re.MULTILINE)
    sizes = [
        re.search(rb"^%% (?:format .*;)?%s[= ](\d{1,9})" % name, header, re.MULTILINE) for name in (b"height", b"width")
    ]
    if geometry is None and None in sizes:
        return None
    height, width = (geometry[2], geometry[1]) if geometry else (size[1] for size in sizes if size)
    try:
        return Sensor(height=int(height), width=int(width))
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _evt2(words: np.ndarray) -> Columns:
    """Type (4 bits), the last 6 bits of the time, x (11) and y (11); or the type and the first 28 bits of the time."""
    kind = words >> 28
    high = _lasting(kind == HIGH2, _unwrapped(words & 0xFFFFFFF, kind == HIGH2, 28))
    event = (kind <= ON2) & (high >= 0)
    w = words[event]
    return (high[event] << 6) + (w >> 22 & 0x3F), w >> 11 & 0x7FF, w & 0x7FF, kind[event]


def _evt3(words: np.ndarray) -> Columns:
    """Type (4 bits) and value (12): a row, a column, a part of the time, or a bit for each of 12 or 8 columns."""
    kind, value = words >> BITS, words & 0xFFF
    high = _lasting(kind == HIGH, _unwrapped(value, kind == HIGH, BITS))
    low, row, base = _lasting(kind == LOW, value), _lasting(kind == ROW, value & 0x7FF), _lasting(kind == BASE, value)
    passed = np.cumsum(np.select([kind == VECTOR12, kind == VECTOR8], [12, 8], 0))
    since = passed - _lasting(kind == BASE, passed).clip(min=0)  # columns since the base, this word's included
    vector = (kind == VECTOR12) | (kind == VECTOR8)
    event = (vector & (base >= 0)) | (kind == SINGLE)
    event &= (high >= 0) & (low >= 0) & (row >= 0)
    pixels = np.select([kind == VECTOR12, kind == VECTOR8], [value, value & 0xFF], 1)[event]
    first = np.where(vector, (base & 0x7FF) + since - np.where(kind == VECTOR12, 12, 8), value & 0x7FF)[event]
    polarity = np.where(vector, base, value)[event] >> 11 & 1
    word, place = np.nonzero(pixels[:, None] >> np.arange(BITS) & 1)
    t = ((high << BITS) + low)[event]
    return t[word], first[word] + place, row[event][word], polarity[word]


def _lasting(here: np.ndarray, values: np.ndarray) -> np.ndarray:
    """For each word the last value that was said, at it or before; -1 where none was."""
    last = np.maximum.accumulate(np.where(here, np.arange(len(here)), -1)) if len(here) else np.zeros(0, np.int64)
    return np.where(last >= 0, values[last], -1)


def _unwrapped(values: np.ndarray, here: np.ndarray, bits: int) -> np.ndarray:
    """The values `here`, which count up and begin at 0 again after 2^bits, without that."""
    found = values.copy()
    said = values[here]
    found[here] = said + (np.cumsum(np.diff(said, prepend=said[:1]) < -(2 ** (bits - 1))) << bits)
    return found


ENCODINGS: dict[str, tuple[np.dtype, Callable[[np.ndarray], Columns]]] = {
    "EVT2": (np.dtype("<u4"), _evt2),
    "EVT3": (np.dtype("<u2"), _evt3),
}
