"""Does the benchmark of two ranks say what was measured, and does the page say the same?"""

import json
from pathlib import Path

import numpy as np
import pytest

import spikeproof as sp
from benchmarks.scale import WORKS, differing, summary

DOCS = Path(__file__).parents[2] / "docs"


def test_ratios_are_of_the_same_round_and_the_worst_difference_counts():
    rows = [
        {"work": "evaluate", "alone": [20.0, 8.0], "together": [10.0, 5.0], "differing": 0},
        {"work": "evaluate", "alone": [30.0, 9.0], "together": [10.0, 5.0], "differing": 2},
        {"work": "train", "alone": [1.0, 1.0], "together": [2.0, 1.0]},
    ]
    found = summary(rows, "evaluate")
    assert found["times as fast, by wall clock"]["median"] == 2.5
    assert found["times as fast, by processor seconds of the busiest rank"]["median"] == pytest.approx(1.7)
    assert found["had a core, together"] == 0.5
    assert found["images with another verdict or cost"] == 2
    assert "images with another verdict or cost" not in summary(rows, "train")


def test_an_image_differs_by_its_verdict_or_its_cost():
    x, y = sp.Digits().part("test").batch(range(4))
    network = sp.Network(architecture=sp.MLP(hidden=(8,)), steps=2).build((1, 8, 8), 10)
    one = sp.evaluate(network, (x, y), sp.Protocol(threats=0.1, suite="quick"))
    assert differing(one, one) == 0
    other = sp.evaluate(network, (x, y), sp.Protocol(threats=0.1, suite="quick"))
    other.gradients[1] += 1
    other.broken_by[[1, 3]] += 1
    assert differing(one, other) == 2
    assert np.array_equal(one.label, other.label)


@pytest.mark.parametrize("work", WORKS)
def test_the_page_has_the_numbers_that_were_measured(work):
    page, record = (DOCS / "scale.md").read_text(), json.loads((DOCS / "scale.json").read_text())
    for by in ("wall clock", "processor seconds of the busiest rank"):
        spread = record[work][f"times as fast, by {by}"]
        assert f"{spread['median']:.2f} ({spread['low']:.2f}–{spread['high']:.2f})" in page
