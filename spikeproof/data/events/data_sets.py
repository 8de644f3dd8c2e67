"""Which sets of recordings are there, and how do they become frames, labels and parts?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor

from spikeproof.data.augmentations import Augmentation
from spikeproof.data.data_sets import DataSet
from spikeproof.data.events.files import SUFFIXES, read_events
from spikeproof.data.events.framing import Framing
from spikeproof.data.events.gestures import labels_of, read_gestures
from spikeproof.data.events.hdf5 import COCHLEA, SpikeFile
from spikeproof.data.events.streams import Events, Sensor
from spikeproof.data.images import Images
from spikeproof.data.splits import stratified_order
from spikeproof.randomness import seed_from
from spikeproof.specs import UserError

SALT = 34  # the test part of a split is drawn by another seed than its validation part
DVS128 = Sensor(height=128, width=128)
ATIS = Sensor(height=180, width=240)


@dataclass(frozen=True, kw_only=True, eq=False)
class FramedRecordings:
    """Frames of recordings, made when they are first asked for and kept as what is not 0 in them.

    `read` gives the recordings of source number i, a file for example; row r is number `within[r]` of `source[r]`.
    """

    read: Callable[[int], Sequence[Events]] = field(repr=False)
    framing: Framing
    shape: tuple[int, ...]
    source: Sequence[int] = field(repr=False)
    within: Sequence[int] = field(repr=False)
    kept: dict[int, list[Tensor]] = field(default_factory=dict, init=False, repr=False)

    def __call__(self, rows: Tensor) -> Tensor:
        """Rows [B] give frames [B, T, P, H, W]."""
        return torch.stack([self._frames(row).to_dense() for row in rows.tolist()])

    def _frames(self, row: int) -> Tensor:
        number = self.source[row]
        if number not in self.kept:
            self.kept[number] = [self.framing([one.from_zero()])[0].to_sparse() for one in self.read(number)]
        return self.kept[number][self.within[row]]


class EventDataSet(DataSet):
    """Recordings of event cameras, as frames ``[T, P, H, W]`` that `framing` makes of them.

    Time counts from the first event of a recording. `repair` leaves out what is wrong in a file, which is refused else.
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
    ) -> Images:
        """Recordings with `labels` [N]; without `source`, one in each source."""
        frames = FramedRecordings(
            read=read,
            framing=self.framing,
            shape=self.shape,
            source=range(len(labels)) if source is None else source,
            within=[0] * len(labels) if within is None else within,
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
            lambda number: [read_events(files[number], self.sensor, repair=self.repair)], labels, classes
        )


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
    repair: bool = False

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
        files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)
        if not files:
            raise UserError(f"there are no recordings ({', '.join(SUFFIXES)}) in {folder.absolute()}. {self.by_hand}")
        everything = self.in_folders(files, self.names(files))
        if len(files) <= self.test_images:
            raise UserError(f"{folder} has {len(files)} recordings: test_images must be 1 to {len(files) - 1}")
        order = stratified_order(everything.labels, seed_from(self.split_seed, SALT))
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
    validation_images: int = 500
    test_images: int = 1000

    by_hand = "Unpack the ten archives of https://doi.org/10.6084/m9.figshare.4724671 into CIFAR10DVS"


@dataclass(frozen=True, kw_only=True)
class NCaltech101(EventFolder):
    """8,709 recordings of Caltech-101 images by a camera that makes three saccades; no test set was published.

    Read from Caltech101/CLASS/*.bin; 101 folders, whose names are those of the classes. Source: Orchard et al.,
    Frontiers in Neuroscience 2015.
    """

    folder: str = "Caltech101"
    classes: tuple[str, ...] = tuple(f"class {number}" for number in range(101))  # type: ignore[misc]
    sensor: Sensor = ATIS
    validation_images: int = 500
    test_images: int = 870

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
    sensor: Sensor = ATIS
    validation_images: int = 2000
    test_images: int = 20_160

    by_hand = "Unpack the archives of https://github.com/PIX2NVS/NVS2Graph into ASLDVS"


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
    repair: bool = False

    sensor: ClassVar[Sensor] = Sensor(height=34, width=34)  # type: ignore[misc]
    classes = tuple("0123456789")
    published_train = 60_000
    published_test = 10_000
    by_hand = "Unpack Train.zip and Test.zip of https://www.garrickorchard.com/datasets/n-mnist into NMNIST"

    def published(self, name: Literal["train", "test"], root: Path) -> Images:
        folder = root / "NMNIST" / name.capitalize()
        if not (files := sorted(folder.glob("*/*.bin"))):
            raise UserError(f"there are no .bin files in the folders of {folder.absolute()}. {self.by_hand}")
        return self.in_folders(files, self.classes)


