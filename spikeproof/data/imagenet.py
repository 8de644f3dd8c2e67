"""How is ImageNet (ILSVRC 2012) read from its folders of images?"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from spikeproof.choices import Count, Seed, UserError
from spikeproof.data.augmentations import Augmentation, HorizontalFlip, RandomCrop
from spikeproof.data.data_sets import DataSet
from spikeproof.data.image_files import Crop, class_folders, images_by_class, images_in_files
from spikeproof.data.images import Images

FOLDERS = ("ImageNet", "imagenet")


@dataclass(frozen=True, kw_only=True)
class ImageNet(DataSet):
    """1,331,167 colour images of 1,000 classes, decoded when asked for: shorter side 256, centre 224 x 224.

    The published validation set (50,000 images) is the test part, as everywhere, in the order of its file names. Read
    from train/<wnid>/ and val/<wnid>/ in ImageNet or imagenet; the label of a class is its place among the sorted
    WordNet ids. The default augmentation shifts the centre by up to an eighth of the side, as for CIFAR. With `crop`
    "random" training sees a random box of each image, scaled to 224 x 224, as is usual; leave `RandomCrop` out then.
    Source: Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, IJCV 115(3), 2015.
    """

    train_images: Count | None = None
    validation_images: Count = 10_000
    split_seed: Seed = 0
    augmentation: tuple[Augmentation, ...] = (RandomCrop(padding=28), HorizontalFlip())
    crop: Crop = "centre"

    shape = (3, 224, 224)
    classes = tuple(f"class {label}" for label in range(1000))
    mean = (0.485, 0.456, 0.406)
    std = (0.229, 0.224, 0.225)
    published_train = 1_281_167
    published_test = 50_000
    by_hand = (
        "ImageNet is given out to registered users only: at https://image-net.org/download.php get "
        "ILSVRC2012_img_train.tar (md5 1d675b47d978889d74fa0da5fadfb00e) and ILSVRC2012_img_val.tar (md5 "
        "29b22e2961454d5413ddabcf34fc5622), and sort the images into "
        "ImageNet/train/<wnid>/ and ImageNet/val/<wnid>/"
    )

    def published(self, name: Literal["train", "test"], root: Path) -> Images:
        folder = next((root / f for f in FOLDERS if (root / f).is_dir()), root / FOLDERS[0])
        side = folder / ("train" if name == "train" else "val")
        if not side.is_dir():
            raise UserError(f"{side.name} is missing in {folder.absolute()}; {self.by_hand}")
        classes = class_folders(side, len(self.classes))
        named = images_by_class(side, classes)
        if name == "test":
            named.sort(key=lambda pair: Path(pair[0]).name)
        return images_in_files(side, named, classes, size=224, resize=256, crop=self.crop)
