"""How are events deleted, and cells of frames flipped, each by itself and at random?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from spikeproof.choices import UserError, Within
from spikeproof.data.augmentations import Augmentation, source

Chance = Annotated[float, Within(0, 1, "()")]
Rare = Annotated[float, Within(0, 1, "[)")]


@dataclass(frozen=True, kw_only=True)
class EventDeletion(Augmentation):
    """Each event of the frames is deleted with `probability`, whatever becomes of the others; for counts and binary.

    Of frames of counts it is what deletion before framing gives, if an event's frame is its own affair: a `span` since
    zero. It is the noise that `DeletionSmoothing` certifies under.
    """

    probability: Chance = 0.9

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return thinned(x, self.probability, generator)


@dataclass(frozen=True, kw_only=True)
class FrameFlips(Augmentation):
    """Each cell of binary frames flips by itself: one without an event gets one with probability `appear`, one with an
    event loses it with probability `vanish`.

    It is the noise that `FlipSmoothing` certifies under. Raises `UserError` where both add up to 1 or more: then a
    cell says nothing, or the opposite.
    """

    appear: Rare = 0.01
    vanish: Rare = 0.6

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_reversal(self.appear, self.vanish)

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return flipped(x, self.appear, self.vanish, generator)


def refuse_reversal(appear: float, vanish: float) -> None:
    """Raise `UserError` for flips after which an event is as likely where none was."""
    if appear + vanish >= 1:
        raise UserError(
            f"appear {appear:g} and vanish {vanish:g} are below 1 together: else a cell without an event has one "
            "after the flips as likely as any other cell"
        )


def refuse_images(x: Tensor, what: str) -> None:
    """Raise `UserError` for what are no event frames."""
    if x.ndim != 5:
        raise UserError(f"{what} takes event frames [B, T, P, H, W], not a tensor of shape {list(x.shape)}")


def thinned(x: Tensor, probability: float, generator: torch.Generator | None = None) -> Tensor:
    """Frames ``[B, T, P, H, W]`` of whole counts without the events that were deleted, each with `probability`.

    The gradient is that of the mean.
    """
    refuse_images(x, "deletion of events")
    counts = x.detach().flatten()
    cells = counts.nonzero().squeeze(1)
    events = cells.repeat_interleave(counts[cells].round().long())
    drawn = uniform((len(events),), x, generator)
    kept = events[drawn >= probability]
    left = torch.zeros_like(counts).index_add_(0, kept, counts.new_ones(len(kept))).view_as(x)
    return left + (1 - probability) * (x - x.detach())


def flipped(x: Tensor, appear: float, vanish: float, generator: torch.Generator | None = None) -> Tensor:
    """Binary frames ``[B, T, P, H, W]`` with each cell flipped by itself; the gradient is that of the mean."""
    refuse_images(x, "flips of cells")
    drawn = uniform(x.shape, x, generator)
    whole = torch.where(x.detach() > 0.5, drawn >= vanish, drawn < appear).to(x.dtype)
    return whole + (1 - appear - vanish) * (x - x.detach())


def uniform(shape: Sequence[int], x: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Numbers in [0, 1) on the device of `x`, float64: those of float32 hit a probability to 6e-8 only."""
    drawn = torch.rand(*shape, generator=generator, device=source(x, generator), dtype=torch.float64)
    return drawn.to(x.device)
