"""Do the augmentations of a whole batch equal a plain loop over its images?"""

import pytest
import torch

from spikeproof.choices import UserError
from spikeproof.data import Cutout, HorizontalFlip, RandomCrop, augment

EVERY = [RandomCrop(padding=2), HorizontalFlip(), Cutout(size=3, fill=0.25)]


def generator(seed: int = 7) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(batch: int = 64, channels: int = 3, height: int = 6, width: int = 8) -> torch.Tensor:
    """All pixels differ and none is 0, so that an image tells where each of its pixels came from."""
    count = batch * channels * height * width
    return (torch.arange(1, count + 1) / count).reshape(batch, channels, height, width)


def test_random_crop_equals_a_loop() -> None:
    x, padding = images(), 2
    numbers = generator()
    top = torch.randint(2 * padding + 1, (len(x),), generator=numbers)
    left = torch.randint(2 * padding + 1, (len(x),), generator=numbers)
    expected = torch.zeros_like(x)
    for i in range(len(x)):
        for row in range(6):
            for column in range(8):
                r, c = row + int(top[i]) - padding, column + int(left[i]) - padding
                if 0 <= r < 6 and 0 <= c < 8:
                    expected[i, :, row, column] = x[i, :, r, c]
    assert torch.equal(RandomCrop(padding=padding)(x, generator()), expected)
    assert len({(int(t), int(c)) for t, c in zip(top, left, strict=True)}) > 15, "the loop must see most shifts"


def test_flip_equals_a_loop() -> None:
    x = images()
    draws = torch.rand(len(x), generator=generator())
    expected = torch.stack([x[i].flip(-1) if draws[i] < 0.3 else x[i] for i in range(len(x))])
    result = HorizontalFlip(probability=0.3)(x, generator())
    assert torch.equal(result, expected)
    assert 0 < (result != x).flatten(1).any(1).sum() < len(x)


def test_flip_with_probability_one_or_zero() -> None:
    x = images()
    assert torch.equal(HorizontalFlip(probability=1.0)(x), x.flip(-1))
    assert torch.equal(HorizontalFlip(probability=0.0)(x), x)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 40])
def test_cutout_equals_a_loop(size: int) -> None:
    x, numbers = images(), generator()
    y0 = torch.randint(6, (len(x),), generator=numbers)
    x0 = torch.randint(8, (len(x),), generator=numbers)
    expected = x.clone()
    for i in range(len(x)):
        top, left = int(y0[i]) - size // 2, int(x0[i]) - size // 2
        expected[i, :, max(top, 0) : max(top + size, 0), max(left, 0) : max(left + size, 0)] = 0.25
    assert torch.equal(Cutout(size=size, fill=0.25)(x, generator()), expected)


@pytest.mark.parametrize("step", EVERY, ids=str)
def test_a_seed_repeats_the_result_and_the_input_stays(step: RandomCrop) -> None:
    x = images()
    before = x.clone()
    result = step(x, generator(1))
    assert torch.equal(result, step(x, generator(1)))
    assert not torch.equal(result, step(x, generator(2)))
    assert torch.equal(x, before)
    assert result.shape == x.shape
    assert result.dtype == x.dtype
    assert 0 <= result.min() <= result.max() <= 1


@pytest.mark.parametrize("step", EVERY, ids=str)
def test_a_generator_leaves_the_global_one_alone(step: RandomCrop) -> None:
    before = torch.get_rng_state()
    step(images(), generator())
    assert torch.equal(torch.get_rng_state(), before)
    step(images())
    assert not torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("step", EVERY, ids=str)
def test_an_empty_batch_stays_empty(step: RandomCrop) -> None:
    assert step(torch.zeros(0, 3, 6, 8), generator()).shape == (0, 3, 6, 8)


def test_augment_applies_all_steps_in_order() -> None:
    x, numbers = images(), generator()
    expected = Cutout(size=3)(RandomCrop(padding=2)(x, numbers), numbers)
    assert torch.equal(augment(x, (RandomCrop(padding=2), Cutout(size=3)), generator()), expected)
    assert augment(x, ()) is x


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomCrop(padding=0), "padding of RandomCrop must be a whole number from 1 on, not 0"),
        (
            lambda: HorizontalFlip(probability=1.5),
            r"probability of HorizontalFlip must be a number in \[0, 1\], not 1.5",
        ),
        (lambda: Cutout(size=0), "size of Cutout must be a whole number from 1 on, not 0"),
        (lambda: Cutout(fill=2.0), r"fill of Cutout must be a number in \[0, 1\], not 2.0"),
        (lambda: RandomCrop()(torch.zeros(3, 8, 8)), r"\[B, C, H, W\].*\[3, 8, 8\]"),
    ],
)
def test_bad_settings_are_refused(make: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()  # type: ignore[operator]
