"""How are the HDF5 files of the Heidelberg spiking data sets, SHD and SSC, read?"""

import operator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from spikeproof.choices import UserError
from spikeproof.data.events.asked import Asked
from spikeproof.data.events.records import whole_numbers
from spikeproof.data.events.streams import Events, Sensor, checked
from spikeproof.untrusted.words import printable

COCHLEA = Sensor(polarities=1, height=1, width=700)
LONGEST = 100  # s; those of SHD and SSC take 1.4 at most
TIMES, UNITS, LABELS = "spikes/times", "spikes/units", "labels"


@dataclass(frozen=True, eq=False)
class SpikeFile:
    """The recordings of a file, each read when it is asked for: `len(file)`, `file[i]` and `file.labels`, int64 [N].

    Channels 0 to 699 are x. Times, seconds of 16 or 32 bits in the file, are rounded to whole us; between 0.5 and 1 s,
    16 bits are steps of 488 us. Another process reads, which is ended where a damaged file would keep it for ever or
    crash it. Raises `UserError` for a file that is damaged or of another layout, and without h5py; `IndexError` for a
    recording that is not there. With `repair`, wrong events are left out and the others sorted.
    Source: Cramer et al., The Heidelberg Spiking Data Sets for the Systematic Evaluation of Spiking Neural Networks,
    IEEE TNNLS 2022; https://zenkelab.org/resources/spiking-heidelberg-datasets-shd.
    """

    path: Path
    repair: bool = field(default=False, kw_only=True)
    labels: np.ndarray = field(init=False, repr=False)
    _asked: Asked = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))
        refuse_absent(self.path)
        object.__setattr__(self, "_asked", Asked(self.path, (TIMES, UNITS, LABELS)))
        about = self._asked.about()
        if absent := about["absent"]:
            raise UserError(f"{self.path}: it has no {', '.join(absent)}")
        for name, packed in about["filters"].items():
            raise UserError(
                f"{self.path}: {name} is packed by the HDF5 filter {printable(packed)}, which is not installed: "
                "pip install hdf5plugin, and put its folder into HDF5_PLUGIN_PATH"
            )
        shapes, kind = about["shapes"], np.dtype(about["types"][LABELS])
        if len(set(map(tuple, shapes.values()))) != 1 or len(shapes[LABELS]) != 1:
            raise UserError(f"{self.path}: {', '.join(f'{n} {s}' for n, s in shapes.items())} differ")
        if kind.kind not in "iu":
            raise UserError(f"{self.path}: {LABELS} are whole numbers, not {kind}")
        object.__setattr__(self, "labels", self._asked.rows(LABELS).astype(np.int64))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Events:
        place = operator.index(index)
        if not -len(self) <= place < len(self):
            raise IndexError(f"{self.path}: there is no recording {place}, but {len(self)}")
        place %= len(self)
        source = f"{self.path}: recording {place}"
        seconds, channels = (self._asked.rows(name, place) for name in (TIMES, UNITS))
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


def refuse_absent(path: Path) -> None:
    """Raise `UserError` where h5py or the file is missing."""
    if find_spec("h5py") is None:  # an extra: only these files need it
        raise UserError(f"{path} is read by h5py, which is not installed: pip install 'spikeproof[events]'")
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
