"""Do augmentations of event frames do what they say: one change a recording, the same in all of its frames?"""

import math
from collections import Counter

import pytest
import torch
from torch import Tensor

from spikeproof.choices import UserError
from spikeproof.data import NDA, EventDrop
from spikeproof.data.events.augmentations import _rotated

COUNT, STEPS, SIDE = 1500, 4, 6


def numbered() -> Tensor:
    """Recordings ``[B, T, P, H, W]`` whose cells all differ, and none of which is empty."""
    one = torch.arange(1.0, STEPS * 2 * SIDE * SIDE + 1).view(1, STEPS, 2, SIDE, SIDE)
    return one.repeat(COUNT, 1, 1, 1, 1)


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def holed(x: Tensor) -> bool:
    """Whether what is empty is the same pixels of every frame, a rectangle, and the rest is as it was."""
    return bool((x == 0).any()) and bool(((x == 0) == (x[:1, :1] == 0)).all())


def test_nda_mirrors_and_rolls_or_cuts() -> None:
    """Without a rotation each recording is one of the two mirror images: rolled, as it is, or with a square hole."""
    x = numbered()
    found = NDA(shift=2, degrees=0.0, hole=2)(x, random())
    assert found.shape == x.shape
    rolled = {
        (flip, down, right): torch.roll(x[0].flip(-1) if flip else x[0], (down, right), (-2, -1))
        for flip in (False, True)
        for down in range(-2, 3)
        for right in range(-2, 3)
    }
    seen: Counter[object] = Counter()
    for one in found:
        same = [name for name, other in rolled.items() if torch.equal(one, other)]
        if same:
            seen[same[0]] += 1
            continue
        assert holed(one)
        assert 1 <= int((one[0, 0] == 0).sum()) <= 4
        kept = one != 0
        assert any(torch.equal(one[kept], rolled[flip, 0, 0][kept]) for flip in (False, True))
        seen["hole"] += 1
    assert 0.25 * COUNT < seen["hole"] < 0.42 * COUNT
    assert {name for name in rolled if seen[name]} == set(rolled)  # every shift, mirrored and not
    assert sum(seen[name] for name in rolled if name[0]) == pytest.approx((COUNT - seen["hole"]) / 2, abs=COUNT / 10)


def test_nda_without_mirroring() -> None:
    x = numbered()
    kept = NDA(flip=False, shift=0, degrees=0.0, hole=1)(x, random())
    assert ((kept == x) | (kept == 0)).all()


@pytest.mark.parametrize("size", [(5, 5), (6, 6)])
def test_a_quarter_turn(size: tuple[int, int]) -> None:
    planes = torch.rand(3, 4, *size)
    turned = _rotated(planes, torch.tensor([0.0, math.pi / 2, -math.pi / 2]))
    assert torch.equal(turned[0], planes[0])
    quarters = [torch.rot90(planes, way, (2, 3)) for way in (1, -1)]
    assert torch.equal(turned[1], quarters[0][1]) or torch.equal(turned[1], quarters[1][1])
    assert torch.equal(turned[2], quarters[1][2]) or torch.equal(turned[2], quarters[0][2])
    assert not torch.equal(turned[1], quarters[0][1]) or torch.equal(turned[2], quarters[1][2])  # opposite ways


def test_a_rotation_keeps_its_values_and_its_middle() -> None:
    x = numbered()
    found = NDA(flip=False, shift=0, degrees=40.0, hole=1)(x, random())
    turned = [one for one, before in zip(found, x, strict=True) if not ((one == before) | (one == 0)).all()]
    assert 0.2 * COUNT < len(turned) < 0.42 * COUNT
    for one in turned:
        assert set(one.flatten().tolist()) <= {0.0, *x[0].flatten().tolist()}
        assert set(one[0, 0].flatten().tolist()) <= {0.0, *x[0, 0, 0].flatten().tolist()}  # of the same frame
        pixels = [(plane > 0).nonzero().tolist() for plane in one.flatten(0, 1)]
        assert all(those == pixels[0] for those in pixels)
        shifted = one[1:, 0] - one[:-1, 0]
        assert (shifted[one[1:, 0] > 0] == 2 * SIDE * SIDE).all()  # the same pixel of the next frame


def test_event_drop_loses_time_an_area_or_cells() -> None:
    x = numbered()
    found = EventDrop(most=0.5)(x, random())
    assert ((found == x) | (found == 0)).all()
    kinds: Counter[str] = Counter()
    for one in found:
        lost = one == 0
        if not lost.any():
            kinds["none"] += 1
            continue
        frames = lost.flatten(1).all(1)
        area = lost.flatten(0, 1).all(0)
        if torch.equal(lost, frames.view(-1, 1, 1, 1).expand_as(lost)):
            kinds["time"] += 1
            where = frames.nonzero().flatten()
            assert where[-1] - where[0] + 1 == len(where)  # in a row
            assert len(where) <= STEPS / 2
        elif torch.equal(lost, area.expand_as(lost)):
            kinds["area"] += 1
            rows, columns = area.any(1), area.any(0)
            assert torch.equal(area, rows.unsqueeze(1) & columns)  # a rectangle
            assert int(rows.sum()) == int(columns.sum()) <= round(math.sqrt(0.5) * SIDE)
        else:
            kinds["cells"] += 1
            assert lost.float().mean() < 0.65
    assert all(kinds[name] > COUNT / 10 for name in ("none", "time", "area", "cells"))


@pytest.mark.parametrize("augmentation", [NDA(), EventDrop()], ids=lambda choice: type(choice).__name__)
def test_the_same_generator_draws_the_same_and_nothing_is_written_into(augmentation: NDA | EventDrop) -> None:
    x = numbered()
    before = x.clone()
    one, again, other = (augmentation(x, random(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(x, before)


def test_what_cannot_be_is_refused() -> None:
    for make, said in (
        (lambda: NDA(shift=-1), "shift of NDA must be a whole number from 0 on, not -1"),
        (lambda: NDA(degrees=-0.5), "degrees of NDA must be a number from 0 on, not -0.5"),
        (lambda: NDA(hole=0), "hole of NDA must be a whole number from 1 on, not 0"),
        (lambda: EventDrop(most=0), r"most of EventDrop must be a number in \(0, 1\], not 0"),
        (lambda: EventDrop(most=1.5), r"most of EventDrop must be a number in \(0, 1\], not 1.5"),
        (lambda: EventDrop()(torch.ones(2, 3, 4, 4)), r"EventDrop takes event frames \[B, T, P, H, W\]"),
    ):
        with pytest.raises(UserError, match=said):
            make()
