"""Which sets of recordings with a test set were published, and where do their files lie?"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from spikeproof.choices import Count, Seed, UserError
from spikeproof.data.augmentations import Augmentation
from spikeproof.data.events.aedat import DVS128
from spikeproof.data.events.framing import Framing
from spikeproof.data.events.gestures import labels_of, read_gestures
from spikeproof.data.events.hdf5 import COCHLEA, SpikeFile
from spikeproof.data.events.recordings import EventDataSet
from spikeproof.data.events.streams import Events, Sensor
from spikeproof.data.images import Images
from spikeproof.untrusted.words import told


@dataclass(frozen=True, kw_only=True)
class NMNIST(EventDataSet):
    """70,000 recordings of the MNIST digits by a camera that makes three saccades, 34 x 34 pixels; 10,000 for test.

    Read from NMNIST/Train/DIGIT/*.bin and NMNIST/Test/DIGIT/*.bin; an `EventFolder` reads a part of them. Source:
    Orchard et al., Converting Static Image Datasets to Spiking Neuromorphic Datasets Using Saccades, Frontiers in
    Neuroscience 2015.
    """

    framing: Framing = Framing()
    train_images: Count | None = None
    validation_images: Count = 5000
    split_seed: Seed = 0
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
    train_images: Count | None = None
    validation_images: Count = 176
    split_seed: Seed = 0
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
        lines = trials.read_text(encoding="utf-8-sig", errors="replace").splitlines()
        names = [line.strip() for line in lines if line.strip()]
        if odd := next((one for one in names if one != Path(one).name or not one.isprintable()), None):
            raise UserError(f"{trials}: {told(odd)} is no name of a file beside it")
        files = [trials.with_name(one) for one in names]
        labels = [labels_of(file, repair=self.repair) for file in files]

        def read(number: int) -> list[Events]:
            gestures = read_gestures(files[number], repair=self.repair)
            if [label for _, label in gestures] != labels[number]:
                raise UserError(f"{files[number]}: gestures without events are beyond repair; copy the file anew")
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

    framing: Framing = Framing(steps=100, span=14_000, since="zero")
    train_images: Count | None = None
    validation_images: Count = 800
    split_seed: Seed = 0
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

    framing: Framing = Framing(steps=100, span=10_000, since="zero")
    train_images: Count | None = None
    validation_images: Count = 5000
    split_seed: Seed = 0
    augmentation: tuple[Augmentation, ...] = ()
    repair: bool = False

    classes = tuple(f"command {number}" for number in range(35))
    published_train = 75_466
    published_test = 20_382
    file = "SSC/ssc_{}.h5"
    by_hand = "Unpack ssc_train.h5.gz and ssc_test.h5.gz of https://zenkelab.org/datasets into SSC"
