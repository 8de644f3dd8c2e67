"""How are MNIST and Fashion-MNIST read?"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch

from spikeproof.choices import Count, Seed
from spikeproof.data.augmentations import Augmentation
from spikeproof.data.data_sets import DataSet
from spikeproof.data.idx import read_idx
from spikeproof.data.images import Images, images_in_memory
from spikeproof.data.published_files import Download

FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


def _downloads(site: str, folder: str, md5s: tuple[str, str, str, str]) -> tuple[Download, ...]:
    return tuple(
        Download(url=f"{site}/{name}", md5=md5, path=f"{folder}/{name}") for name, md5 in zip(FILES, md5s, strict=True)
    )


@dataclass(frozen=True, kw_only=True)
class MNIST(DataSet):
    """70,000 grey 28 x 28 images of handwritten digits, 10,000 of them for test.

    Read from MNIST/raw/*-ubyte or *-ubyte.gz. Source: LeCun, Bottou, Bengio and Haffner, Gradient-Based
    Learning Applied to Document Recognition, Proceedings of the IEEE 86(11), 1998.
    """

    train_images: Count | None = None
    validation_images: Count = 5000
    split_seed: Seed = 0
    augmentation: tuple[Augmentation, ...] = ()

    shape = (1, 28, 28)
    classes = tuple("0123456789")
    mean = (0.1307,)
    std = (0.3081,)
    published_train = 60_000
    published_test = 10_000
    downloads = _downloads(
        "https://ossci-datasets.s3.amazonaws.com/mnist",
        "MNIST/raw",
        (
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "d53e105ee54ea40749a09fcbcd1e9432",
            "9fb629c4189551a2d022fa330f9573f3",
            "ec29112dd5afa0611ce80d1b7f02629c",
        ),
    )
    # Of the unpacked files: a .gz may have been packed again and still hold the published content.
    content_md5s: ClassVar[tuple[str, str, str, str]] = (
        "6bbc9ace898e44ae57da46a324031adb",
        "a25bea736e30d166cdddb491f175f624",
        "2646ac647ad5339dbf082846283269ea",
        "27ae3e4e09519cfbb04c329615203637",
    )

    def published(self, name: Literal["train", "test"], root: Path) -> Images:
        return _read(self, name, root)


@dataclass(frozen=True, kw_only=True)
class FashionMNIST(DataSet):
    """70,000 grey 28 x 28 images of clothing, 10,000 of them for test.

    Read from FashionMNIST/raw/*-ubyte or *-ubyte.gz. Source: Xiao, Rasul and Vollgraf, Fashion-MNIST: a Novel
    Image Dataset for Benchmarking Machine Learning Algorithms, arXiv:1708.07747.
    """

    train_images: Count | None = None
    validation_images: Count = 5000
    split_seed: Seed = 0
    augmentation: tuple[Augmentation, ...] = ()

    shape = (1, 28, 28)
    classes = (
        *("t-shirt", "trouser", "pullover", "dress", "coat"),
        *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
    )
    mean = (0.2860,)
    std = (0.3530,)
    published_train = 60_000
    published_test = 10_000
    downloads = _downloads(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        "FashionMNIST/raw",
        (
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "25c81989df183df01b3e8a0aad5dffbe",
            "bef4ecab320f06d8554ea6380940ec79",
            "bb300cfdad3c16e7a12a480ee83cd310",
        ),
    )
    content_md5s: ClassVar[tuple[str, str, str, str]] = (
        "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "9018921c3c673c538a1fc5bad174d6f9",
        "8181f5470baa50b63fa0f6fddb340f0a",
        "15d484375f8d13e6eb1aabb0c3f46965",
    )

    def published(self, name: Literal["train", "test"], root: Path) -> Images:
        return _read(self, name, root)


def _read(dataset: MNIST | FashionMNIST, name: Literal["train", "test"], root: Path) -> Images:
    of_part = slice(0, 2) if name == "train" else slice(2, 4)
    pixels, labels = (
        torch.from_numpy(read_idx(root, download, md5))
        for download, md5 in zip(dataset.downloads[of_part], dataset.content_md5s[of_part], strict=True)
    )
    return images_in_memory(pixels[:, None], labels, dataset.classes)
