"""How is a whole batch of images changed at random, each image differently?

Event frames [B,T,P,H,W] are changed as images are, all frames of a recording in the same way.
"""

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from spikeproof.choices import Choice, Count, Share, UserError


class Augmentation(Choice):
    """A random change of images that keeps their labels, their shape and [0,1]."""

    @abstractmethod
    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """`x` [B,C,H,W] or [B,T,P,H,W] changed, as a new tensor, on its device; random numbers come from `generator`.

        A generator may live on another device than `x`; one on the CPU gives the same result on every device.
        """


@dataclass(frozen=True, kw_only=True)
class RandomCrop(Augmentation):
    """Shifts each image by up to `padding` pixels in both directions; from outside comes black (0).

    Raises `UserError` if `padding` is below 1. Source: Krizhevsky et al., ImageNet Classification with Deep
    Convolutional Neural Networks (2012); padding 4 for CIFAR is from He et al. (2016), section 4.2.
    """

    padding: Count = 4

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        planes = planes_of(x)
        batch, _, height, width = planes.shape
        padded = functional.pad(planes, [self.padding] * 4)
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # [B, C, 2 padding + 1, 2 padding + 1, H, W]
        top = _integers(2 * self.padding + 1, x, generator)
        left = _integers(2 * self.padding + 1, x, generator)
        return windows[torch.arange(batch, device=x.device), :, top, left].view_as(x)


@dataclass(frozen=True, kw_only=True)
class HorizontalFlip(Augmentation):
    """Mirrors each image left to right with `probability`; raises `UserError` if that is not in [0,1].

    Pitfall: not for digits or letters, whose mirror image is another sign or none.
    """

    probability: Share = 0.5

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        planes = planes_of(x)
        flipped = torch.rand(len(x), generator=generator, device=source(x, generator)) < self.probability
        return torch.where(flipped.to(x.device)[:, None, None, None], planes.flip(-1), planes).view_as(x)


@dataclass(frozen=True, kw_only=True)
class Cutout(Augmentation):
    """Fills in each image one square of `size` pixels, whose centre is anywhere in the image, with `fill`.

    A square may reach over the border; its part inside is filled. Raises `UserError` if `size` is below 1 or
    `fill` is not in [0,1]. Source: DeVries and Taylor, Improved Regularization of Convolutional Neural
    Networks with Cutout, arXiv:1708.04552 (size 16 for CIFAR-10, 8 for CIFAR-100).
    """

    size: Count = 16
    fill: Share = 0.0

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        planes = planes_of(x)
        rows = self._covered(planes.shape[2], x, generator)  # [B, H]
        columns = self._covered(planes.shape[3], x, generator)  # [B, W]
        return planes.masked_fill(rows[:, None, :, None] & columns[:, None, None, :], self.fill).view_as(x)

    def _covered(self, length: int, x: Tensor, generator: torch.Generator | None) -> Tensor:
        start = _integers(length, x, generator)[:, None] - self.size // 2
        position = torch.arange(length, device=x.device)
        return (position >= start) & (position < start + self.size)


def augment(x: Tensor, steps: Iterable[Augmentation], generator: torch.Generator | None = None) -> Tensor:
    """Images `x` [B,C,H,W] in [0,1] after all `steps`, applied in their order; without steps, `x` itself."""
    for step in steps:
        x = step(x, generator)
    return x


def planes_of(x: Tensor) -> Tensor:
    """Images as they are, event frames [B,T,P,H,W] as images [B,T P,H,W]."""
    if x.dim() not in (4, 5):
        raise UserError(
            "an augmentation takes images [B, C, H, W] or event frames [B, T, P, H, W], not a tensor of shape "
            f"{list(x.shape)}"
        )
    return x.flatten(1, -3)


def _integers(end: int, x: Tensor, generator: torch.Generator | None) -> Tensor:
    """One integer in 0..`end` - 1 for each image of `x`, on its device."""
    return torch.randint(end, (len(x),), generator=generator, device=source(x, generator)).to(x.device)


def source(x: Tensor, generator: torch.Generator | None) -> torch.device:
    return x.device if generator is None else generator.device
