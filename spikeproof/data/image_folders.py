"""How does a folder of one's own pictures become a data set?"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from spikeproof.choices import Count, Seed, UserError, Within
from spikeproof.data.augmentations import Augmentation, HorizontalFlip
from spikeproof.data.data_sets import DataSet, PartName
from spikeproof.data.image_files import SUFFIXES, Crop, images_by_class, images_in_files
from spikeproof.data.images import Images
from spikeproof.data.published_files import data_root, folder_inside
from spikeproof.data.splits import drawn_test, stratified_order
from spikeproof.data.twins import warn_of_twins

Side = Annotated[int, Within(1, 4096)]  # pixels
TEST = ("test", "val")  # the names that the folder of the test part may have


@dataclass(frozen=True, kw_only=True)
class ImageFolder(DataSet):
    """Pictures of one's own, JPEG or PNG, a folder a class: `folder`/train/CLASS/*.jpg, and `folder`/test/CLASS/*.jpg.

    `folder` is in the root of the data. The test part may be val/; where there are both, val/ is the validation part.
    With `test_images` there is one folder for all, `folder`/CLASS/*.jpg, of which so many are drawn by `split_seed`.
    `classes` names each folder; a label is the place in it. `data_in` reads all of this from the files. The shorter
    side is brought to `resize` pixels and the middle of `size` x `size` cut out (`resize` None: files have that size
    already). With `crop` "random" training sees a random box of each picture, scaled to `size`, another in each epoch.
    With one of `channels` pictures are grey. Mean and standard deviation are ImageNet's unless they are said.
    """

    folder: str = "pictures"
    classes: tuple[str, ...] = ("class 0", "class 1")  # type: ignore[misc]
    size: Side = 224
    resize: Side | None = 256
    crop: Crop = "random"
    channels: Literal[1, 3] = 3
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)  # type: ignore[misc]
    std: tuple[float, ...] = (0.229, 0.224, 0.225)  # type: ignore[misc]
    test_images: Count | None = None
    train_images: Count | None = None
    validation_images: Count = 100
    split_seed: Seed = 0
    augmentation: tuple[Augmentation, ...] = (HorizontalFlip(),)

    published_train: ClassVar[int | None] = None
    published_test: ClassVar[int | None] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.classes)) < max(2, len(self.classes)):
            raise UserError(f"classes names each folder of pictures once, two or more; not {', '.join(self.classes)}")
        if self.resize is not None and self.resize < self.size:
            raise UserError(f"resize is at least the size that is cut out, {self.size}; not {self.resize}")
        if {len(self.mean), len(self.std)} != {self.channels}:
            raise UserError(f"mean and std have one number for each of {self.channels} channels")

    @property
    def resplit(self) -> bool:  # type: ignore[override]
        return self.test_images is not None

    @property
    def shape(self) -> tuple[int, int, int]:  # type: ignore[override]
        return (self.channels, self.size, self.size)

    def part(self, name: PartName, root: Path | str | None = None) -> Images:
        """As of any data set; the pictures in val/ are for validation where there is a test/ too."""
        within = folder_inside(data_root(root), self.folder)
        if name not in ("train", "validation") or self.resplit or not has_validation(within):
            return super().part(name, root)
        if name == "validation":
            return self._in(within / "val")
        everything = self._in(within / "train")
        return everything.select(stratified_order(everything.labels, self.split_seed)[: self.train_images])

    def published(self, name: Literal["train", "test"], root: Path) -> Images:
        within = folder_inside(root, self.folder)
        if self.test_images is not None:
            everything = self._in(within)
            return everything.select(
                drawn_test(everything.labels, self.test_images, self.split_seed, name, str(within))
            )
        sides = ("train",) if name == "train" else TEST
        side = next((within / each for each in sides if (within / each).is_dir()), None)
        if side is None:
            raise UserError(f"there is no folder {' or '.join(sides)} in {within.absolute()}, with a folder a class")
        found = self._in(side)
        if name == "test" and (train := within / "train").is_dir():
            of_train = images_by_class(train, [c for c in self.classes if (train / c).is_dir()])
            of_test = images_by_class(side, self.classes)
            warn_of_twins([train / file for file, _ in of_train], [side / file for file, _ in of_test])
        return found

    def _in(self, side: Path) -> Images:
        """The pictures in the folders of one folder."""
        if not side.is_dir():
            raise UserError(f"there is no folder {side.absolute()}")
        there = {entry.name for entry in side.iterdir() if entry.is_dir()}
        if there != set(self.classes):
            raise UserError(_other_classes(side, there, set(self.classes)))
        named = images_by_class(side, self.classes)
        if empty := [c for label, c in enumerate(self.classes) if label not in {each for _, each in named}]:
            raise UserError(f"there are no pictures ({', '.join(SUFFIXES)}) of {', '.join(empty)} in {side.absolute()}")
        return images_in_files(side, named, self.classes, self.size, self.resize, self.crop, self.channels)


def has_validation(folder: Path) -> bool:
    """Whether val/ stands beside test/."""
    return (folder / "val").is_dir() and (folder / "test").is_dir()


def _other_classes(side: Path, there: set[str], classes: set[str]) -> str:
    if not there:
        return f"{side.absolute()} has no folders: put the pictures of each class into one that is named as it"
    missing, more = sorted(classes - there), sorted(there - classes)
    said = [f"no folder {', '.join(missing[:3])}"] if missing else []
    said += [f"a folder {', '.join(more[:3])} that is none of the classes"] if more else []
    return f"{side.absolute()} has {' and '.join(said)}: classes names its {len(there)} folders"
