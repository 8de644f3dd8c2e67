"""Which differences between attacks does chance explain?"""

import math
from itertools import accumulate

import torch
from torch import Tensor

LUCK = 2  # images that raise no flag, whatever the threshold
SIGNIFICANT = 0.01
FOUND_FIRST = 0.05  # of all images: as many may fall to a control before any gradient finds them


def share(images: Tensor) -> float:
    """The share of images ``[B]`` for which something is true."""
    return float(images.double().mean())


def limit(images: int) -> float:
    """The share of `images` that is no more than `LUCK` of them."""
    return (LUCK + 0.5) / images


def beyond(rate: float, images: int) -> float:
    """The share of `images` that chance explains where something is true of `rate` of all: a binomial test at 1 %."""
    counts = range(images, -1, -1)
    yes, no = math.log(rate), math.log1p(-rate)
    tail = accumulate(math.exp(_ways(images, k) + k * yes + (images - k) * no) for k in counts)
    most = max(k for k, chance in zip(counts, tail, strict=True) if chance >= SIGNIFICANT)
    return (most + 0.5) / images


def _ways(images: int, chosen: int) -> float:
    """The logarithm of the number of ways to choose so many images."""
    return math.lgamma(images + 1) - math.lgamma(chosen + 1) - math.lgamma(images - chosen + 1)


def by_chance(one: Tensor, other: Tensor) -> float:
    """By how much the share of images that one attack breaks may exceed another's, starts and noise being random.

    A sign test at 1 % of the images that only one of the two breaks, `one` and `other` ``[B]``.
    """
    differing = int(torch.logical_xor(one, other).sum())
    tail = [sum(math.comb(differing, k) for k in range(wins, differing + 1)) for wins in range(differing + 2)]
    enough = next(wins for wins, count in enumerate(tail) if count < SIGNIFICANT * 2**differing)
    return (2 * enough - differing - 0.5) / len(one)
