"""In which order are images taken, so that every beginning of the order has all classes in proportion?"""

import numpy as np
import torch
from torch import Tensor

from spikeproof.choices import UserError
from spikeproof.randomness import seed_from

SALT = 34  # the test part of a split is drawn by another seed than its validation part


def stratified_order(labels: Tensor, seed: int) -> Tensor:
    """A random order of the images with `labels` [N]: int64 [N], each index once, the same for the same seed.

    In the first n of it, each class has its share of n, up to rounding. So the first n are a stratified
    sample, samples of different n are nested, and what comes after the first n is stratified as well.
    """
    classes = labels.numpy()
    # Numpy promises that the raw stream of a bit generator never changes; torch promises this for none of its
    # generators, and a split that changed with a library would mix validation images into training.
    ticket = np.random.PCG64(seed).random_raw(len(classes))
    by_class = np.lexsort((ticket, classes))
    _, start, size = np.unique(classes[by_class], return_index=True, return_counts=True)
    rank = np.arange(len(classes)) - np.repeat(start, size)
    quota = (rank + 0.5) / np.repeat(size, size)
    return torch.from_numpy(by_class[np.lexsort((ticket[by_class], quota))])


def drawn_test(labels: Tensor, count: int, seed: int, name: str, where: str) -> Tensor:
    """Which images [M] are of the part `name`, where `count` for test are drawn by `seed`, in proportion to classes.

    Raises `UserError` where that leaves none to train on.
    """
    if len(labels) <= count:
        raise UserError(f"{where} has {len(labels)} images: test_images must be 1 to {len(labels) - 1}, not {count}")
    order = stratified_order(labels, seed_from(seed, SALT))
    return order[:count] if name == "test" else order[count:]
