"""How do images and labels in a .npz file become a data set?"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from spikeproof.choices import Count, Seed, UserError
from spikeproof.data.augmentations import Augmentation
from spikeproof.data.data_sets import DataSet
from spikeproof.data.images import Images, images_in_memory
from spikeproof.data.published_files import file_inside
from spikeproof.data.splits import drawn_test
from spikeproof.untrusted.archives import arrays_in
from spikeproof.untrusted.texts import Unreadable
from spikeproof.untrusted.words import brief, printable

Layout = Literal["NCHW", "NHWC", "NHW"]
IMAGES, LABELS = ("images", "x", "X", "data"), ("labels", "label", "y", "Y", "targets")
PARTS = {"train": ("train",), "test": ("test", "val")}


@dataclass(frozen=True, kw_only=True)
class Arrays(DataSet):
    """Images and labels of one's own in a .npz `file` in the root of the data; `data_in` reads what it holds.

    The arrays are `images` and `labels` (or x and y), of which `test_images` are drawn by `split_seed`. Or they are
    x_train, y_train, x_test and y_test (or train_images, ...), and `test_images` is None. Images are bytes, 255 white,
    or float in [0, 1]; `layout` says which axis is the channels'. `shape` is (C, H, W), and labels are whole numbers
    from 0 on, places in `classes`.
    """

    file: str
    shape: tuple[Count, Count, Count]  # type: ignore[misc]
    classes: tuple[str, ...]  # type: ignore[misc]
    layout: Layout = "NCHW"
    mean: tuple[float, ...] = (0.5,)  # type: ignore[misc]
    std: tuple[float, ...] = (0.25,)  # type: ignore[misc]
    test_images: Count | None = None
    train_images: Count | None = None
    validation_images: Count = 100
    split_seed: Seed = 0
    augmentation: tuple[Augmentation, ...] = ()

    published_train: ClassVar[int | None] = None
    published_test: ClassVar[int | None] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.classes) < 2:
            raise UserError("classes has a name for each label, two or more")
        if {len(self.mean), len(self.std)} != {self.shape[0]}:
            raise UserError(f"mean and std have one number for each of {self.shape[0]} channels")

    @property
    def resplit(self) -> bool:  # type: ignore[override]
        return self.test_images is not None

    def published(self, name: Literal["train", "test"], root: Path) -> Images:
        path = file_inside(root, self.file)
        arrays = read_arrays(path)
        if self.test_images is None:
            x, y = pair_in(arrays, path, name)
            return self._images(x, y, path)
        everything = self._images(*pair_in(arrays, path), path)
        return everything.select(drawn_test(everything.labels, self.test_images, self.split_seed, name, str(path)))

    def _images(self, x: np.ndarray, y: np.ndarray, path: Path) -> Images:
        pixels, labels = in_planes(x, self.layout, path), whole_labels(y, len(x), path)
        if tuple(pixels.shape[1:]) != self.shape:
            raise UserError(f"{path} holds images {list(pixels.shape[1:])}, and shape says {list(self.shape)}")
        if len(labels) and int(labels.max()) >= len(self.classes):
            raise UserError(f"{path}: label {int(labels.max())} has no name: classes has {len(self.classes)}")
        found = images_in_memory(pixels, labels, self.classes)
        return found if pixels.dtype == torch.uint8 else replace(found, pixels=FloatPixels(stored=pixels))


@dataclass(frozen=True, kw_only=True, eq=False)
class FloatPixels:
    """Images held as float32 ``[N, C, H, W]`` in [0, 1]."""

    stored: Tensor = field(repr=False)

    def __call__(self, rows: Tensor) -> Tensor:
        return self.stored[rows]


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a .npz; raises `UserError` that names a file which is missing, damaged or too large."""
    if not path.is_file():
        raise UserError(f"there is no file {path.absolute()}")
    try:
        return arrays_in(path)
    except Unreadable as error:
        raise UserError(f"{path} {error}") from error
    except Exception as error:  # numpy raises zipfile, zlib, syntax, memory and value errors for a damaged archive
        raise UserError(f"{path}: damaged or no .npz file: {printable(brief(str(error)))}") from error


