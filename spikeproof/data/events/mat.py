"""How are the .mat files of ASL-DVS read?"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from spikeproof.data.events.records import whole_numbers
from spikeproof.data.events.streams import Events, Sensor, checked
from spikeproof.specs import UserError

COLUMNS = ("ts", "x", "y", "pol")
DAVIS240 = Sensor(height=180, width=240)


def read_mat(path: Path, sensor: Sensor | None, *, repair: bool = False) -> Events:
    """A recording of variables ts in us, x, y and pol (0 off, 1 on), in a column or a row each.

    Coordinates count from 0, and y from below, so that it is turned: y becomes height - 1 - y. A `sensor` that is given
    counts instead of the DAVIS240's 180 x 240 pixels. A file that is cut short cannot be repaired.
    Sources: tonic, which turns y, and events-tfds, which turns the pictures; both, and SpikingJelly, count from 0.
    """
    import scipy.io  # a tenth of a second of import that only these files should cost

    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    try:
        variables = scipy.io.loadmat(path, variable_names=COLUMNS)
    except Exception as error:  # scipy raises what its parser stumbles over, MatReadError and much else
        raise UserError(f"{path}: truncated, damaged or no .mat file up to version 7.2: {error}") from error
    absent = [name for name in COLUMNS if name not in variables]
    if absent:
        raise UserError(f"{path}: it has no variable {', '.join(absent)}")
    columns = {name: _flat(np.asarray(variables[name])) for name in COLUMNS}
    t, x, y, p = whole_numbers(columns, path, repair=repair)
    events = checked(t, x, y, p, sensor or DAVIS240, path, repair=repair)
    return replace(events, y=events.sensor.height - 1 - events.y)


def _flat(values: np.ndarray) -> np.ndarray:
    """Matlab's rows and columns as [N]; others are left as they are, to be refused."""
    return values.ravel() if values.size == max(values.shape, default=0) or not values.size else values
