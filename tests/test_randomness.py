"""Are random numbers those of their laws, the same in any batch, and independent of each other?"""

import math

import pytest
import torch
from torch import Tensor

from spikeproof.randomness import Streams, seed_from, seeded

SEEDS = [0, 1, 2**40 + 7]
every_seed = pytest.mark.parametrize("seed", SEEDS)
SINGLE, DOUBLE = torch.zeros(()), torch.zeros((), dtype=torch.float64)
IMAGES, NUMBERS = 50, 4000
FAR = 4.5  # standard errors: one in 150,000 means lies further away

# Of images 3 and 4 under seed 7.
KEYS = [-8414162270746360824, 8836649588062576168]
BITS = [[8001221111544037259, 3341574403235137344], [1842102123194866309, 191119054229642610]]
UNIFORM = [[0.34301644563674927, 0.43661636114120483], [0.34880930185317993, 0.600647509098053]]
NORMAL = [[0.5738793369766785, -0.5074635028499225], [0.7145047066279555, -1.5537086846807149]]
BELOW = [[975, 916, 474], [887, 656, 240]]


def streams(seed: int = 0, images: int = IMAGES) -> Streams:
    return Streams.of(seed, torch.arange(images))


def error(mean: float, expected: float, deviation: float, count: int) -> float:
    """How many standard errors the mean of `count` numbers of this deviation is away from what is expected."""
    return abs(mean - expected) / (deviation / math.sqrt(count))


@every_seed
def test_uniform_numbers(seed: int) -> None:
    u = streams(seed).uniform(NUMBERS, like=DOUBLE)
    assert u.min() > 0
    assert u.max() < 1
    for power in (1, 2, 3, 4):
        mean, square = 1 / (power + 1), 1 / (2 * power + 1)
        assert error((u**power).mean().item(), mean, math.sqrt(square - mean**2), u.numel()) < FAR
    ordered = u.flatten().sort().values
    distance = (ordered - torch.arange(1, u.numel() + 1) / u.numel()).abs().max().item()
    assert distance < 2.5 / math.sqrt(u.numel())  # Kolmogorov and Smirnov: one in 100,000 is larger
    shares = torch.histc(u, 64, 0, 1)
    chi2 = ((shares - u.numel() / 64) ** 2 / (u.numel() / 64)).sum().item()
    assert error(chi2, 63, math.sqrt(2 * 63), 1) < FAR


@every_seed
def test_normal_numbers(seed: int) -> None:
    z = streams(seed).normal(NUMBERS, like=DOUBLE)
    assert z.isfinite().all()
    for power, (mean, square) in {1: (0, 1), 2: (1, 3), 3: (0, 15), 4: (3, 105)}.items():
        assert error((z**power).mean().item(), mean, math.sqrt(square - mean**2), z.numel()) < FAR
    beyond = 2 * (1 - torch.special.ndtr(torch.tensor(3.0))).item()
    seen = (z.abs() > 3).double().mean().item()
    assert error(seen, beyond, math.sqrt(beyond), z.numel()) < FAR


@every_seed
def test_signs(seed: int) -> None:
    signs = streams(seed).signs(NUMBERS, like=SINGLE)
    assert (signs.abs() == 1).all()
    assert error(signs.mean().item(), 0, 1, signs.numel()) < FAR
    follows = (signs[:, 1:] * signs[:, :-1]).mean().item()
    assert error(follows, 0, 1, signs.numel()) < FAR


@every_seed
@pytest.mark.parametrize("end", [1, 2, 7, 1000])
def test_whole_numbers_below(seed: int, end: int) -> None:
    drawn = streams(seed).below(end, NUMBERS)
    assert drawn.dtype == torch.int64
    assert drawn.min() == 0
    assert drawn.max() == end - 1
    counts = torch.bincount(drawn.flatten(), minlength=end).double()
    expected = drawn.numel() / end
    chi2 = ((counts - expected) ** 2 / expected).sum().item()
    assert error(chi2, end - 1, math.sqrt(max(2 * (end - 1), 1)), 1) < FAR


def test_whole_numbers_below_ends_of_their_own() -> None:
    ends = torch.tensor([1, 5, 2**21])
    drawn = streams(images=3).below(ends.view(3, 1), NUMBERS)
    assert (drawn >= 0).all()
    assert (drawn < ends.view(3, 1)).all()
    assert drawn.amax(1)[:2].tolist() == [0, 4]
    assert drawn[2].max() > 0.99 * 2**21
    assert streams(images=3).below(ends).shape == (3,)


def correlation(a: Tensor, b: Tensor) -> float:
    """How many standard errors the correlation of two sequences is away from 0."""
    return abs(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1].item()) * math.sqrt(a.numel())


@every_seed
def test_images_draws_turns_and_seeds_are_independent(seed: int) -> None:
    one = streams(seed)
    first, second = one.uniform(NUMBERS, like=DOUBLE), one.uniform(NUMBERS, like=DOUBLE)
    others = {
        "the next draw": second,
        "the next image": first.roll(1, 0),
        "the next number": first.roll(1, 1),
        "a turn": streams(seed).turn(0).uniform(NUMBERS, like=DOUBLE),
        "the next turn": streams(seed).turn(1).uniform(NUMBERS, like=DOUBLE),
        "a turn of a turn": streams(seed).turn(0).turn(0).uniform(NUMBERS, like=DOUBLE),
        "the next leg": streams(seed).turn(1 << 32).uniform(NUMBERS, like=DOUBLE),
        "the next seed": streams(seed + 1).uniform(NUMBERS, like=DOUBLE),
    }
    for name, other in others.items():
        assert correlation(first, other) < FAR, name
    images = torch.corrcoef(first).triu(1) * math.sqrt(NUMBERS)
    assert images.abs().max() < 5.5  # of 1,225 pairs


