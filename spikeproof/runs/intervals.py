"""How far does a share of n images pin down the share of all images?"""

import math
from typing import NamedTuple

Z95 = 1.959963984540054


class Interval(NamedTuple):
    """A share, and the ends of its 95 % Wilson score interval, all in [0, 1]."""

    value: float
    low: float
    high: float

    @staticmethod
    def of(count: float, total: int) -> "Interval":
        """`count` of `total` images, or a mean count. Covers the choice of images, not of the training seed."""
        value, square = count / total, Z95**2 / total
        centre = (value + square / 2) / (1 + square)
        half = Z95 / (1 + square) * math.sqrt(value * (1 - value) / total + square / (4 * total))
        return Interval(value, max(0.0, min(value, centre - half)), min(1.0, max(value, centre + half)))

    def __str__(self) -> str:
        return f"{100 * self.value:.1f} % [{100 * self.low:.0f}-{100 * self.high:.0f}]"

    def overlaps(self, other: "Interval") -> bool:
        return self.low <= other.high and other.low <= self.high
