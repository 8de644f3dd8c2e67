"""Which values can an input have at all? The box that every threat stays in: pixels in [0, 1], counts from 0 on."""

from typing import NamedTuple

import torch
from torch import Tensor

from spikeproof.attacks.inputs import check_frames, check_images
from spikeproof.choices import UserError

ROUNDING = 1e-6  # float32 rounds x + change by up to 6e-8 for pixels; more than this outside the set is outside


class UnitBox(NamedTuple):
    """Pixels in [0, 1]."""

    def check(self, x: Tensor) -> None:
        """Raise `UserError` for what are no images in the box."""
        check_images(x)

    def top(self, x: Tensor) -> Tensor:
        """The largest value of each image, with as many axes as `x`."""
        return x.new_ones(()).expand(len(x), *[1] * (x.ndim - 1))

    def finite(self, perturbed: Tensor, x: Tensor) -> Tensor:
        """What was asked for; a pixel that is no number stays none, and is refused."""
        return perturbed

    def settle(self, near: Tensor, x: Tensor, change: float | Tensor) -> Tensor:
        """`near`, which is `x` and at most a `change`, inside the box in spite of rounding."""
        return near.clamp(0, 1)

    def __str__(self) -> str:
        return ""


class CountBox(NamedTuple):
    """Counts of events from 0 to `most` (None: the largest count of each recording)."""

    most: float | None

    def check(self, x: Tensor) -> None:
        """Raise `UserError` for what are no event frames in the box."""
        check_frames(x)
        if self.most is not None and x.max() > self.most:
            raise UserError(f"a frame has {x.max().item():g} events in a cell, and counts go to {self.most:g} here")

    def top(self, x: Tensor) -> Tensor:
        """The largest value of each recording, with as many axes as `x`."""
        own = x.flatten(1).amax(1) if self.most is None else x.new_full((len(x),), self.most)
        return own.view(-1, *[1] * (x.ndim - 1))

    def finite(self, perturbed: Tensor, x: Tensor) -> Tensor:
        """What was asked for; a count that is no finite number stays as it was."""
        return torch.where(perturbed.isfinite(), perturbed, x)

    def settle(self, near: Tensor, x: Tensor, change: float | Tensor) -> Tensor:
        """`near`, which is `x` and at most a `change`, inside the box in spite of rounding.

        One step back to `x` where the sum was rounded by more than is forgiven, as counts of hundreds are.
        """
        near = torch.where((near.double() - x).abs() > change, near.nextafter(x), near)
        return near.clamp(min=0).minimum(self.top(x))

    def __str__(self) -> str:
        return "" if self.most is None else f", counts to {self.most:g}"


Box = UnitBox | CountBox