def test_no_two_streams_meet() -> None:
    """Images 0 to 999 of three seeds, in turns 0 to 9: 30,000 keys, and none twice."""
    keys = [Streams.of(seed, torch.arange(1000)).turn(n).key for seed in SEEDS for n in range(10)]
    assert len(torch.cat(keys).unique()) == 30_000


def test_an_image_draws_the_same_in_any_batch() -> None:
    index = torch.tensor([900, 3, 17, 40])
    whole, part = Streams.of(5, index), Streams.of(5, index[[2, 0]])
    turns = torch.tensor([7, 1, 7, 9])
    for draw in (
        lambda s: s.uniform(3, 2, like=SINGLE),
        lambda s: s.normal(5, like=DOUBLE),
        lambda s: s.signs(2, like=SINGLE),
        lambda s: s.below(9, 4),
        lambda s: s.uniform(like=SINGLE),
    ):
        assert torch.equal(draw(part), draw(whole)[[2, 0]])
    assert torch.equal(part.turn(turns[[2, 0]]).key, whole.turn(turns).key[[2, 0]])
    assert torch.equal(whole.turn(7).key[0], whole.turn(turns).key[0])


def test_draws_follow_each_other_and_keys_do_not_change() -> None:
    one, other = streams(), streams()
    assert torch.equal(one.uniform(4, like=SINGLE), other.uniform(4, like=SINGLE))
    assert not torch.equal(one.uniform(4, like=SINGLE), streams().uniform(4, like=SINGLE))
    assert torch.equal(one.uniform(4, like=SINGLE), [other.uniform(4, like=SINGLE) for _ in range(2)][1])
    assert torch.equal(one.key, streams().key)


def test_more_numbers_begin_with_the_same_ones() -> None:
    assert torch.equal(streams().uniform(100, like=SINGLE)[:, :10], streams().uniform(10, like=SINGLE))


@pytest.mark.parametrize("law", ["uniform", "normal", "signs"])
def test_precisions_agree(law: str) -> None:
    single, double = (getattr(streams(), law)(NUMBERS, like=like) for like in (SINGLE, DOUBLE))
    assert single.dtype == torch.float32
    assert double.dtype == torch.float64
    torch.testing.assert_close(single.double(), double, rtol=1e-5, atol=1e-6)


def test_numbers_stay_what_they_are() -> None:
    """A verdict that is repeated has to draw them again."""
    numbers = Streams.of(7, torch.tensor([3, 4]))
    assert numbers.key.tolist() == KEYS
    assert numbers.bits(2).tolist() == BITS
    torch.testing.assert_close(numbers.uniform(2, like=DOUBLE), torch.tensor(UNIFORM, dtype=torch.float64))
    torch.testing.assert_close(numbers.normal(2, like=DOUBLE), torch.tensor(NORMAL, dtype=torch.float64))
    assert numbers.turn(5).below(1000, 3).tolist() == BELOW


def test_fresh_streams_come_from_torchs_generator() -> None:
    x = torch.zeros(3, 2)
    torch.manual_seed(1)
    first, second = Streams.fresh(x), Streams.fresh(x)
    torch.manual_seed(1)
    assert torch.equal(Streams.fresh(x).key, first.key)
    assert not torch.equal(first.key, second.key)


def test_seeds_from_near_numbers_are_far() -> None:
    seeds = {seed_from(run, epoch, batch) for run in range(5) for epoch in range(5) for batch in range(40)}
    assert len(seeds) == 1000
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert seed_from(1, 2) != seed_from(2, 1)
    assert seed_from(0, 1, 2) == 1535930435702422785  # written down once: runs are repeated with it


def test_a_block_of_its_own_randomness_leaves_none_behind() -> None:
    torch.manual_seed(9)
    expected = torch.rand(3)
    torch.manual_seed(9)
    with seeded(4, torch.device("cpu")):
        inside = torch.rand(3)
    assert torch.equal(torch.rand(3), expected)
    with seeded(4, torch.device("cpu")):
        assert torch.equal(torch.rand(3), inside)
    with pytest.raises(ZeroDivisionError), seeded(4, torch.device("cpu")):
        torch.rand(1 // 0)
    torch.manual_seed(9)
    assert torch.equal(torch.rand(3), expected)


def test_split_streams_are_far_from_each_other_and_depend_on_their_image_alone() -> None:
    streams = Streams.of(3, torch.tensor([5, 9]))
    split = streams.split(3)
    drawn = split.uniform(200, like=torch.zeros(()))
    assert drawn.shape == (6, 200)
    assert len(set(split.key.tolist()) | set(streams.key.tolist())) == 8
    assert (torch.corrcoef(drawn) - torch.eye(6)).abs().max() < 0.3
    alone = Streams.of(3, torch.tensor([9])).split(3).uniform(200, like=torch.zeros(()))
    assert torch.equal(alone, drawn[3:])
