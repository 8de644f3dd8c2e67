"""How are the .dat files of Prophesee's cameras and of Metavision read?"""

import re
from pathlib import Path

import numpy as np

from spikeproof.choices import UserError
from spikeproof.data.events.records import content_of, whole_records
from spikeproof.data.events.streams import Events, Sensor, agreed, checked

EVENT = np.dtype([("t", "<u4"), ("xyp", "<u4")])
CHANGES = (0, 12)  # types of event: of 2D, and of contrast detection, the same bits


def read_dat(path: Path, sensor: Sensor | None, *, repair: bool = False) -> Events:
    """A recording of changes of contrast, 8 bytes an event: time in us, then x (14 bits), y (14) and polarity (4).

    The header may name the size of the sensor; a `sensor` of another size is refused then, but for `repair`, with which
    it counts instead. Only version 2 is read: in earlier ones the bits mean something else.
    Sources: https://docs.prophesee.ai/stable/data/file_formats/dat.html; github.com/prophesee-ai/
    prophesee-automotive-dataset-toolbox, which reads the lowest bit of polarity only (others are refused here).
    """
    content = content_of(path)
    header = re.match(rb"(?:%[^\n]*\n)*", content)[0]  # type: ignore[index]
    start = len(header) + 2
    if not header or content[len(header) : len(header) + 1] == b"%" or len(content) < start:
        fault = (
            "truncated: its header does not end" if content[:1] == b"%" else f"it starts with {content[:2]!r}, not %"
        )
        raise UserError(f"{path}: {fault}")
    version = re.search(rb"^% *Version +(\d+)", header, re.MULTILINE)
    if version is None or version[1] != b"2":
        raise UserError(f"{path}: its header says {version[0].decode() if version else 'no version'}, not % Version 2")
    kind, size = content[len(header) : start]
    if kind not in CHANGES or size != EVENT.itemsize:
        raise UserError(f"{path}: events of type {kind}, {size} bytes each; type 0 or 12 of 8 bytes is read")
    records = whole_records(content, start, EVENT, path, repair=repair)
    t, word = records["t"].astype(np.int64), records["xyp"].astype(np.int64)
    x, y, p = word & 0x3FFF, word >> 14 & 0x3FFF, word >> 28
    found = agreed(sensor, _sensor_named(header, path), path, repair=repair)
    if found is None:
        raise UserError(f"{path}: its header has no size; give it, sensor=Sensor(height=..., width=...)")
    return checked(t, x, y, p, found, path, repair=repair)


def _sensor_named(header: bytes, path: Path) -> Sensor | None:
    sizes = [re.search(rb"^%% *%s +(\d{1,9})" % name, header, re.MULTILINE) for name in (b"Height", b"Width")]
    if sizes[0] is None or sizes[1] is None:
        return None
    try:
        return Sensor(height=int(sizes[0][1]), width=int(sizes[1][1]))
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
