"""How are the .bin files of N-MNIST and N-Caltech101 read, events of 40 bits?"""

from pathlib import Path

import numpy as np

from spikeproof.choices import UserError
from spikeproof.data.events.records import content_of, whole_records
from spikeproof.data.events.streams import Events, Sensor, checked

EVENT = np.dtype({"names": ["x", "ypt"], "formats": ["u1", ">u4"], "offsets": [0, 1], "itemsize": 5})
TIME = 2**23 - 1
ATIS_ROWS = 240
OVERFLOW = 2**13  # us


def read_bin(path: Path, sensor: Sensor | None, *, repair: bool = False) -> Events:
    """A recording of 5 bytes an event: x, y, polarity (bit 7 of the third; 1 is on), and 23 bits of time, big-endian.

    The ATIS camera has rows 0 to 239. An event at y = 240 marks an overflow of its clock. It adds 2^13 us to the time
    of all that follow, and is none itself. The file does not say how large its sensor was. Sources:
    https://www.garrickorchard.com/datasets/n-mnist for the bits; github.com/gorchard/event-Python and tonic for the
    overflow, which the publisher's Matlab reader does not know.
    """
    if sensor is None:
        raise UserError(
            f"{path}: a .bin file does not hold the size of its sensor; give it: Sensor(height=34, width=34) for "
            "N-MNIST, Sensor(height=180, width=240) for N-Caltech101"
        )
    records = whole_records(content_of(path), 0, EVENT, path, repair=repair)
    x, word = records["x"], records["ypt"].astype(np.int64)
    t, y, p = word & TIME, word >> 24, word >> 23 & 1
    overflow = (y == ATIS_ROWS) & (sensor.height <= ATIS_ROWS)
    if not overflow.any():
        return checked(t, x, y, p, sensor, path, repair=repair)
    places = np.flatnonzero(~overflow)
    t = t + OVERFLOW * np.cumsum(overflow)
    return checked(t[places], x[places], y[places], p[places], sensor, path, places=places, repair=repair)
