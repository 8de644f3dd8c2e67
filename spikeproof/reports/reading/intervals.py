"""How sure is a share of images, over one seed or several, and do two networks differ on the same images?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spikeproof.runs.intervals import Interval


@dataclass(frozen=True)
class Estimate:
    """A share in [0, 1], its 95 % interval over images and, for several seeds, their (smallest, largest)."""

    value: float
    low: float
    high: float
    spread: tuple[float, float] | None = None

    def overlaps(self, other: "Estimate") -> bool:
        return self.low <= other.high and other.low <= self.high


@dataclass(frozen=True)
class Paired:
    """Images that only one of two networks holds, and the exact two-sided McNemar p-value."""

    only_first: int
    only_second: int
    p: float


def over_seeds(shares: Sequence[Estimate], images: int) -> Estimate:
    """The mean over seeds that met the same `images`, or as many each where every seed has its own split.

    The interval counts each image once: pooling seeds x images would pretend that one image, met by three
    networks, were three independent images. Test parts of several splits overlap by an amount that is not known here,
    so theirs is the interval of one part, too wide rather than too narrow. The spread between seeds is another
    uncertainty, kept apart.
    """
    if len(shares) == 1:
        return shares[0]
    values = [share.value for share in shares]
    mean = sum(values) / len(values)
    return Estimate(*Interval.of(mean * images, images), (min(values), max(values)))


def paired(first: np.ndarray, second: np.ndarray) -> Paired:
    """The exact McNemar test on two bool arrays [N]: which of the same images does each network hold?"""
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    discordant = only_first + only_second
    tail = sum(math.comb(discordant, k) for k in range(min(only_first, only_second) + 1))
    return Paired(only_first, only_second, min(1.0, 2 * tail / 2**discordant))
