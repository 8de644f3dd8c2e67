"""How does a folder of one's own pictures become a data set?"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from spikeproof.choices import Count, Seed, UserError, Within
from spikeproof.data.augmentations import Augmentation, HorizontalFlip
from spikeproof.data.data_sets import DataSet
from spikeproof.data.image_files import SUFFIXES, Crop, images_by_class, images_in_files
from spikeproof.data.images import Images
from spikeproof.data.published_files import folder_inside
from spikeproof.data.twins import warn_of_twins

Side = Annotated[int, Within(1, 4096)]  # pixels
TEST = ("test", "val")  # the names that the folder of the test part may have


@dataclass(frozen=True, kw_only=True)
class ImageFolder(DataSet):
    """Pictures of one's own, JPEG or PNG: `folder`/train/CLASS/*.jpg, and `folder`/test/CLASS/*.jpg (or val/).

    `folder` is in the root of the data. `classes` names each folder in train; a label is the place in it. The shorter
    side is brought to `resize` pixels and the middle of `size` x `size` cut out (`resize` None: files have that size
    already). With `crop` "random" training sees a random box of each picture, scaled to `size`, another in each epoch.
    Mean and standard deviation are ImageNet's.
    """

    folder: str = "pictures"
    classes: tuple[str, ...] = ("class 0", "class 1")  # type: ignore[misc]
    size: Side = 224
    resize: Side | None = 256
    crop: Crop = "random"
    train_images: Count | None = None
    validation_images: Count = 100
    split_seed: Seed = 0
    augmentation: tuple[Augmentation, ...] = (HorizontalFlip(),)

    mean = (0.485, 0.456, 0.406)
    std = (0.229, 0.224, 0.225)
    published_train: ClassVar[int | None] = None
    published_test: ClassVar[int | None] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.classes)) < max(2, len(self.classes)):
            raise UserError(f"classes names each folder of pictures once, two or more; not {', '.join(self.classes)}")
        if self.resize is not None and self.resize < self.size:
            raise UserError(f"resize is at least the size that is cut out, {self.size}; not {self.resize}")

    @property
    def shape(self) -> tuple[int, int, int]:  # type: ignore[override]
        return (3, self.size, self.size)

    def published(self, name: Literal["train", "test"], root: Path) -> Images:
        within = folder_inside(root, self.folder)
        sides = ("train",) if name == "train" else TEST
        side = next((within / each for each in sides if (within / each).is_dir()), None)
        if side is None:
            raise UserError(f"there is no folder {' or '.join(sides)} in {within.absolute()}, with a folder a class")
        there = {entry.name for entry in side.iterdir() if entry.is_dir()}
        if there != set(self.classes):
            raise UserError(_other_classes(side, there, set(self.classes)))
        named = images_by_class(side, self.classes)
        if empty := [c for label, c in enumerate(self.classes) if label not in {each for _, each in named}]:
            raise UserError(f"there are no pictures ({', '.join(SUFFIXES)}) of {', '.join(empty)} in {side.absolute()}")
        if name == "test" and (train := within / "train").is_dir():
            of_train = images_by_class(train, [c for c in self.classes if (train / c).is_dir()])
            warn_of_twins([train / file for file, _ in of_train], [side / file for file, _ in named])
        return images_in_files(side, named, self.classes, self.size, self.resize, self.crop)


def _other_classes(side: Path, there: set[str], classes: set[str]) -> str:
    if not there:
        return f"{side.absolute()} has no folders: put the pictures of each class into one that is named as it"
    missing, more = sorted(classes - there), sorted(there - classes)
    said = [f"no folder {', '.join(missing[:3])}"] if missing else []
    said += [f"a folder {', '.join(more[:3])} that is none of the classes"] if more else []
    return f"{side.absolute()} has {' and '.join(said)}: classes names its {len(there)} folders"
