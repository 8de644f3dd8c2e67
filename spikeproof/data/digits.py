"""How are scikit-learn's handwritten digits, which need no download, read?"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from spikeproof.choices import Count, Seed
from spikeproof.data.augmentations import Augmentation
from spikeproof.data.data_sets import DataSet
from spikeproof.data.images import Images, images_in_memory
from spikeproof.data.splits import stratified_order

TEST_SEED = 1998


@dataclass(frozen=True, kw_only=True)
class Digits(DataSet):
    """1,797 grey 8 x 8 images of handwritten digits that come with scikit-learn, for quick trials.

    No test set was published: 360 images, in proportion to the classes, drawn once with the fixed seed
    `TEST_SEED`, are the test set whatever `split_seed` is. Pixels 0..16 become [0,1]; `mean` and `std` are
    of the other 1,437. Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine
    Learning Repository (1998), doi:10.24432/C50P49; scikit-learn holds its test file only.
    """

    train_images: Count | None = None
    validation_images: Count = 137
    split_seed: Seed = 0
    augmentation: tuple[Augmentation, ...] = ()

    shape = (1, 8, 8)
    classes = tuple("0123456789")
    mean = (0.3050,)
    std = (0.3759,)
    published_train = 1437
    published_test = 360

    def published(self, name: Literal["train", "test"], root: Path) -> Images:
        from sklearn.datasets import load_digits  # a second of import that only these images should cost

        grey, labels = load_digits(return_X_y=True)
        pixels = torch.from_numpy(grey).to(torch.uint8).reshape(-1, *self.shape)
        everything = images_in_memory(pixels, torch.from_numpy(labels), self.classes, white=16)
        order = stratified_order(everything.labels, TEST_SEED)
        test, train = order[: self.published_test], order[self.published_test :]
        return everything.select(test if name == "test" else train)
