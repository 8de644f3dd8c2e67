"""How is Tiny-ImageNet read from its published folders?"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from spikeproof.choices import Count, Seed, UserError
from spikeproof.data.augmentations import Augmentation, HorizontalFlip, RandomCrop
from spikeproof.data.data_sets import DataSet
from spikeproof.data.image_files import class_folders, images_by_class, images_in_files
from spikeproof.data.images import Images
from spikeproof.data.published_files import Download, missing


@dataclass(frozen=True, kw_only=True)
class TinyImageNet(DataSet):
    """110,000 colour 64 x 64 images of 200 classes, decoded when asked for.

    The published validation set is the test part, as everywhere, because the labels of the published test set
    were never given out. Read from tiny-imagenet-200; the label of a class is its place among the sorted
    WordNet ids. Source: Le and Yang, Tiny ImageNet Visual Recognition Challenge, Stanford CS 231N, 2015.
    """

    train_images: Count | None = None
    validation_images: Count = 5000
    split_seed: Seed = 0
    augmentation: tuple[Augmentation, ...] = (RandomCrop(padding=8), HorizontalFlip())

    shape = (3, 64, 64)
    classes = tuple(f"class {label}" for label in range(200))
    mean = (0.485, 0.456, 0.406)
    std = (0.229, 0.224, 0.225)
    published_train = 100_000
    published_test = 10_000
    downloads = (
        Download(
            url="http://cs231n.stanford.edu/tiny-imagenet-200.zip",
            md5="90528d7ca1a48142e341f4ef8d21d0de",
            path="tiny-imagenet-200",
        ),
    )

    def published(self, name: Literal["train", "test"], root: Path) -> Images:
        folder = root / self.downloads[0].path
        for needed in (folder / "train", folder / "val" / "images", folder / "val" / "val_annotations.txt"):
            if not needed.exists():
                raise missing(needed, self.downloads[0])
        classes = class_folders(folder / "train", len(self.classes))
        if name == "train":
            named = images_by_class(folder / "train", classes, inner="images")
            return images_in_files(folder / "train", named, classes, size=64)
        named = read_annotations(folder / "val", classes)
        return images_in_files(folder / "val" / "images", named, classes, size=64)


def read_annotations(folder: Path, classes: tuple[str, ...]) -> list[tuple[str, int]]:
    """File name and label of each image in `folder`/images, in the order of `folder`/val_annotations.txt.

    Raises `UserError` for a line that names an unknown class or an image that is not there.
    """
    labels = {name: label for label, name in enumerate(classes)}
    there = set(os.listdir(folder / "images"))
    named = []
    for number, line in enumerate(
        (folder / "val_annotations.txt").read_text("utf-8-sig", "replace").splitlines(), start=1
    ):
        file, wnid = [*line.split("\t"), ""][:2]
        if file not in there or wnid not in labels:
            fault = f"unknown class {wnid!r}" if file in there else f"no image {file!r}"
            raise UserError(f"line {number} of val_annotations.txt in {folder.absolute()}: {fault}")
        named.append((file, labels[wnid]))
    return named