def pair_in(arrays: dict[str, np.ndarray], path: Path, part: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The images and labels of a `part`, or of all; raises `UserError` that says which arrays would be right."""
    found = [next((arrays[name] for name in _names(kind, part) if name in arrays), None) for kind in (IMAGES, LABELS)]
    x, y = found
    if x is None or y is None:
        wanted = "images and labels, or x_train, y_train, x_test and y_test"
        raise UserError(f"{path} holds the arrays {', '.join(sorted(arrays)[:8]) or 'of nothing'}: name them {wanted}")
    return x, y


def _names(kind: tuple[str, ...], part: str | None) -> list[str]:
    if part is None:
        return list(kind)
    return [name for side in PARTS[part] for each in kind for name in (f"{each}_{side}", f"{side}_{each}")]


def layout_of(x: np.ndarray, path: Path) -> Layout:
    """Which axis of images is the channels'; raises `UserError` where that cannot be told."""
    if x.ndim == 3:
        return "NHW"
    first, last = (x.shape[axis] in (1, 3) for axis in (1, -1)) if x.ndim == 4 else (False, False)
    if first and last:
        raise UserError(f"{path}: the channels of images {list(x.shape)} may be axis 1 or 3: say layout NCHW or NHWC")
    if not (first or last):
        raise UserError(
            f"{path}: images are [N, H, W], [N, H, W, C] or [N, C, H, W] with 1 or 3 channels, not {list(x.shape)}"
        )
    return "NCHW" if first else "NHWC"


def in_planes(x: np.ndarray, layout: Layout, path: Path) -> Tensor:
    """Bytes, or float32 in [0, 1], ``[N, C, H, W]``; raises `UserError` for other numbers."""
    if x.ndim != len(layout):
        raise UserError(f"{path}: images {list(x.shape)} are not {layout}")
    if layout == "NHWC":
        x = np.moveaxis(x, -1, 1)
    x = np.ascontiguousarray(x[:, None] if layout == "NHW" else x)
    if x.dtype.kind in "iu" and x.dtype != np.uint8 and x.size and x.min() >= 0 and 1 < x.max() <= 255:
        x = x.astype(np.uint8)
    if x.dtype == np.uint8:
        return torch.from_numpy(x)
    if x.dtype.kind != "f":
        raise UserError(f"{path}: images are bytes from 0 to 255, or float in [0, 1], not {x.dtype}")
    low, high = (float(x.min()), float(x.max())) if x.size else (0.0, 0.0)
    if not (low >= 0 and high <= 1):
        hint = "keep them as bytes (uint8)" if low >= 0 and 1 < high <= 255 else "leave normalisation to the network"
        raise UserError(f"{path}: float images lie in [0, 1], and these from {low:.4g} to {high:.4g}: {hint}")
    return torch.from_numpy(x.astype(np.float32))


def whole_labels(y: np.ndarray, images: int, path: Path) -> Tensor:
    """Labels int64 ``[N]``, also of a column ``[N, 1]`` or of floats without a fraction."""
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if y.ndim == 2:
        raise UserError(f"{path}: labels are whole numbers [N], not {list(y.shape)}: of one-hot rows keep argmax(1)")
    if y.ndim != 1 or len(y) != images:
        raise UserError(f"{path}: {images} images have labels {list(y.shape)}; there is one an image")
    if y.dtype.kind not in "iuf" or (y.dtype.kind == "f" and not bool((y == np.floor(y)).all())):
        raise UserError(f"{path}: labels are whole numbers from 0 on, not {y.dtype}")
    if len(y) and y.min() < 0:
        raise UserError(f"{path}: labels are whole numbers from 0 on, and {int(y.min())} is among them")
    return torch.from_numpy(y.astype(np.int64))
