"""How are images that do not fit into memory decoded from their files, batch by batch?"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from spikeproof.choices import UserError
from spikeproof.data.images import Images

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".jpeg", ".jpg", ".png")


@dataclass(frozen=True, kw_only=True, eq=False)
class PixelsInFiles:
    """Images in `folder`, decoded when asked for to RGB of `size` x `size` pixels, by several threads.

    With `resize`, the shorter side is first brought to that many pixels (bilinear, antialiased) and the centre is cut
    out, as torchvision's Resize and CenterCrop do. Without, a file must have the size already.
    """

    folder: Path
    names: tuple[str, ...] = field(repr=False)
    size: int
    resize: int | None = None

    def __call__(self, rows: Tensor) -> Tensor:
        decoded = np.empty((len(rows), self.size, self.size, 3), dtype=np.uint8)
        names = [self.names[row] for row in rows.tolist()]
        with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as threads:
            for position, pixels in enumerate(threads.map(self._decoded, names)):
                decoded[position] = pixels
        return torch.from_numpy(decoded).permute(0, 3, 1, 2).float().div_(255).contiguous()

    def _decoded(self, name: str) -> np.ndarray:
        from PIL import Image

        try:
            with Image.open(self.folder / name) as file:
                image = file.convert("RGB")
        except (OSError, SyntaxError) as error:  # pillow reports a broken PNG as a SyntaxError
            raise UserError(f"cannot decode the image {name} in {self.folder}: {error}") from error
        if self.resize:
            image = centre_crop(resize_shorter_side(image, self.resize), self.size)
        if image.size != (self.size, self.size):
            raise UserError(f"the image {name} in {self.folder} must have {self.size} pixels a side, not {image.size}")
        return np.asarray(image)


def resize_shorter_side(image: "Image", length: int) -> "Image":
    """`image` scaled so that its shorter side has `length` pixels, bilinear and antialiased."""
    from PIL.Image import Resampling

    width, height = image.size
    if width <= height:
        return image.resize((length, int(length * height / width)), Resampling.BILINEAR)
    return image.resize((int(length * width / height), length), Resampling.BILINEAR)


def centre_crop(image: "Image", size: int) -> "Image":
    """The `size` x `size` pixels in the middle of `image`, which must be at least as large."""
    left = round((image.size[0] - size) / 2)
    top = round((image.size[1] - size) / 2)
    return image.crop((left, top, left + size, top + size))


def images_in_files(
    folder: Path,
    named: Sequence[tuple[str, int]],
    classes: tuple[str, ...],
    size: int,
    resize: int | None = None,
) -> Images:
    """The images of `named`, pairs of a path inside `folder` and a label, in that order; none is opened yet.

    `size` and `resize` are as in `PixelsInFiles`.
    """
    return Images(
        pixels=PixelsInFiles(folder=folder, names=tuple(name for name, _ in named), size=size, resize=resize),
        rows=torch.arange(len(named)),
        labels=torch.tensor([label for _, label in named], dtype=torch.int64),
        classes=classes,
    )


def class_folders(folder: Path, count: int) -> tuple[str, ...]:
    """The names of the folders in `folder`, sorted: the classes, in the order of their labels.

    Raises `UserError` unless there are `count` of them.
    """
    classes = tuple(sorted(entry.name for entry in os.scandir(folder) if entry.is_dir()))
    if len(classes) != count:
        raise UserError(f"{folder.absolute()} holds {len(classes)} folders; there must be {count}, one a class")
    return classes


def images_by_class(folder: Path, classes: Sequence[str], inner: str = "") -> list[tuple[str, int]]:
    """Path inside `folder` and label of each image in ``<class>/<inner>``, class by class, sorted by name.

    Raises `UserError` if the folder of a class is missing; files that are no JPEG or PNG are passed over.
    """
    found = []
    for label, name in enumerate(classes):
        inside = Path(name, inner)
        if not (folder / inside).is_dir():
            raise UserError(f"the folder {inside} of a class is missing in {folder}; the copy is incomplete")
        files = sorted(f for f in os.listdir(folder / inside) if f.lower().endswith(SUFFIXES))
        found += [(str(inside / file), label) for file in files]
    return found
