"""How is a whole batch of images changed at random, each image differently?"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from spikeproof.specs import UserError


class Augmentation(ABC):
    """A random change of images that keeps their labels, their shape and [0,1]."""

    @abstractmethod
    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """`x` [B,C,H,W] changed, as a new tensor, on the device of `x`; random numbers come from `generator`.

        A generator may live on another device than `x`; one on the CPU gives the same result on every device.
        """


@dataclass(frozen=True, kw_only=True)
class RandomCrop(Augmentation):
    """Shifts each image by up to `padding` pixels in both directions; from outside comes black (0).

    Raises `UserError` if `padding` is below 1. Source: Krizhevsky et al., ImageNet Classification with Deep
    Convolutional Neural Networks (2012); padding 4 for CIFAR is from He et al. (2016), section 4.2.
    """

    padding: int = 4

    def __post_init__(self) -> None:
        if self.padding < 1:
            raise UserError(f"RandomCrop(padding={self.padding}): padding must be at least 1 pixel")

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        batch, _, height, width = _image_shape(x)
        padded = functional.pad(x, [self.padding] * 4)
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # [B, C, 2 padding + 1, 2 padding + 1, H, W]
        top = _integers(2 * self.padding + 1, x, generator)
        left = _integers(2 * self.padding + 1, x, generator)
        return windows[torch.arange(batch, device=x.device), :, top, left]


@dataclass(frozen=True, kw_only=True)
class HorizontalFlip(Augmentation):
    """Mirrors each image left to right with `probability`; raises `UserError` if that is not in [0,1].

    Pitfall: not for digits or letters, whose mirror image is another sign or none.
    """

    probability: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise UserError(f"HorizontalFlip(probability={self.probability}): a probability is in [0, 1]")

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        batch = _image_shape(x)[0]
        flipped = torch.rand(batch, generator=generator, device=_source(x, generator)) < self.probability
        return torch.where(flipped.to(x.device)[:, None, None, None], x.flip(-1), x)


@dataclass(frozen=True, kw_only=True)
class Cutout(Augmentation):
    """Fills in each image one square of `size` pixels, whose centre is anywhere in the image, with `fill`.

    A square may reach over the border; its part inside is filled. Raises `UserError` if `size` is below 1 or
    `fill` is not in [0,1]. Source: DeVries and Taylor, Improved Regularization of Convolutional Neural
    Networks with Cutout, arXiv:1708.04552 (size 16 for CIFAR-10, 8 for CIFAR-100).
    """

    size: int = 16
    fill: float = 0.0

    def __post_init__(self) -> None:
        if self.size < 1:
            raise UserError(f"Cutout(size={self.size}): size must be at least 1 pixel")
        if not 0 <= self.fill <= 1:
            raise UserError(f"Cutout(fill={self.fill}): fill is a pixel value in [0, 1]")

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        _, _, height, width = _image_shape(x)
        rows = self._covered(height, x, generator)  # [B, H]
        columns = self._covered(width, x, generator)  # [B, W]
        return x.masked_fill(rows[:, None, :, None] & columns[:, None, None, :], self.fill)

    def _covered(self, length: int, x: Tensor, generator: torch.Generator | None) -> Tensor:
        start = _integers(length, x, generator)[:, None] - self.size // 2
        position = torch.arange(length, device=x.device)
        return (position >= start) & (position < start + self.size)


def augment(x: Tensor, steps: Iterable[Augmentation], generator: torch.Generator | None = None) -> Tensor:
    """Images `x` [B,C,H,W] in [0,1] after all `steps`, applied in their order; without steps, `x` itself."""
    for step in steps:
        x = step(x, generator)
    return x


def _image_shape(x: Tensor) -> torch.Size:
    if x.dim() != 4:
        raise UserError(f"an augmentation takes images [B, C, H, W], not a tensor of shape {list(x.shape)}")
    return x.shape


def _integers(end: int, x: Tensor, generator: torch.Generator | None) -> Tensor:
    """One integer in 0..`end` - 1 for each image of `x`, on its device."""
    return torch.randint(end, (len(x),), generator=generator, device=_source(x, generator)).to(x.device)


def _source(x: Tensor, generator: torch.Generator | None) -> torch.device:
    return x.device if generator is None else generator.device
