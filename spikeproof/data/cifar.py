"""How are CIFAR-10 and CIFAR-100 read, without running what a stranger's pickle says?"""

import codecs
import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from spikeproof.choices import Count, Seed, UserError
from spikeproof.data.augmentations import Augmentation, HorizontalFlip, RandomCrop
from spikeproof.data.data_sets import DataSet
from spikeproof.data.images import Images, images_in_memory
from spikeproof.data.published_files import Download, missing, refuse_altered

CIFAR10_TRAIN = (
    ("data_batch_1", "c99cafc152244af753f735de768cd75f"),
    ("data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"),
    ("data_batch_3", "54ebc095f3ab1f0389bbae665268c751"),
    ("data_batch_4", "634d18415352ddfa80567beed471001a"),
    ("data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"),
)
CIFAR10_TEST = (("test_batch", "40351d587109b95175f43aff81a1287e"),)
CIFAR100_TRAIN = (("train", "16019d7e3df5f24257cddd939b257f8d"),)
CIFAR100_TEST = (("test", "f0ef6b0ae62326f3e7ffdfab6717acfc"),)
CIFAR100_CLASSES = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel
    can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur
    dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion
    lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter
    palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road
    rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar sunflower
    sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale
    willow_tree wolf woman worm
"""


@dataclass(frozen=True, kw_only=True)
class CIFAR10(DataSet):
    """60,000 colour 32 x 32 images of ten kinds of animals and vehicles, 10,000 of them for test.

    Read from cifar-10-batches-py, the "python version". Source: Krizhevsky, Learning Multiple Layers of
    Features from Tiny Images, technical report, University of Toronto, 2009.
    """

    train_images: Count | None = None
    validation_images: Count = 5000
    split_seed: Seed = 0
    augmentation: tuple[Augmentation, ...] = (RandomCrop(padding=4), HorizontalFlip())

    shape = (3, 32, 32)
    classes = (
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    )
    mean = (0.4914, 0.4822, 0.4465)
    std = (0.2023, 0.1994, 0.2010)
    published_train = 50_000
    published_test = 10_000
    downloads = (
        Download(
            url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
            md5="c58f30108f718f92721af3b95e74349a",
            path="cifar-10-batches-py",
        ),
    )

    def published(self, name: Literal["train", "test"], root: Path) -> Images:
        files = CIFAR10_TRAIN if name == "train" else CIFAR10_TEST
        return _read(root, files, self.downloads[0], "labels", self.classes)


@dataclass(frozen=True, kw_only=True)
class CIFAR100(DataSet):
    """60,000 colour 32 x 32 images of a hundred ("fine") classes, 10,000 of them for test.

    Read from cifar-100-python, the "python version". Source: Krizhevsky, Learning Multiple Layers of Features
    from Tiny Images, technical report, University of Toronto, 2009.
    """

    train_images: Count | None = None
    validation_images: Count = 5000
    split_seed: Seed = 0
    augmentation: tuple[Augmentation, ...] = (RandomCrop(padding=4), HorizontalFlip())

    shape = (3, 32, 32)
    classes = tuple(CIFAR100_CLASSES.split())
    mean = (0.5071, 0.4867, 0.4408)
    std = (0.2675, 0.2565, 0.2761)
    published_train = 50_000
    published_test = 10_000
    downloads = (
        Download(
            url="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
            md5="eb9058c3a382ffc7106e4002c42a8d85",
            path="cifar-100-python",
        ),
    )

    def published(self, name: Literal["train", "test"], root: Path) -> Images:
        files = CIFAR100_TRAIN if name == "train" else CIFAR100_TEST
        return _read(root, files, self.downloads[0], "fine_labels", self.classes)


def parse_pickle(content: bytes, labels_key: str) -> tuple[np.ndarray, np.ndarray]:
    """Pixels, uint8 [N,3,32,32], and labels, int64 [N], of one file of the "python version".

    Nothing but numpy arrays is ever built: a pickle that asks for anything else raises `UserError`.
    """
    record = _ArraysOnly(io.BytesIO(content), encoding="latin1").load()
    return record["data"].reshape(-1, 3, 32, 32), np.array(record[labels_key], dtype=np.int64)


def _read(
    root: Path,
    files: tuple[tuple[str, str], ...],
    download: Download,
    labels_key: str,
    classes: tuple[str, ...],
) -> Images:
    parts = []
    for name, md5 in files:
        path = root / download.path / name
        if not path.is_file():
            raise missing(path, download)
        content = path.read_bytes()
        refuse_altered(path, content, md5)
        parts.append(parse_pickle(content, labels_key))
    pixels, labels = (torch.from_numpy(np.concatenate(arrays)) for arrays in zip(*parts, strict=True))
    return images_in_memory(pixels, labels, classes)


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return np.empty(0).__reduce__()[0]
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return _dtype
        if (module, name) == ("_codecs", "encode"):
            return codecs.encode
        raise UserError(f"not a CIFAR file: it asks for {module}.{name}, where only numpy arrays belong")


def _dtype(name: str, align: int, copy: int) -> np.dtype:
    """``numpy.dtype``; the published files give its flags as integers, of which numpy 2.4 warns."""
    return np.dtype(name, align=bool(align), copy=bool(copy))
