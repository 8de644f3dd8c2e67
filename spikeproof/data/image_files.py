"""How are images that do not fit into memory decoded from their files, batch by batch?"""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from spikeproof.choices import UserError
from spikeproof.data.crops import centre_crop, random_crop, resize_shorter_side
from spikeproof.data.images import Images
from spikeproof.randomness import seed_from
from spikeproof.untrusted.words import brief, printable

SUFFIXES = (".jpeg", ".jpg", ".png")

MOST_PIXELS = 1 << 26  # 192 MiB of RGB; Pillow warns at 89 million, and gives up at twice as many
MOST_TIMES = 100  # the longer side, of the shorter

Crop = Literal["centre", "random"]
Each = Callable[[Callable[[int], np.ndarray], Sequence[int]], Iterable[np.ndarray]]  # as the function map


class Names(Sequence[str]):
    """File names in one piece of memory.

    Processes that are forked share it. Of a million separate strings each would soon have a copy, as Python counts
    references inside of them.
    """

    def __init__(self, names: Iterable[str]) -> None:
        encoded = [name.encode("utf-8", "surrogateescape") for name in names]
        self.text = np.frombuffer(b"".join(encoded), np.uint8)
        self.ends = np.cumsum([0, *map(len, encoded)])

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        place = range(len(self))[index]
        piece = self.text[self.ends[place] : self.ends[place + 1]]
        return piece.tobytes().decode("utf-8", "surrogateescape")


@dataclass(frozen=True, kw_only=True, eq=False)
class PixelsInFiles:
    """Images in `folder`, decoded when asked for to RGB, or with one channel to grey, of `size` x `size` pixels.

    With `resize`, the shorter side is first brought to that many pixels (bilinear, antialiased) and the centre is cut
    out, as torchvision's Resize and CenterCrop do. Without, a file must have the size already. A "random" `crop` takes
    the place of both where images are asked for with a `draw`, as training does.
    """

    folder: Path
    names: Sequence[str] = field(repr=False)
    size: int
    resize: int | None = None
    crop: Crop = "centre"
    channels: int = 3

    def __call__(self, rows: Tensor) -> Tensor:
        with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as threads:
            return as_pixels(self.decoded(rows.tolist(), each=threads.map))

    def decoded(self, rows: Sequence[int], draw: int | None = None, each: Each = map) -> Tensor:
        """The bytes of these images, uint8 [B,H,W,C]. `draw` is the seed of random crops; each row has one of its own.

        Raises `UserError` that names a file which cannot be decoded or has another size.
        """
        found = np.empty((len(rows), self.size, self.size, self.channels), dtype=np.uint8)
        for position, pixels in enumerate(each(partial(self._one, draw), rows)):
            found[position] = pixels if pixels.ndim == 3 else pixels[..., None]
        return torch.from_numpy(found)

    def _one(self, draw: int | None, row: int) -> np.ndarray:
        from PIL import Image

        name = self.names[row]
        try:
            with Image.open(self.folder / name) as file:
                _refuse_bombs(file.size)
                image = file.convert("RGB" if self.channels == 3 else "L")
        except Exception as error:  # Pillow raises system, syntax, struct, value, memory and bomb errors
            said = brief(str(error))
            raise UserError(f"cannot decode the image {printable(name)} in {self.folder}: {said}") from error
        if self.crop == "random" and draw is not None:
            return np.asarray(random_crop(image, self.size, seed_from(draw, row)))
        if self.resize:
            image = centre_crop(resize_shorter_side(image, self.resize), self.size)
        if image.size != (self.size, self.size):
            raise UserError(f"the image {name} in {self.folder} must have {self.size} pixels a side, not {image.size}")
        return np.asarray(image)


def _refuse_bombs(size: tuple[int, int]) -> None:
    """What a file says of itself, before it is decoded; a thin strip would be scaled to a huge picture."""
    short, long = sorted(size)
    if short * long > MOST_PIXELS or long > MOST_TIMES * short:
        raise ValueError(
            f"it has {size[0]:,} x {size[1]:,} pixels; at most {MOST_PIXELS:,} are decoded, and a side of "
            f"{MOST_TIMES} times the other"
        )


def as_pixels(decoded: Tensor) -> Tensor:
    """float32 [B,C,H,W] in [0,1] from bytes [B,H,W,C], where they are."""
    planes = decoded.permute(0, 3, 1, 2)
    return planes.to(torch.float32, memory_format=torch.contiguous_format).div_(255)


def images_in_files(
    folder: Path,
    named: Sequence[tuple[str, int]],
    classes: tuple[str, ...],
    size: int,
    resize: int | None = None,
    crop: Crop = "centre",
    channels: int = 3,
) -> Images:
    """The images of `named`, pairs of a path inside `folder` and a label, in that order; none is opened yet.

    `size`, `resize`, `crop` and `channels` are as in `PixelsInFiles`.
    """
    names = Names(name for name, _ in named)
    return Images(
        pixels=PixelsInFiles(folder=folder, names=names, size=size, resize=resize, crop=crop, channels=channels),
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
