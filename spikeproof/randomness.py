"""How does randomness stay the same whatever ran before, in whatever order, however often it was resumed?"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor


def seed_from(*parts: int) -> int:
    """One 63-bit seed from several numbers, such as (run seed, epoch, batch); near ones give far seeds."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Torch's generators start from `seed` inside the block, and are as they were after it."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices, device_type="cuda"):
        torch.default_generator.manual_seed(seed)  # not torch.manual_seed, which seeds every accelerator
        for each in devices:
            with torch.cuda.device(each):
                torch.cuda.manual_seed(seed)
        yield


class Streams:
    """Random numbers for the images of a batch, each from a stream of its own: `key` ``[B]`` of type int64.

    A counter-based generator: a number depends on its image's key, on how many draws were made before, and on its
    place in the image - never on which other images there are, on their order or on the device. `turn` gives the
    streams of another part of the work; draws of the same streams follow each other.
    """

    def __init__(self, key: Tensor) -> None:
        self.key = key
        self.draws = 0

    @staticmethod
    def of(seed: int, index: Tensor) -> "Streams":
        """Those of the images of numbers `index` ``[B]`` under `seed`."""
        return Streams(_mixed(index * _GAMMA + (seed_from(seed) - 2**62)))

    @staticmethod
    def fresh(x: Tensor) -> "Streams":
        """Streams for the rows of `x` from torch's own generator."""
        return Streams.of(int(torch.randint(2**62, ())), torch.arange(len(x), device=x.device))

    def turn(self, number: int | Tensor) -> "Streams":
        """The streams of turn `number` (one, or one an image ``[B]``), each as far from the others as from this one."""
        return Streams(_mixed(self.key + (self.key.new_zeros(()) + number + 1) * _FIRST))

    def at(self, number: Tensor) -> "Streams":
        """The streams of step `number` ``[B]``; cheaper than `turn`, and not to be followed by another `at`."""
        return Streams(self.key + number * _SECOND)

    def split(self, count: int) -> "Streams":
        """`count` streams for each image, those of an image next to each other."""
        number = torch.arange(count, device=self.key.device).repeat(len(self.key))
        return Streams(self.key.repeat_interleave(count)).turn(number)

    def bits(self, *shape: int) -> Tensor:
        """Random integers ``[B, *shape]`` of 63 bits."""
        self.draws += 1
        drawn = _mixed(self.key.unsqueeze(1) + _places(math.prod(shape), self.draws, self.key.device))
        return drawn.bitwise_and_(_POSITIVE).view(-1, *shape)

    def uniform(self, *shape: int, like: Tensor) -> Tensor:
        """Uniform numbers inside (0, 1) ``[B, *shape]``, of the type of `like`, one of 2^23 values."""
        return ((self.bits(*shape) >> 40).to(torch.float32) + 0.5).mul_(2.0**-23).to(like.dtype)

    def normal(self, *shape: int, like: Tensor) -> Tensor:
        """Normal numbers ``[B, *shape]``, of the type of `like`."""
        return (2 * self.uniform(*shape, like=like) - 1).erfinv_().mul_(math.sqrt(2))

    def signs(self, *shape: int, like: Tensor) -> Tensor:
        """1 or -1 ``[B, *shape]``, of the type of `like`."""
        return signs_of(self.bits(*shape), like)

    def below(self, end: int | Tensor, *shape: int) -> Tensor:
        """Integers from 0 to `end` - 1 ``[B, *shape]``; `end`, below 2^22, may be a tensor that broadcasts to them."""
        return scaled(self.bits(*shape), end)


def signs_of(bits: Tensor, like: Tensor, size: float = 1) -> Tensor:
    """`size` or -`size`, of the type of `like`, from random `bits` of 63 bits."""
    return torch.where(bits >= 2**62, size, -size).to(like.dtype)


def scaled(bits: Tensor, end: int | Tensor) -> Tensor:
    """Integers from 0 to `end` - 1 from random `bits` of 63 bits; `end`, below 2^22, broadcasts to them."""
    return (bits >> 40) * end >> 23


@lru_cache(maxsize=64)
def _places(count: int, draw: int, device: torch.device) -> Tensor:
    """What the places of a draw add to a key ``[count]``; kept, as a search asks for the same in every step."""
    return (torch.arange(count, device=device) + (draw << 40)) * _GAMMA


_GAMMA, _FIRST, _SECOND = -7046029254386353131, -4658895280553007687, -7723592293110705685  # as signed 64 bits
_POSITIVE = 2**63 - 1


def _mixed(z: Tensor) -> Tensor:
    """A bijection of 64-bit integers, in place, in which each bit depends on all.

    Source: Stafford's mix 13, as in SplitMix64.
    """
    moved = torch.empty_like(z)  # fresh memory would cost more than the arithmetic
    for shift, factor in ((30, _FIRST), (27, _SECOND), (31, None)):
        torch.bitwise_right_shift(z, shift, out=moved)
        z.bitwise_xor_(moved.bitwise_and_(2 ** (64 - shift) - 1))
        if factor is not None:
            z.mul_(factor)
    return z
