"""How far does a share of n images pin down the share of all images?"""

from typing import NamedTuple


class Interval(NamedTuple):
    """A share, and the ends of its 95 % Wilson score interval, all in [0, 1]."""

    value: float
    low: float
    high: float

    @staticmethod
    def of(count: int, total: int) -> "Interval":
        """`count` of `total` images. Covers the choice of the images, not that of the training seed."""
        from scipy.stats import binomtest  # half a second of import that only an evaluation should cost

        ends = binomtest(count, total).proportion_ci(0.95, method="wilson")
        return Interval(count / total, float(ends.low), float(ends.high))
