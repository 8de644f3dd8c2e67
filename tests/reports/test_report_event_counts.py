"""Is each event that an attack added, removed or moved counted, once?"""

import numpy as np
import pytest
import torch

from spikeproof.attacks import EventEdits
from spikeproof.reports.examples.event_counts import touched
from spikeproof.reports.examples.event_rasters import MOST_PIXELS, event_raster


def test_by_hand() -> None:
    """Four pixels of one polarity over three frames; the other polarity is left alone."""
    clean = np.zeros((3, 2, 2, 2), np.float32)
    adversarial = clean.copy()
    clean[:, 0, 0, 0], adversarial[:, 0, 0, 0] = (1, 0, 0), (0, 0, 1)  # one moved: 1 -> 1
    clean[:, 0, 0, 1], adversarial[:, 0, 0, 1] = (2, 1, 0), (0, 1, 0)  # two removed: 3 -> 1
    clean[:, 0, 1, 0], adversarial[:, 0, 1, 0] = (0, 1, 0), (0, 3, 0)  # two added: 1 -> 3
    clean[:, 0, 1, 1], adversarial[:, 0, 1, 1] = (1, 1, 0), (2, 0, 3)  # one moved, three added: 2 -> 5
    clean[:, 1] = adversarial[:, 1] = 1  # 12 events
    found = touched(clean, adversarial)
    assert (found.before, found.after) == (7 + 12, 10 + 12)
    assert (found.added, found.removed, found.moved) == (5, 2, 2)
    assert found.share == pytest.approx(9 / 19)
    assert (found.cells, found.of_cells) == (2 + 1 + 1 + 3, 24)
    assert (found.gained, found.lost) == (7, 4)


def test_the_same_pixel_of_another_polarity_is_no_move() -> None:
    clean, adversarial = np.zeros((2, 2, 1, 1)), np.zeros((2, 2, 1, 1))
    clean[0, 0] = adversarial[1, 1] = 1
    found = touched(clean, adversarial)
    assert (found.added, found.removed, found.moved) == (1, 1, 0)


def test_as_the_threat_tells_them_apart() -> None:
    generator = np.random.default_rng(0)
    clean, adversarial = (generator.poisson(0.7, (5, 6, 2, 7, 7)).astype(np.float32) for _ in range(2))
    expected = EventEdits(eps=20).told_apart(torch.from_numpy(adversarial), torch.from_numpy(clean))
    found = [touched(*pair) for pair in zip(clean, adversarial, strict=True)]
    for part, name in zip(expected, ("added", "removed", "moved"), strict=True):
        assert part.tolist() == [getattr(one, name) for one in found]
    assert {f.after - f.before - f.added + f.removed for f in found} == {0}


def test_fractions_add_up_and_rounding_is_no_change() -> None:
    clean = np.zeros((2, 1, 1, 3), np.float32)
    clean[0] = 1
    adversarial = clean.copy()
    adversarial[:, 0, 0, 0] = 0.75, 0.25
    adversarial[0, 0, 0, 1] = 1 - 1e-7
    adversarial[1, 0, 0, 2] = 0.5
    found = touched(clean, adversarial)
    assert (found.cells, found.share_of_cells) == (3, 0.5)
    assert (found.gained, found.lost) == (0.75, 0.25)
    assert found.after == pytest.approx(3.5)


def test_no_events_and_no_change() -> None:
    nothing = np.zeros((2, 2, 3, 3))
    assert touched(nothing, nothing).share is None
    assert touched(nothing + 1, nothing + 1).share == 0
    assert event_raster(nothing, nothing).shown == 0


def test_the_raster_marks_the_touched_pixels_and_draws_what_was_done() -> None:
    clean = np.zeros((3, 1, 2, 2))
    clean[:, 0, 0, 0] = 1, 0, 0
    clean[:, 0, 1, 1] = 1, 1, 0
    adversarial = clean.copy()
    adversarial[:, 0, 0, 0] = 0, 0, 1
    found = event_raster(clean, adversarial)
    assert (found.steps, found.pixels, found.shown, found.touched) == (3, 2, 2, 1)
    assert found.marks == "M-.7 0.5h.4"
    assert found.before == [(1, "M0.1 0.5h.8M0.1 1.5h.8M1.1 1.5h.8")]
    assert found.kept == [(1, "M0.1 1.5h.8M1.1 1.5h.8")]
    assert (found.appeared, found.vanished) == ([(1, "M2.1 0.5h.8")], [(1, "M0.1 0.5h.8")])


def test_more_events_are_more_opaque() -> None:
    clean = np.zeros((2, 1, 1, 1))
    clean[:, 0, 0, 0] = 1, 4
    assert [opacity for opacity, _ in event_raster(clean, clean).before] == [0.25, 1]


@pytest.mark.parametrize(("touches", "marked"), [(4, 4), (100, 32), (280, 32), (590, 48)])
def test_of_many_pixels_most_shown_are_touched_ones(touches: int, marked: int) -> None:
    clean = np.zeros((4, 2, 20, 15))
    clean[0] = 1
    adversarial = clean.copy()
    adversarial[3].flat[:touches] = 1
    found = event_raster(clean, adversarial)
    assert (found.pixels, found.shown, found.touched) == (600, MOST_PIXELS, touches)
    assert found.marks.count("M") == pytest.approx(marked, abs=1)
    assert found.before[0][1].count("M") == MOST_PIXELS


def test_long_recordings_have_fewer_pixels() -> None:
    clean = np.ones((100, 1, 10, 10))
    assert event_raster(clean, clean).shown == 12
