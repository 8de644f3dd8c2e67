"""How is a file of events read, whichever its format?"""

from pathlib import Path

from spikeproof.choices import UserError
from spikeproof.data.events.address_events import read_bin
from spikeproof.data.events.aedat import read_aedat
from spikeproof.data.events.aedat4 import read_aedat4
from spikeproof.data.events.dat import read_dat
from spikeproof.data.events.mat import read_mat
from spikeproof.data.events.metavision_hdf5 import read_metavision_hdf5
from spikeproof.data.events.npz import read_npz
from spikeproof.data.events.raw import read_raw
from spikeproof.data.events.streams import Events, Sensor

READERS = {
    ".bin": read_bin,
    ".aedat": read_aedat,
    ".dat": read_dat,
    ".npz": read_npz,
    ".mat": read_mat,
    ".raw": read_raw,
    ".aedat4": read_aedat4,
    ".hdf5": read_metavision_hdf5,
}
SUFFIXES = tuple(READERS)
OTHERS = {
    ".h5": "HDF5: SpikeFile reads SHD and SSC; those of Metavision end in .hdf5; of others keep t, x, y, p with "
    "write_events",
    ".bag": "a bag of ROS: keep t, x, y, p with write_events",
    ".csv": "a table: read it with numpy.loadtxt, and keep t, x, y, p with write_events",
    ".txt": "a table: read it with numpy.loadtxt, and keep t, x, y, p with write_events",
    ".npy": "one array of numpy: keep its columns t, x, y, p with write_events",
}


def read_events(path: Path | str, sensor: Sensor | None = None, *, repair: bool = False) -> Events:
    """The recording in a file, by its suffix, one of `READERS`; see the reader of each.

    A `sensor` is needed where the file does not hold its size. Raises `UserError`, with the name of the file and the
    index of the event among all records of the file. It does so for a file that is missing, truncated, of another
    format or, by its own account, of another sensor. So it does for coordinates outside the sensor, time that
    decreases, polarities other than the format's, and no events. With `repair`, the `sensor` that is given counts, a
    truncated end and wrong events are left out and the others sorted by their time.
    """
    path = Path(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        known = OTHERS.get(path.suffix.lower())
        said = f"it is {known}" if known else f"unknown suffix {path.suffix!r}"
        raise UserError(f"{path}: {said}; recordings are {', '.join(SUFFIXES)} (SpikeFile reads .h5)")
    return reader(path, sensor, repair=repair)
