"""Which differences between attacks does chance explain?"""

import math

import torch
from torch import Tensor

LUCK = 2  # images that raise no flag, whatever the threshold
SIGNIFICANT = 0.01


def share(images: Tensor) -> float:
    """The share of images ``[B]`` for which something is true."""
    return float(images.double().mean())


def limit(images: int) -> float:
    """The share of `images` that is no more than `LUCK` of them."""
    return (LUCK + 0.5) / images


def by_chance(one: Tensor, other: Tensor) -> float:
    """By how much the share of images that one attack breaks may exceed another's, starts and noise being random.

    A sign test at 1 % of the images that only one of the two breaks, `one` and `other` ``[B]``.
    """
    differing = int(torch.logical_xor(one, other).sum())
    tail = [sum(math.comb(differing, k) for k in range(wins, differing + 1)) for wins in range(differing + 2)]
    enough = next(wins for wins, count in enumerate(tail) if count < SIGNIFICANT * 2**differing)
    return (2 * enough - differing - 0.5) / len(one)
