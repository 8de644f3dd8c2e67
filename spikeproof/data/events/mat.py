"""How are the .mat files of ASL-DVS read?"""

from dataclasses import replace
from pathlib import Path

from spikeproof.choices import UserError
from spikeproof.data.events.matlab import parse_mat
from spikeproof.data.events.records import content_of, whole_numbers
from spikeproof.data.events.streams import Events, Sensor, checked

COLUMNS = ("ts", "x", "y", "pol")
DAVIS240 = Sensor(height=180, width=240)


def read_mat(path: Path, sensor: Sensor | None, *, repair: bool = False) -> Events:
    """A recording of variables ts in us, x, y and pol (0 off, 1 on), in a column or a row each.

    Coordinates count from 0, and y from below, so that it is turned: y becomes height - 1 - y. A `sensor` that is given
    counts instead of the DAVIS240's 180 x 240 pixels. A file that is cut short cannot be repaired.
    Sources: tonic, which turns y, and events-tfds, which turns the pictures; both, and SpikingJelly, count from 0.
    """
    content = content_of(path)
    try:
        vectors = parse_mat(content, COLUMNS)
    except UserError as error:
        raise UserError(f"{path}: no .mat file to read: {error}") from error
    absent = [name for name in COLUMNS if name not in vectors]
    if absent:
        raise UserError(f"{path}: it has no variable {', '.join(absent)}")
    t, x, y, p = whole_numbers({name: vectors[name] for name in COLUMNS}, path, repair=repair)
    events = checked(t, x, y, p, sensor or DAVIS240, path, repair=repair)
    return replace(events, y=events.sensor.height - 1 - events.y)
