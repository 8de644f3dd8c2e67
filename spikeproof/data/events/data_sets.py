"""Which sets of recordings are there, and how do they become frames, labels and parts?"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor

from spikeproof.data.augmentations import Augmentation
from spikeproof.data.data_sets import DataSet
from spikeproof.data.events.files import SUFFIXES, read_events
from spikeproof.data.events.framing import Framing
from spikeproof.data.events.streams import Events, Sensor
from spikeproof.data.images import Images
from spikeproof.data.splits import stratified_order
from spikeproof.randomness import seed_from
from spikeproof.specs import UserError

SALT = 34  # the test part of a split is drawn by another seed than its validation part


@dataclass(frozen=True, kw_only=True, eq=False)
class FramedRecordings:
    """Frames of recordings, read from their files whenever they are asked for: rows [B] give [B, T, P, H, W]."""

    read: Callable[[int], Events] = field(repr=False)
    framing: Framing

    def __call__(self, rows: Tensor) -> Tensor:
        return self.framing([self.read(row) for row in rows.tolist()])


class EventDataSet(DataSet):
    """Recordings of event cameras, as frames ``[T, P, H, W]`` that `framing` makes of them."""

    sensor: Sensor
    framing: Framing

    @property
    def shape(self) -> tuple[int, int, int, int]:  # type: ignore[override]
        return self.framing.shape(self.sensor)

    @property
    def mean(self) -> tuple[float, ...]:  # type: ignore[override]
        return (0.0,) * self.sensor.polarities  # counts are not normalised

    @property
    def std(self) -> tuple[float, ...]:  # type: ignore[override]
        return (1.0,) * self.sensor.polarities

    def recordings(self, files: list[Path]) -> Images:
        """One recording a file, its class the name of the folder that it is in."""
        for file in files:
            if file.parent.name not in self.classes:
                raise UserError(
                    f"{file}: its folder {file.parent.name!r} is none of the classes {', '.join(self.classes)}"
                )
        labels = torch.tensor([self.classes.index(file.parent.name) for file in files])
        read = lambda row: read_events(files[row], self.sensor).from_zero()  # noqa: E731
        framed = FramedRecordings(read=read, framing=self.framing)
        return Images(pixels=framed, rows=torch.arange(len(files)), labels=labels, classes=self.classes)


@dataclass(frozen=True, kw_only=True)
class EventFolder(EventDataSet):
    """Recordings of one's own: files .bin, .aedat, .dat, .npz or .mat, each in a folder named as its class.

    `folder`, in the root of the data, is searched at any depth. As nobody published a test set, `test_images`
    recordings, in proportion to the classes, are drawn by `split_seed`: another one makes other test, validation and
    training parts, and runs of several seeds have a split each.
    """

    folder: str = "NMNIST"
    classes: tuple[str, ...] = tuple("0123456789")  # type: ignore[misc]
    sensor: Sensor = Sensor(height=34, width=34)
    framing: Framing = Framing()
    train_images: int | None = None
    validation_images: int = 100
    test_images: int = 200
    split_seed: int = 0
    augmentation: tuple[Augmentation, ...] = ()
    resplit: ClassVar[bool] = True

    published_train: ClassVar[int | None] = None
    published_test: ClassVar[int | None] = None

    def __post_init__(self) -> None:
        EventDataSet.__post_init__(self)
        if self.test_images < 1:
            raise UserError(f"test_images must be at least 1, not {self.test_images}")
        if len(set(self.classes)) < max(2, len(self.classes)):
            raise UserError(f"classes names each folder of recordings once, two or more; not {', '.join(self.classes)}")

    def published(self, name: Literal["train", "test"], root: Path) -> Images:
        folder = root / self.folder
        files = sorted(file for suffix in SUFFIXES for file in folder.rglob(f"*{suffix}"))
        if not files:
            raise UserError(f"there are no recordings ({', '.join(SUFFIXES)}) in {folder.absolute()}")
        everything = self.recordings(files)
        if len(files) <= self.test_images:
            raise UserError(f"{folder} has {len(files)} recordings: test_images must be 1 to {len(files) - 1}")
        order = stratified_order(everything.labels, seed_from(self.split_seed, SALT))
        return everything.select(order[: self.test_images] if name == "test" else order[self.test_images :])


@dataclass(frozen=True, kw_only=True)
class NMNIST(EventDataSet):
    """70,000 recordings of the MNIST digits by a camera that makes three saccades, 34 x 34 pixels; 10,000 for test.

    Read from NMNIST/Train/DIGIT/*.bin and NMNIST/Test/DIGIT/*.bin; an `EventFolder` reads a part of them. Source:
    Orchard et al., Converting Static Image Datasets to Spiking Neuromorphic Datasets Using Saccades, Frontiers in
    Neuroscience 2015.
    """

    framing: Framing = Framing()
    train_images: int | None = None
    validation_images: int = 5000
    split_seed: int = 0
    augmentation: tuple[Augmentation, ...] = ()

    sensor: ClassVar[Sensor] = Sensor(height=34, width=34)  # type: ignore[misc]
    classes = tuple("0123456789")
    published_train = 60_000
    published_test = 10_000
    by_hand = "NMNIST: unpack Train.zip and Test.zip of https://www.garrickorchard.com/datasets/n-mnist into NMNIST"

    def published(self, name: Literal["train", "test"], root: Path) -> Images:
        return self.recordings(found(root / "NMNIST" / name.capitalize(), ".bin", self))


def found(folder: Path, suffix: str, data: DataSet) -> list[Path]:
    """The files of that suffix in the folders of `folder`, in the order of their names."""
    files = sorted(folder.glob(f"*/*{suffix}"))
    if not files:
        raise UserError(f"there are no {suffix} files in the folders of {folder.absolute()}. {data.by_hand}")
    return files
