"""How is a file of events read, whichever its format?"""

from pathlib import Path

from spikeproof.choices import UserError
from spikeproof.data.events.address_events import read_bin
from spikeproof.data.events.aedat import read_aedat
from spikeproof.data.events.dat import read_dat
from spikeproof.data.events.mat import read_mat
from spikeproof.data.events.npz import read_npz
from spikeproof.data.events.streams import Events, Sensor

READERS = {".bin": read_bin, ".aedat": read_aedat, ".dat": read_dat, ".npz": read_npz, ".mat": read_mat}
SUFFIXES = tuple(READERS)


def read_events(path: Path | str, sensor: Sensor | None = None, *, repair: bool = False) -> Events:
    """The recording in a file, by its suffix: .bin, .aedat, .dat, .npz or .mat; see the reader of each.

    A `sensor` is needed where the file does not hold its size. Raises `UserError`, with the name of the file and the
    index of the event among all records of the file. It does so for a file that is missing, truncated, of another
    format or, by its own account, of another sensor. So it does for coordinates outside the sensor, time that
    decreases, polarities other than the format's, and no events. With `repair`, the `sensor` that is given counts, a
    truncated end and wrong events are left out and the others sorted by their time.
    """
    path = Path(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise UserError(
            f"{path}: unknown suffix {path.suffix!r}; recordings are {', '.join(SUFFIXES)} (SpikeFile reads .h5)"
        )
    return reader(path, sensor, repair=repair)
