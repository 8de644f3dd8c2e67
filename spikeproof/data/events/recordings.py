"""How do recordings become the images of a data set: frames, made when they are first asked for, and labels?"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from spikeproof.choices import UserError, short
from spikeproof.data.data_sets import DataSet
from spikeproof.data.events.files import read_events
from spikeproof.data.events.framing import Framing
from spikeproof.data.events.streams import Events, Sensor
from spikeproof.data.images import Images


@dataclass(frozen=True, kw_only=True, eq=False)
class Packed:
    """Counts [N] in the smallest types that hold them: all `values`, or those that are not 0 and their `places`."""

    values: np.ndarray = field(repr=False)
    places: np.ndarray | None = field(repr=False)

    @property
    def nbytes(self) -> int:
        return self.values.nbytes + (0 if self.places is None else self.places.nbytes)

    def unpacked(self, shape: Sequence[int]) -> Tensor:
        """The counts as float32 of this shape."""
        flat = np.zeros(int(np.prod(shape)), np.float32)
        flat[... if self.places is None else self.places] = self.values
        return torch.from_numpy(flat).view(*shape)


def packed(counts: Tensor) -> Packed:
    """Whole numbers from 0 on, of any shape, in whichever of the two forms takes less."""
    whole = counts.flatten().numpy()
    everything = Packed(values=whole.astype(np.min_scalar_type(int(whole.max()))), places=None)
    places = np.flatnonzero(whole).astype(np.min_scalar_type(len(whole)))
    some = Packed(values=everything.values[places], places=places)
    return min(everything, some, key=lambda form: form.nbytes)


@dataclass(frozen=True, kw_only=True, eq=False)
class FramedRecordings:
    """Frames of recordings, made when they are first asked for and kept from then on, all of them.

    Where counts are below 256, a recording takes 3 bytes for each cell with events, and 5 if there are more than 65,535
    cells in all. It never takes more than one for each cell. `read` gives the recordings of source number i, a file for
    example; row r is number `within[r]` of `source[r]`.
    """

    read: Callable[[int], Sequence[Events]] = field(repr=False)
    framing: Framing
    shape: tuple[int, ...]
    source: Sequence[int] = field(repr=False)
    within: Sequence[int] = field(repr=False)
    named: Callable[[int], object] = field(default="recordings of source {}".format, repr=False)
    kept: dict[int, list[Packed]] = field(default_factory=dict, init=False, repr=False)

    def __call__(self, rows: Tensor) -> Tensor:
        """Rows [B] give frames [B, T, P, H, W]."""
        return torch.stack([self._frames(row) for row in rows.tolist()])

    def _frames(self, row: int) -> Tensor:
        number = self.source[row]
        if number not in self.kept:
            self.kept[number] = [packed(self._framed(one, number)) for one in self.read(number)]
        return self.kept[number][self.within[row]].unpacked(self.shape)

    def _framed(self, events: Events, number: int) -> Tensor:
        """Frames [1, T, P, H, W]; says what repair did, and refuses frames without an event."""
        if events.repairs:
            warnings.warn(f"{self.named(number)}: repaired: {events.repairs}", stacklevel=2)
        frames = self.framing([events])
        if not frames.any():
            raise UserError(
                f"{self.named(number)}: none of {len(events):,} events, from {events.t[0]:,} to {events.t[-1]:,} us, "
                f"is in a frame of {short(self.framing)}: its span, since and crop have to meet the recording"
            )
        return frames


class EventDataSet(DataSet):
    """Recordings of event cameras, as frames ``[T, P, H, W]`` that `framing` makes of them.

    `repair` leaves out what is wrong in a file, which is refused else.
    """

    sensor: Sensor
    framing: Framing
    repair: bool

    @property
    def shape(self) -> tuple[int, int, int, int]:  # type: ignore[override]
        return self.framing.shape(self.sensor)

    @property
    def mean(self) -> tuple[float, ...]:  # type: ignore[override]
        return (0.0,) * self.sensor.polarities  # counts are not normalised

    @property
    def std(self) -> tuple[float, ...]:  # type: ignore[override]
        return (1.0,) * self.sensor.polarities

    def framed(
        self,
        read: Callable[[int], Sequence[Events]],
        labels: Sequence[int],
        classes: Sequence[str],
        source: Sequence[int] | None = None,
        within: Sequence[int] | None = None,
        files: Sequence[Path] | None = None,
    ) -> Images:
        """Recordings with `labels` [N]; without `source`, one in each source. `files` are the sources' names."""
        frames = FramedRecordings(
            read=read,
            framing=self.framing,
            shape=self.shape,
            source=range(len(labels)) if source is None else source,
            within=[0] * len(labels) if within is None else within,
            named="recordings of source {}".format if files is None else files.__getitem__,
        )
        return Images(
            pixels=frames, rows=torch.arange(len(labels)), labels=torch.tensor(labels), classes=tuple(classes)
        )

    def in_folders(self, files: Sequence[Path], classes: Sequence[str]) -> Images:
        """One recording a file, its class the name of the folder that it is in."""
        for file in files:
            if file.parent.name not in classes:
                raise UserError(f"{file}: its folder {file.parent.name!r} is none of the classes {', '.join(classes)}")
        labels = [classes.index(file.parent.name) for file in files]
        return self.framed(
            lambda number: [read_events(files[number], self.sensor, repair=self.repair)], labels, classes, files=files
        )
