"""How is a recording written as .npz, our own format, and read back?"""

from pathlib import Path

import numpy as np

from spikeproof.choices import UserError
from spikeproof.data.events.records import whole_numbers
from spikeproof.data.events.streams import Events, Sensor, agreed, checked
from spikeproof.untrusted.archives import arrays_in
from spikeproof.untrusted.texts import Unreadable
from spikeproof.untrusted.words import brief, printable
from spikeproof.whole_files import written_whole

COLUMNS = ("t", "x", "y", "p")


def read_npz(path: Path, sensor: Sensor | None, *, repair: bool = False) -> Events:
    """A recording of arrays t in us, x, y and p (0 off, 1 on), as `write_npz` and SpikingJelly write them.

    The size of the sensor is in an array `sensor` (polarities, height, width), which SpikingJelly's files have not.
    Another `sensor` than this is refused. With `repair` it counts instead. A file that is cut short cannot be repaired.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    try:
        arrays = arrays_in(path, (*COLUMNS, "sensor"))
    except Unreadable as error:
        raise UserError(f"{path} {error}") from error
    except Exception as error:  # numpy raises zipfile, zlib, syntax, memory and value errors for a damaged archive
        raise UserError(f"{path}: truncated, damaged or no .npz file: {printable(brief(str(error)))}") from error
    absent = [name for name in COLUMNS if name not in arrays]
    if absent:
        raise UserError(f"{path}: it has no array {', '.join(absent)}")
    size = arrays.pop("sensor", None)
    found = agreed(sensor, None if size is None else _sensor_of(size, path), path, repair=repair)
    if found is None:
        raise UserError(f"{path}: it has no array sensor; give its size, sensor=Sensor(height=..., width=...)")
    t, x, y, p = whole_numbers(arrays, path, repair=repair)
    return checked(t, x, y, p, found, path, repair=repair)


def write_npz(path: Path | str, events: Events) -> None:
    """Write a recording with the size of its sensor so that `read_events` gives it back.

    The file appears whole or not at all; one that is there is replaced. Raises `UserError` if `path` ends otherwise
    than in .npz, or its folder does not exist.
    """
    path = Path(path)
    if path.suffix != ".npz" or not path.parent.is_dir():
        raise UserError(f"{path}: a recording is written as .npz, into a folder that exists")
    size = np.array(events.sensor.shape, np.int32)
    with written_whole(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, t=events.t, x=events.x, y=events.y, p=events.p, sensor=size)


def _sensor_of(size: np.ndarray, path: Path) -> Sensor:
    if size.shape != (3,) or size.dtype.kind not in "iu":
        raise UserError(f"{path}: its array sensor is (polarities, height, width), not {size.dtype} {list(size.shape)}")
    polarities, height, width = size.tolist()
    try:
        return Sensor(polarities=polarities, height=height, width=width)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
