"""How are the images of one part of a data set taken out, by their index?"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from spikeproof.choices import UserError


class Pixels(Protocol):
    """Where images come from: a call with row numbers [B] gives float32 [B,C,H,W] in [0,1]."""

    def __call__(self, rows: Tensor) -> Tensor: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class PixelsInMemory:
    """Images held as `stored`, uint8 [N,C,H,W]; the value `white` (255 almost everywhere) becomes 1."""

    stored: Tensor = field(repr=False)
    white: int = 255

    def __call__(self, rows: Tensor) -> Tensor:
        return self.stored[rows].float().div_(self.white)

    def on(self, device: torch.device) -> "PixelsInMemory":
        """The same bytes on `device`, where rows are then asked for and batches are."""
        return replace(self, stored=self.stored.to(device))


@dataclass(frozen=True, kw_only=True, eq=False)
class Images:
    """Labelled images, such as the validation part of a data set, each known by its index 0..len - 1.

    `labels` is int64 [N] with values 0..len(classes) - 1; `rows` [N] says where in `pixels` each image is.
    """

    pixels: Pixels = field(repr=False)
    rows: Tensor = field(repr=False)
    labels: Tensor = field(repr=False)
    classes: tuple[str, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"Images({len(self):,} images, {len(self.classes)} classes)"

    def batch(self, indices: Tensor | Sequence[int]) -> tuple[Tensor, Tensor]:
        """The images x, float32 [B,C,H,W] in [0,1], and labels y, int64 [B], at `indices` [B], on the CPU.

        Raises `UserError` for an index outside 0..len - 1, and for an image file that cannot be decoded.
        """
        return self.take(self._checked(indices))

    def take(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Like `batch`, but unchecked, and where the images are: nothing waits for an accelerator."""
        return self.pixels(self.rows[indices]), self.labels[indices]

    def on(self, device: torch.device) -> "Images":
        """The same images on `device`, for `take`; those that are not held in memory stay as they are."""
        if not isinstance(self.pixels, PixelsInMemory):
            return self
        rows, labels = self.rows.to(device), self.labels.to(device)
        return replace(self, pixels=self.pixels.on(device), rows=rows, labels=labels)

    def select(self, indices: Tensor | Sequence[int]) -> "Images":
        """The images at `indices` [M], in that order; raises `UserError` for an index outside 0..len - 1."""
        chosen = self._checked(indices)
        return Images(pixels=self.pixels, rows=self.rows[chosen], labels=self.labels[chosen], classes=self.classes)

    def first(self, count: int) -> "Images":
        """The first `count` images; raises `UserError` unless `count` is in 1..len."""
        if not 1 <= count <= len(self):
            raise UserError(f"cannot take the first {count} images; there are {len(self):,}, so 1 to {len(self)}")
        return self.select(range(count))

    def _checked(self, indices: Tensor | Sequence[int]) -> Tensor:
        chosen = torch.as_tensor(indices).cpu()
        if chosen.numel() == 0:
            return chosen.long().flatten()
        if chosen.dim() != 1 or chosen.is_floating_point() or chosen.dtype == torch.bool:
            raise UserError(f"indices must be whole numbers [B], not {chosen.dtype} of shape {list(chosen.shape)}")
        outside = chosen[(chosen < 0) | (chosen >= len(self))]
        if len(outside):
            raise UserError(f"there is no image {outside[0].item()}; indices are 0 to {len(self) - 1}")
        return chosen.long()


def images_in_memory(stored: Tensor, labels: Tensor, classes: tuple[str, ...], white: int = 255) -> Images:
    """All images of `stored`, uint8 [N,C,H,W], with `labels` [N] of any integer type, in their order."""
    return Images(
        pixels=PixelsInMemory(stored=stored, white=white),
        rows=torch.arange(len(stored)),
        labels=labels.long(),
        classes=classes,
    )
