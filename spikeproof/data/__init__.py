"""Which data sets and augmentations are there, and how do images become batches?"""

from spikeproof.data.arrays import Arrays
from spikeproof.data.augmentations import Augmentation, Cutout, HorizontalFlip, RandomCrop, augment
from spikeproof.data.cifar import CIFAR10, CIFAR100
from spikeproof.data.data_sets import DataSet, PartName
from spikeproof.data.digits import Digits
from spikeproof.data.downloads import download
from spikeproof.data.events import *  # noqa: F403
from spikeproof.data.events import __all__ as _events
from spikeproof.data.image_folders import ImageFolder
from spikeproof.data.imagenet import ImageNet
from spikeproof.data.images import Images
from spikeproof.data.looking import data_in
from spikeproof.data.mnist import MNIST, FashionMNIST
from spikeproof.data.tiny_imagenet import TinyImageNet

__all__ = [
    *_events,
    "Arrays",
    "Augmentation",
    "CIFAR10",
    "CIFAR100",
    "Cutout",
    "DataSet",
    "Digits",
    "FashionMNIST",
    "HorizontalFlip",
    "ImageFolder",
    "ImageNet",
    "Images",
    "MNIST",
    "PartName",
    "RandomCrop",
    "TinyImageNet",
    "augment",
    "data_in",
    "download",
]
