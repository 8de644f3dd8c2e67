"""How are the HDF5 files of the Heidelberg spiking data sets, SHD and SSC, read?"""

import operator
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from spikeproof.choices import UserError
from spikeproof.data.events.records import whole_numbers
from spikeproof.data.events.streams import Events, Sensor, checked

COCHLEA = Sensor(polarities=1, height=1, width=700)
LONGEST = 100  # s; those of SHD and SSC take 1.4 at most
TIMES, UNITS, LABELS = "spikes/times", "spikes/units", "labels"


@dataclass(frozen=True, eq=False)
class SpikeFile:
    """The recordings of a file, each read when it is asked for: `len(file)`, `file[i]` and `file.labels`, int64 [N].

    Channels 0 to 699 are x. Times, seconds of 16 or 32 bits in the file, are rounded to whole us; between 0.5 and 1 s,
    16 bits are steps of 488 us. The file is open while something is read only, so that it may be shared between
    processes. Raises `UserError` for a file that is damaged or of another layout, and without h5py; `IndexError` for a
    recording that is not there. With `repair`, wrong events are left out and the others sorted.
    Source: Cramer et al., The Heidelberg Spiking Data Sets for the Systematic Evaluation of Spiking Neural Networks,
    IEEE TNNLS 2022; https://zenkelab.org/resources/spiking-heidelberg-datasets-shd.
    """

    path: Path
    repair: bool = field(default=False, kw_only=True)
    labels: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))
        with _opened(self.path) as (times, units, labels):
            shapes = {name: data.shape for name, data in ((TIMES, times), (UNITS, units), (LABELS, labels))}
            if len(set(shapes.values())) != 1 or len(labels.shape) != 1:
                raise UserError(f"{self.path}: {', '.join(f'{n} {list(s)}' for n, s in shapes.items())} differ")
            if labels.dtype.kind not in "iu":
                raise UserError(f"{self.path}: {LABELS} are whole numbers, not {labels.dtype}")
            object.__setattr__(self, "labels", labels[:].astype(np.int64))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Events:
        place = operator.index(index)
        if not -len(self) <= place < len(self):
            raise IndexError(f"{self.path}: there is no recording {place}, but {len(self)}")
        place %= len(self)
        source = f"{self.path}: recording {place}"
        with _opened(self.path) as (times, units, _):
            seconds, channels = np.asarray(times[place]), np.asarray(units[place])
        if seconds.dtype.kind != "f" or channels.dtype.kind not in "iu":
            raise UserError(f"{source}: {TIMES} are {seconds.dtype} and {UNITS} {channels.dtype}, not float and int")
        if (last := seconds[np.isfinite(seconds)].max(initial=0)) > LONGEST:
            raise UserError(
                f"{source}: times go to {last:g}; they are s, {LONGEST} at most: these look like ms, us or ns"
            )
        # In float64: of 16 bits, 0.07 s in us would be infinite.
        us = np.rint(seconds.astype(np.float64) * 1e6)
        t, x = whole_numbers({"time": us, "unit": channels}, source, repair=self.repair)
        zeros = np.zeros(len(t), np.uint8)
        return checked(t, x, zeros, zeros, COCHLEA, source, repair=self.repair)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any, Any]]:
    """The times, units and labels of the file, as h5py reads them."""
    try:
        import h5py  # an extra: only these files need it
    except ImportError as error:
        raise UserError(f"{path} is read by h5py, which is not installed: pip install 'spikeproof[events]'") from error
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    try:
        with h5py.File(path, "r") as file:
            found = {name: file.get(name) for name in (TIMES, UNITS, LABELS)}
            absent = [name for name, data in found.items() if not isinstance(data, h5py.Dataset)]
            if absent:
                raise UserError(f"{path}: it has no {', '.join(absent)}")
            _refuse_unknown_filters(found, path)
            yield found[TIMES], found[UNITS], found[LABELS]
    except (OSError, RuntimeError, KeyError) as error:
        raise UserError(f"{path}: truncated, damaged or no HDF5 file: {error}") from error


def _refuse_unknown_filters(found: dict[str, Any], path: Path) -> None:
    """Raise `UserError` for data that are packed in a way that h5py cannot undo here; the file may be whole."""
    import h5py

    for name, data in found.items():
        how = data.id.get_create_plist()
        for code, _, _, label in (how.get_filter(place) for place in range(how.get_nfilters())):
            if not h5py.h5z.filter_avail(code):
                said = label.decode(errors="replace") or "no name"
                raise UserError(
                    f"{path}: {name} is packed by the HDF5 filter {code} ({said}), which is not installed: "
                    "pip install hdf5plugin, and import it first"
                )
