"""Are intervals, seeds and paired comparisons computed as the page says they are?"""

import numpy as np
import pytest
from scipy.stats import binomtest

from spikeproof.reports.reading.intervals import Estimate, over_seeds, paired
from spikeproof.runs.intervals import Interval


@pytest.mark.parametrize(("held", "images"), [(0, 40), (1, 40), (260, 500), (40, 40)])
def test_wilson_agrees_with_scipy(held: int, images: int) -> None:
    expected = binomtest(held, images).proportion_ci(method="wilson")
    ours = Interval.of(held, images)
    assert (ours.low, ours.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_mcnemar_agrees_with_scipy() -> None:
    first = np.array([True] * 30 + [False] * 12 + [True] * 50)
    second = np.array([False] * 30 + [True] * 12 + [True] * 50)
    test = paired(first, second)
    assert (test.only_first, test.only_second) == (30, 12)
    assert test.p == pytest.approx(binomtest(12, 42).pvalue)
    assert paired(first, first).p == 1


def test_seeds_are_averaged_without_counting_an_image_twice() -> None:
    seeds = [Estimate(value, value - 0.1, value + 0.1) for value in (0.5, 0.6, 0.7)]
    mean = over_seeds(seeds, 100)
    assert mean.value == pytest.approx(0.6)
    assert mean.spread == (0.5, 0.7)
    assert (mean.low, mean.high) == pytest.approx((Interval.of(60, 100).low, Interval.of(60, 100).high))
    assert mean.high - mean.low > Interval.of(180, 300).high - Interval.of(180, 300).low


def test_one_seed_keeps_its_own_interval() -> None:
    only = Estimate(0.5, 0.4, 0.6)
    assert over_seeds([only], 100) is only


def test_overlap_includes_touching() -> None:
    assert Estimate(0.5, 0.4, 0.6).overlaps(Estimate(0.7, 0.6, 0.8))
    assert not Estimate(0.5, 0.4, 0.59).overlaps(Estimate(0.7, 0.6, 0.8))
