"""What do files of events hold, byte by byte? Written from the published layouts alone, one event at a time."""

import io
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import scipy.io

from spikeproof.data.events.streams import Sensor

Event = tuple[int, int, int, int]  # t in us, x, y from above, p: 0 off, 1 on

AEDAT_2 = b"#!AER-DAT2.0\r\n# This is a raw AE data file - do not edit\r\n# Timestamps tick is 1 us\r\n"
AEDAT_3 = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#Start-Time: 2016-08-29 10:00:00\r\n#!END-HEADER\r\n"
DAT = b"% Data file containing CD events\n% Date 2020-09-14 14:18:29\n% Version 2\n% Width 640\n% Height 480\n"


def bin_bytes(events: Sequence[Event]) -> bytes:
    """N-MNIST: x, y, polarity in the highest bit of three bytes of time, big-endian."""
    return b"".join(bytes([x, y, p << 7 | t >> 16, t >> 8 & 255, t & 255]) for t, x, y, p in events)


def aedat_2_bytes(events: Sequence[Event], header: bytes = AEDAT_2) -> bytes:
    """CIFAR10-DVS: polarity (0 on), columns from the right, rows from below; and the picture is on its side."""
    column_row = [(127 - y, 127 - x) for _, x, y, _ in events]
    return header + b"".join(
        struct.pack(">Ii", row << 8 | column << 1 | (1 - p), t)
        for (t, _, _, p), (column, row) in zip(events, column_row, strict=True)
    )


def packet(
    events: Sequence[Event], *, kind: int = 1, overflow: int = 0, capacity: int | None = None, valid: int = 1
) -> bytes:
    """AEDAT 3.1: a header of 28 bytes, the events, and zeros up to the capacity."""
    capacity = len(events) if capacity is None else capacity
    header = struct.pack("<hhiiiiii", kind, 1, 8, 4, overflow, capacity, len(events), len(events))
    body = b"".join(struct.pack("<Ii", x << 17 | y << 2 | p << 1 | valid, t) for t, x, y, p in events)
    return header + body + bytes(8 * (capacity - len(events)))


def aedat_3_bytes(events: Sequence[Event]) -> bytes:
    """DVS128 Gesture, in packets of three events."""
    return AEDAT_3 + b"".join(packet(events[i : i + 3]) for i in range(0, len(events), 3))


def dat_bytes(events: Sequence[Event], header: bytes = DAT, kind: int = 12, size: int = 8) -> bytes:
    """Metavision: type and size of events, and time, x, y and polarity in 32, 14, 14 and 4 bits."""
    body = b"".join(struct.pack("<II", t, p << 28 | y << 14 | x) for t, x, y, p in events)
    return header + bytes([kind, size]) + body


def npz_bytes(events: Sequence[Event], dtype: str = "i8", **extra: object) -> bytes:
    columns = np.array(events, dtype).reshape(-1, 4)
    stream = io.BytesIO()
    np.savez(stream, **dict(zip("txyp", columns.T, strict=True)), **extra)
    return stream.getvalue()


def mat_bytes(events: Sequence[Event], dtype: str = "i4", row: bool = False) -> bytes:
    """ASL-DVS: a column each, y from below."""
    columns = np.array([(t, x, 179 - y, p) for t, x, y, p in events], dtype).reshape(-1, 4)
    stream = io.BytesIO()
    names = ("ts", "x", "y", "pol")
    scipy.io.savemat(stream, dict(zip(names, columns.T, strict=True)), oned_as="row" if row else "column")
    return stream.getvalue()


def save_spikes(
    path: Path,
    h5py: ModuleType,
    recordings: list[tuple[list[float], list[int]]],
    labels: list[int],
    kind: str = "f2",
) -> Path:
    """SHD and SSC, HDF5: times in s and channels of each recording, and the labels."""
    with h5py.File(path, "w") as file:
        for name, dtype, column in (("times", kind, 0), ("units", "u2", 1)):
            data = file.create_dataset(f"spikes/{name}", (len(recordings),), h5py.vlen_dtype(np.dtype(dtype)))
            for row, spikes in enumerate(recordings):
                data[row] = np.array(spikes[column], dtype)
        file["labels"] = np.array(labels, "u2")
    return path


@dataclass(frozen=True)
class Layout:
    """A format: its file, how large its sensor is, the bits of its time, the bytes of an event (None: packed)."""

    name: str
    written: Callable[[Sequence[Event]], bytes]
    sensor: Sensor
    bits: int
    record: int | None

    @property
    def file(self) -> str:
        return f"recording.{self.name.split('-')[0]}"


LAYOUTS = (
    Layout("bin", bin_bytes, Sensor(height=34, width=34), 23, 5),
    Layout("aedat-2.0", aedat_2_bytes, Sensor(height=128, width=128), 31, 8),
    Layout("aedat-3.1", aedat_3_bytes, Sensor(height=128, width=128), 31, 8),
    Layout("dat", dat_bytes, Sensor(height=480, width=640), 32, 8),
    Layout("npz", npz_bytes, Sensor(height=480, width=640), 62, None),
    Layout("mat", mat_bytes, Sensor(height=180, width=240), 31, None),
)
