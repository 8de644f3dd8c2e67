"""How do folders of recordings, one's own and those published without a test set, become a data set?"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from spikeproof.choices import Count, Seed, UserError
from spikeproof.data.augmentations import Augmentation
from spikeproof.data.events.aedat import DVS128
from spikeproof.data.events.files import SUFFIXES
from spikeproof.data.events.framing import Framing
from spikeproof.data.events.mat import DAVIS240
from spikeproof.data.events.recordings import EventDataSet
from spikeproof.data.events.streams import Sensor
from spikeproof.data.images import Images
from spikeproof.data.published_files import folder_inside
from spikeproof.data.splits import SALT, stratified_order
from spikeproof.data.twins import warn_of_twins
from spikeproof.randomness import seed_from


@dataclass(frozen=True, kw_only=True)
class EventFolder(EventDataSet):
    """Recordings of one's own: files .bin, .aedat, .dat, .npz or .mat, each in a folder named as its class.

    `folder`, in the root of the data, is searched at any depth, and has recordings of each class. Nobody published a
    test set. So `test_images` recordings, in proportion to the classes, are drawn by `split_seed`. Another one makes
    other test, validation and training parts, and runs of several seeds have a split each.
    """

    folder: str = "NMNIST"
    classes: tuple[str, ...] = tuple("0123456789")  # type: ignore[misc]
    sensor: Sensor = Sensor(height=34, width=34)
    framing: Framing = Framing()
    train_images: Count | None = None
    validation_images: Count = 100
    test_images: Count = 200
    split_seed: Seed = 0
    augmentation: tuple[Augmentation, ...] = ()
    repair: bool = False

    resplit: ClassVar[bool] = True
    published_train: ClassVar[int | None] = None
    published_test: ClassVar[int | None] = None
    recordings: ClassVar[int | None] = None  # in all parts, where somebody published them

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.classes)) < max(2, len(self.classes)):
            raise UserError(f"classes names each folder of recordings once, two or more; not {', '.join(self.classes)}")

    def published(self, name: Literal["train", "test"], root: Path) -> Images:
        folder = folder_inside(root, self.folder)
        files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)
        if not files:
            hint = f". {self.by_hand}" if self.by_hand else ""
            raise UserError(f"there are no recordings ({', '.join(SUFFIXES)}) in {folder.absolute()}{hint}")
        if self.recordings not in (None, len(files)):
            raise UserError(
                f"{type(self).__name__} has {self.recordings:,} published recordings, but {len(files):,} are in "
                f"{folder.absolute()}; the copy is not the published one"
            )
        everything = self.in_folders(files, self.names(files))
        if absent := [name for label, name in enumerate(everything.classes) if label not in everything.labels]:
            raise UserError(f"there are no recordings of {', '.join(absent)} in {folder.absolute()}")
        if len(files) <= self.test_images:
            raise UserError(f"{folder} has {len(files)} recordings: test_images must be 1 to {len(files) - 1}")
        order = stratified_order(everything.labels, seed_from(self.split_seed, SALT))
        warn_of_twins(
            [files[row] for row in order[self.test_images :]], [files[row] for row in order[: self.test_images]]
        )
        return everything.select(order[: self.test_images] if name == "test" else order[self.test_images :])

    def names(self, files: Sequence[Path]) -> tuple[str, ...]:
        """The classes, in the order of their labels."""
        return self.classes


@dataclass(frozen=True, kw_only=True)
class CIFAR10DVS(EventFolder):
    """10,000 recordings of CIFAR-10 images that move on a screen, 128 x 128 pixels; no test set was published.

    Read from CIFAR10DVS/CLASS/*.aedat. Source: Li et al., CIFAR10-DVS: An Event-Stream Dataset for Object
    Classification, Frontiers in Neuroscience 2017.
    """

    folder: str = "CIFAR10DVS"
    classes: tuple[str, ...] = (  # type: ignore[misc]
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    )
    sensor: Sensor = DVS128
    framing: Framing = Framing(by="number")
    validation_images: Count = 500
    test_images: Count = 1000

    recordings = 10_000
    by_hand = "Unpack the ten archives of https://doi.org/10.6084/m9.figshare.4724671 into CIFAR10DVS"


@dataclass(frozen=True, kw_only=True)
class NCaltech101(EventFolder):
    """8,709 recordings of Caltech-101 images by a camera that makes three saccades; no test set was published.

    Read from Caltech101/CLASS/*.bin; 101 folders, whose names are those of the classes. Source: Orchard et al.,
    Frontiers in Neuroscience 2015.
    """

    folder: str = "Caltech101"
    classes: tuple[str, ...] = tuple(f"class {number}" for number in range(101))  # type: ignore[misc]
    sensor: Sensor = Sensor(height=180, width=240)  # what the images take of the ATIS, which has 240 x 304
    validation_images: Count = 500
    test_images: Count = 870

    recordings = 8709
    by_hand = "Unpack Caltech101.zip of https://www.garrickorchard.com/datasets/n-caltech101 there"

    def names(self, files: Sequence[Path]) -> tuple[str, ...]:
        names = sorted({file.parent.name for file in files})
        if len(names) != len(self.classes):
            raise UserError(f"{self.folder} has {len(self.classes)} folders of recordings, and {len(names)} are there")
        return tuple(names)


@dataclass(frozen=True, kw_only=True)
class ASLDVS(EventFolder):
    """100,800 recordings of 24 letters of the American sign language, 240 x 180 pixels; no test set was published.

    Read from ASLDVS/LETTER/*.mat. Source: Bi et al., Graph-Based Object Classification for Neuromorphic Vision
    Sensing, ICCV 2019.
    """

    folder: str = "ASLDVS"
    classes: tuple[str, ...] = tuple("abcdefghiklmnopqrstuvwxy")  # type: ignore[misc]
    sensor: Sensor = DAVIS240
    validation_images: Count = 2000
    test_images: Count = 20_160

    recordings = 100_800
    by_hand = "Unpack the archives of https://github.com/PIX2NVS/NVS2Graph into ASLDVS"
