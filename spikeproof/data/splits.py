"""In which order are images taken, so that every beginning of the order has all classes in proportion?"""

import numpy as np
import torch
from torch import Tensor


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