@dataclass(frozen=True, kw_only=True)
class DVS128Gesture(EventDataSet):
    """1,464 recordings of eleven gestures by 29 persons, 128 x 128 pixels; 288 of them, of six persons, for test.

    Read from DvsGesture/*.aedat, the labels beside them, and trials_to_train.txt and trials_to_test.txt. Source: Amir
    et al., A Low Power, Fully Event-Based Gesture Recognition System, CVPR 2017.
    """

    framing: Framing = Framing(steps=16, by="number")
    train_images: int | None = None
    validation_images: int = 176
    split_seed: int = 0
    augmentation: tuple[Augmentation, ...] = ()
    repair: bool = False

    sensor: ClassVar[Sensor] = DVS128  # type: ignore[misc]
    classes = (
        *("hand clapping", "right hand wave", "left hand wave", "right hand clockwise", "right hand counter clockwise"),
        *("left hand clockwise", "left hand counter clockwise", "arm roll", "air drums", "air guitar", "other"),
    )
    published_train = 1176
    published_test = 288
    by_hand = "Unpack DvsGesture.tar.gz of https://research.ibm.com/interactive/dvsgesture there"

    def published(self, name: Literal["train", "test"], root: Path) -> Images:
        trials = root / "DvsGesture" / f"trials_to_{name}.txt"
        if not trials.is_file():
            raise UserError(f"{trials.name} is missing in {trials.parent.absolute()}. {self.by_hand}")
        files = [trials.with_name(line.strip()) for line in trials.read_text().splitlines() if line.strip()]
        labels = [labels_of(file) for file in files]

        def read(number: int) -> list[Events]:
            gestures = read_gestures(files[number], repair=self.repair)
            if [label for _, label in gestures] != labels[number]:
                raise UserError(
                    f"{files[number]}: not all of its gestures can be repaired: leave it out of {trials.name}"
                )
            return [events for events, _ in gestures]

        return self.framed(
            read,
            [label for those in labels for label in those],
            self.classes,
            source=[number for number, those in enumerate(labels) for _ in those],
            within=[place for those in labels for place in range(len(those))],
        )


class Heidelberg(EventDataSet):
    """Spoken words through a model of the inner ear: 700 channels in a row, one polarity, in HDF5 files."""

    sensor: ClassVar[Sensor] = COCHLEA  # type: ignore[misc]
    file: ClassVar[str]

    def published(self, name: Literal["train", "test"], root: Path) -> Images:
        path = root / self.file.format(name)
        if not path.is_file():
            raise UserError(f"{path.name} is missing in {path.parent.absolute()}. {self.by_hand}")
        spikes = SpikeFile(path, repair=self.repair)
        return self.framed(lambda number: [spikes[number]], spikes.labels.tolist(), self.classes)


@dataclass(frozen=True, kw_only=True)
class SHD(Heidelberg):
    """10,420 recordings of the spoken digits in English and German, 2,264 of them for test.

    Read from SHD/shd_train.h5 and SHD/shd_test.h5, which takes the extra `events`. Source: Cramer et al., The
    Heidelberg Spiking Data Sets for the Systematic Evaluation of Spiking Neural Networks, IEEE TNNLS 2022.
    """

    framing: Framing = Framing(steps=100, span=14_000)
    train_images: int | None = None
    validation_images: int = 800
    split_seed: int = 0
    augmentation: tuple[Augmentation, ...] = ()
    repair: bool = False

    classes = (
        *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
        *("null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"),
    )
    published_train = 8156
    published_test = 2264
    file = "SHD/shd_{}.h5"
    by_hand = "Unpack shd_train.h5.gz and shd_test.h5.gz of https://zenkelab.org/datasets into SHD"


@dataclass(frozen=True, kw_only=True)
class SSC(Heidelberg):
    """95,848 recordings of 35 spoken commands, 20,382 of them for test.

    Read from SSC/ssc_train.h5 and SSC/ssc_test.h5, which takes the extra `events`; the published validation set is left
    alone, and validation recordings are taken out of the training set, as everywhere. Source: Cramer et al., IEEE TNNLS
    2022.
    """

    framing: Framing = Framing(steps=100, span=10_000)
    train_images: int | None = None
    validation_images: int = 5000
    split_seed: int = 0
    augmentation: tuple[Augmentation, ...] = ()
    repair: bool = False

    classes = tuple(f"command {number}" for number in range(35))
    published_train = 75_466
    published_test = 20_382
    file = "SSC/ssc_{}.h5"
    by_hand = "Unpack ssc_train.h5.gz and ssc_test.h5.gz of https://zenkelab.org/datasets into SSC"
