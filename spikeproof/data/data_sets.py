"""What is a data set, and how is it cut into a training, a validation and a test part?"""

from abc import abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal, get_args

from spikeproof.choices import Choice, Count, Seed, UserError, nearest
from spikeproof.data.augmentations import Augmentation
from spikeproof.data.images import Images
from spikeproof.data.published_files import Download, data_root
from spikeproof.data.splits import stratified_order

PartName = Literal["train", "validation", "test"]


class DataSet(Choice):
    """Images with labels, as published, and the choice of which of them train, validate and test.

    `validation_images` images are taken out of the published training set, at random by `split_seed` and in proportion
    to the classes. `train_images` of the others are for training (None: all of them). `augmentation` is applied to
    these only. The test part is the published test set, whole and in its order.

    Each set knows, without its files: `shape` (C, H, W); `classes`, the name of each label; `mean` and `std` of each
    channel in [0,1] pixel units. It knows how many images were published (None: as many as there are files), and where
    they are to be had. Where names come with the files only, `classes` are placeholders ("class 7"), and a part has the
    real ones. Recordings of event cameras are images whose `shape` is (T, P, H, W). A set that is `resplit` has no
    published test part: it draws one by `split_seed`, and each seed of a recipe another.

    Raises `UserError` at once if there are not that many images.
    """

    shape: ClassVar[tuple[int, ...]]
    classes: ClassVar[tuple[str, ...]]
    mean: ClassVar[tuple[float, ...]]
    std: ClassVar[tuple[float, ...]]
    published_train: ClassVar[int | None]
    published_test: ClassVar[int | None]
    resplit: ClassVar[bool] = False
    downloads: ClassVar[tuple[Download, ...]] = ()
    by_hand: ClassVar[str] = ""

    train_images: Count | None
    validation_images: Count
    split_seed: Seed
    augmentation: tuple[Augmentation, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.published_train is not None:
            self._refuse_too_few(self.published_train)

    @abstractmethod
    def published(self, name: Literal["train", "test"], root: Path) -> Images:
        """The whole training or test set as published, read from the folder `root`.

        Raises `UserError` for a file that is missing or is not the published one.
        """

    def part(self, name: PartName, root: Path | str | None = None) -> Images:
        """The images for training, validation or test; none is in two of these.

        `root` is the folder of all data (None: the environment variable SPIKEPROOF_DATA, or else ./data).
        Training and validation come in a random order, each beginning of which has all classes in proportion.
        Raises `UserError` for an unknown `name` and for files that are missing, damaged or incomplete.
        """
        if name not in get_args(PartName):
            raise UserError(f"unknown part {name!r}; {nearest(str(name), get_args(PartName))}")
        if name == "test":
            return self._complete("test", root)
        everything = self._complete("train", root)
        order = stratified_order(everything.labels, self.split_seed)
        validation, others = order[: self.validation_images], order[self.validation_images :]
        return everything.select(validation if name == "validation" else others[: self.train_images])

    def seeded(self, shift: int) -> "DataSet":
        """The same for a recipe whose seed is larger by `shift`: another split where the set is `resplit`."""
        return replace(self, split_seed=self.split_seed + shift) if self.resplit else self  # type: ignore[type-var]

    def _refuse_too_few(self, count: int) -> None:
        """Raise `UserError` unless `count` images give a training and a validation part of the chosen sizes."""
        name, left = type(self).__name__, count - self.validation_images
        if not 1 <= self.validation_images < count:
            raise UserError(f"{name}: validation_images must be 1 to {count - 1}, not {self.validation_images}")
        if self.train_images is not None and not 1 <= self.train_images <= left:
            raise UserError(
                f"{name}: train_images must be 1 to {left}, or None for all that validation leaves, "
                f"not {self.train_images}"
            )

    def _complete(self, name: Literal["train", "test"], root: Path | str | None) -> Images:
        images = self.published(name, data_root(root))
        wanted = self.published_train if name == "train" else self.published_test
        if wanted is None:
            if name == "train":
                self._refuse_too_few(len(images))
            return images
        if len(images) != wanted:
            raise UserError(
                f"{type(self).__name__} has {wanted:,} published {name} images, "
                f"but {len(images):,} are in {data_root(root).absolute()}; the copy is not the published one"
            )
        return images
